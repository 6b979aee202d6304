//! Completions do their work in the shell that they are for, and manual pages are pages.

use std::path::Path;
use std::process::Command;

use oprc_tests::{Cli, oprc, run};

/// What bash offers after `line`, of which the last word may be empty: bash itself calls the function that the script
/// bound to `oprc`.
fn offered(line: &[&str]) -> Vec<String> {
    const ASK: &str = r#"
        source <("$0" completions bash) || exit 3
        bound=$(complete -p oprc) || exit 4
        [[ $bound =~ -F\ ([^ ]+) ]] || exit 5
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        previous=${COMP_WORDS[COMP_CWORD - 1]}
        "${BASH_REMATCH[1]}" oprc "${COMP_WORDS[COMP_CWORD]}" "$previous"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-c", ASK]).arg(oprc()).arg("oprc").args(line);
    let done = bash.output().expect("bash runs");
    assert!(done.status.success(), "{line:?}: {done:#?}");
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(offered(&["depl"]), ["deploy"]);
    let all = offered(&[""]);
    for command in ["up", "host", "new", "deploy", "invoke", "completions", "man"] {
        assert!(all.iter().any(|offer| offer == command), "{command} in {all:?}");
    }
    assert!(!all.iter().any(|offer| offer == "bare-echo" || offer == "reference"), "{all:?}");
    assert_eq!(offered(&["deploy", "--mani"]), ["--manifest"]);
    assert_eq!(offered(&["classes", "--output", "j"]), ["json"]);
    assert_eq!(offered(&["completions", ""]).len(), 3 + offered(&["completions", "-"]).len());
}

/// Whether `shell` is here and takes the script; true when it is not here.
fn parses(shell: &str, flag: &str, script: &Path) -> bool {
    let Ok(done) = Command::new(shell).arg(flag).arg(script).output() else {
        println!("{shell} is not here: only the script's content is looked at");
        return true;
    };
    done.status.success() && done.stderr.is_empty()
}

#[test]
fn zsh_and_fish_take_their_scripts() {
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        for (shell, flag, mark) in
            [("zsh", "-n", "#compdef oprc"), ("fish", "--no-execute", "complete -c oprc")]
        {
            let script = Cli::run(&["completions", shell], scratch.path(), &[], None).await.ok();
            assert!(script.contains(mark) && script.contains("deploy"), "{script}");
            let file = scratch.path().join(shell);
            std::fs::write(&file, script).unwrap();
            assert!(parses(shell, flag, &file), "{shell} does not take it");
        }
        let complaint = Cli::run(&["completions", "tcsh"], scratch.path(), &[], None).await.fails(2);
        assert!(complaint.contains("bash") && complaint.contains("zsh"), "{complaint}");
    });
}

#[test]
fn manual_pages_are_printed_and_written() {
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        let page = |args: &'static [&'static str]| Cli::run(args, scratch.path(), &[], None);
        assert!(page(&["man"]).await.ok().contains(".TH oprc 1"));
        assert!(page(&["man", "deploy"]).await.ok().contains(".TH oprc-deploy 1"));
        assert!(page(&["man", "fly"]).await.fails(2).contains("fly"));
        page(&["man", "--dir", "."]).await.ok();
        for name in ["oprc.1", "oprc-up.1", "oprc-invoke.1"] {
            assert!(scratch.path().join(name).is_file(), "{name}");
        }
        assert!(!scratch.path().join("oprc-bare-echo.1").exists());
        assert!(page(&["man", "--dir", "absent"]).await.fails(1).contains("absent"));
    });
}

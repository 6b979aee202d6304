//! What a shell and `man` want to know of the command line, made from the declaration in [`crate::args`].

use std::{fs, io};

use clap::{Args as _, Command, CommandFactory as _};
use clap_complete::Shell as Generator;

use crate::args::{Cli, Common, CompletionsArgs, ManArgs, Shell};
use crate::failure::Failure;
use crate::output;

/// `oprc completions`.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    output::raw(&script(args.shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(), "oprc", &mut script);
    script
}

/// The command line without what nobody types by hand: the scripts would offer it all the same.
fn visible() -> Command {
    let declared = Cli::command();
    let kept = declared.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let root = Command::new("oprc").version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    Common::augment_args(root).subcommands(kept)
}

/// `oprc man`.
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let root = built();
    let Some(dir) = &args.dir else {
        return output::raw(&page(named(&root, args.command.as_deref())?)?);
    };
    for command in pages(&root) {
        let file = dir.join(format!("{}.1", title(command)));
        let failed = |source| Failure::Create { what: file.display().to_string(), source };
        fs::write(&file, page(command)?).map_err(failed)?;
    }
    Ok(())
}

fn built() -> Command {
    let mut root = Cli::command();
    root.build();
    root
}

fn pages(root: &Command) -> impl Iterator<Item = &Command> {
    [root].into_iter().chain(root.get_subcommands().filter(|command| !command.is_hide_set()))
}

fn named<'c>(root: &'c Command, name: Option<&str>) -> Result<&'c Command, Failure> {
    let Some(name) = name else { return Ok(root) };
    pages(root)
        .find(|command| command.get_name() == name)
        .ok_or_else(|| Failure::Usage(format!("there is no command {name}; `oprc --help` lists them")))
}

/// As pages are called: `oprc-deploy`.
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_shell_hears_of_every_command_but_the_hidden_ones() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for command in Cli::command().get_subcommands() {
                let told = script.contains(command.get_name());
                assert_eq!(told, !command.is_hide_set(), "{shell:?} {}", command.get_name());
            }
        }
    }

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let root = built();
        let titles: Vec<_> = pages(&root).map(title).collect();
        assert_eq!(titles[0], "oprc");
        assert!(titles.contains(&"oprc-deploy") && !titles.contains(&"oprc-bare-echo"), "{titles:?}");
        for command in pages(&root) {
            let page = String::from_utf8(page(command).unwrap()).unwrap();
            assert!(page.contains(&format!(".TH {} 1", title(command))), "{page}");
        }
    }

    #[test]
    fn a_page_has_the_flags_with_what_they_mean() {
        let root = built();
        let page = String::from_utf8(page(named(&root, Some("up")).unwrap()).unwrap()).unwrap();
        for part in ["data\\-dir", "OPRC_DATA_DIR", "Everything durable lies here"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(matches!(named(&root, Some("fly")), Err(Failure::Usage(why)) if why.contains("fly")));
        assert!(named(&root, Some("bare-echo")).is_err());
    }
}

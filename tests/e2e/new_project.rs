//! `oprc new`: from an empty folder to a called method, by the commands that it tells itself.

use std::fs;
use std::path::Path;

use oprc_tests::guests::Project;
use oprc_tests::{Cli, Kind, Server, run};

/// Always the same place, wiped each time, so that Cargo's folder for guests does not grow by a project for each run.
fn empty_folder() -> &'static Path {
    let folder = Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/new-project"));
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir_all(folder).unwrap();
    folder
}

#[test]
fn a_new_project_tests_builds_and_deploys_as_it_is() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let folder = empty_folder();
        let told = Cli::run(&["new", "page-hits"], folder, &[], None).await.ok();
        let place = folder.join("page-hits");
        let readme = fs::read_to_string(place.join("README.md")).unwrap();
        let steps = ["cargo test", "cargo build --target wasm32-wasip2 --release", "oprc deploy"];
        for step in steps {
            assert!(told.contains(step) && readme.contains(step), "{step}: {told}");
        }
        tokio::task::spawn_blocking({
            let place = place.clone();
            move || {
                let project = Project::at(&place);
                let told = project.cargo(&["test"]);
                assert!(told.contains("test result: ok. 3 passed"), "{told}");
                let told = project.cargo(&["build", "--target", "wasm32-wasip2", "--release"]);
                assert!(!told.contains("warning"), "{told}");
                // what was locked is what was built
                project.cargo(&["build", "--target", "wasm32-wasip2", "--release", "--locked"]);
            }
        })
        .await
        .unwrap();
        let url = server.url();
        let server_url = [("OPRC_SERVER", url.as_str())];
        let at = |args: &'static [&'static str]| Cli::run(args, &place, &server_url, None);
        let deployed = at(&["deploy"]).await.ok();
        assert!(deployed.contains("deployed PageHits version 1"), "{deployed}");
        let call = &["invoke", "PageHits/alice", "increment", "{\"by\": 5}"];
        assert_eq!(at(call).await.ok(), "5\n");
        assert_eq!(at(call).await.ok(), "10\n");
        assert_eq!(at(&["invoke", "PageHits/alice", "value"]).await.ok(), "10\n");
        let most = &["invoke", "PageHits/alice", "increment", "[18446744073709551615]"];
        assert!(at(most).await.fails(1).contains("function-error"));
        assert_eq!(at(&["get", "PageHits/alice", "count"]).await.ok(), "10");
        assert!(at(&["describe", "PageHits"]).await.ok().contains("value: func() -> u64"));
    });
}

#[test]
fn what_is_there_stays_as_it_is() {
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        let made = Cli::run(&["new", "a", "--output", "json"], scratch.path(), &[], None).await.json();
        assert_eq!((&made["name"], &made["class"]), (&"a".into(), &"A".into()));
        let files = made["files"].as_array().unwrap();
        assert!(files.contains(&"src/lib.rs".into()), "{made}");
        let lib = scratch.path().join("a/src/lib.rs");
        fs::write(&lib, "mine").unwrap();
        fs::write(scratch.path().join("b"), "a file").unwrap();
        fs::create_dir(scratch.path().join("c")).unwrap();
        for name in ["a", "b", "c"] {
            let complaint = Cli::run(&["new", name], scratch.path(), &[], None).await.fails(1);
            assert!(complaint.contains(name) && complaint.contains("nothing was changed"), "{complaint}");
        }
        assert_eq!(fs::read_to_string(&lib).unwrap(), "mine");
        assert_eq!(fs::read_to_string(scratch.path().join("b")).unwrap(), "a file");
        assert_eq!(fs::read_dir(scratch.path().join("c")).unwrap().count(), 0);
    });
}

#[test]
fn names_that_are_not_allowed_say_what_is() {
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        for (name, told) in [
            ("", "begins with a small letter"),
            ("My-Counter", "small letters"),
            ("../up", "small letters"),
            ("a_b", "single hyphens"),
            ("fn", "my-fn"),
            (&*"a".repeat(65), "64"),
        ] {
            let complaint = Cli::run(&["new", name], scratch.path(), &[], None).await.fails(2);
            assert!(complaint.contains(told), "{name}: {complaint}");
        }
        Cli::run(&["new", "a", "--lang", "cobol"], scratch.path(), &[], None).await.fails(2);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    });
}

//! The rules of the house, checked by machine: who may depend on whom, which dependency belongs to which crate, how long
//! a file may be, and what must not stand in it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use oprc_tests::root;
use serde_json::Value;

/// Each crate of the house, and the crates of the house that it may use (DESIGN, section 2).
const LAYERS: &[(&str, &[&str])] = &[
    ("oprc-mesh", &[]),
    ("oprc-odgm", &["oprc-mesh"]),
    ("oprc-host", &["oprc-mesh", "oprc-odgm"]),
    ("oprc-gateway", &["oprc-mesh"]),
    ("oprc", &["oprc-mesh", "oprc-odgm", "oprc-host", "oprc-gateway"]),
    ("oprc-tests", &["oprc-mesh"]),
];

/// Dependencies that belong to some crates alone.
const OWNERS: &[(&str, &[&str])] = &[
    ("openraft", &["oprc-odgm"]),
    ("rocksdb", &["oprc-odgm"]),
    ("wasmtime", &["oprc-host"]),
    ("wasmtime-wasi", &["oprc-host"]),
    ("wasmtime-wasi-http", &["oprc-host"]),
    ("zenoh", &["oprc-mesh"]),
    // the gateway's server, the host's health port, the baseline of `oprc bench`
    ("axum", &["oprc-gateway", "oprc-host", "oprc"]),
    // the tests have a client of their own
    ("tonic", &["oprc-gateway", "oprc-tests"]),
    ("clap", &["oprc"]),
];

/// What the gateway's binary must not link.
const NOT_IN_THE_GATEWAY: &[&str] =
    &["wasmtime", "wasmtime-wasi", "rocksdb", "librocksdb-sys", "openraft", "oprc-odgm", "oprc-host"];

/// A sitting's reading.
const FILE_LINES_MAX: usize = 500;

struct Graph {
    /// Members of the workspace: name to direct dependencies of any kind, optional ones too.
    members: BTreeMap<String, BTreeSet<String>>,
    /// Every package: id to name and the ids of its resolved dependencies other than for its tests.
    resolved: BTreeMap<String, (String, Vec<String>)>,
}

static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = metadata["workspace_members"].as_array().unwrap().iter().map(text).collect();
    let mut names = BTreeMap::new();
    let mut members = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        names.insert(text(&package["id"]), text(&package["name"]));
        if ours.contains(&text(&package["id"])) {
            let direct =
                package["dependencies"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect();
            members.insert(text(&package["name"]), direct);
        }
    }
    let links = |node: &Value| -> Vec<String> {
        let links = node["deps"].as_array().unwrap().iter();
        let kept = links
            .filter(|link| link["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev"));
        kept.map(|link| text(&link["pkg"])).collect()
    };
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap().iter();
    let resolved =
        nodes.map(|node| (text(&node["id"]), (names[&text(&node["id"])].clone(), links(node)))).collect();
    Graph { members, resolved }
});

impl Graph {
    /// The names of all packages that `name` is built from.
    fn tree(&self, name: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut queue: Vec<&String> =
            self.resolved.iter().filter(|(_, (own, _))| own == name).map(|(id, _)| id).collect();
        while let Some(id) = queue.pop() {
            if seen.insert(id) {
                let (name, links) = &self.resolved[id];
                names.insert(name.clone());
                queue.extend(links);
            }
        }
        names
    }
}

#[test]
fn crates_use_only_what_stands_below_them() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let members: BTreeSet<&str> = GRAPH.members.keys().map(String::as_str).collect();
    assert_eq!(members, layers.keys().copied().collect(), "every crate has its place in the layers");
    for (name, direct) in &GRAPH.members {
        for used in direct.iter().filter(|used| members.contains(used.as_str())) {
            assert!(layers[name.as_str()].contains(&used.as_str()), "{name} must not use {used}");
        }
    }
}

#[test]
fn heavy_dependencies_have_one_home() {
    let mut strays = Vec::new();
    for (dependency, owners) in OWNERS {
        let users = GRAPH.members.iter().filter(|(_, direct)| direct.contains(*dependency));
        let strange = users.filter(|(name, _)| !owners.contains(&name.as_str()));
        strays.extend(
            strange.map(|(name, _)| format!("{name} uses {dependency}, which belongs to {owners:?}")),
        );
    }
    assert_none(&strays);
}

#[test]
fn the_gateway_links_neither_engine_nor_store() {
    let tree = GRAPH.tree("oprc-gateway");
    assert!(tree.contains("oprc-mesh") && tree.len() > 50, "the tree is read: {tree:?}");
    for foreign in NOT_IN_THE_GATEWAY {
        assert!(!tree.contains(*foreign), "the gateway is built with {foreign}");
    }
    let product = GRAPH.tree("oprc");
    for heavy in ["wasmtime", "rocksdb", "openraft", "zenoh"] {
        assert!(product.contains(heavy), "the product is built with {heavy}");
    }
}

#[test]
fn lints_and_versions_come_from_the_workspace() {
    let mut strays = Vec::new();
    for manifest in
        files("toml").into_iter().filter(|path| path.ends_with("Cargo.toml") && of_the_workspace(path))
    {
        let text = fs::read_to_string(&manifest).unwrap();
        if text.contains("[workspace]") {
            continue;
        }
        if !text.contains("[lints]\nworkspace = true") {
            strays.push(format!("{}: the lints are shared", manifest.display()));
        }
        let dependencies = text.split_once("dependencies]").map_or("", |(_, rest)| rest);
        let own =
            dependencies.lines().filter(|line| line.contains('{') && !line.contains("workspace = true"));
        strays.extend(own.map(|line| format!("{}: `{line}` belongs into the one table", manifest.display())));
    }
    assert_none(&strays);
}

#[test]
fn files_are_a_sitting_long() {
    let long = files("rs").into_iter().filter_map(|path| {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{} has {lines} lines of {FILE_LINES_MAX}", path.display()))
    });
    assert_none(&long.collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    // put together, so that this file does not hold them
    let marks = [["to", "do!"], ["unimple", "mented!"], ["TO", "DO"], ["FIX", "ME"], ["XX", "X"]]
        .map(|parts| parts.concat());
    let mut found = Vec::new();
    for path in files("rs").into_iter().chain(files("wit")) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '!'));
            if words.any(|word| marks.iter().any(|mark| mark == word)) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert_none(&found);
}

/// `unsafe` code is allowed in one place: loading what this host compiled itself.
#[test]
fn unsafe_code_has_one_place() {
    let allow = format!("allow({}", "unsafe_code");
    let allowed: Vec<_> = files("rs")
        .into_iter()
        .filter(|path| of_the_workspace(path) && fs::read_to_string(path).unwrap().contains(&allow))
        .collect();
    assert!(allowed.len() <= 1, "{allowed:?}");
    assert!(allowed.iter().all(|path| path.starts_with(root().join("host"))), "{allowed:?}");
}

/// Inside a crate there are no circles between its top-level modules.
#[test]
fn modules_go_one_way() {
    let mut circles = BTreeSet::new();
    for folder in ["mesh", "odgm", "host", "gateway", "cli"] {
        let uses = module_uses(&root().join(folder).join("src"));
        for (module, used) in &uses {
            for direct in used.iter().filter(|direct| reaches(direct, module, &uses)) {
                circles
                    .insert(format!("{folder}: {module} uses {direct}, and {direct} leads back to {module}"));
            }
        }
    }
    assert_none(&circles.into_iter().collect::<Vec<_>>());
}

/// Whether `from` uses `to`, itself or through others.
fn reaches(from: &str, to: &str, uses: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let mut seen = BTreeSet::new();
    let mut queue = vec![from];
    while let Some(module) = queue.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            queue.extend(uses[module].iter().map(String::as_str));
        }
    }
    false
}

/// Fails with all that was found, one a line.
#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Each top-level module, and the others that it names as `crate::...`, outside of its tests.
fn module_uses(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files("rs").into_iter().filter(|path| path.starts_with(source)) {
        let first = path.strip_prefix(source).unwrap().iter().next().unwrap().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        let is_test = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
        if ["lib", "main"].contains(&module.as_str()) || is_test {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let entry = uses.entry(module.clone()).or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for part in line.split("crate::").skip(1) {
                let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if name != module {
                    entry.insert(name);
                }
            }
        }
    }
    // what is no module is a type that lib.rs shows
    let modules: BTreeSet<String> = uses.keys().cloned().collect();
    for used in uses.values_mut() {
        used.retain(|name| modules.contains(name));
    }
    uses
}

/// Projects of their own, built for WebAssembly, do not share the workspace's tables.
fn of_the_workspace(path: &Path) -> bool {
    let elsewhere = ["guest-examples", "cli/templates"].map(|folder| root().join(folder));
    !elsewhere.iter().any(|folder| path.starts_with(folder))
        && !path.to_string_lossy().contains("/tests/guests/")
}

/// Every file of the repository with that extension, without what is built.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let built = name == "target" || name.starts_with('.') || path.is_symlink();
                if !built {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

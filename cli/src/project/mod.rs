//! New guest projects: which names they may have, and the files that they begin with. The templates lie in
//! `cli/templates` as a project called `my-class`, and are part of the binary together with the package `oprc:odgm`, so
//! that a project can be made without this repository.

mod name;
mod rust;

pub(crate) use name::ProjectName;

/// A file of a new project.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProjectFile {
    /// Where it lies in the project's folder, with slashes.
    pub(crate) path: &'static str,
    pub(crate) text: String,
}

/// The files of a Rust guest.
pub(crate) fn rust(name: &ProjectName) -> Vec<ProjectFile> {
    let render = |(path, text): &(&'static str, &str)| ProjectFile { path, text: name.fill(text) };
    rust::TEMPLATE.iter().map(render).chain([ProjectFile { path: ODGM, text: WIT.to_owned() }]).collect()
}

/// Where the package `oprc:odgm` lies in a project: there WIT's tools look for what a world imports.
const ODGM: &str = "wit/deps/odgm/odgm.wit";
const WIT: &str = include_str!("../../../wit/odgm.wit");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use oprc_mesh::manifest::Manifest;

    fn made(name: &str) -> Vec<ProjectFile> {
        rust(&ProjectName::parse(name).unwrap())
    }

    fn text<'f>(files: &'f [ProjectFile], path: &str) -> &'f str {
        &files.iter().find(|file| file.path == path).unwrap().text
    }

    #[test]
    fn nothing_of_the_template_s_own_name_is_left() {
        for file in made("page-hits") {
            for mark in ["my-class", "my_class", "MyClass"] {
                assert!(!file.text.contains(mark), "{mark} in {}", file.path);
            }
        }
    }

    #[test]
    fn the_manifest_names_the_class_and_what_cargo_builds() {
        let files = made("page-hits");
        let manifest = Manifest::parse(text(&files, "oprc.toml")).unwrap();
        assert_eq!(manifest.name.unwrap().as_str(), "PageHits");
        assert_eq!(manifest.component.unwrap(), Path::new("target/wasm32-wasip2/release/page_hits.wasm"));
        assert_eq!(manifest.settings.readonly, ["value"]);
        let cargo: toml::Table = text(&files, "Cargo.toml").parse().unwrap();
        assert_eq!(cargo["package"]["name"].as_str(), Some("page-hits"));
        let lock: toml::Table = text(&files, "Cargo.lock").parse().unwrap();
        let locked = |name: &str| {
            lock["package"].as_array().unwrap().iter().any(|package| package["name"].as_str() == Some(name))
        };
        assert!(locked("page-hits") && locked("wit-bindgen"));
    }

    #[test]
    fn every_file_of_the_template_is_in_it_and_nothing_twice() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/rust");
        let mut kept = BTreeSet::new();
        let mut folders = vec![folder.clone()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                match path.is_dir() {
                    true if name == "target" => {} // somebody built it where it lies
                    true => folders.push(path),
                    false => drop(kept.insert(name)),
                }
            }
        }
        kept.insert(ODGM.to_owned());
        let files = made("a");
        let paths: BTreeSet<_> = files.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!((paths.len(), &paths), (files.len(), &kept));
    }

    #[test]
    fn the_world_imports_the_package_that_comes_with_it() {
        let files = made("a");
        let package = text(&files, ODGM).lines().find_map(|line| line.strip_prefix("package ")).unwrap();
        let (name, version) = package.trim_end_matches(';').split_once('@').unwrap();
        assert!(text(&files, "wit/world.wit").contains(&format!("import {name}/fields@{version};")));
    }
}

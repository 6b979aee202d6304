//! The files of a Rust guest.

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../templates/rust/", $path)))),*]
    };
}

/// Path and text of each.
pub(super) const TEMPLATE: &[(&str, &str)] = files![
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "oprc.toml",
    "src/lib.rs",
    "wit/world.wit",
];

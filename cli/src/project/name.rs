//! What a project may be called: a name that is good for a folder, a Cargo package and, in its other form, a class.

use std::fmt;
use std::str::FromStr;

/// Characters of the longest name: no class name is longer.
const CHARS_MAX: usize = 64;

/// Names that Rust or Cargo use themselves: a package that is called so does not build, or hides what is meant.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "wit-bindgen",
    "yield",
];

/// A project's name: words of small letters and digits with hyphens between them, the first beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectName(String);

/// Why a name is not allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error(
        "a name begins with a small letter and has small letters, digits and single hyphens between them, such as \
         my-counter"
    )]
    Form,
    #[error("a name has at most {CHARS_MAX} characters")]
    Long,
    #[error("Rust or Cargo use this name themselves; choose another, such as my-{0}")]
    Taken(String),
}

impl ProjectName {
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if !text.starts_with(|first: char| first.is_ascii_lowercase()) || !text.split('-').all(word) {
            return Err(NameError::Form);
        }
        if text.len() > CHARS_MAX {
            return Err(NameError::Long);
        }
        if TAKEN.contains(&text) {
            return Err(NameError::Taken(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As a class is called: `my-counter` is `MyCounter`.
    pub(crate) fn class(&self) -> String {
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        self.0.split('-').map(capital).collect()
    }

    /// A template's text with this name in all its forms.
    pub(super) fn fill(&self, template: &str) -> String {
        template
            .replace("my-class", &self.0)
            .replace("my_class", &self.0.replace('-', "_"))
            .replace("MyClass", &self.class())
    }
}

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::id::ClassName;

    #[test]
    fn each_name_gives_a_class_name() {
        let longest = "a".repeat(CHARS_MAX);
        for (name, class) in [("counter", "Counter"), ("my-2nd-try", "My2ndTry"), ("a", "A"), ("a-1", "A1")] {
            assert_eq!(ProjectName::parse(name).unwrap().class(), class);
        }
        for name in ["counter", "my-2nd-try", &longest] {
            ClassName::parse(&ProjectName::parse(name).unwrap().class()).unwrap();
        }
    }

    #[test]
    fn what_would_not_be_a_package_is_refused() {
        for name in
            ["", "-a", "a-", "a--b", "1a", "Counter", "my_counter", "a b", "a/b", "..", "größe", "a.b"]
        {
            assert_eq!(ProjectName::parse(name), Err(NameError::Form), "{name}");
        }
        assert_eq!(ProjectName::parse(&"a".repeat(CHARS_MAX + 1)), Err(NameError::Long));
        for name in ["test", "fn", "wit-bindgen", "std"] {
            assert_eq!(ProjectName::parse(name), Err(NameError::Taken(name.to_owned())));
        }
    }

    #[test]
    fn a_template_is_filled_in_every_form() {
        let name = ProjectName::parse("page-hits").unwrap();
        assert_eq!(name.fill("my-class my_class.wasm MyClass/a"), "page-hits page_hits.wasm PageHits/a");
    }
}

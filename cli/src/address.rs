//! What commands are pointed at: `CLASS`, `CLASS/ID`, `FIELD=VALUE`. Parsed once here, into checked types.

use std::fmt;
use std::str::FromStr;

use oprc_mesh::id::{ClassName, FieldKey, IdError, ObjectId};

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// A part is not a valid identifier.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An object is needed.
    #[error("{0:?} names a class; an object is CLASS/ID")]
    NoObject(String),
    /// There is no `=`.
    #[error("{0:?} is not FIELD=VALUE")]
    NoValue(String),
}

/// `CLASS` or `CLASS/ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) class: ClassName,
    pub(crate) object: Option<ObjectId>,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (class, object) = match text.split_once('/') {
            Some((class, object)) => (class, Some(ObjectId::parse(object)?)),
            None => (text, None),
        };
        Ok(Self { class: ClassName::parse(class)?, object })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{}/{object}", self.class),
            None => write!(f, "{}", self.class),
        }
    }
}

/// `CLASS/ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectAddress {
    pub(crate) class: ClassName,
    pub(crate) object: ObjectId,
}

impl FromStr for ObjectAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Address { class, object } = text.parse()?;
        let object = object.ok_or_else(|| AddressError::NoObject(text.to_owned()))?;
        Ok(Self { class, object })
    }
}

/// `FIELD=VALUE`: the value is stored as it stands; `@FILE` stands for a file's bytes, `@-` for standard input's, and
/// `@@` begins a value with an `@` of its own. A field whose key holds a `=` cannot be written so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) field: FieldKey,
    pub(crate) value: Source,
}

impl FromStr for Assignment {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (field, value) = text.split_once('=').ok_or_else(|| AddressError::NoValue(text.to_owned()))?;
        Ok(Self { field: FieldKey::parse(field)?, value: Source::of(value) })
    }
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The text itself.
    Text(String),
    /// A file.
    File(std::path::PathBuf),
    /// Standard input.
    Stdin,
}

impl Source {
    fn of(text: &str) -> Self {
        match text.strip_prefix('@') {
            Some("-") => Self::Stdin,
            Some(rest) if rest.starts_with('@') => Self::Text(rest.to_owned()),
            Some(file) => Self::File(file.into()),
            None => Self::Text(text.to_owned()),
        }
    }

    /// A payload on the command line: as a value, and `-` for standard input too.
    pub(crate) fn payload(text: &str) -> Self {
        if text == "-" { Self::Stdin } else { Self::of(text) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_class_and_an_object_are_told_apart() {
        let address: Address = "Counter/alice".parse().unwrap();
        assert_eq!(address.to_string(), "Counter/alice");
        assert_eq!(address.object.unwrap().as_str(), "alice");
        assert_eq!("Counter".parse::<Address>().unwrap().object, None);
        assert!("Counter".parse::<ObjectAddress>().unwrap_err().to_string().contains("CLASS/ID"));
    }

    #[test]
    fn a_bad_part_is_named() {
        for (text, part) in
            [("", "class name"), ("9", "class name"), ("A/", "object id"), ("A/b/c", "object id")]
        {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_assignment_is_split_at_the_first_equals_sign() {
        let assignment: Assignment = "note=a=b".parse().unwrap();
        assert_eq!((assignment.field.as_str(), assignment.value), ("note", Source::Text("a=b".into())));
        assert_eq!("note=".parse::<Assignment>().unwrap().value, Source::Text(String::new()));
        assert!("note".parse::<Assignment>().unwrap_err().to_string().contains("FIELD=VALUE"));
        assert!("=x".parse::<Assignment>().unwrap_err().to_string().contains("field key"));
    }

    #[test]
    fn an_at_sign_reads_a_file_unless_doubled() {
        assert_eq!(Source::of("@a.json"), Source::File("a.json".into()));
        assert_eq!(Source::of("@-"), Source::Stdin);
        assert_eq!(Source::of("@@me"), Source::Text("@me".into()));
        assert_eq!(Source::of("-"), Source::Text("-".into()));
        assert_eq!(Source::payload("-"), Source::Stdin);
        assert_eq!(Source::payload("5"), Source::Text("5".into()));
    }
}

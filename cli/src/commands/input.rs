//! Bytes that the user points at.

use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;

use crate::address::Source;
use crate::failure::Failure;

/// Reads a source to its end.
pub(crate) fn read(source: Source) -> Result<Bytes, Failure> {
    match source {
        Source::Text(text) => Ok(text.into()),
        Source::File(path) => file(&path),
        Source::Stdin => {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|source| Failure::Read { what: "standard input".to_owned(), source })?;
            Ok(bytes.into())
        }
    }
}

/// Reads a file whole.
pub(crate) fn file(path: &Path) -> Result<Bytes, Failure> {
    let read = std::fs::read(path);
    read.map(Bytes::from).map_err(|source| Failure::Read { what: path.display().to_string(), source })
}

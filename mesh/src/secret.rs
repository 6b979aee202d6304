//! The secret of a mesh: who has it is a member, who has not gets no link. It travels by Zenoh's authentication with a name
//! and a password, which shows it to nobody who only listens in: the one that calls answers a challenge of the one that is
//! called. The one that is called proves nothing; that takes TLS.

use std::fmt;
use std::io::{self, PipeReader, Write as _};
use std::os::fd::AsRawFd as _;

/// The name under which every member shows the secret.
pub(crate) const USER: &str = "oprc";
/// A challenge and its answer can be tried against guesses at leisure, so that what can be guessed is none.
const CHARS_MIN: usize = 32;
/// It goes through a pipe at once, whose room is 4 KiB at the least.
const CHARS_MAX: usize = 512;

/// See the module. Its text is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct MeshSecret(String);

/// A text that is no secret of a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a mesh secret is {} to {} visible ASCII characters, such as `openssl rand -hex 32` prints",
    CHARS_MIN,
    CHARS_MAX
)]
pub struct SecretError;

impl MeshSecret {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`SecretError`] for one that is too short or too long, or holds anything but visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let allowed =
            (CHARS_MIN..=CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if allowed { Ok(Self(text.to_owned())) } else { Err(SecretError) }
    }

    /// The list of who is let in: a file for as long as it lives.
    ///
    /// # Errors
    /// There is no pipe.
    pub(crate) fn hand_over(&self) -> io::Result<HandOver> {
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(format!("{USER}:{}\n", self.0).as_bytes())?;
        Ok(HandOver(reader)) // the writer is closed here, so that the file has an end
    }

    /// As it is.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MeshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshSecret(...)")
    }
}

/// The list of who is let in, which Zenoh reads from a file: a pipe, so that the secret never lies on a disk.
pub(crate) struct HandOver(PipeReader);

impl HandOver {
    pub(crate) fn path(&self) -> String {
        format!("/dev/fd/{}", self.0.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_cannot_be_guessed() {
        assert!(MeshSecret::parse(&"a".repeat(CHARS_MIN)).is_ok());
        assert!(MeshSecret::parse(&"~".repeat(CHARS_MAX)).is_ok());
        let long = "a".repeat(CHARS_MIN);
        for bad in [
            String::new(),
            "a".repeat(CHARS_MIN - 1),
            "a".repeat(CHARS_MAX + 1),
            format!("{long} {long}"),
            format!("{long}\n"),
            format!("{long}ä"),
        ] {
            let told = MeshSecret::parse(&bad).unwrap_err().to_string();
            assert!(told.contains("32") && told.contains("openssl"), "{told}");
        }
    }

    #[test]
    fn it_is_handed_over_and_shown_nowhere() {
        let text = format!("s:e\"c\\ret{}", "x".repeat(CHARS_MIN));
        let secret = MeshSecret::parse(&text).unwrap();
        assert!(!format!("{secret:?}").contains("xxx"));
        let handed = secret.hand_over().unwrap();
        assert_eq!(std::fs::read_to_string(handed.path()).unwrap(), format!("oprc:{text}\n"));
    }
}

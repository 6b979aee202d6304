//! A group's undecided asynchronous calls in the state database.

use super::group::{GroupState, decode};
use crate::error::OdgmError;
use crate::mail::{AskedRecord, Below, asked, dead};

/// An asynchronous call that was not decided.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedCall {
    /// Tells it from another call under the same id.
    pub fingerprint: bytes::Bytes,
    /// It is tried no more: the dead letter that it is. Otherwise it waits for its turn, or is having it.
    pub dead: Option<crate::mail::DeadRecord>,
}

impl GroupState {
    /// The undecided call of that id; `object` is empty for a function.
    pub(crate) fn asked(
        &self,
        class: u64,
        object: &str,
        invocation: &str,
    ) -> Result<Option<AskedCall>, OdgmError> {
        let key = asked(class, object, invocation);
        while let Some(record) = Below::get(self, &key)? {
            let AskedRecord { fingerprint, dead: letter, class, .. } =
                decode(&record, "an asynchronous call")?;
            let Some(letter) = letter else { return Ok(Some(AskedCall { fingerprint, dead: None })) };
            if let Some(letter) = Below::get(self, &dead(&class, letter))? {
                let dead = Some(decode(&letter, "a dead letter")?);
                return Ok(Some(AskedCall { fingerprint, dead }));
            }
            // tried again or forgotten between the two looks, in one write: it stands elsewhere now, or nowhere
            if Below::get(self, &key)?.is_some_and(|now| now == record) {
                return Err(OdgmError::corrupt("an asynchronous call", "its dead letter is not there"));
            }
        }
        Ok(None)
    }
}

//! JWTs of one issuer (RFC 7519), beside the keys of the catalog. A token is read (`token`), the issuer's key is found that it
//! names (`keys`), its signature is checked, and then what it says (`claims`). All that is plain functions over values; `source`
//! brings the keys, and `pace` says how often.
//!
//! What a token came to is remembered by its SHA-256, so that the signature of one that is shown again and again is checked once.
//! It is remembered with the key that signed it: when the issuer takes that key back, or the token's time is over, it counts no
//! more. A token that does not count is not remembered: those who make them up would only push others out.

mod claims;
mod keys;
#[cfg(test)]
pub(crate) mod mint;
mod pace;
mod source;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jsonwebtoken::crypto;
use oprc_mesh::access::Scopes;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

pub(crate) use keys::KeySet;
pub use source::{JwtError, KeySource, KeySourceError};
pub(crate) use token::is_meant;

use keys::Print;
use pace::Asks;
use source::Fetcher;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Tokens that are remembered.
const SEEN_MAX: usize = 4_096;

/// Whose JWTs count, and what their claims say.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// Where the issuer's keys are.
    pub keys: KeySource,
    /// What claim `iss` of a token has to be.
    pub issuer: String,
    /// What claim `aud` of a token has to be, or to hold: without it, a token that the issuer made for somebody else would count.
    pub audience: String,
    /// The claim that says who it is.
    pub subject_claim: String,
    /// The claim with scopes, a text with spaces between them or an array.
    pub scopes_claim: String,
    /// What stands before those scopes that are meant for us; others are left aside.
    pub scope_prefix: String,
}

/// Why a token does not count. Whoever showed it is not told: the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bad {
    /// There are no keys to check it with: the only case that is no fault of the token.
    #[error("the issuer's keys are not known yet")]
    NoKeys,
    #[error("it is longer than a token may be")]
    TooLong,
    #[error("it is not formed as a token")]
    Form,
    #[error("it is of a kind, or asks for something, that is not taken here")]
    Kind,
    #[error("it is signed in a way that is not taken here")]
    Algorithm,
    #[error("no key of the issuer is the one that it names")]
    UnknownKey,
    #[error("its signature is not by the issuer's key")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it does not say until when it counts")]
    NoExpiry,
    #[error("its time is over")]
    Expired,
    #[error("its time has not come")]
    Early,
    #[error("it does not say who shows it, or not in 1 to 255 bytes")]
    Subject,
}

/// A token that counted when it was looked at.
#[derive(Debug)]
pub(crate) struct Verified {
    caller: String,
    scopes: Arc<Scopes>,
    expires_at_ms: u64,
    signed_by: Print,
}

impl Verified {
    /// As a guest is told of who shows it.
    pub(crate) fn caller(&self) -> &str {
        &self.caller
    }

    pub(crate) fn scopes(&self) -> &Arc<Scopes> {
        &self.scopes
    }
}

/// See the module.
pub(crate) struct Jwt {
    config: JwtConfig,
    /// None as long as they are not known.
    keys: ArcSwapOption<KeySet>,
    seen: Cache<[u8; 32], Arc<Verified>>,
    /// None for a file.
    fetcher: Option<Fetcher>,
    asks: Asks,
}

impl Jwt {
    /// Whose token it is at `now_ms`.
    ///
    /// # Errors
    /// [`Bad`] when it does not count.
    pub(crate) fn verify(&self, text: &str, now_ms: u64) -> Result<Arc<Verified>, Bad> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Bad::TooLong);
        }
        let keys = self.keys.load();
        let keys = keys.as_ref().ok_or(Bad::NoKeys)?;
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        if let Some(seen) = self.seen.get(&digest).filter(|seen| keys.hold(&seen.signed_by)) {
            return if now_ms < seen.expires_at_ms { Ok(seen) } else { Err(Bad::Expired) };
        }
        let verified = Arc::new(verify(text, keys, &self.config, now_ms)?);
        self.seen.insert(digest, verified.clone());
        Ok(verified)
    }

    /// Whether it counts at `now_ms` as it did.
    ///
    /// # Errors
    /// [`Bad`] when it does not.
    pub(crate) fn still(&self, verified: &Verified, now_ms: u64) -> Result<(), Bad> {
        let keys = self.keys.load();
        match keys.as_ref() {
            None => Err(Bad::NoKeys),
            Some(_) if now_ms >= verified.expires_at_ms => Err(Bad::Expired),
            Some(keys) if !keys.hold(&verified.signed_by) => Err(Bad::UnknownKey),
            Some(_) => Ok(()),
        }
    }

    /// Has the keys fetched anew for the sake of a token that did not count, where newer ones could make it count. False when
    /// they could not, or were not to be had.
    pub(crate) async fn learned_for(&self, text: &str) -> bool {
        // a file is looked at all the time
        self.fetcher.is_some() && self.lacks_key_of(text) && self.asks.ask().await
    }

    /// Whether a token does not count for the lack of its key, as far as can be told.
    fn lacks_key_of(&self, text: &str) -> bool {
        let keys = self.keys.load();
        let (Some(keys), true) = (keys.as_ref(), text.len() <= TOKEN_BYTES_MAX) else { return false };
        // without a name for its key, it may be by one that is new
        token::read(text)
            .is_ok_and(|read| read.kid.is_none() || keys.find(read.kid.as_deref(), read.algorithm).is_none())
    }
}

/// The whole of it, without a memory.
fn verify(text: &str, keys: &KeySet, config: &JwtConfig, now_ms: u64) -> Result<Verified, Bad> {
    let read = token::read(text)?;
    let key = keys.find(read.kid.as_deref(), read.algorithm).ok_or(Bad::UnknownKey)?;
    let signed = crypto::verify(read.signature, read.message.as_bytes(), key.material(), read.algorithm);
    if !signed.unwrap_or(false) {
        return Err(Bad::Signature);
    }
    let said = claims::read(&token::payload(read.message)?, config, now_ms)?;
    Ok(Verified {
        caller: said.caller,
        scopes: Arc::new(said.scopes),
        expires_at_ms: said.expires_at_ms,
        signed_by: key.print(),
    })
}

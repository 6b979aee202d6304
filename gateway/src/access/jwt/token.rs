//! The form of a token: three parts of base64url with dots between them, of which the first says how it is signed (RFC 7515).

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Bad;

/// What kinds of token are taken, in claim `typ` of the first part, where it says so: access tokens and plain JWTs. An issuer
/// signs others with the same keys, such as those that tell of a logout.
const KINDS: [&str; 2] = ["jwt", "at+jwt"];

/// The first part. Unknown members are left aside, as they should be; a member that is given twice is an error.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// What must be understood. We understand nothing that could stand here.
    crit: Option<IgnoredAny>,
    /// Encrypted, or packed.
    enc: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
}

/// A token, of which nothing is checked yet but how it says that it is signed.
pub(super) struct Read<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// What is signed.
    pub(super) message: &'t str,
    pub(super) signature: &'t str,
}

/// Whether a text is meant as a JWT.
pub(crate) fn is_meant(text: &str) -> bool {
    let in_base64 = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let mut parts = text.splitn(4, '.');
    let three = [parts.next(), parts.next(), parts.next()];
    parts.next().is_none() && three.into_iter().all(|part| part.is_some_and(in_base64))
}

/// Reads how it is signed: with a key pair, never with a secret that both sides know, and never not at all.
pub(super) fn read(text: &str) -> Result<Read<'_>, Bad> {
    if !is_meant(text) {
        return Err(Bad::Form);
    }
    let (message, signature) = text.rsplit_once('.').ok_or(Bad::Form)?;
    let (head, _) = message.split_once('.').ok_or(Bad::Form)?;
    let head: Head = serde_json::from_slice(&decode(head)?).map_err(|_| Bad::Form)?;
    let kind = head.typ.as_deref().map(str::to_ascii_lowercase);
    let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
    let asks = head.crit.is_some() || head.enc.is_some() || head.zip.is_some();
    if asks || kind.is_some_and(|kind| !KINDS.contains(&kind)) {
        return Err(Bad::Kind);
    }
    let algorithm = Algorithm::from_str(&head.alg).map_err(|_| Bad::Algorithm)?;
    if algorithm.family() == AlgorithmFamily::Hmac {
        return Err(Bad::Algorithm);
    }
    Ok(Read { algorithm, kid: head.kid, message, signature })
}

/// The second part of a `message`.
pub(super) fn payload(message: &str) -> Result<Vec<u8>, Bad> {
    decode(message.split_once('.').ok_or(Bad::Form)?.1)
}

fn decode(part: &str) -> Result<Vec<u8>, Bad> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Bad::Form)
}

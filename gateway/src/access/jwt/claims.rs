//! What a token says: from whom, for whom, until when, who shows it, and what they may do.

use oprc_mesh::access::Scopes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{Bad, JwtConfig};

/// How far the issuer's clock and ours may be apart.
const LEEWAY_MS: u64 = 30_000;
/// The longest name of who shows a token (OIDC Core, 2).
const SUBJECT_BYTES_MAX: usize = 255;
/// What a guest is not told as it stands, as it could pass for something else where names are listed or logged.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// See the module.
pub(super) struct Said {
    pub(super) caller: String,
    pub(super) scopes: Scopes,
    /// From when on it counts no more, the leeway included.
    pub(super) expires_at_ms: u64,
}

/// Reads the claims of a token whose signature is right.
pub(super) fn read(payload: &[u8], config: &JwtConfig, now_ms: u64) -> Result<Said, Bad> {
    let claims: Map<String, Value> = serde_json::from_slice(payload).map_err(|_| Bad::Form)?;
    if claims.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
        return Err(Bad::Issuer);
    }
    if !texts(claims.get("aud")).any(|audience| audience == config.audience) {
        return Err(Bad::Audience);
    }
    let expires_at_ms = time(&claims, "exp")?.ok_or(Bad::NoExpiry)?.saturating_add(LEEWAY_MS);
    if now_ms >= expires_at_ms {
        return Err(Bad::Expired);
    }
    if time(&claims, "nbf")?.is_some_and(|begin_ms| now_ms.saturating_add(LEEWAY_MS) < begin_ms) {
        return Err(Bad::Early);
    }
    let subject = find(&claims, &config.subject_claim).and_then(Value::as_str);
    let subject = subject.filter(|name| (1..=SUBJECT_BYTES_MAX).contains(&name.len())).ok_or(Bad::Subject)?;
    let caller = format!("jwt:{}", utf8_percent_encode(subject, ESCAPED));
    let words = texts(find(&claims, &config.scopes_claim)).flat_map(str::split_ascii_whitespace);
    let ours = words.filter_map(|word| word.strip_prefix(config.scope_prefix.as_str()));
    Ok(Said { caller, scopes: Scopes::among(ours), expires_at_ms })
}

/// A point in time, in milliseconds since the Unix epoch; the claim has seconds, and maybe parts of one.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Bad> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(Bad::Form)?;
    #[allow(
        clippy::cast_sign_loss,
        reason = "it is none that is negative, and a large one becomes the largest"
    )]
    Ok(Some((seconds * 1_000.0) as u64))
}

/// The texts in a claim that is one, or an array of them.
fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let all = match claim {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    all.iter().filter_map(Value::as_str)
}

/// The claim of this name; or else the one inside, at a path of names with dots between them. A name may hold dots itself.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    claims.get(path).or_else(|| {
        let (outer, inner) = path.split_once('.')?;
        find(claims.get(outer)?.as_object()?, inner)
    })
}

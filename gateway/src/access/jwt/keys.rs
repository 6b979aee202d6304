//! The keys of an issuer, as it publishes them (RFC 7517), and which of them a token is to be checked with.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Keys of one issuer; further ones are left aside.
const KEYS_MAX: usize = 64;
/// Bits of an RSA key: less is weak, and more takes too long.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;
/// Bytes of an Ed25519 key.
const ED25519_BYTES: usize = 32;

/// Tells a key, with all that is said of it, from all others.
pub(super) type Print = [u8; 32];

/// All of them.
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// How many there were besides that are of no use here.
    ignored: usize,
    /// Of the text that it was read from.
    print: Print,
}

/// One that signatures can be checked with.
pub(super) struct Key {
    kid: Option<String>,
    /// What it may sign with.
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
    print: Print,
}

/// The text is no set of keys.
#[derive(Debug, thiserror::Error)]
#[error("it is no JSON Web Key Set, an object with an array `keys`: {0}")]
pub struct KeySetError(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Given {
    keys: Vec<Value>,
}

/// What matters of one key. Members that are not there are of other kinds of key.
#[derive(Debug, Deserialize)]
struct GivenKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys that are of no use here are left aside, as the RFC wants it: they are for others.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let given: Given = serde_json::from_slice(text)?;
        let all = given.keys.len();
        let keys: Vec<Key> = given.keys.into_iter().filter_map(Key::read).take(KEYS_MAX).collect();
        Ok(Self { ignored: all - keys.len(), keys, print: print_of(text) })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn ignored(&self) -> usize {
        self.ignored
    }

    /// Whether it was read from this text.
    pub(super) fn is_of(&self, text: &[u8]) -> bool {
        self.print == print_of(text)
    }

    /// The one key that `kid` names, or where nothing names one, the only one there is, that signs with `algorithm`.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let named = |key: &&Key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
        let mut suited = self.keys.iter().filter(named).filter(|key| key.algorithms.contains(&algorithm));
        let found = suited.next()?;
        suited.next().is_none().then_some(found)
    }

    /// Whether it has this key.
    pub(super) fn hold(&self, print: &Print) -> bool {
        self.keys.iter().any(|key| key.print == *print)
    }
}

impl Key {
    pub(super) fn material(&self) -> &DecodingKey {
        &self.material
    }

    pub(super) fn print(&self) -> Print {
        self.print
    }

    /// None when no signature can be checked with it.
    fn read(value: Value) -> Option<Self> {
        let given: GivenKey = serde_json::from_value(value).ok()?;
        let signs = given.usage.as_deref().is_none_or(|usage| usage == "sig")
            && given.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        let (algorithms, material) = given.material().filter(|_| signs)?;
        let algorithms: Vec<_> = match given.alg.as_deref() {
            None => algorithms.to_vec(),
            Some(alg) => {
                let alg = Algorithm::from_str(alg).ok()?;
                algorithms.iter().copied().filter(|one| *one == alg).collect()
            }
        };
        // whether it is a point of its curve is looked at here
        (DEFAULT_PROVIDER.verifier_factory)(algorithms.first()?, &material).ok()?;
        let print = print_of(format!("{given:?}").as_bytes());
        Some(Self { kid: given.kid, algorithms, material, print })
    }
}

impl GivenKey {
    /// The key itself, and what keys of its kind sign with.
    fn material(&self) -> Option<(&'static [Algorithm], DecodingKey)> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let (x, y) = (self.x.as_deref(), self.y.as_deref());
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (decode(self.n.as_deref()?)?, decode(self.e.as_deref()?)?);
                let key = DecodingKey::from_rsa_raw_components(&n, &e);
                RSA_BITS.contains(&bits(&n)).then_some((&[RS256, RS384, RS512, PS256, PS384, PS512][..], key))
            }
            ("EC", Some("P-256")) => Some((&[ES256], DecodingKey::from_ec_components(x?, y?).ok()?)),
            ("EC", Some("P-384")) => Some((&[ES384], DecodingKey::from_ec_components(x?, y?).ok()?)),
            // the library takes its length for granted
            ("OKP", Some("Ed25519")) if decode(x?)?.len() == ED25519_BYTES => {
                Some((&[EdDSA], DecodingKey::from_ed_components(x?).ok()?))
            }
            _ => None,
        }
    }
}

/// Of a number, the first byte first.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let rest = &number[zeros..];
    rest.first().map_or(0, |first| rest.len() * 8 - first.leading_zeros() as usize)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn print_of(text: &[u8]) -> Print {
    Sha256::digest(text).into()
}

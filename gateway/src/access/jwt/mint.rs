//! Keys and tokens as an issuer makes them.

#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, crypto};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde_json::{Value, json};

use super::{JwtConfig, KeySource};

/// Slow to make, so there is one; nothing is kept from one run to the next.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| rsa_der(2_048));

/// Before the secret of an Ed25519 key in PKCS #8 (RFC 8410, 7).
const ED25519_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// One key of an issuer.
pub(crate) struct Mint {
    pub(crate) kid: &'static str,
    pub(crate) algorithm: Algorithm,
    pub(crate) secret: EncodingKey,
}

pub(crate) fn rsa_der(bits: usize) -> Vec<u8> {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap();
    key.to_pkcs1_der().unwrap().as_bytes().to_vec()
}

impl Mint {
    /// A new key that signs with `algorithm`; for RSA, the one of this run.
    pub(crate) fn new(kid: &'static str, algorithm: Algorithm) -> Self {
        let on_curve = |curve| rcgen::KeyPair::generate_for(curve).unwrap().serialize_der();
        let secret = match (algorithm.family(), algorithm) {
            (AlgorithmFamily::Rsa, _) => EncodingKey::from_rsa_der(&RSA),
            (AlgorithmFamily::Ec, Algorithm::ES384) => {
                EncodingKey::from_ec_der(&on_curve(&rcgen::PKCS_ECDSA_P384_SHA384))
            }
            (AlgorithmFamily::Ec, _) => EncodingKey::from_ec_der(&on_curve(&rcgen::PKCS_ECDSA_P256_SHA256)),
            (AlgorithmFamily::Ed, _) => {
                let secret: [u8; 32] = rand::random();
                EncodingKey::from_ed_der(&[&ED25519_HEAD[..], &secret].concat())
            }
            (AlgorithmFamily::Hmac, _) => EncodingKey::from_secret(b"a secret that both sides know"),
        };
        Self { kid, algorithm, secret }
    }

    /// Its public part, as the issuer publishes it.
    pub(crate) fn public(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.secret, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = self.kid.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// A token that says this of itself.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(
            &json!({ "typ": "JWT", "alg": format!("{:?}", self.algorithm), "kid": self.kid }),
            claims,
        )
    }

    /// The same with a first part of any kind.
    pub(crate) fn sign_as(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(&head.to_string()), encode(&claims.to_string()));
        let signature = crypto::sign(message.as_bytes(), &self.secret, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

pub(crate) fn encode(part: &str) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

pub(crate) fn key_set(mints: &[&Mint]) -> Value {
    json!({ "keys": mints.iter().map(|mint| mint.public()).collect::<Vec<_>>() })
}

/// What a token that counts says, at 1,000 s after the epoch.
pub(crate) fn claims() -> Value {
    json!({
        "iss": "https://issuer.example",
        "aud": ["other", "oprc"],
        "sub": "alice",
        "exp": 2_000,
        "nbf": 1_000,
        "scope": "openid read:Counter invoke",
    })
}

/// What is wanted of tokens.
pub(crate) fn config(keys: KeySource) -> JwtConfig {
    JwtConfig {
        keys,
        issuer: "https://issuer.example".into(),
        audience: "oprc".into(),
        subject_claim: "sub".into(),
        scopes_claim: "scope".into(),
        scope_prefix: String::new(),
    }
}

//! Which tokens count, and that no others do.

#![allow(clippy::unwrap_used)]

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use oprc_mesh::access::Action;
use oprc_mesh::id::ClassName;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::mint::{Mint, claims, config, encode, key_set, rsa_der};
use super::*;

const NOW_MS: u64 = 1_500_000;

fn set(mints: &[&Mint]) -> KeySet {
    KeySet::parse(key_set(mints).to_string().as_bytes()).unwrap()
}

fn wanted() -> JwtConfig {
    config("http://localhost:1".parse().unwrap())
}

/// What a token comes to whose claims are the usual ones, but for these.
fn claimed(change: &[(&str, Value)]) -> Result<Verified, Bad> {
    let mint = Mint::new("a", Algorithm::ES256);
    let mut claims = claims();
    for (name, value) in change {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
            value => claims[*name] = value.clone(),
        }
    }
    verify(&mint.sign(&claims), &set(&[&mint]), &wanted(), NOW_MS)
}

#[test]
fn every_way_to_sign_with_a_key_pair_counts() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    for algorithm in [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA] {
        let mint = Mint::new("a", algorithm);
        let token = mint.sign(&claims());
        assert!(is_meant(&token));
        let verified = verify(&token, &set(&[&mint]), &wanted(), NOW_MS).unwrap();
        assert_eq!(verified.caller(), "jwt:alice");
        let counter = ClassName::parse("Counter").unwrap();
        let may = |action, class| verified.scopes().allow(action, class);
        assert!(may(Action::Read, Some(&counter)) && may(Action::Invoke, None));
        assert!(!may(Action::Read, None) && !may(Action::Deploy, Some(&counter)));
        // by another key of the same kind and name; there is one RSA key
        if !matches!(algorithm.family(), jsonwebtoken::AlgorithmFamily::Rsa) {
            let other = Mint::new("a", algorithm);
            let told = verify(&other.sign(&claims()), &set(&[&mint]), &wanted(), NOW_MS);
            assert_eq!(told.unwrap_err(), Bad::Signature, "{algorithm:?}");
        }
    }
}

#[test]
fn how_it_is_signed_is_not_for_the_token_to_say() {
    let rsa = Mint::new("a", Algorithm::RS256);
    let ec = Mint::new("b", Algorithm::ES256);
    let keys = set(&[&rsa, &ec]);
    let told = |token: &str| verify(token, &keys, &wanted(), NOW_MS).unwrap_err();
    let unsigned = |alg: &str| {
        let head = json!({ "alg": alg, "kid": "a" }).to_string();
        format!("{}.{}.", encode(&head), encode(&claims().to_string()))
    };
    for none in ["none", "None", "NONE", ""] {
        assert_eq!(told(&unsigned(none)), Bad::Form, "a part is empty");
        assert_eq!(told(&format!("{}AAAA", unsigned(none))), Bad::Algorithm, "{none}");
    }
    // what everybody knows, taken for a secret that only the issuer has
    let public = rsa.public();
    let n = base64::Engine::decode(&URL_SAFE_NO_PAD, public["n"].as_str().unwrap()).unwrap();
    for secret in [n, public["n"].as_str().unwrap().into(), public.to_string().into_bytes()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let forger = Mint { kid: "a", algorithm, secret: EncodingKey::from_secret(&secret) };
            assert_eq!(told(&forger.sign(&claims())), Bad::Algorithm);
        }
    }
    // a kind of signature that the key is not for: of another kind of key, and of its own kind
    for (mint, alg) in [(&rsa, "ES256"), (&rsa, "EdDSA"), (&ec, "RS256"), (&ec, "ES384"), (&rsa, "PS256")] {
        let head = json!({ "alg": alg, "kid": mint.kid });
        assert_eq!(told(&mint.sign_as(&head, &claims())), Bad::UnknownKey, "{alg}");
    }
    assert_eq!(told(&ec.sign_as(&json!({ "alg": "ES512", "kid": "b" }), &claims())), Bad::Algorithm);
}

#[test]
fn what_is_not_wanted_of_a_token_is_not_taken() {
    let mint = Mint::new("a", Algorithm::ES256);
    let keys = set(&[&mint]);
    let with = |head: Value| verify(&mint.sign_as(&head, &claims()), &keys, &wanted(), NOW_MS).map(drop);
    for taken in [
        json!({ "alg": "ES256", "kid": "a" }),
        json!({ "alg": "ES256", "kid": "a", "typ": "at+jwt", "jku": "https://elsewhere.example" }),
        json!({ "alg": "ES256", "kid": "a", "typ": "application/at+JWT", "x5c": ["AA"] }),
    ] {
        assert_eq!(with(taken.clone()), Ok(()), "{taken}");
    }
    for (refused, why) in [
        (json!({ "alg": "ES256", "kid": "a", "crit": ["exp"] }), Bad::Kind),
        (json!({ "alg": "ES256", "kid": "a", "crit": [] }), Bad::Kind),
        (json!({ "alg": "ES256", "kid": "a", "b64": false, "crit": ["b64"] }), Bad::Kind),
        (json!({ "alg": "ES256", "kid": "a", "zip": "DEF" }), Bad::Kind),
        (json!({ "alg": "ES256", "kid": "a", "enc": "A128GCM" }), Bad::Kind),
        (json!({ "alg": "ES256", "kid": "a", "typ": "logout+jwt" }), Bad::Kind),
        (json!({ "alg": "ES256", "kid": "a", "typ": "dpop+jwt" }), Bad::Kind),
        (json!({ "kid": "a" }), Bad::Form),
        (json!({ "alg": ["ES256"], "kid": "a" }), Bad::Form),
        (json!({ "alg": "ES256", "kid": 7 }), Bad::Form),
        (json!(["ES256"]), Bad::Form),
        (json!({ "alg": "ES256", "kid": "b" }), Bad::UnknownKey),
        // the key that it brings along is nobody's
        (
            json!({ "alg": "ES256", "kid": "b", "jwk": Mint::new("b", Algorithm::ES256).public() }),
            Bad::UnknownKey,
        ),
    ] {
        assert_eq!(with(refused.clone()), Err(why), "{refused}");
    }
    let told = |token: &str| verify(token, &keys, &wanted(), NOW_MS).unwrap_err();
    let twice = format!("{}.{}.AAAA", encode(r#"{"alg":"none","alg":"ES256","kid":"a"}"#), encode("{}"));
    assert_eq!(told(&twice), Bad::Form);
    let token = mint.sign(&claims());
    let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let more = encode(&claims().to_string().replace("alice", "mallory"));
    for (forged, why) in [
        (format!("{head}.{more}.{signature}"), Bad::Signature),
        (format!("{head}.{payload}.{}", encode("x")), Bad::Signature),
        (format!("{head}.{payload}.{}", &signature[..signature.len() - 2]), Bad::Signature),
        (format!("{head}.{payload}.{signature}.{signature}"), Bad::Form),
        (format!("{head}.{payload}"), Bad::Form),
        (format!("{head}.{payload}.{signature}="), Bad::Form),
        (format!(" {token}"), Bad::Form),
        (format!("{token}\n"), Bad::Form),
        (format!("{payload}.{payload}.{signature}"), Bad::Form),
        ("..".into(), Bad::Form),
        ("a.b.c".into(), Bad::Form),
        (String::new(), Bad::Form),
    ] {
        assert_eq!(told(&forged), why, "{forged}");
    }
    for payload in [json!("text"), json!([claims()]), Value::Null] {
        assert_eq!(told(&mint.sign(&payload)), Bad::Form, "{payload}");
    }
}

#[test]
fn the_claims_decide() {
    for (name, value, expected) in [
        ("iss", Value::Null, Some(Bad::Issuer)),
        ("iss", json!("https://issuer.example/"), Some(Bad::Issuer)),
        ("iss", json!(["https://issuer.example"]), Some(Bad::Issuer)),
        ("aud", Value::Null, Some(Bad::Audience)),
        ("aud", json!("oprc"), None),
        ("aud", json!("OPRC"), Some(Bad::Audience)),
        ("aud", json!([]), Some(Bad::Audience)),
        ("aud", json!({ "oprc": 1 }), Some(Bad::Audience)),
        ("exp", Value::Null, Some(Bad::NoExpiry)),
        ("exp", json!("2000"), Some(Bad::Form)),
        ("exp", json!(-1), Some(Bad::Form)),
        ("exp", json!(1_470.5), None),
        ("exp", json!(1_470), Some(Bad::Expired)),
        ("exp", json!(0), Some(Bad::Expired)),
        ("exp", json!(1e300), None),
        ("nbf", Value::Null, None),
        ("nbf", json!(1_530), None),
        ("nbf", json!(1_530.5), Some(Bad::Early)),
        ("nbf", json!(1e300), Some(Bad::Early)),
        ("nbf", json!("soon"), Some(Bad::Form)),
        ("sub", Value::Null, Some(Bad::Subject)),
        ("sub", json!(""), Some(Bad::Subject)),
        ("sub", json!(7), Some(Bad::Subject)),
        ("sub", json!("x".repeat(255)), None),
        ("sub", json!("x".repeat(256)), Some(Bad::Subject)),
    ] {
        assert_eq!(claimed(&[(name, value.clone())]).err(), expected, "{name}: {value}");
    }
}

#[test]
fn no_name_passes_for_another() {
    let caller = |sub: &str| claimed(&[("sub", sub.into())]).unwrap().caller().to_owned();
    assert_eq!(caller("auth0|5f7c8"), "jwt:auth0|5f7c8");
    assert_eq!(caller("a b%20\n"), "jwt:a%20b%2520%0A");
    assert_eq!(caller("zoë"), "jwt:zo%C3%AB");
}

#[test]
fn scopes_stand_where_and_as_the_issuer_writes_them() {
    let mint = Mint::new("a", Algorithm::ES256);
    let read = ClassName::parse("Counter").unwrap();
    for (claim, prefix, more, expected) in [
        ("scope", "", json!({}), true),
        ("scope", "oprc:", json!({}), false),
        ("scope", "oprc:", json!({ "scope": "x oprc:read:Counter" }), true),
        ("scope", "", json!({ "scope": ["invoke", "read:Count*"] }), true),
        ("scope", "", json!({ "scope": { "read": true } }), false),
        ("scope", "", json!({ "scope": "Read admin:x readx read:" }), false),
        ("scope", "", json!({ "scope": "admin" }), true),
        ("realm_access.roles", "", json!({ "realm_access": { "roles": ["user", "read"] } }), true),
        ("realm_access.roles", "", json!({ "realm_access": ["read"] }), false),
        ("https://x.example/roles", "", json!({ "https://x.example/roles": ["read"] }), true),
        ("absent", "", json!({}), false),
    ] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let wanted = JwtConfig { scopes_claim: claim.into(), scope_prefix: prefix.into(), ..wanted() };
        // without a scope it counts all the same, for nothing
        let verified = verify(&mint.sign(&claims), &set(&[&mint]), &wanted, NOW_MS).unwrap();
        assert_eq!(verified.scopes().allow(Action::Read, Some(&read)), expected, "{claim} {prefix} {more}");
    }
}

#[test]
fn a_key_is_found_by_its_name_or_by_being_the_only_one() {
    let [a, b, c] = ["a", "b", "c"].map(|kid| Mint::new(kid, Algorithm::ES256));
    let ed = Mint::new("ed", Algorithm::EdDSA);
    let nameless = |mint: &Mint| mint.sign_as(&json!({ "alg": format!("{:?}", mint.algorithm) }), &claims());
    let told = |token: &str, mints: &[&Mint]| verify(token, &set(mints), &wanted(), NOW_MS).map(drop);
    assert_eq!(told(&b.sign(&claims()), &[&a, &b, &ed]), Ok(()));
    assert_eq!(told(&c.sign(&claims()), &[&a, &b]), Err(Bad::UnknownKey));
    assert_eq!(told(&nameless(&a), &[&a, &ed]), Ok(()), "one that signs so");
    assert_eq!(told(&nameless(&a), &[&a, &b]), Err(Bad::UnknownKey), "it could be either");
    assert_eq!(told(&nameless(&a), &[&ed]), Err(Bad::UnknownKey));
    // two of one name: neither is the one
    let again = Mint::new("a", Algorithm::ES256);
    assert_eq!(told(&a.sign(&claims()), &[&a, &again]), Err(Bad::UnknownKey));
}

#[test]
fn keys_that_are_of_no_use_are_left_aside() {
    let good = Mint::new("good", Algorithm::ES256);
    let [rsa, ed] = [Mint::new("a", Algorithm::RS256), Mint::new("a", Algorithm::EdDSA)];
    let without = |mint: &Mint, name: &str| {
        let mut key = mint.public();
        key.as_object_mut().unwrap().remove(name);
        key
    };
    let with = |mint: &Mint, name: &str, value: Value| {
        let mut key = mint.public();
        key[name] = value;
        key
    };
    let weak =
        Mint { secret: EncodingKey::from_rsa_der(&rsa_der(1_024)), ..Mint::new("a", Algorithm::RS256) };
    for bad in [
        Mint::new("a", Algorithm::HS256).public(),
        weak.public(),
        with(&rsa, "n", json!(encode(&"x".repeat(513)))),
        with(&rsa, "use", json!("enc")),
        with(&rsa, "alg", json!("HS256")),
        with(&rsa, "alg", json!("ES256")),
        with(&rsa, "alg", json!("RSA-OAEP")),
        with(&rsa, "key_ops", json!(["encrypt"])),
        without(&rsa, "e"),
        without(&good, "y"),
        with(&good, "crv", json!("P-521")),
        with(&good, "crv", json!("P-384")),
        with(&good, "x", json!(encode(&"x".repeat(32)))),
        with(&ed, "x", json!(encode("short"))),
        with(&ed, "x", json!(encode(&"x".repeat(33)))),
        with(&ed, "crv", json!("X25519")),
        json!({ "kty": "future" }),
        json!("no key"),
    ] {
        let text = json!({ "keys": [bad, good.public()] }).to_string();
        let keys = KeySet::parse(text.as_bytes()).unwrap();
        assert_eq!((keys.len(), keys.ignored()), (1, 1), "{text}");
    }
    let many = json!({ "keys": vec![good.public(); 70] }).to_string();
    assert_eq!(KeySet::parse(many.as_bytes()).unwrap().len(), 64);
    // one that does not say what it is for signs with all that its kind can
    let free = KeySet::parse(json!({ "keys": [without(&rsa, "alg")] }).to_string().as_bytes()).unwrap();
    for algorithm in [Algorithm::RS256, Algorithm::PS512] {
        let token = Mint::new("a", algorithm).sign(&claims());
        assert!(verify(&token, &free, &wanted(), NOW_MS).is_ok(), "{algorithm:?}");
    }
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        assert!(KeySet::parse(bad.as_bytes()).err().unwrap().to_string().contains("keys"), "{bad}");
    }
    assert_eq!(KeySet::parse(br#"{"keys":[]}"#).unwrap().len(), 0);
}

#[test]
fn what_was_seen_counts_as_long_as_its_time_and_its_key_last() {
    let [a, b] = ["a", "b"].map(|kid| Mint::new(kid, Algorithm::ES256));
    let jwt = Jwt::open(wanted()).unwrap();
    let token = a.sign(&claims());
    assert_eq!(jwt.verify(&token, NOW_MS).unwrap_err(), Bad::NoKeys);
    jwt.take(set(&[&a]));
    let verified = jwt.verify(&token, NOW_MS).unwrap();
    assert!(Arc::ptr_eq(&verified, &jwt.verify(&token, NOW_MS + 1).unwrap()), "it is remembered");
    // with another key beside it, it need not be checked again
    jwt.take(set(&[&b, &a]));
    assert!(Arc::ptr_eq(&verified, &jwt.verify(&token, NOW_MS).unwrap()));
    assert_eq!(jwt.still(&verified, 2_029_999), Ok(()));
    for late in [2_030_000, u64::MAX] {
        assert_eq!(jwt.still(&verified, late), Err(Bad::Expired));
        assert_eq!(jwt.verify(&token, late).unwrap_err(), Bad::Expired);
    }
    for keys in [set(&[&b]), set(&[&Mint::new("a", Algorithm::ES256)]), set(&[])] {
        jwt.take(keys);
        assert_eq!(jwt.still(&verified, NOW_MS), Err(Bad::UnknownKey));
        assert!(jwt.verify(&token, NOW_MS).is_err());
    }
    // what was one byte longer than it may be
    assert_eq!(jwt.verify(&"a".repeat(TOKEN_BYTES_MAX + 1), NOW_MS).unwrap_err(), Bad::TooLong);
}

#[test]
fn keys_are_asked_for_where_newer_ones_could_help() {
    let [a, b] = ["a", "b"].map(|kid| Mint::new(kid, Algorithm::ES256));
    let jwt = Jwt::open(wanted()).unwrap();
    assert!(!jwt.lacks_key_of(&a.sign(&claims())), "they come anyway");
    jwt.take(set(&[&a]));
    assert!(jwt.lacks_key_of(&b.sign(&claims())));
    assert!(jwt.lacks_key_of(&b.sign_as(&json!({ "alg": "ES256" }), &claims())), "it may be by a new one");
    assert!(!jwt.lacks_key_of(&a.sign(&claims())));
    assert!(!jwt.lacks_key_of("a.b.c"));
    let long = json!({ "sub": "x".repeat(TOKEN_BYTES_MAX) });
    assert!(!jwt.lacks_key_of(&b.sign(&long)));
}

#[test]
fn a_file_of_keys_is_taken_over_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let open = || Jwt::open(config(KeySource::File(path.clone()))).map_err(|error| error.to_string());
    assert!(open().err().unwrap().contains("keys.json"));
    for (bad, what) in [("{", "JSON Web Key Set"), (r#"{"keys":[]}"#, "Ed25519")] {
        std::fs::write(&path, bad).unwrap();
        let told = open().err().unwrap();
        assert!(told.contains("keys.json") && told.contains(what), "{told}");
    }
    let put = |mint: &Mint| std::fs::write(&path, key_set(&[mint]).to_string()).unwrap();
    let [a, b] = ["a", "b"].map(|kid| Mint::new(kid, Algorithm::ES256));
    put(&a);
    let jwt = open().unwrap();
    let counts = |mint: &Mint| jwt.verify(&mint.sign(&claims()), NOW_MS).is_ok();
    assert!(counts(&a) && !jwt.look(&path).unwrap());
    put(&b);
    assert!(jwt.look(&path).unwrap() && !jwt.look(&path).unwrap());
    assert!(counts(&b) && !counts(&a));
    for bad in ["half of", &" ".repeat(1024 * 1024 + 1)] {
        std::fs::write(&path, bad).unwrap();
        assert!(jwt.look(&path).is_err() && counts(&b), "what was there stays");
    }
    std::fs::write(&path, r#"{"keys":[]}"#).unwrap();
    assert!(jwt.look(&path).unwrap() && !counts(&b), "all were taken back");
}

proptest! {
    #[test]
    fn no_text_is_too_odd(
        head in "[ -~]{0,40}",
        payload in "\\PC{0,40}",
        signature in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mint = Mint::new("a", Algorithm::ES256);
        let keys = set(&[&mint]);
        let signature = encode(&String::from_utf8_lossy(&signature));
        let real = encode(r#"{"alg":"ES256","kid":"a"}"#);
        for token in [
            format!("{}.{}.{signature}", encode(&head), encode(&payload)),
            format!("{real}.{}.{signature}", encode(&payload)),
            format!("{head}.{payload}.{signature}"),
        ] {
            prop_assert!(verify(&token, &keys, &wanted(), NOW_MS).is_err());
        }
        // signed, but of no sense
        prop_assert!(verify(&mint.sign(&payload.clone().into()), &keys, &wanted(), NOW_MS).is_err());
    }
}

//! A guard that takes JWTs beside keys.

#![allow(clippy::unwrap_used)]

use jsonwebtoken::Algorithm;
use oprc_mesh::access::{Action, Token};
use oprc_mesh::catalog::CatalogView;
use oprc_mesh::clock::now_ms;
use oprc_mesh::id::ClassName;
use oprc_mesh::outcome::Code;
use serde_json::{Value, json};

use super::jwt::mint::{Mint, claims, config, key_set};
use super::{Access, Guard, KeySource, Need};

fn root() -> Token {
    Token::new(1, [1; 32])
}

/// A catalog without keys.
fn view() -> CatalogView {
    CatalogView { revision: 1, ..CatalogView::default() }
}

/// A guard that takes what `mint` signs, and the folder with its keys.
fn guard(mint: &Mint) -> (Guard, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, key_set(&[mint]).to_string()).unwrap();
    let jwt = Some(Box::new(config(KeySource::File(path))));
    (Guard::new(Access::Keys { root: Some(root().hash()), jwt }).unwrap(), folder)
}

fn now(change: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    let seconds = now_ms() / 1_000;
    claims["exp"] = (seconds + 60).into();
    claims["nbf"] = seconds.into();
    for (name, value) in change {
        claims[*name] = value.clone();
    }
    claims
}

#[test]
fn a_jwt_counts_beside_keys() {
    let mint = Mint::new("a", Algorithm::EdDSA);
    let (guard, _folder) = guard(&mint);
    let view = view();
    let identity = guard.identify_token(Some(&mint.sign(&now(&[]))), &view).unwrap();
    assert_eq!(identity.caller(), "jwt:alice");
    assert!(identity.may_end() && guard.still(&identity, &view).is_ok());
    let refusal = identity.check(Need::Everywhere(Action::Admin)).unwrap_err();
    assert_eq!(refusal.problem().kind(), Code::Denied);
    assert!(refusal.problem().detail.contains("the token") && refusal.problem().detail.ends_with("admin"));
    // no catalog is needed to tell
    assert!(guard.identify_token(Some(&mint.sign(&now(&[]))), &CatalogView::default()).is_ok());
    let operator = guard.identify_token(Some(root().reveal()), &view).unwrap();
    assert_eq!(operator.caller(), "key:root");
    // without a scope it is somebody who may do nothing
    let idle = guard.identify_token(Some(&mint.sign(&now(&[("scope", json!("openid"))]))), &view).unwrap();
    assert!(idle.check(Need::Somebody).is_ok() && !idle.knows(&ClassName::parse("Counter").unwrap()));
}

#[test]
fn whatever_is_wrong_the_answer_is_one() {
    let mint = Mint::new("a", Algorithm::ES256);
    let (guard, _folder) = guard(&mint);
    let told = |guard: &Guard, token: &str| {
        let refusal = guard.identify_token(Some(token), &view()).unwrap_err();
        (refusal.problem().kind(), refusal.problem().detail.clone())
    };
    let stranger = Mint::new("a", Algorithm::ES256);
    let good = mint.sign(&now(&[]));
    let answer = told(&guard, &stranger.sign(&now(&[])));
    assert_eq!(answer.0, Code::Unauthenticated);
    for bad in [
        mint.sign(&now(&[("exp", json!(1))])),
        mint.sign(&now(&[("iss", json!("x"))])),
        mint.sign(&now(&[("aud", json!("x"))])),
        Mint::new("b", Algorithm::ES256).sign(&now(&[])),
        format!("{good}AAAA"),
        "a.b.c".to_owned(),
    ] {
        assert_eq!(told(&guard, &bad), answer, "{bad}");
    }
    let keys_alone = Guard::new(Access::Keys { root: None, jwt: None }).unwrap();
    // where no JWT is taken, it is none of what is
    assert!(told(&keys_alone, &good).1.contains("not formed"));
    let url = config("http://localhost:1".parse().unwrap());
    let early = Guard::new(Access::Keys { root: None, jwt: Some(Box::new(url)) }).unwrap();
    assert_eq!(told(&early, &good).0, Code::Unavailable);
}

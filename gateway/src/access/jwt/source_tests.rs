//! Where keys come from, and what is taken for none.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::mint::{Mint, claims, config, key_set};
use super::source::{AGAIN_WITH, AGAIN_WITHOUT, BYTES_MAX, Fetcher, JwtError, KEPT};
use super::{Bad, Jwt, KeySet, KeySource};
use crate::follow::Complaint;

#[test]
fn keys_come_from_files_and_from_servers_that_nobody_can_pretend_to_be() {
    for file in ["keys.json", "/etc/oprc/keys.json", "./a:b"] {
        assert!(matches!(file.parse().unwrap(), KeySource::File(path) if path == Path::new(file)));
    }
    for url in [
        "https://issuer.example/keys",
        "https://10.0.0.1:8443/keys?x=y",
        "http://localhost:1/keys",
        "http://127.0.0.1:1/keys",
        "http://127.1.2.3/keys",
        "http://[::1]:1/keys",
    ] {
        assert!(matches!(url.parse().unwrap(), KeySource::Url(read) if read.as_str() == url), "{url}");
    }
    for bad in [
        "",
        "http://issuer.example/keys",
        "http://10.0.0.1/keys",
        "http://localhost.example/keys",
        "http://[::2]/keys",
        "ftp://issuer.example/keys",
        "file:///etc/keys",
        "https://",
        "https://user:password@issuer.example/keys",
    ] {
        let told = bad.parse::<KeySource>().unwrap_err().to_string();
        assert!(told.contains(&format!("{bad:?}")) && told.contains("https"), "{told}");
    }
}

/// The URL of a server that answers one request so.
async fn answering(answer: String) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        // it may break off
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    url
}

#[tokio::test]
async fn nothing_but_a_set_of_keys_is_taken_for_one() {
    let keys = key_set(&[&Mint::new("a", Algorithm::ES256)]).to_string();
    let answer = |status: &str, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let fetch = async |answer: String| Fetcher::new(answering(answer).await).unwrap().fetch().await;
    let (taken, fresh) = fetch(answer("200 OK", "Cache-Control: max-age=77\r\n", &keys)).await.unwrap();
    assert_eq!((taken.len(), fresh), (1, Duration::from_secs(77)));
    let elsewhere = answering(answer("200 OK", "", &keys)).await;
    let chunk = "x".repeat(BYTES_MAX + 1);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    for (answer, told) in [
        (answer("302 Found", &format!("location: {elsewhere}\r\n"), &keys), "302"),
        (answer("500 Oh", "", &keys), "500"),
        (answer("204 No Content", "", ""), "204"),
        (answer("200 OK", "", "<html>"), "JSON Web Key Set"),
        (answer("200 OK", "", &" ".repeat(BYTES_MAX + 1)), "more than 1048576 bytes"),
        (chunked, "more than 1048576 bytes"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{".to_owned(), "http://127.0.0.1"),
        ("nonsense\r\n\r\n".to_owned(), "http://127.0.0.1"),
    ] {
        let error = fetch(answer).await.err().unwrap().to_string();
        assert!(error.contains(told), "{told}: {error}");
    }
}

#[test]
fn older_keys_are_kept_for_a_day() {
    let mint = Mint::new("a", Algorithm::ES256);
    let jwt = Jwt::open(config("http://localhost:1".parse().unwrap())).unwrap();
    let error = JwtError::Client("down".into());
    let mut complaint = Complaint::default();
    assert_eq!(jwt.miss(&error, &mut complaint, KEPT * 2), AGAIN_WITHOUT);
    jwt.take(KeySet::parse(key_set(&[&mint]).to_string().as_bytes()).unwrap());
    let counts = || jwt.verify(&mint.sign(&claims()), 1_500_000).map(drop);
    assert_eq!(jwt.miss(&error, &mut complaint, KEPT / 2), AGAIN_WITH);
    assert_eq!(counts(), Ok(()));
    assert_eq!(jwt.miss(&error, &mut complaint, KEPT), AGAIN_WITHOUT);
    assert_eq!(counts(), Err(Bad::NoKeys));
}

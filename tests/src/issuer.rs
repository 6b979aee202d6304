//! An issuer of JWTs: keys, tokens, and a server that publishes the keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What its tokens name as their issuer.
pub const ISSUER: &str = "https://issuer.example";
/// Whom they are for.
pub const AUDIENCE: &str = "oprc-tests";

/// One key of it, with which it signs.
pub struct Mint {
    kid: String,
    secret: EncodingKey,
}

impl Mint {
    /// A new key of this name.
    ///
    /// # Panics
    /// When none can be made.
    pub fn new(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate().expect("a key can be made");
        Self { kid: kid.to_owned(), secret: EncodingKey::from_ec_der(pair.serialized_der()) }
    }

    /// A token of `sub` with these scopes, for the next hour.
    pub fn token(&self, sub: &str, scope: &str) -> String {
        self.sign(&claims(sub, scope, 3_600))
    }

    /// A token that says this.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.secret).expect("a token can be signed")
    }
}

/// What a token says of `sub` that counts for so many seconds from now, or has not for so many.
pub fn claims(sub: &str, scope: &str, seconds: i64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": sub, "scope": scope, "exp": now.saturating_add_signed(seconds) })
}

/// The public parts of keys, as they are published.
///
/// # Panics
/// When one has none.
pub fn key_set(mints: &[&Mint]) -> Value {
    let public = |mint: &&Mint| {
        let jwk = Jwk::from_encoding_key(&mint.secret, Algorithm::ES256).expect("a key has a public part");
        let mut jwk = serde_json::to_value(jwk).expect("it is JSON");
        jwk["kid"] = mint.kid.as_str().into();
        jwk
    };
    json!({ "keys": mints.iter().map(public).collect::<Vec<_>>() })
}

/// A server of keys on this machine. Dropping it takes it down.
pub struct KeyServer {
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    text: Mutex<String>,
    asked: AtomicUsize,
}

impl KeyServer {
    /// Publishes the keys on this port.
    ///
    /// # Panics
    /// When the port is taken.
    pub async fn start(port: u16, mints: &[&Mint]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let text = Mutex::new(key_set(mints).to_string());
        let state = Arc::new(State { text, asked: AtomicUsize::new(0) });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, shared.clone()));
            }
        });
        Self { state, task }
    }

    /// Publishes these keys instead.
    pub fn publish(&self, mints: &[&Mint]) {
        *self.state.text.lock().unwrap_or_else(PoisonError::into_inner) = key_set(mints).to_string();
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers one request of a connection, whatever it asks.
async fn answer(mut stream: TcpStream, state: Arc<State>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
    state.asked.fetch_add(1, Ordering::Relaxed);
    let text = state.text.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/jwk-set+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    // a client that went away does not matter
    let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
}

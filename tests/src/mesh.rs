//! Clients that speak Zenoh, as other people's programs on the mesh do.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use oprc_mesh::testing::{Heard, Manner, Query, Stranger};
use serde_json::{Value, json};

use crate::eventually;

/// The secret of a mesh, in a file of its owner's alone.
pub struct SecretFile {
    path: PathBuf,
    text: String,
}

impl SecretFile {
    pub(crate) fn new(folder: &Path) -> Self {
        let (path, text) = (folder.join("mesh-secret"), format!("{:032x}", rand::random::<u128>()));
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        writeln!(file.expect("the file can be made"), "{text}").expect("it can be written");
        Self { path, text }
    }

    /// By which a process is given it.
    ///
    /// # Panics
    /// When the path is not UTF-8.
    pub fn args(&self) -> [String; 2] {
        let path = self.path.to_str().expect("a temporary path is UTF-8");
        ["--mesh-secret-file".to_owned(), path.to_owned()]
    }

    /// How a stranger links who has it.
    pub fn shown(&self, client: bool) -> Manner {
        Manner { client, shown: Some(("oprc".to_owned(), self.text.clone())), ..Manner::default() }
    }
}

/// A client that asks on the mesh.
pub struct Asker {
    /// Its session.
    pub stranger: Stranger,
    token: Option<String>,
}

/// An answer, as it should be.
#[derive(Debug)]
pub struct Answer {
    /// What was asked for.
    pub payload: bytes::Bytes,
    /// What it is.
    pub encoding: String,
    /// What is said about it.
    pub about: Value,
}

impl Asker {
    pub(crate) async fn to(endpoint: &str, secret: &SecretFile, token: Option<&str>) -> Self {
        let stranger = Stranger::link(endpoint, &secret.shown(true)).await.expect("it is let in");
        let asker = Self { stranger, token: token.map(str::to_owned) };
        eventually("questions on the mesh are answered", || async {
            let heard = asker.stranger.ask("oprc/api/Nobody/objects/o", Query::default()).await;
            (!heard.expect("it is a key").is_empty()).then_some(())
        })
        .await;
        asker
    }

    /// Asks with a payload of JSON, or with none; `about` is an object.
    ///
    /// # Errors
    /// The problem document that comes instead of an answer.
    ///
    /// # Panics
    /// When there is not exactly one answer, or it is not of its form.
    pub async fn ask(&self, key: &str, payload: Option<&Value>, about: Value) -> Result<Answer, Value> {
        let payload = payload.map(ToString::to_string).unwrap_or_default();
        let query =
            Query { payload: payload.into(), encoding: "application/json".into(), attachment: Vec::new() };
        self.ask_with(key, query, about).await
    }

    /// The same with any payload.
    ///
    /// # Errors
    /// As [`Self::ask`].
    ///
    /// # Panics
    /// As [`Self::ask`].
    pub async fn ask_with(&self, key: &str, query: Query, mut about: Value) -> Result<Answer, Value> {
        if let Some(token) = &self.token {
            about["key"] = json!(token);
        }
        let attachment = if about == json!({}) { Vec::new() } else { about.to_string().into() };
        let mut heard = self.stranger.ask(key, Query { attachment, ..query }).await.expect("it is a key");
        assert_eq!(heard.len(), 1, "one answer about {key}: {heard:?}");
        let Heard { ok, payload, encoding, attachment } = heard.remove(0);
        let json = |bytes: &[u8]| -> Value {
            serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{key}: {error} in {bytes:?}"))
        };
        if ok {
            return Ok(Answer { payload, encoding, about: json(&attachment) });
        }
        assert_eq!(encoding, "application/problem+json", "{key}");
        Err(json(&payload))
    }
}

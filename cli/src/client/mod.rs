//! The client of a gateway's REST interface: addresses in, bytes and headers out, problems decoded. It knows nothing of
//! what the commands are for.

mod sse;
mod upload;

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use oprc_mesh::access::Token;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Identity, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::args::ClientArgs;
use crate::failure::Failure;
use crate::problem::Problem;

pub(crate) use sse::Block;
use sse::Parser;
pub(crate) use upload::Upload;

/// JSON's media type.
pub(crate) const JSON: &str = "application/json";
/// The media type of streams of events.
const EVENTS: &str = "text/event-stream";
/// The media type of bytes that are only bytes.
pub(crate) const OCTETS: &str = "application/octet-stream";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server answers every call by the call's own deadline; this only ends a wait for a server that has vanished.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);
/// A stream shows every 15 s that it is alive; one that is silent for so long is not.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(50);
/// An upload is also compiled before it is answered.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(15);

/// The last block of a stream.
#[derive(Deserialize)]
struct End {
    detail: String,
}

/// A client of one server.
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
}

/// With the certificates that the flags name.
fn trusting(
    mut builder: reqwest::ClientBuilder,
    args: &ClientArgs,
) -> Result<reqwest::ClientBuilder, Failure> {
    if args.server.scheme() != "https" {
        return Ok(builder);
    }
    let read = |file: &Path| {
        fs::read(file).map_err(|source| Failure::Read { what: file.display().to_string(), source })
    };
    let unfit =
        |file: &Path| Failure::Usage(format!("{} holds no certificate that can be used", file.display()));
    if let Some(file) = &args.ca {
        let certificates = Certificate::from_pem_bundle(&read(file)?).map_err(|_| unfit(file))?;
        if certificates.is_empty() {
            return Err(unfit(file));
        }
        builder = certificates.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    if let Some(file) = &args.client_cert {
        builder = builder.identity(Identity::from_pem(&read(file)?).map_err(|_| unfit(file))?);
    }
    Ok(builder)
}

/// What shows the key that the flags name.
pub(crate) fn credentials(args: &ClientArgs) -> Result<Option<HeaderValue>, Failure> {
    let (text, what) = match (&args.key_file, &args.key) {
        (Some(file), _) => {
            let what = file.display().to_string();
            let text = fs::read_to_string(file);
            (text.map_err(|source| Failure::Read { what: what.clone(), source })?, what)
        }
        (None, Some(secret)) => (secret.reveal().to_owned(), "OPRC_KEY or --key".to_owned()),
        (None, None) => return Ok(None),
    };
    let text = text.trim();
    if Token::parse(text).is_none() && !is_jwt(text) {
        return Err(Failure::Usage(format!(
            "{what} holds no token; one looks like oprc_<16 digits>_<64 digits>, or is a JWT"
        )));
    }
    let value = HeaderValue::try_from(format!("Bearer {text}"));
    let mut value = value.map_err(|_| Failure::Usage("the token cannot be sent".into()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Whether a text has the form of a JWT: three parts of base64url, the first a JSON object.
fn is_jwt(text: &str) -> bool {
    let in_base64 = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    text.starts_with("ey") && text.split('.').count() == 3 && text.split('.').all(in_base64)
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Whether the body is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|ty| ty.starts_with(JSON))
    }
}

impl Client {
    /// A client of the server that the flags name, with the key that they name. Nothing is sent yet.
    pub(crate) fn new(args: &ClientArgs) -> Result<Self, Failure> {
        Self::build(args, reqwest::Client::builder().timeout(ANSWER_TIMEOUT))
    }

    /// A client whose answers go on for as long as something comes.
    pub(crate) fn streaming(args: &ClientArgs) -> Result<Self, Failure> {
        Self::build(args, reqwest::Client::builder().read_timeout(SILENCE_TIMEOUT))
    }

    fn build(args: &ClientArgs, builder: reqwest::ClientBuilder) -> Result<Self, Failure> {
        let server = &args.server;
        let builder = trusting(builder, args)?;
        let credentials = credentials(args)?.map(|value| (AUTHORIZATION, value));
        let http = builder
            .default_headers(credentials.into_iter().collect())
            .no_proxy() // a grid stands on this machine or in its network
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("oprc/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|source| Failure::Transport { server: server.clone(), source })?;
        Ok(Self { http, server: server.clone() })
    }

    /// A request to `/api/v1/` and the `path`, whose segments are escaped here. JSON is wanted back.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_as(method, path, JSON)
    }

    /// The same with another media type wanted back.
    pub(crate) fn request_as(&self, method: Method, path: &[&str], accept: &str) -> RequestBuilder {
        self.http.request(method, api_url(&self.server, path)).header(ACCEPT, accept)
    }

    /// A GET.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, path).query(query)).await
    }

    /// A GET whose answer goes on, block by block, until `take` has enough: then none. Otherwise why it ended; a block that
    /// says so is not given to `take`.
    ///
    /// # Errors
    /// The server refuses it, what comes is no stream, or what `take` fails with.
    pub(crate) async fn follow(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        mut begun: impl FnMut(),
        mut take: impl FnMut(Block) -> Result<bool, Failure>,
    ) -> Result<Option<String>, Failure> {
        let mut stream = self.stream(path, query).await?;
        begun();
        let mut parser = Parser::default();
        loop {
            let piece = match stream.next().await {
                None => return Ok(Some("the stream ended".into())),
                Some(Err(error)) => return Ok(Some(format!("the connection broke ({error})"))),
                Some(Ok(piece)) => piece,
            };
            let blocks = parser.push(&piece).map_err(|_| self.misunderstood("a block without end"))?;
            for block in blocks {
                if block.name == "end" {
                    let end: End = self.understand(block.data.as_bytes())?;
                    return Ok(Some(format!("the server ended the stream: {}", end.detail)));
                }
                if take(block)? {
                    return Ok(None);
                }
            }
        }
    }

    /// A GET whose answer goes on: its pieces as they come.
    async fn stream(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<impl Stream<Item = Result<Bytes, String>> + Unpin + use<>, Failure> {
        let request = self.request_as(Method::GET, path, EVENTS).query(query);
        let response = request.send().await.map_err(|source| self.lost(source))?;
        if response.status().is_success() {
            let innermost = |error: reqwest::Error| {
                let mut cause: &dyn std::error::Error = &error;
                while let Some(inner) = cause.source() {
                    cause = inner;
                }
                cause.to_string()
            };
            return Ok(response.bytes_stream().map_err(innermost));
        }
        self.refused(response).await
    }

    /// Takes what matters out of an answer's JSON, without copying it.
    pub(crate) fn understand_borrowed<'t, T: serde::Deserialize<'t>>(
        &self,
        json: &'t str,
    ) -> Result<T, Failure> {
        serde_json::from_str(json).map_err(|error| self.misunderstood(&error.to_string()))
    }

    /// Takes what matters out of an answer's JSON.
    pub(crate) fn understand<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(json).map_err(|error| self.misunderstood(&error.to_string()))
    }

    /// Sends an upload.
    pub(crate) async fn upload(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        upload: Upload,
    ) -> Result<Answer, Failure> {
        let request = self.request(Method::PUT, path).query(query).timeout(UPLOAD_TIMEOUT);
        self.send(upload.into_request(request)).await
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request.send().await.map_err(|source| self.lost(source))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|source| self.lost(source))?;
        if status.is_success() {
            return Ok(Answer { status, headers, body });
        }
        Err(self.problem(status, &body))
    }

    async fn refused<T>(&self, response: reqwest::Response) -> Result<T, Failure> {
        let status = response.status();
        let body = response.bytes().await.map_err(|source| self.lost(source))?;
        Err(self.problem(status, &body))
    }

    fn problem(&self, status: StatusCode, body: &[u8]) -> Failure {
        match Problem::parse(body) {
            Some(problem) => Failure::Problem(Box::new(problem)),
            None => self.misunderstood(&format!("status {status} without a problem document")),
        }
    }

    fn lost(&self, source: reqwest::Error) -> Failure {
        let server = self.server.clone();
        let source = source.without_url();
        if source.is_connect() {
            Failure::Unreachable { server, source }
        } else {
            Failure::Transport { server, source }
        }
    }

    pub(crate) fn misunderstood(&self, detail: &str) -> Failure {
        let detail = format!("something that this client does not understand ({detail})");
        Failure::Protocol { server: self.server.clone(), detail }
    }
}

/// `server` may have a path of its own, in front of a gateway behind a proxy.
fn api_url(server: &Url, path: &[&str]) -> Url {
    let mut url = server.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["api", "v1"]).extend(path);
    }
    url
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn segments_are_escaped() {
        let server: Url = "http://127.0.0.1:8080".parse().unwrap();
        let url = api_url(&server, &["classes", "A", "objects", "a:b@c", "fields", "größe/1 ?#%"]);
        let path = "/api/v1/classes/A/objects/a:b@c/fields/gr%C3%B6%C3%9Fe%2F1%20%3F%23%25";
        assert_eq!(url.path(), path);
        assert_eq!((url.query(), url.fragment()), (None, None));
    }

    #[test]
    fn a_jwt_is_known_by_its_form() {
        assert!(is_jwt("eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"));
        for no in ["", "e.f.g", "eyJ.e30", "eyJ.e30.x.y", "eyJ.e30.x=", "oprc_1_2", "eyJ.e30.x y"] {
            assert!(!is_jwt(no), "{no}");
        }
    }

    #[test]
    fn a_path_of_the_server_stays() {
        for server in ["http://h/grid", "http://h/grid/"] {
            assert_eq!(api_url(&server.parse().unwrap(), &["classes"]).path(), "/grid/api/v1/classes");
        }
    }
}

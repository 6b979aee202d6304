//! Where an issuer's keys come from: a file, which is followed as certificates are, or the issuer's own server.

use std::error::Error as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache;
use reqwest::header::{ACCEPT, CACHE_CONTROL};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::time::{Instant, sleep};

use super::keys::{KeySet, KeySetError};
use super::pace::{Asks, FETCH, fresh};
use super::{Jwt, JwtConfig, SEEN_MAX};
use crate::follow::{Complaint, follow};

/// How long a fetch may take to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// The largest set of keys.
pub(super) const BYTES_MAX: usize = 1024 * 1024;
/// How soon a fetch that failed is tried again: while there are no keys at all, and while there are older ones.
pub(super) const AGAIN_WITHOUT: Duration = Duration::from_secs(2);
pub(super) const AGAIN_WITH: Duration = Duration::from_secs(30);
/// For how long older keys are kept while none can be fetched. Without an end, one that the issuer took back would count for as long
/// as somebody can keep this gateway from hearing of it.
pub(super) const KEPT: Duration = Duration::from_hours(24);

/// Where an issuer's keys are, as a JSON Web Key Set.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In a file, which may be replaced at any time.
    File(PathBuf),
    /// On a server.
    Url(Url),
}

/// A text that does not say where keys are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no place for keys: allowed is a file, https://HOST/PATH, and http://HOST/PATH on this machine alone"
)]
pub struct KeySourceError {
    given: String,
}

impl FromStr for KeySource {
    type Err = KeySourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || KeySourceError { given: text.to_owned() };
        if text.is_empty() {
            return Err(refused());
        }
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url = Url::parse(text).map_err(|_| refused())?;
        let host = url.host_str().unwrap_or_default();
        let is_taken = match url.scheme() {
            "https" => !host.is_empty(),
            // whoever can change what comes from elsewhere in clear makes keys of their own
            "http" => is_loopback(host),
            _ => false,
        };
        let bare = url.username().is_empty() && url.password().is_none();
        if is_taken && bare { Ok(Self::Url(url)) } else { Err(refused()) }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The file cannot be read.
    #[error("reading the keys of the JWT issuer in {path}: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is too large.
    #[error("the keys of the JWT issuer in {place} have more than {} bytes", BYTES_MAX)]
    TooLarge {
        /// Where.
        place: String,
    },
    /// It holds no keys.
    #[error("{place} does not hold the keys of a JWT issuer: {source}")]
    Form {
        /// Where.
        place: String,
        /// What is wrong.
        source: KeySetError,
    },
    /// It holds keys, and none of use.
    #[error(
        "{place} holds no key for signatures that is taken here: RSA of 2048 to 4096 bits, EC P-256 or P-384, or Ed25519"
    )]
    NoneOfUse {
        /// Where.
        place: String,
    },
    /// There is no client to fetch them with.
    #[error("keys of a JWT issuer cannot be fetched: {0}")]
    Client(String),
    /// They could not be fetched.
    #[error("fetching the keys of the JWT issuer from {url}: {why}")]
    Fetch {
        /// From where.
        url: Url,
        /// Why not.
        why: String,
    },
}

/// Fetches from one place.
pub(super) struct Fetcher {
    client: Client,
    url: Url,
}

impl Fetcher {
    pub(super) fn new(url: Url) -> Result<Self, JwtError> {
        let builder = Client::builder().connect_timeout(CONNECT).timeout(FETCH).redirect(Policy::none());
        // no proxy reaches this machine's own servers
        let here = url.host_str().is_some_and(is_loopback);
        let builder = if here { builder.no_proxy() } else { builder.https_only(true) };
        let builder = builder.user_agent(concat!("oprc/", env!("CARGO_PKG_VERSION")));
        let client = builder.build().map_err(|error| JwtError::Client(causes(&error)))?;
        Ok(Self { client, url })
    }

    /// The keys, and for how long they are taken for new.
    pub(super) async fn fetch(&self) -> Result<(KeySet, Duration), JwtError> {
        let failed = |why: String| JwtError::Fetch { url: self.url.clone(), why };
        let broken = |error: reqwest::Error| failed(causes(&error.without_url()));
        let request =
            self.client.get(self.url.clone()).header(ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(failed(format!("it answers {}", response.status())));
        }
        let cache_control = response.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let fresh = fresh(cache_control);
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if text.len() + chunk.len() > BYTES_MAX {
                return Err(JwtError::TooLarge { place: self.url.to_string() });
            }
            text.extend_from_slice(&chunk);
        }
        let form = |source| JwtError::Form { place: self.url.to_string(), source };
        Ok((KeySet::parse(&text).map_err(form)?, fresh))
    }
}

impl Jwt {
    /// Reads the keys if they are in a file.
    ///
    /// # Errors
    /// [`JwtError`]: the file holds none. A server may be down; then there are none until it is up.
    pub(crate) fn open(config: JwtConfig) -> Result<Self, JwtError> {
        let fetcher = match &config.keys {
            KeySource::File(_) => None,
            KeySource::Url(url) => Some(Fetcher::new(url.clone())?),
        };
        let (keys, seen) = (ArcSwapOption::empty(), Cache::new(SEEN_MAX));
        let jwt = Self { config, keys, seen, fetcher, asks: Asks::new() };
        if let KeySource::File(path) = &jwt.config.keys {
            jwt.look(path)?;
            if jwt.keys.load().as_ref().is_none_or(|keys| keys.len() == 0) {
                return Err(JwtError::NoneOfUse { place: path.display().to_string() });
            }
        }
        Ok(jwt)
    }

    /// Follows the issuer's keys for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        match (&self.config.keys, &self.fetcher) {
            (KeySource::Url(_), Some(fetcher)) => self.fetch_for_ever(fetcher).await,
            (KeySource::File(path), _) => {
                let (jwt, path) = (self.clone(), path.clone());
                follow("the keys of the JWT issuer", move || jwt.look(&path)).await;
            }
            (KeySource::Url(_), None) => {} // each URL has its fetcher
        }
    }

    /// Takes over what is in the file; whether that is something new.
    pub(super) fn look(&self, path: &Path) -> Result<bool, JwtError> {
        let read = || {
            let mut text = Vec::new();
            File::open(path)?.take(BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| JwtError::Read { path: path.to_owned(), source })?;
        let place = || path.display().to_string();
        if text.len() > BYTES_MAX {
            return Err(JwtError::TooLarge { place: place() });
        }
        if self.keys.load().as_ref().is_some_and(|keys| keys.is_of(&text)) {
            return Ok(false);
        }
        let keys = KeySet::parse(&text).map_err(|source| JwtError::Form { place: place(), source })?;
        self.take(keys);
        Ok(true)
    }

    /// A set without keys is taken over as well: so an issuer takes all of them back.
    pub(super) fn take(&self, keys: KeySet) {
        let (usable, ignored) = (keys.len(), keys.ignored());
        if usable == 0 {
            tracing::warn!(ignored, "the JWT issuer has no key of use: no JWT counts");
        } else {
            tracing::debug!(usable, ignored, "the JWT issuer's keys are known");
        }
        self.keys.store(Some(Arc::new(keys)));
    }

    async fn fetch_for_ever(&self, fetcher: &Fetcher) {
        let mut complaint = Complaint::default();
        let mut known_at = Instant::now();
        let mut asked = false;
        loop {
            let pause = match fetcher.fetch().await {
                Ok((keys, fresh)) => {
                    if complaint.is_over() {
                        tracing::info!("the keys of the JWT issuer are there again");
                    }
                    self.take(keys);
                    known_at = Instant::now();
                    fresh
                }
                Err(error) => self.miss(&error, &mut complaint, known_at.elapsed()),
            };
            if asked {
                self.asks.answer();
            }
            asked = tokio::select! {
                () = sleep(pause) => false,
                () = self.asks.asked() => true,
            };
        }
    }

    /// There are no newer keys than those of this age; says when to try again.
    pub(super) fn miss(&self, error: &JwtError, complaint: &mut Complaint, age: Duration) -> Duration {
        let has_keys = self.keys.load().is_some();
        if has_keys && age >= KEPT {
            self.keys.store(None);
            tracing::error!(%error, "the keys of the JWT issuer are too old now: no JWT counts until there are others");
            return AGAIN_WITHOUT;
        }
        if complaint.is_new(error) {
            let until = if has_keys { "what was there stays" } else { "no JWT counts until they are there" };
            tracing::error!(%error, "the keys of the JWT issuer cannot be had: {until}");
        }
        if has_keys { AGAIN_WITH } else { AGAIN_WITHOUT }
    }
}

/// An error with all that caused it: the outermost alone says little.
fn causes(error: &reqwest::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

//! TLS for what comes in. The files are looked at every second: once they change, connections to come are served with what is in
//! them, and those that are open go on. Files that cannot be used change nothing, and the log says why.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::metrics::Count;
use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::follow::follow;

/// How long a client may take to agree on a connection.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The versions of HTTP that are offered, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the parts lie, each in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, then those above it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Those whose word on a client counts; with them each client has to show a certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// Which one.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The parts do not go together.
    #[error("the certificate and key cannot be used: {0}")]
    Config(String),
}

/// See the module.
pub(crate) struct Tls {
    files: TlsFiles,
    current: RwLock<(Content, TlsAcceptor)>,
}

/// How often changed files were taken over, and how many looks at them failed.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    pub(crate) done: Count,
    pub(crate) failed: Count,
}

/// What is in the files.
#[derive(PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let content = Content::read(&files)?;
        let acceptor = content.acceptor(&files)?;
        Ok(Self { files, current: RwLock::new((content, acceptor)) })
    }

    /// Agrees with a client on a connection; none when it cannot be.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let acceptor = self.current.read().1.clone();
        match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client and this gateway did not agree on TLS");
                None
            }
            Err(_) => {
                tracing::debug!("a client took too long to agree on TLS");
                None
            }
        }
    }

    /// Follows the files for ever.
    pub(crate) async fn follow(self: Arc<Self>, reloads: Arc<Reloads>) {
        let look = move || {
            let looked = self.look();
            match looked {
                Ok(true) => reloads.done.one(),
                Ok(false) => {}
                Err(_) => reloads.failed.one(),
            }
            looked
        };
        follow("the certificate and key of TLS", look).await;
    }

    /// Takes over what is in the files; whether that is something new.
    fn look(&self) -> Result<bool, TlsError> {
        let content = Content::read(&self.files)?;
        if self.current.read().0 == content {
            return Ok(false);
        }
        let acceptor = content.acceptor(&self.files)?;
        *self.current.write() = (content, acceptor);
        Ok(true)
    }
}

impl Content {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read =
            |path: &Path| fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn acceptor(&self, files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
        let unfit = |error: &dyn std::error::Error| TlsError::Config(error.to_string());
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(&error))?;
        let builder = match files.client_ca.as_ref().zip(self.client_ca.as_ref()) {
            None => builder.with_no_client_auth(),
            Some((path, pem)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, pem)? {
                    roots.add(certificate).map_err(|error| unfit(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|error| unfit(&error))?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::Pem { path: files.key.clone(), what: "private key" })?;
        let chain = certificates(&files.certificate, &self.certificate)?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| unfit(&error))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// At least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| none())?;
    if all.is_empty() { Err(none()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        /// A certificate of its own word, and its key.
        fn pair(&self) -> TlsFiles {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            TlsFiles {
                certificate: self.write("cert", &made.cert.pem()),
                key: self.write("key", &made.signing_key.serialize_pem()),
                client_ca: None,
            }
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let files = folder.pair();
        assert!(Tls::load(files.clone()).is_ok());
        let with_ca = TlsFiles { client_ca: Some(files.certificate.clone()), ..files.clone() };
        assert!(Tls::load(with_ca).is_ok());
        let told = |files: TlsFiles| Tls::load(files).err().unwrap().to_string();
        let absent = folder.0.path().join("absent");
        assert!(told(TlsFiles { key: absent, ..files.clone() }).contains("absent"));
        let empty = folder.write("empty", "");
        for (bad, what) in [
            (TlsFiles { certificate: empty.clone(), ..files.clone() }, "certificate"),
            (TlsFiles { key: empty.clone(), ..files.clone() }, "private key"),
            (TlsFiles { client_ca: Some(empty), ..files.clone() }, "certificate"),
        ] {
            let told = told(bad);
            assert!(told.contains("empty") && told.contains(what), "{told}");
        }
        let other = Folder(tempfile::tempdir().unwrap()).pair();
        let key = folder.write("other", &rcgen::KeyPair::generate().unwrap().serialize_pem());
        assert!(told(TlsFiles { key, ..files }).contains("cannot be used"), "{other:?}");
    }

    #[test]
    fn files_that_change_are_taken_over_and_bad_ones_are_not() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let tls = Tls::load(folder.pair()).unwrap();
        assert!(!tls.look().unwrap());
        folder.pair();
        assert!(tls.look().unwrap() && !tls.look().unwrap());
        folder.write("key", "half of it");
        assert!(tls.look().is_err());
        folder.pair();
        assert!(tls.look().unwrap());
    }
}

//! TLS to origins, trusted as this machine trusts them: the system's certificates, or those that `SSL_CERT_FILE` and
//! `SSL_CERT_DIR` name. They are read once, when the first request needs them.

use std::io;
use std::sync::Arc;

use oprc_mesh::egress::Host;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use wasmtime_wasi_http::Error;

/// See the module.
#[derive(Default)]
pub(super) struct Tls(OnceCell<TlsConnector>);

impl Tls {
    /// Speaks TLS over `stream` with whoever proves to be `host`.
    pub(super) async fn wrap(&self, host: &Host, stream: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        let name = match host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?
            }
        };
        let connector = self.0.get_or_try_init(connector).await?;
        connector.connect(name, stream).await.map_err(|error| failed(&error))
    }
}

async fn connector() -> Result<TlsConnector, Error> {
    let loaded = tokio::task::spawn_blocking(roots).await;
    let roots = loaded.map_err(|error| Error::InternalError(Some(error.to_string())))?;
    if roots.is_empty() {
        tracing::error!("no certificate is trusted here: requests over https fail; set SSL_CERT_FILE");
        return Err(Error::ConfigurationError);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::InternalError(Some(error.to_string())))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "some certificates that this machine trusts could not be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

fn failed(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: alert.as_str().map(str::to_owned),
        },
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

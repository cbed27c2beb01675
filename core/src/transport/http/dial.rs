//! Opens connections: name, TCP, TLS.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address;
use super::socket::{Socket, Stream};
use crate::error::{Error, ErrorKind, Result};

/// Longest wait for name, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a server listens, and how to get there.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) host: String,
    pub(super) port: u16,
    /// The name to check the certificate against; `None` for plain TCP.
    pub(super) tls: Option<ServerName<'static>>,
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, if self.tls.is_some() { " (TLS)" } else { "" })
    }
}

impl Dial {
    /// A new connection. Every error is [`ErrorKind::BadUpstream`] and not sent.
    pub(super) async fn open(&self) -> Result<Socket> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.failure("the server cannot be connected to within 5 s")),
        }
    }

    async fn connect(&self) -> Result<Socket> {
        let stream = self.tcp().await?;
        // A call is one small write: waiting for more to send only delays it.
        stream.set_nodelay(true).map_err(|error| self.failure("the connection broke").caused_by(error))?;
        let Some(name) = &self.tls else { return Ok(Socket::new(Stream::Plain(stream))) };
        let connector = TlsConnector::from(trusted()?);
        let stream = connector.connect(name.clone(), stream).await.map_err(|error| {
            self.failure("the TLS handshake with the server failed; is its certificate valid for this host?")
                .caused_by(error)
        })?;
        Ok(Socket::new(Stream::Tls(Box::new(stream))))
    }

    async fn tcp(&self) -> Result<TcpStream> {
        let mut last = None;
        for address in address::resolve(&self.host, self.port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        let failure = self.failure("the server cannot be connected to");
        Err(match last {
            Some(error) => failure.with("reason", error.kind()).caused_by(error),
            None => failure,
        })
    }

    fn failure(&self, message: &'static str) -> Error {
        Error::new(ErrorKind::BadUpstream, message).with("address", format!("{self:?}")).not_sent()
    }
}

/// The machine's trusted roots, read once.
fn trusted() -> Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let message = "this machine has no trusted root certificates; install them (package ca-certificates)";
        return Err(Error::new(ErrorKind::BadUpstream, message).not_sent());
    }
    // The provider is named here so that no process-wide default decides, or is missing.
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Internal, "TLS cannot be set up").caused_by(error).not_sent())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

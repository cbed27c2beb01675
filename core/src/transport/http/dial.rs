//! Opens connections: name, TCP, TLS.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::socket::{ReadableSocket, Socket};
pub(super) use super::trust::Tls;
use super::trust::refusal;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::ExaminedStep;
use crate::transport::guard::Watch;

/// Longest wait for name, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a server listens, and how to get there.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) host: String,
    pub(super) port: u16,
    /// How the server's certificate is judged; `None` for plain TCP.
    pub(super) tls: Option<Tls>,
    /// Judges the addresses.
    pub(super) watch: Watch,
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, if self.tls.is_some() { " (TLS)" } else { "" })
    }
}

impl Dial {
    /// A new connection. Every error is [`ErrorKind::BadUpstream`] and not sent.
    pub(super) async fn open(&self) -> Result<Socket> {
        // Before anything is connected, and with a time of its own: files are read for it.
        let tls = match &self.tls {
            Some(tls) => {
                let config = tls.config().await;
                let config = config.map_err(|error| error.with_private("address", format!("{self:?}")))?;
                Some((TlsConnector::from(config), tls.name.clone()))
            }
            None => None,
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connect(tls)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.failure("the server cannot be connected to within 5 s")),
        }
    }

    /// As [`Dial::open`], step by step.
    pub(super) async fn examine(&self) -> Vec<ExaminedStep> {
        let mut steps = Vec::new();
        let addresses = self.in_time(self.watch.resolve(&self.host, self.port)).await;
        let is_resolved = addresses.is_ok();
        steps.push(("resolve", addresses.map(|found| self.resolved(&found))));
        if !is_resolved {
            return steps;
        }
        let stream = match self.in_time(self.tcp()).await {
            Ok(stream) => stream,
            Err(error) => {
                steps.push(("connect", Err(error)));
                return steps;
            }
        };
        steps.push(("connect", Ok(format!("connected to port {}", self.port))));
        let Some(tls) = &self.tls else { return steps };
        let trusted = self.in_time(async {
            let connector = TlsConnector::from(tls.config().await?);
            let connecting = connector.connect(tls.name.clone(), ReadableSocket::new(stream));
            connecting.await.map_err(|error| self.distrust(error)).map(drop)
        });
        steps.push(("tls", trusted.await.map(|()| "the certificate is trusted".to_owned())));
        steps
    }

    fn resolved(&self, addresses: &[SocketAddr]) -> String {
        let all: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        format!("`{}` is {}", self.host, all.join(", "))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_| Err(self.failure("the server cannot be connected to within 5 s"));
        tokio::time::timeout(CONNECT_TIMEOUT, work).await.unwrap_or_else(late)
    }

    async fn connect(&self, tls: Option<(TlsConnector, ServerName<'static>)>) -> Result<Socket> {
        let stream = self.tcp().await?;
        // A call is one small write: waiting for more to send only delays it.
        stream.set_nodelay(true).map_err(|error| self.failure("the connection broke").caused_by(error))?;
        let line = ReadableSocket::new(stream);
        let Some((connector, name)) = tls else { return Ok(Socket::Plain(line)) };
        let stream = connector.connect(name, line).await.map_err(|error| self.distrust(error))?;
        Ok(Socket::Tls(Box::new(stream)))
    }

    async fn tcp(&self) -> Result<TcpStream> {
        let mut last = None;
        for address in self.watch.resolve(&self.host, self.port).await? {
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

    /// The server is not trusted. The fault of its certificate stays until somebody changes the configuration, or the
    /// certificate, so the error says that it is one of configuration.
    fn distrust(&self, error: io::Error) -> Error {
        let (message, configuration) = refusal(&error);
        let failure = self.failure(message).with("reason", &error);
        let failure = if configuration { failure.with("cause", "configuration") } else { failure };
        failure.caused_by(error)
    }

    fn failure(&self, message: &'static str) -> Error {
        Error::new(ErrorKind::BadUpstream, message).with_private("address", format!("{self:?}")).not_sent()
    }
}

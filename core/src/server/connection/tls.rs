//! TLS in front of the listener: the certificate, taken up anew when its files change.
//!
//! A handshake has as long as the head of a request, so that a client that dribbles it holds nothing for longer. A client that
//! speaks plain HTTP to the port is told so, instead of seeing a connection that breaks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::timeouts::HEAD;
use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// A certificate's or key's file is at most so long, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// First byte of a TLS connection: the record type of a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 131\r\n\
    Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n\
    {\"error\":{\"code\":\"VALIDATION_ERROR\",\"message\":\"this port speaks TLS; begin the URL with https:// instead of http://\",\"details\":{}}}";

/// The proof of this server's identity. Clones share it.
#[derive(Clone)]
pub struct Certificate(Arc<TlsState>);

struct TlsState {
    current: ArcSwap<ServerConfig>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    /// Reads the files that `settings` name; `None` if they name none.
    ///
    /// [`ErrorKind::InvalidParams`] if a file cannot be used, or the key is not the certificate's; it names the file.
    pub fn open(settings: &config::Tls) -> Result<Option<Self>> {
        let Some(current) = read(settings)? else { return Ok(None) };
        Ok(Some(Self(Arc::new(TlsState { current: ArcSwap::from_pointee(current) }))))
    }

    /// Reads the files again, for connections from now on. After an error the certificate that was read before stays.
    pub fn reload(&self, settings: &config::Tls) -> Result<()> {
        if let Some(new) = read(settings)? {
            self.0.current.store(Arc::new(new));
        }
        Ok(())
    }

    /// The handshake; `None` if there is none within 10 s, or the client wants none.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let handshake = async {
            let mut first = [0];
            if stream.peek(&mut first).await.ok()? == 0 {
                return None;
            }
            if first[0] != HANDSHAKE {
                refuse(stream).await;
                return None;
            }
            let acceptor = TlsAcceptor::from(self.0.current.load_full());
            match acceptor.accept(stream).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    None
                }
            }
        };
        tokio::time::timeout(HEAD, handshake).await.ok().flatten()
    }
}

/// Tells a client that speaks without TLS what is wrong. Its bytes are read first: a connection that is closed with bytes unread
/// is reset, and the answer lost with it.
async fn refuse(mut stream: TcpStream) {
    let mut unread = [0; 4096];
    let _ = stream.read(&mut unread).await;
    let _ = stream.write_all(PLAIN).await;
    let _ = stream.shutdown().await;
}

/// The certificate that `settings` name, and those that lead from it to an authority: at least one.
pub(crate) fn chain(settings: &config::Tls) -> Result<Option<Vec<CertificateDer<'static>>>> {
    let Some(cert) = &settings.cert else { return Ok(None) };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&file(cert, "server.tls.cert")?).collect::<Result<_, _>>().map_err(
            |error| wrong("server.tls.cert has a certificate that cannot be read", cert).caused_by(error),
        )?;
    if chain.is_empty() {
        return Err(wrong("server.tls.cert has no certificate in PEM form", cert));
    }
    Ok(Some(chain))
}

fn read(settings: &config::Tls) -> Result<Option<ServerConfig>> {
    let (Some(chain), Some(key)) = (chain(settings)?, &settings.key) else { return Ok(None) };
    let secret = PrivateKeyDer::from_pem_slice(&file(key, "server.tls.key")?)
        .map_err(|error| wrong("server.tls.key has no private key in PEM form", key).caused_by(error))?;
    // The provider is named here so that no process-wide default decides, or is missing.
    let made = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
    let mut made = made.map_err(|error| {
        wrong("server.tls.key is not the key of the certificate in server.tls.cert", key)
            .with("reason", &error)
            .caused_by(error)
    })?;
    made.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(made))
}

fn file(path: &Path, key: &'static str) -> Result<Vec<u8>> {
    files::read(path, MAX_FILE).map_err(|fault| fault.into_error(ErrorKind::InvalidParams, key, path))
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>, path: &Path) -> Error {
    Error::new(ErrorKind::InvalidParams, message).with("file", path.display())
}

/// The files whose change is to be taken up.
pub fn files(settings: &config::Tls) -> impl Iterator<Item = PathBuf> {
    [settings.cert.clone(), settings.key.clone()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_has_the_length_that_it_says() {
        let text = std::str::from_utf8(PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let settings = config::Tls { cert: Some(cert.clone()), key: Some(key) };
        assert!(Certificate::open(&settings).unwrap_err().to_string().contains("cert.pem"));
        std::fs::write(&cert, "not PEM").unwrap();
        let error = Certificate::open(&settings).unwrap_err();
        assert!(error.message().contains("no certificate"), "{error}");
        assert!(Certificate::open(&config::Tls::default()).unwrap().is_none());
    }
}

//! The certificates that a command trusts when it speaks to a gateway over TLS.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls;
use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::http::trust;

/// The certificates that are trusted.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// Those that the machine's authorities signed.
    pub fn machine() -> Result<Self> {
        trust::machine().map(Self)
    }

    /// Those that the authorities of a file in PEM form signed.
    pub fn authorities(file: &Path) -> Result<Self> {
        trust::trusting(trust::of_file(file, "the file of authorities")?).map(Self)
    }

    /// The very certificate that a gateway presents under these settings, whatever its name and its signer: a reader of the
    /// gateway's configuration knows it, and needs nobody to vouch for it. `None` if they name none.
    pub fn own(settings: &config::Tls) -> Result<Option<Self>> {
        let Some(mut chain) = tls::chain(settings)? else { return Ok(None) };
        let provider = Arc::new(ring::default_provider());
        let only = Arc::new(Only { certificate: chain.swap_remove(0), provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Internal, "TLS cannot be set up").caused_by(error))?
            .dangerous()
            .with_custom_certificate_verifier(only)
            .with_no_client_auth();
        Ok(Some(Self(Arc::new(config))))
    }

    /// The handshake with `host`, a name or an address.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name =
            ServerName::try_from(bare).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}

/// Trusts one certificate, if its presenter has its key.
#[derive(Debug)]
struct Only {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

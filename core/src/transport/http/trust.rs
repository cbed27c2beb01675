//! Whose certificates are believed: those that the machine's authorities signed, or those that the authorities of a
//! server's own file signed.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::error::{Error, ErrorKind, Result};

/// A file of authorities is at most so long, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// How one server's certificate is judged.
#[derive(Clone)]
pub(super) struct Tls {
    /// What the certificate must name.
    pub(super) name: ServerName<'static>,
    ca_file: Option<PathBuf>,
    /// Made of the file when the first connection is opened.
    own: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(name: ServerName<'static>, ca_file: Option<&str>) -> Self {
        Self { name, ca_file: ca_file.map(PathBuf::from), own: OnceLock::new() }
    }

    /// Errors are [`ErrorKind::BadUpstream`], not sent, and say which file is wrong.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>> {
        let Some(path) = &self.ca_file else { return machine() };
        if let Some(config) = self.own.get() {
            return Ok(config.clone());
        }
        let config = trusting(of_file(path, "configuration.ca_file")?)?;
        Ok(self.own.get_or_init(|| config).clone())
    }
}

/// What the machine trusts, read once. Errors are [`ErrorKind::BadUpstream`].
pub(crate) fn machine() -> Result<Arc<ClientConfig>> {
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
    let config = trusting(roots)?;
    Ok(CONFIG.get_or_init(|| config).clone())
}

/// The authorities of a file; `what` is what users call it. Errors are [`ErrorKind::BadUpstream`] and name the file.
pub(crate) fn of_file(path: &Path, what: &str) -> Result<RootCertStore> {
    let wrong = |message: &str| {
        Error::new(ErrorKind::BadUpstream, format!("{what} {message}"))
            .with("ca_file", path.display())
            .with("cause", "configuration")
            .not_sent()
    };
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut pem))
        .map_err(|error| wrong("cannot be read").with("reason", error.kind()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
        added.ok_or_else(|| wrong("has a certificate that cannot be read"))?;
    }
    if roots.is_empty() {
        return Err(wrong("has no certificate in PEM form"));
    }
    Ok(roots)
}

/// Believes what these authorities signed.
pub(crate) fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    // The provider is named here so that no process-wide default decides, or is missing.
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Internal, "TLS cannot be set up").caused_by(error).not_sent())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What to tell a user whose server was not believed, and whether it is the configuration, or the certificate, that has to change.
pub(super) fn refusal(error: &io::Error) -> (&'static str, bool) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let Some(rustls::Error::InvalidCertificate(problem)) = cause else {
        return ("the TLS handshake with the server failed", false);
    };
    let message = match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is signed by nobody whom the gateway trusts; name the authority's file in configuration.ca_file"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host; check endpoint_url"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired; renew it"
        }
        _ => "the server's certificate cannot be accepted",
    };
    (message, true)
}

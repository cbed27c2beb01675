//! The certificates that are trusted: those that the machine's authorities signed, or those that the authorities of a server's
//! own file signed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, Fault};
use crate::tasks;

/// A file of authorities is at most so long, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The users' name for the file of one server.
const CA_FILE: &str = "configuration.ca_file";

/// The configuration that trusts the machine's authorities.
static MACHINE: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// How one server's certificate is judged.
#[derive(Clone)]
pub(super) struct Tls {
    /// The name that the certificate must have.
    pub(super) name: ServerName<'static>,
    ca_file: Option<PathBuf>,
    /// Made of the file when the first connection is opened.
    own: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(name: ServerName<'static>, ca_file: Option<&str>) -> Self {
        Self { name, ca_file: ca_file.map(PathBuf::from), own: OnceCell::new() }
    }

    /// Errors are [`ErrorKind::BadUpstream`], not sent, and say which file is wrong. The thread that asks reads nothing itself.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>> {
        let Some(path) = &self.ca_file else { return machine_in_time().await };
        let load = async || {
            let file = path.clone();
            let made = tasks::aside(move || of_file(&file, CA_FILE).and_then(trusting)).await;
            made.unwrap_or_else(|| Err(unusable(Fault::Late, CA_FILE, path)))
        };
        match files::soon(self.own.get_or_try_init(load)).await {
            Ok(outcome) => outcome.cloned(),
            Err(late) => Err(unusable(late, CA_FILE, path)),
        }
    }
}

/// The configuration that trusts the machine's authorities, read once. Errors are [`ErrorKind::BadUpstream`].
pub(crate) fn machine() -> Result<Arc<ClientConfig>> {
    if let Some(config) = MACHINE.get() {
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
    Ok(MACHINE.get_or_init(|| config).clone())
}

/// As [`machine`], for a thread that serves calls: the environment may say where the certificates stand.
async fn machine_in_time() -> Result<Arc<ClientConfig>> {
    if let Some(config) = MACHINE.get() {
        return Ok(config.clone());
    }
    files::in_time(machine).await.unwrap_or_else(|_| {
        let message = format!(
            "the machine's trusted root certificates were not read within {} s; check SSL_CERT_FILE and SSL_CERT_DIR",
            files::PATIENCE.as_secs()
        );
        Err(Error::new(ErrorKind::BadUpstream, message).with("cause", "configuration").not_sent())
    })
}

/// The authorities of a file; `what` is the users' name for it. Errors are [`ErrorKind::BadUpstream`] and name the file.
pub(crate) fn of_file(path: &Path, what: &str) -> Result<RootCertStore> {
    let wrong = |message: &str| {
        let message = format!("{what} {message}");
        configured(Error::new(ErrorKind::BadUpstream, message).with("file", path.display()))
    };
    let pem = files::read(path, MAX_FILE).map_err(|fault| unusable(fault, what, path))?;
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

fn unusable(fault: Fault, what: &str, path: &Path) -> Error {
    configured(fault.into_error(ErrorKind::BadUpstream, what, path))
}

/// An error that lasts until somebody changes the configuration, or the file.
fn configured(error: Error) -> Error {
    error.with("cause", "configuration").not_sent()
}

/// Trusts certificates that these authorities signed.
pub(crate) fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    // The provider is named here so that no process-wide default decides, or is missing.
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Internal, "TLS cannot be set up").caused_by(error).not_sent())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The message for a user whose server was not trusted, and whether the configuration, or the certificate, has to change.
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

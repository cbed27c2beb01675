//! From a host name to addresses: the single place where a rule about allowed addresses can stand.

use std::net::SocketAddr;

use crate::error::{Error, ErrorKind, Result};

/// The addresses of `host`, in the order in which they are to be tried; at least one.
///
/// [`ErrorKind::BadUpstream`], not sent, if the name has none.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let unknown = |message: &'static str| {
        Error::new(ErrorKind::BadUpstream, message).with("host", host).with("port", port).not_sent()
    };
    let found: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| unknown("the server's host name cannot be resolved").caused_by(error))?
        .collect();
    if found.is_empty() {
        return Err(unknown("the server's host name has no address"));
    }
    Ok(found)
}

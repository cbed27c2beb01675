//! The requests of the SDK, made by the gateway's own means: judged by its guard, bounded, and without following redirects.

use bytes::Bytes;
use http::{Request, Response};
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::credential_provider::origin;
use crate::transport::guard::Watch;
use crate::transport::http::exchange;

/// Bytes of one answer at most.
const LONGEST: usize = 1024 * 1024;

/// Makes the requests of one login or renewal.
#[derive(Clone)]
pub(crate) struct Wire {
    /// The server's own origin.
    pub(crate) origin: String,
    /// For requests to the server's own place: it may be where the operator put the server.
    pub(crate) server: Watch,
    /// For everywhere else: others than the operator named it.
    pub(crate) elsewhere: Watch,
}

impl Wire {
    async fn ask(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>> {
        let url = Url::parse(&request.uri().to_string()).map_err(|_| {
            Error::new(ErrorKind::BadUpstream, "the server's OAuth metadata has an invalid URL")
        })?;
        let watch = if origin(&url) == self.origin { &self.server } else { &self.elsewhere };
        let answer = exchange(&url, request.map(Bytes::from), watch.clone(), LONGEST).await?;
        Ok(answer.map(|body| body.to_vec()))
    }
}

impl OAuthHttpClient for Wire {
    /// No redirect is followed, also where it might be: the judged address is the one that is asked.
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move { self.ask(request.request).await.map_err(Into::into) })
    }
}

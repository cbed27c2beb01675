//! Grants to another build of the gateway, in this build, which has no OAuth: their tokens are sent as long as they hold.

use std::sync::Arc;

use super::credential_cache::ActiveGrant;
use crate::error::{Error, ErrorKind};
use crate::gateway::Core;
use crate::transport::credential_provider::{CredentialRequest, ProvidedCredentials, Refusal, RetryAdvice};

impl Core {
    #[expect(clippy::unused_self, reason = "with OAuth it is not")]
    pub(crate) fn renewed(
        self: &Arc<Self>,
        wanted: &CredentialRequest<'_>,
        _: &Arc<ActiveGrant>,
    ) -> ProvidedCredentials {
        let message = "the authorization of the server has ended, and this build cannot renew it; build with the feature `oauth`";
        ProvidedCredentials::Missing(
            Error::new(ErrorKind::BadUpstream, message).with("server_id", wanted.server),
        )
    }

    #[expect(clippy::unused_self, reason = "with OAuth it is not")]
    pub(crate) fn server_refused(&self, _: &CredentialRequest<'_>, _: &Refusal<'_>) -> RetryAdvice {
        RetryAdvice::Unknown
    }
}

//! What was granted to another build of the gateway, in this one, which has no OAuth: it is shown as long as it holds.

use std::sync::Arc;

use super::credential_cache::Held;
use crate::error::{Error, ErrorKind};
use crate::gateway::Inner;
use crate::transport::credential_provider::{Refusal, Remedy, Supplied, Wanted};

impl Inner {
    #[expect(clippy::unused_self, reason = "with OAuth it is not")]
    pub(crate) fn renewed(self: &Arc<Self>, wanted: &Wanted<'_>, _: &Arc<Held>) -> Supplied {
        let message = "the authorization of the server has ended, and this build cannot renew it; build with the feature `oauth`";
        Supplied::Missing(Error::new(ErrorKind::BadUpstream, message).with("server_id", wanted.server))
    }

    #[expect(clippy::unused_self, reason = "with OAuth it is not")]
    pub(crate) fn server_refused(&self, _: &Wanted<'_>, _: &Refusal<'_>) -> Remedy {
        Remedy::Unknown
    }
}

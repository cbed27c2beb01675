//! Changes of servers.

use mcp_registry_gateway::facade::{self, Facade};
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::promise::{Work, buffer, promise};

/// The changes of servers since this was made.
#[napi]
pub struct Watch {
    facade: Facade,
    watch: facade::Watch,
}

#[napi]
impl Watch {
    pub(crate) fn new(facade: Facade, watch: facade::Watch) -> Self {
        Self { facade, watch }
    }

    /// The next one; null at the end.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env, work: Option<&Work>) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, work, self.watch.next(), |change| change.map(buffer))
    }
}

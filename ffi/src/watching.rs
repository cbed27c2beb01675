//! Changes of servers, told to a listener.

use std::sync::Arc;

use mcp_registry_gateway::facade::{Facade, Watch, Work};

/// Who is told of changes. It is called on a thread of the gateway's: what takes long there delays the next change.
#[uniffi::export(with_foreign)]
pub trait Listener: Send + Sync {
    /// A change, as `/api/v1/events` has it.
    fn changed(&self, document: String);
}

/// Somebody who is told of changes, until this is ended or dropped.
#[derive(Debug, uniffi::Object)]
pub struct Watching(Work);

impl Watching {
    pub(crate) fn new(facade: &Facade, watch: Watch, listener: Arc<dyn Listener>) -> Self {
        let telling = async move {
            while let Some(change) = watch.next().await? {
                listener.changed(String::from_utf8_lossy(&change).into_owned());
            }
            Ok(())
        };
        Self(facade.run_apart(telling, |_| ()))
    }
}

#[uniffi::export]
impl Watching {
    /// Tells nothing more.
    pub fn end(&self) {
        self.0.cancel();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

//! The changes of servers, one after the other.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::error::Result;
use crate::gateway::Events;
use crate::views::event::told;
use crate::views::write;

/// The changes of servers from the moment on at which this was made. Clones share it; each change is received by one of them.
#[derive(Clone, Debug)]
pub struct Watch {
    events: Arc<Mutex<Events>>,
    clock: Arc<dyn Clock>,
}

impl Watch {
    pub(super) fn new(events: Events, clock: Arc<dyn Clock>) -> Self {
        Self { events: Arc::new(Mutex::new(events)), clock }
    }

    /// The next change, as `/api/v1/events` has it; `None` once the gateway is closed. Giving up the wait loses nothing.
    pub fn next(&self) -> impl Future<Output = Result<Option<Bytes>>> + Send + 'static {
        let Self { events, clock } = self.clone();
        async move {
            let mut events = events.lock().await;
            while let Some(heard) = events.next().await {
                if let Some(event) = told(heard, clock.timestamp()) {
                    return write(&event).map(|text| Some(text.into()));
                }
            }
            Ok(None)
        }
    }
}

//! An MCP client of this process.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

use crate::auth::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Attached, Gateway};
use crate::model::{Route, ServiceName};

/// A client that is attached to the gateway: JSON-RPC messages in and out, of either era. Clones share it.
#[derive(Clone, Debug)]
pub struct Line {
    attached: Attached,
    heard: Arc<Mutex<mpsc::Receiver<Bytes>>>,
}

impl Line {
    pub(super) fn open(gateway: &Gateway, service: Option<&str>, credentials: Credentials) -> Result<Self> {
        let unknown = |_| Error::new(ErrorKind::NotFound, "no such service");
        let route = match service {
            Some(name) => Route::Service(ServiceName::asked(name).map_err(unknown)?),
            None => Route::All,
        };
        let (attached, heard) = Attached::new(gateway.clone(), route, credentials);
        Ok(Self { attached, heard: Arc::new(Mutex::new(heard)) })
    }

    /// Takes one message of the client's. It has begun when this ends, and goes on by itself.
    pub fn send(&self, message: Bytes) -> impl Future<Output = Result<()>> + Send + 'static {
        let attached = self.attached.clone();
        async move {
            attached.receive(message, uuid::Uuid::new_v4().to_string().into()).await;
            Ok(())
        }
    }

    /// The next message for the client; `None` once the gateway has no more to say on this line.
    pub fn receive(&self) -> impl Future<Output = Result<Option<Bytes>>> + Send + use<> {
        let Self { attached, heard } = self.clone();
        async move {
            let mut heard = heard.lock().await;
            tokio::select! {
                biased;
                message = heard.recv() => Ok(message),
                () = attached.over() => Ok(heard.try_recv().ok()),
            }
        }
    }

    /// Ends the client's session: its calls under way are cancelled.
    pub fn end(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let attached = self.attached.clone();
        async move {
            attached.end().await;
            Ok(())
        }
    }
}

//! Work of the core as a promise.

use std::future::Future;
use std::sync::OnceLock;

use bytes::Bytes;
use mcp_registry_gateway::facade::{self, Facade};
use mcp_registry_gateway::{Error, Result};
use napi::bindgen_prelude::{Buffer, Object, ToNapiValue};
use napi::{Env, Status};
use napi_derive::napi;

/// What can be cancelled while it is under way: an `AbortSignal` holds one.
#[napi]
#[derive(Default)]
pub struct Work(OnceLock<facade::Work>);

#[napi]
impl Work {
    /// Work that has not begun.
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends what was begun with this.
    #[napi]
    pub fn cancel(&self) {
        if let Some(work) = self.0.get() {
            work.cancel();
        }
    }
}

/// A promise of what `work` comes to, run by `facade`; `show` makes of it what JavaScript sees.
pub(crate) fn promise<'env, T, S>(
    env: &'env Env,
    facade: &Facade,
    cancel: Option<&Work>,
    work: impl Future<Output = Result<T>> + Send + 'static,
    show: impl FnOnce(T) -> S + Send + 'static,
) -> napi::Result<Object<'env>>
where
    T: Send + 'static,
    S: ToNapiValue + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    let running = facade.run(work, move |outcome| match outcome {
        Ok(value) => deferred.resolve(move |_: Env| Ok(show(value))),
        Err(error) => deferred.reject(reason(&error)),
    });
    if let Some(cancel) = cancel {
        // One call a piece of work: the face makes one for each.
        let _ = cancel.0.set(running);
    }
    Ok(promise)
}

/// A promise of what `work` comes to, which blocks: on a thread of its own, since those of the gateway begin and end with it.
pub(crate) fn aside<T, S>(
    env: &Env,
    work: impl FnOnce() -> Result<T> + Send + 'static,
    show: impl FnOnce(T) -> S + Send + 'static,
) -> napi::Result<Object<'_>>
where
    T: Send + 'static,
    S: ToNapiValue + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    std::thread::spawn(move || match work() {
        Ok(value) => deferred.resolve(move |_: Env| Ok(show(value))),
        Err(error) => deferred.reject(reason(&error)),
    });
    Ok(promise)
}

/// The error as it crosses: its document is the message.
pub(crate) fn reason(error: &Error) -> napi::Error {
    let document = facade::error_document(error);
    napi::Error::new(Status::GenericFailure, String::from_utf8_lossy(&document).into_owned())
}

/// Bytes as JavaScript sees them.
pub(crate) fn buffer(bytes: Bytes) -> Buffer {
    Vec::from(bytes).into()
}

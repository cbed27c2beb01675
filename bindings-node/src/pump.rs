//! Messages for JavaScript, one after the other.

use std::future::Future;
use std::sync::Arc;

use mcp_registry_gateway::Result;
use mcp_registry_gateway::facade::{Facade, Work};
use napi::Status;
use napi::bindgen_prelude::JsValuesTupleIntoVec;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use tokio::sync::oneshot;

/// A function that is told each of many, and nothing at the end. `UNHEARD`: waiting for it keeps no process alive.
pub(crate) type Told<T, const UNHEARD: bool> =
    ThreadsafeFunction<Option<T>, (), Option<T>, Status, false, UNHEARD>;

/// Tells what each `next` comes to, the next after the one before was heard, until there is none or the thread that hears has ended.
pub(crate) fn pump<T, S, F, const UNHEARD: bool>(
    facade: &Facade,
    told: Told<S, UNHEARD>,
    next: impl Fn() -> F + Send + 'static,
    show: impl Fn(T) -> S + Send + 'static,
) -> Work
where
    T: Send + 'static,
    S: 'static,
    Option<S>: JsValuesTupleIntoVec,
    F: Future<Output = Result<Option<T>>> + Send + 'static,
{
    let told = Arc::new(told);
    let last = Arc::clone(&told);
    let telling = async move {
        while let Some(item) = next().await? {
            let (heard, hears) = oneshot::channel();
            let heard = move |_: napi::Result<()>, _| {
                let _ = heard.send(());
                Ok(())
            };
            told.call_with_return_value(Some(show(item)), ThreadsafeFunctionCallMode::NonBlocking, heard);
            if hears.await.is_err() {
                break;
            }
        }
        Ok(())
    };
    facade.run(telling, move |_| {
        last.call(None, ThreadsafeFunctionCallMode::NonBlocking);
    })
}

//! For `test/bench.mjs`: the same call as JavaScript makes, made in Rust, at a server that is none of JavaScript's.

use bytes::Bytes;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::gateway::Gateway;
use crate::promise::reason;

#[napi]
impl Gateway {
    /// Puts a server in place that answers in Rust.
    #[napi]
    pub fn house_echo(&self, name: String) -> napi::Result<()> {
        self.0.house_echo(&name).map_err(|error| reason(&error))
    }

    /// Does what a verb says so many times, and waits for that.
    #[napi]
    pub fn perform_often(&self, verb: String, document: Buffer, times: u32) -> napi::Result<()> {
        let document = Bytes::copy_from_slice(&document);
        self.0.perform_often(&verb, &document, times).map_err(|error| reason(&error))
    }
}

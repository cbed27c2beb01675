//! The gateway as a Node.js addon: what JavaScript calls, turned into calls of the core's facade. `index.js` is its face.
//!
//! Nothing here decides anything. Documents cross as the bytes of their JSON; errors as the document of the core, which the face
//! makes a `GatewayError` of. A promise keeps the process alive until it is settled; a server of the process does not.

#![expect(clippy::needless_pass_by_value, reason = "arguments cross by value")]

#[cfg(feature = "bench")]
mod bench;
mod client;
mod exchange;
mod gateway;
mod housed;
mod lease;
mod promise;
mod pump;
mod watch;

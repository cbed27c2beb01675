//! The gateway as a Node.js addon: what JavaScript calls, turned into calls of the core's facade. `index.js` is its face.
//!
//! Nothing here decides anything. Documents cross as the bytes of their JSON; errors as the document of the core, which the face
//! makes a `GatewayError` of.

mod client;
mod exchange;
mod gateway;
mod housed;
mod lease;
mod promise;
mod watch;

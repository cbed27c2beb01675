//! MCP on the wire: an envelope of borrowed slices, the table of methods, protocol versions, SSE.
//!
//! Nothing here builds a typed model of a message. What the gateway does not have to change stays the very
//! bytes that came in: unknown members, key order and big numbers survive because nobody touches them.

pub mod answer;
pub mod edit;
pub mod envelope;
#[cfg(test)]
pub(crate) mod generated;
pub mod lines;
pub mod headers;
pub mod meta;
pub mod method;
pub mod object;
pub mod splice;
pub mod sse;
pub mod version;

pub use edit::Edit;
pub use envelope::{Message, Shape};
pub use method::Method;
pub use object::Members;
pub use splice::Splice;

/// Deepest nesting of arrays and objects in a message.
pub const MAX_DEPTH: usize = 128;

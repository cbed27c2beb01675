//! MCP on the wire: an envelope of borrowed slices, the table of methods, protocol versions, SSE.
//!
//! Nothing here builds a typed model of a message. The parts that the gateway does not have to change stay the very
//! bytes that came in: unknown members, key order and big numbers survive because no code touches them.

pub mod answer;
pub mod edit;
pub mod envelope;
#[cfg(test)]
pub(crate) mod generated;
pub mod incoming;
pub mod lines;
pub mod headers;
pub mod meta;
pub mod method;
pub mod object;
mod scan;
pub mod splice;
mod surrogates;
pub mod twice;
pub mod sse;
pub mod version;

pub use edit::Edit;
pub use envelope::{Message, Shape};
pub use method::Method;
pub use object::Members;
pub use splice::Splice;

use bytes::Bytes;

/// Deepest nesting of arrays and objects in a message.
pub const MAX_DEPTH: usize = 128;

/// Pieces up to this size are copied rather than shared with the buffer that they were read into, in bytes.
const SMALL: usize = 1024;

/// `read`, a slice of the buffer of a connection, as bytes that do not keep that buffer if they are few: the next message can then
/// be read into it, where it would take a new one of several kilobytes.
pub fn detached(read: Bytes) -> Bytes {
    if read.len() > SMALL { read } else { Bytes::copy_from_slice(&read) }
}

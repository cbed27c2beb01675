//! What holds the gateway to its promises.
//!
//! A fake MCP server that writes down everything it received, a proxy that breaks connections on demand, a load
//! generator that checks every answer, and handles on the real `mcp-gateway` program. Nothing here knows the
//! gateway's insides: the tests drive it as its users do, over HTTP and by signals.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic in the test package is a failed test"
)]

pub mod clock;
pub mod fake;
pub mod field;
pub mod http;
pub mod load;
pub mod mcp;
pub mod modern;
pub mod process;
pub mod proxy;
pub mod tls;

/// How often a test repeats itself: `short` times, or `full` times where `FULL_TESTS` is set, as `tests/run --full` does.
pub fn rounds(short: usize, full: usize) -> usize {
    if std::env::var_os("FULL_TESTS").is_some() { full } else { short }
}

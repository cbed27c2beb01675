//! How servers say that they have forgotten a session, or never saw its handshake.
//!
//! 404 says so by the specification, and 410 means the same. Several libraries answer 400 and explain it in words, which stand here
//! and nowhere else. Such an answer opens a new session and sends the request once more, so that nothing else may be taken for it.

use http::StatusCode;

/// Parts of such answers, in lower case, and a library that sends each.
const TEXTS: [&str; 24] = [
    // TypeScript SDK: "Bad Request: Server not initialized", "Bad Request: Mcp-Session-Id header is required".
    "server not initialized",
    "mcp-session-id header is required",
    "mcp-session-id header must be",
    // Python SDK: "Bad Request: No valid session ID provided", "Bad Request: Missing session ID", "Received request before
    // initialization was complete".
    "no valid session",
    "missing session",
    "before initialization was complete",
    // Python SDK over HTTP+SSE: "Could not find session", "Invalid session ID", "session_id is required".
    "could not find session",
    "invalid session",
    "session_id is required",
    // Go, Java, C#, PHP and Rust SDKs, mcp-go, FastMCP.
    "session not found",
    "session id not found",
    "session id is required",
    "session id required",
    "session id missing",
    "session id is missing",
    "unknown session",
    "session expired",
    "session has expired",
    "session terminated",
    "session does not exist",
    "session not initialized",
    "client not initialized",
    "initialize first",
    "not been initialized",
];

/// The codes of JSON-RPC with which they are sent. Another code is a server's answer to the request itself.
const CODES: [Option<i32>; 5] = [None, Some(-32000), Some(-32001), Some(-32002), Some(-32600)];

/// Whether a refusal with this status, code and body says that the session is lost.
pub(super) fn says_lost(status: StatusCode, code: Option<i32>, body: &[u8]) -> bool {
    match status {
        // A method that is not known is answered 404 too, by servers that are ahead of their sessions.
        StatusCode::NOT_FOUND | StatusCode::GONE => code != Some(-32601),
        StatusCode::BAD_REQUEST => misses_session(code, body),
        _ => false,
    }
}

/// Whether a refusal says in words that it wants a session, or a handshake.
pub(super) fn misses_session(code: Option<i32>, body: &[u8]) -> bool {
    if !CODES.contains(&code) {
        return false;
    }
    let body = body.to_ascii_lowercase();
    TEXTS.iter().any(|text| memchr::memmem::find(&body, text.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_text_is_needed_where_the_status_alone_says_nothing() {
        for (status, code, body, lost) in [
            (400, Some(-32000), "Bad Request: Server not initialized", true),
            (400, None, "Invalid Session ID", true),
            (400, Some(-32600), "Bad Request: No valid session ID provided", true),
            (400, Some(-32602), "session not found", false),
            (400, None, "your session proposal is invalid", false),
            (400, None, "", false),
            (404, None, "", true),
            (404, Some(-32001), "Session not found", true),
            (404, Some(-32601), "Method not found", false),
            (410, None, "", true),
            (401, None, "session not found", false),
            (500, None, "session not found", false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(says_lost(status, code, body.as_bytes()), lost, "{status} {code:?} {body}");
        }
    }
}

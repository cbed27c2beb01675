//! Server-sent events, both ways.

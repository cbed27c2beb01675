//! The demo server over standard input and output: one message a line.

use std::io::{BufRead, Write};

use mcp_registry_gateway::rpc::Message;
use mcp_registry_gateway::{Error, ErrorKind, Result};
use tokio::task::spawn_blocking;

use super::{Replica, error_response};

/// Answers each line of `input` until it ends.
pub(super) async fn serve(
    server: &Replica,
    input: impl BufRead + Send + 'static,
    output: &mut impl Write,
) -> Result<()> {
    let mut lines = input.lines();
    loop {
        let reading = spawn_blocking(move || {
            let line = lines.next();
            (lines, line)
        });
        let (rest, line) = reading.await.map_err(broken)?;
        lines = rest;
        let Some(line) = line else { return Ok(()) };
        let reply = match Message::parse(line.map_err(broken)?.into()) {
            Ok(message) => server.answer(&message).await,
            Err(error) => Some(error_response("null", &error)),
        };
        if let Some(reply) = reply {
            output.write_all(&reply).map_err(broken)?;
            output.write_all(b"\n").map_err(broken)?;
            output.flush().map_err(broken)?;
        }
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "standard input or output broke").with("reason", &error).caused_by(error)
}

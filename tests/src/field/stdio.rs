//! A script on standard input and output.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use super::script::{Reply, Script};

/// Serves the script of the file `script` until standard input ends; writes every message to `log`.
pub fn serve(script: &Path, log: &Path) -> io::Result<()> {
    let script: Script = serde_json::from_slice(&std::fs::read(script)?)?;
    let log = Mutex::new(OpenOptions::new().create(true).append(true).open(log)?);
    std::thread::scope(|scope| {
        for line in io::stdin().lock().lines() {
            let line = line?;
            if let Ok(mut log) = log.lock() {
                writeln!(log, "{line}")?;
            }
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            if message.get("method").is_none() || message.get("id").is_none() {
                continue;
            }
            let (pause, reply) = script.reply(&message).timed();
            let id = message["id"].clone();
            if pause.is_zero() {
                write(&reply, &id)?;
            } else {
                scope.spawn(move || {
                    wait(pause);
                    write(&reply, &id)
                });
            }
        }
        Ok(())
    })
}

fn wait(pause: Duration) {
    let (_kept, never) = channel::<()>();
    while never.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {}
}

fn write(reply: &Reply, id: &Value) -> io::Result<()> {
    if matches!(reply, Reply::Http(..) | Reply::Reset) {
        std::process::exit(1);
    }
    let mut stdout = io::stdout().lock();
    for mut message in reply.messages(id).unwrap_or_default() {
        message.push(b'\n');
        stdout.write_all(&message)?;
    }
    stdout.flush()
}

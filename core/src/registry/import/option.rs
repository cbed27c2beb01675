//! Servers on the command line.

use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Registration;

/// Reads `name=url`, or `name=command args…` with words quoted as in a shell. With `service/replica` for the name the
/// server is called `service.replica` and is a replica of `service`:
/// `calc/a=http://127.0.0.1:1/mcp` and `calc/b=http://127.0.0.1:2/mcp` are two replicas of `calc`.
///
/// Errors: [`ErrorKind::InvalidParams`].
pub fn server_option(text: &str) -> Result<Registration> {
    let bad = |message: String| Error::new(ErrorKind::InvalidParams, message).with("option", name_of(text));
    let (name, target) = text
        .split_once('=')
        .ok_or_else(|| bad("write it as name=url, or name=\"command and arguments\"".into()))?;
    let (name, target) = (name.trim(), target.trim());
    if name.split('/').any(str::is_empty) {
        return Err(bad("there is no name before `=`, or none on one side of `/`".into()));
    }
    let (name, service) = match name.split_once('/') {
        Some((service, replica)) => (format!("{service}.{replica}"), Some(service.to_owned())),
        None => (name.to_owned(), None),
    };
    let registration = Registration { name, service, ..Registration::default() };
    let schemes: BTreeSet<_> = ["http", "https", "ws", "wss"].into();
    if target.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&*scheme.to_ascii_lowercase())) {
        return Ok(Registration { endpoint_url: Some(target.to_owned()), ..registration });
    }
    let mut words = shell_words::split(target)
        .map_err(|_| bad("a quote in the command is not closed".into()))?
        .into_iter();
    let command = words.next().ok_or_else(|| bad("there is no URL or command after `=`".into()))?;
    Ok(Registration { command: Some(command), args: words.collect(), ..registration })
}

/// The text before the `=`: the rest may hold secrets.
fn name_of(text: &str) -> String {
    text.split('=').next().unwrap_or_default().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_a_url_or_a_command() {
        let url = server_option("web = HTTPS://h/mcp?a=b").unwrap();
        assert_eq!((url.name.as_str(), url.endpoint_url.as_deref()), ("web", Some("HTTPS://h/mcp?a=b")));
        let command = server_option("fs=npx -y server '/my files' --x=1").unwrap();
        assert_eq!(command.command.as_deref(), Some("npx"));
        assert_eq!(command.args, ["-y", "server", "/my files", "--x=1"]);
        let replica = server_option("calc/a=http://h/").unwrap();
        assert_eq!((replica.name.as_str(), replica.service.as_deref()), ("calc.a", Some("calc")));
        for bad in ["web", "web=", "web='x", "=http://h", "/a=http://h", "a/=http://h"] {
            assert_eq!(server_option(bad).unwrap_err().kind(), ErrorKind::InvalidParams, "{bad}");
        }
        let error = server_option("web='hush").unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error}");
    }
}

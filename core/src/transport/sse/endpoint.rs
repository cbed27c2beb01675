//! The endpoint that messages are posted to, as the server's first event names it.

use http::Uri;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Longest name of an endpoint, in bytes.
const LONGEST: usize = 8 * 1024;

/// The path and query of the endpoint that `said` names, an absolute or relative reference seen from `base`, where the
/// stream of events was opened.
///
/// [`ErrorKind::BadUpstream`] if it is no URL, is longer than 8 KiB, or belongs to another origin: messages carry this server's
/// configured headers, its credentials among them, and no other origin gets them.
pub fn resolve(base: &Url, said: &[u8]) -> Result<Uri> {
    let wrong = |message: &'static str| Error::new(ErrorKind::BadUpstream, message);
    if said.len() > LONGEST {
        return Err(wrong("the server names an endpoint longer than the limit of 8192 bytes"));
    }
    let no_url = || wrong("the server names an endpoint that is no URL");
    let said = std::str::from_utf8(said).map_err(|_| no_url())?;
    let url = base.join(said).map_err(|error| no_url().caused_by(error))?;
    let is_foreign = url.origin() != base.origin() || !url.origin().is_tuple();
    if is_foreign || !url.username().is_empty() || url.password().is_some() {
        let shown: String = said.chars().take(200).collect();
        return Err(wrong("the server names an endpoint of another origin, to which nothing is sent")
            .with("endpoint", shown.escape_debug()));
    }
    let mut target = url.path().to_owned();
    if let Some(query) = url.query() {
        target.push('?');
        target.push_str(query);
    }
    target.parse().map_err(|error: http::uri::InvalidUri| no_url().caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(said: &str) -> Result<String> {
        let base = Url::parse("http://tools.example:8080/a/sse?x=1").unwrap();
        resolve(&base, said.as_bytes()).map(|uri| uri.to_string())
    }

    #[test]
    fn an_endpoint_is_found_from_where_the_stream_was_opened() {
        for (said, target) in [
            ("/messages?session_id=7", "/messages?session_id=7"),
            ("messages", "/a/messages"),
            ("?sid=1", "/a/sse?sid=1"),
            ("http://tools.example:8080/m", "/m"),
            ("HTTP://TOOLS.example:8080/m#x", "/m"),
            ("//tools.example:8080/m n", "/m%20n"),
        ] {
            assert_eq!(at(said).unwrap(), target, "{said}");
        }
    }

    #[test]
    fn an_endpoint_of_another_origin_gets_nothing() {
        for said in [
            "http://evil.example/m",
            "//evil.example:8080/m",
            "https://tools.example:8080/m",
            "http://tools.example/m",
            "http://tools.example:8080@evil.example/m",
            "http://user:secret@tools.example:8080/m",
            "\\\\evil.example\\m",
            "file:///etc/passwd",
            "data:,x",
        ] {
            assert_eq!(at(said).unwrap_err().kind(), ErrorKind::BadUpstream, "{said}");
        }
        assert!(resolve(&Url::parse("http://h/").unwrap(), b"\xff").is_err());
        assert!(at(&"x".repeat(LONGEST + 1)).is_err());
    }
}

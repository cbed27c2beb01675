//! The members that the modern era has in `_meta` and beside every result, read and written without touching anything else.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::edit::Edit;
use super::object::{range_in, text};
use super::{Members, Message};
use crate::error::{Error, ErrorKind, Result};

/// The revision that a request speaks.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The client's capabilities, for this request.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The client's description of itself.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The lowest level of the log messages of this request that the client wants.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The `subscriptions/listen` request that a message belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// The server's description of itself.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The mark of a server's message in which text was replaced that stood for no character.
pub const REPAIRED: &str = "io.github.mcp-registry-gateway/repaired";

/// The keys that only a modern request has.
const REQUEST_KEYS: [&str; 4] = [PROTOCOL_VERSION, CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL];

/// The members that only a modern result has.
const RESULT_KEYS: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

/// Levels of log messages, the least grave first.
pub const LOG_LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// How grave a level of log messages is; `None` if it is none.
pub fn gravity(level: &str) -> Option<usize> {
    LOG_LEVELS.iter().position(|known| *known == level)
}

static VERSION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("protocolVersion"));
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u"));

/// The `_meta` of a modern request, as slices of the message.
#[derive(Debug)]
pub struct Meta<'a> {
    /// The revision.
    pub version: Cow<'a, str>,
    /// The raw value at [`CLIENT_CAPABILITIES`].
    pub capabilities: Option<&'a str>,
    /// The raw value at [`CLIENT_INFO`].
    pub client_info: Option<&'a str>,
    /// The raw value at [`LOG_LEVEL`].
    pub log_level: Option<&'a str>,
}

impl<'a> Meta<'a> {
    /// Reads the `_meta` of `message`; `None` if it names no protocol version: the message is not modern.
    ///
    /// Errors: as of [`Members::parse`]; [`ErrorKind::InvalidParams`] for a version that is not a string.
    pub fn of(message: &'a Message) -> Result<Option<Self>> {
        // Nearly every legacy request ends here. A key can also be written with escapes.
        let escapes = |raw| memchr::memchr(b'\\', raw).is_some() && ESCAPE.find(raw).is_some();
        let mentions = |raw| VERSION.find(raw).is_some() || escapes(raw);
        let Some(params) = message.params_bytes().filter(|raw| mentions(raw)).and_then(|_| message.params())
        else {
            return Ok(None);
        };
        let Some(meta) = Members::parse(params)?.get("_meta") else { return Ok(None) };
        if !meta.starts_with('{') {
            return Ok(None);
        }
        let members = Members::parse(meta)?;
        let Some(version) = members.get(PROTOCOL_VERSION) else { return Ok(None) };
        let version = text(version).ok_or_else(|| {
            Error::new(ErrorKind::InvalidParams, format!("`_meta[\"{PROTOCOL_VERSION}\"]` must be a string"))
        })?;
        Ok(Some(Self {
            version,
            capabilities: members.get(CLIENT_CAPABILITIES),
            client_info: members.get(CLIENT_INFO),
            log_level: members.get(LOG_LEVEL),
        }))
    }

    /// The capabilities that the client declares.
    ///
    /// [`ErrorKind::InvalidParams`] if they are missing, as the specification demands, or not an object.
    pub fn required_capabilities(&self) -> Result<&'a str> {
        self.capabilities.filter(|raw| raw.starts_with('{')).ok_or_else(|| {
            let message = format!("`params._meta` must have `{CLIENT_CAPABILITIES}`, an object");
            Error::new(ErrorKind::InvalidParams, message)
        })
    }
}

/// Sets members of `_meta` in an edit of params or of a result; makes the `_meta` if there is none. Values are raw.
///
/// [`ErrorKind::InvalidRequest`] for a `_meta` that is not an object.
pub fn set(edit: &mut Edit<'_>, members: &[(&str, &str)]) -> Result<()> {
    let mut meta = Edit::of(edit.members().get("_meta").unwrap_or("{}"))?;
    for (key, value) in members {
        meta.set(key, *value);
    }
    let meta = meta.apply();
    edit.set("_meta", meta);
    Ok(())
}

/// Removes the members that only a modern request has from its params: the keys in `_meta`, and a `_meta` that is empty then.
pub fn strip_request(edit: &mut Edit<'_>) -> Result<()> {
    strip_request_for(edit, None)
}

/// As [`strip_request`]; a progress token becomes `token`, if there is one.
pub fn strip_request_for(edit: &mut Edit<'_>, token: Option<u64>) -> Result<()> {
    let Some(raw) = edit.members().get("_meta") else { return Ok(()) };
    let mut meta = Edit::of(raw)?;
    for key in REQUEST_KEYS {
        meta.remove(key);
    }
    if let Some(token) = token.filter(|_| meta.members().get("progressToken").is_some()) {
        meta.set("progressToken", token.to_string());
    }
    if meta.is_empty() {
        return Ok(());
    }
    let left = meta.apply();
    if Members::parse(&left)?.iter().next().is_none() {
        edit.remove("_meta");
    } else {
        edit.set("_meta", left);
    }
    Ok(())
}

/// Adds the members that a modern result must have: that it is complete and, if it may be cached at all, that it is for the
/// caller alone and stale at once. Members of these names in a legacy server's result do not mean that.
pub fn complete(edit: &mut Edit<'_>, cacheable: bool) {
    edit.set("resultType", r#""complete""#);
    if cacheable {
        edit.set("ttlMs", "0").set("cacheScope", r#""private""#);
    }
}

/// Removes the members that only a modern result has.
pub fn strip_result(edit: &mut Edit<'_>) {
    for key in RESULT_KEYS {
        edit.remove(key);
    }
}

/// The position in `whole` of the object that an [`Edit`] of `part`, a slice of it, begins at.
pub fn base(whole: &str, part: &str) -> usize {
    range_in(whole, part).start
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn message(params: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn edited(source: &str, change: impl FnOnce(&mut Edit<'_>)) -> String {
        let mut edit = Edit::of(source).unwrap();
        change(&mut edit);
        edit.apply()
    }

    #[test]
    fn a_version_in_meta_makes_a_request_modern_however_its_key_is_written() {
        for key in [
            PROTOCOL_VERSION,
            r"io.modelcontextprotocol\/protocolVersion",
            r"io.modelcontextprotocol/pr\u006ftocolVersion",
        ] {
            let message = message(&format!(r#"{{"_meta":{{"{key}":"2026-07-28"}}}}"#));
            let meta = Meta::of(&message).unwrap().unwrap();
            assert_eq!(meta.version, "2026-07-28");
            assert_eq!(meta.required_capabilities().unwrap_err().kind(), ErrorKind::InvalidParams);
        }
        for params in [
            "{}",
            r#"{"protocolVersion":"2025-11-25"}"#,
            r#"{"_meta":{"x":"protocolVersion"}}"#,
            r#"{"_meta":["protocolVersion"]}"#,
        ] {
            assert!(Meta::of(&message(params)).unwrap().is_none(), "{params}");
        }
        let wrong = message(&format!(r#"{{"_meta":{{"{PROTOCOL_VERSION}":1}}}}"#));
        assert_eq!(Meta::of(&wrong).unwrap_err().kind(), ErrorKind::InvalidParams);
    }

    #[test]
    fn what_only_the_modern_era_knows_is_taken_out_and_all_else_stays() {
        let params = format!(
            r#"{{ "_meta" : {{"{PROTOCOL_VERSION}":"x", "progressToken" : 1e0, "{CLIENT_INFO}":{{}}}} , "name":"a"}}"#
        );
        let legacy = edited(&params, |e| strip_request(e).unwrap());
        assert_eq!(legacy, r#"{ "_meta" : { "progressToken" : 1e0} , "name":"a"}"#);
        let only = format!(r#"{{"_meta":{{"{LOG_LEVEL}":"info"}},"name":"a"}}"#);
        assert_eq!(edited(&only, |e| strip_request(e).unwrap()), r#"{"name":"a"}"#);
        let result = r#"{"tools":[],"ttlMs":5 ,"resultType":"complete", "cacheScope":"public","x":1.0}"#;
        assert_eq!(edited(result, strip_result), r#"{"tools":[],"x":1.0}"#);
    }

    #[test]
    fn a_result_of_a_legacy_server_is_complete_stale_and_for_nobody_else() {
        assert_eq!(edited("{}", |e| complete(e, false)), r#"{"resultType":"complete"}"#);
        assert_eq!(
            edited(r#"{"ttlMs":5,"resultType":"task"}"#, |e| complete(e, true)),
            r#"{"ttlMs":0,"resultType":"complete","cacheScope":"private"}"#
        );
    }

    proptest! {
        #[test]
        fn what_is_added_and_taken_out_again_leaves_the_bytes_as_they_were(
            value in "[ -~ü]{0,20}", number in "[1-9][0-9]{0,30}(\\.[0-9]{1,3})?", space in "[ \n\t]{0,3}"
        ) {
            let quoted = super::super::envelope::quote(&value);
            let params = format!(r#"{{{space}"a"{space}:{quoted}{space},"n":{number}{space}}}"#);
            let added = edited(&params, |e| {
                set(e, &[(PROTOCOL_VERSION, "\"2026-07-28\""), (CLIENT_CAPABILITIES, "{}")]).unwrap();
            });
            prop_assert!(added.contains(PROTOCOL_VERSION));
            prop_assert_eq!(edited(&added, |e| strip_request(e).unwrap()), params.clone());
            let completed = edited(&params, |e| complete(e, true));
            prop_assert_eq!(edited(&completed, strip_result), params);
        }
    }
}

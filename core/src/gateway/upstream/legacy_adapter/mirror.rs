//! Arguments that a tool wants repeated in headers (`x-mcp-header` in its input schema): a modern client repeats them itself,
//! for a legacy client the gateway does.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::HeaderName;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{CapabilityKind, Listing};
use crate::rpc::object::text;
use crate::rpc::twice::unambiguous;
use crate::rpc::{Members, Message, Method, headers};

/// The repeated arguments of one server's tools.
#[derive(Debug, Default)]
pub(crate) struct Mirrors(ArcSwap<HashMap<String, Vec<Mirror>>>);

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    /// The keys that lead to it.
    path: Vec<String>,
    header: HeaderName,
}

impl Mirrors {
    /// Learns from the server's current listing.
    pub(crate) fn learn(&self, listing: &Listing) {
        let tools = listing.of(CapabilityKind::Tool);
        let tools = tools.filter_map(|tool| {
            let raw = tool.definition.get();
            // Hardly any tool has one.
            memchr::memmem::find(raw.as_bytes(), b"x-mcp-header")?;
            let mut found = Vec::new();
            collect(Members::parse(raw).ok()?.get("inputSchema")?, &mut Vec::new(), &mut found);
            (!found.is_empty()).then(|| (tool.name.clone(), found))
        });
        self.0.store(tools.collect::<HashMap<_, _>>().into());
    }

    /// Checks that the headers of a call of the tool `name` agree with its arguments; `message` may use another name for the
    /// tool.
    ///
    /// [`ErrorKind::HeaderMismatch`] for a header that is missing, has no argument, or has another value;
    /// [`ErrorKind::InvalidParams`] as of [`Mirrors::check`].
    pub(crate) fn agree(&self, name: &str, message: &Message, given: &HeaderMap) -> Result<()> {
        let known = self.0.load();
        let Some(wanted) = known.get(name) else { return Ok(()) };
        self.check(name, message)?;
        let arguments = message.params_members()?.get("arguments").unwrap_or("{}");
        for mirror in wanted {
            let shown = mirror.header.as_str();
            let fits = match value_at(arguments, &mirror.path) {
                Some(value) => headers::same(given, &mirror.header, shown, true, |said| alike(said, &value))?,
                None => !given.contains_key(&mirror.header),
            };
            if !fits {
                let message = format!("the header {shown} does not say what the argument does");
                return Err(Error::new(ErrorKind::HeaderMismatch, message));
            }
        }
        Ok(())
    }

    /// Checks that the arguments of a call of the tool `name` mean the same to every reader, if any of them is repeated in a header.
    ///
    /// [`ErrorKind::InvalidParams`], naming the key, if a key stands twice in one object of them.
    pub(crate) fn check(&self, name: &str, message: &Message) -> Result<()> {
        let known = self.0.load();
        if !known.contains_key(name) {
            return Ok(());
        }
        unambiguous(message.params_members()?.get("arguments").unwrap_or("{}"), "arguments")
    }

    /// The headers for a call, if its tool wants any.
    pub(crate) fn headers(&self, message: &Message) -> Option<Box<HeaderMap>> {
        let known = self.0.load();
        if known.is_empty() || message.method() != Some(&Method::ToolsCall) {
            return None;
        }
        let params = message.params_members().ok()?;
        let wanted = known.get(&*params.text("name")?)?;
        let arguments = params.get("arguments")?;
        let mut all = HeaderMap::new();
        for mirror in wanted {
            if let Some(value) = value_at(arguments, &mirror.path) {
                all.insert(mirror.header.clone(), headers::encode(&value));
            }
        }
        Some(Box::new(all))
    }
}

/// Finds the annotated properties below `schema`, which is at `path`; only chains of `properties` are followed, as the
/// specification requires.
fn collect(schema: &str, path: &mut Vec<String>, found: &mut Vec<Mirror>) {
    let Ok(members) = Members::parse(schema) else { return };
    let header = members.text("x-mcp-header").filter(|_| !path.is_empty());
    let header = header.and_then(|name| format!("{}{name}", headers::PARAM_PREFIX).parse().ok());
    if let Some(header) = header {
        found.push(Mirror { path: path.clone(), header });
    }
    let properties = members.get("properties").and_then(|raw| Members::parse(raw).ok());
    for (key, child) in properties.iter().flat_map(Members::iter) {
        path.push(key.to_owned());
        collect(child, path, found);
        path.pop();
    }
}

/// A string, integer or boolean as text for a header; absent, null and all other values are left out.
fn value_at(arguments: &str, path: &[String]) -> Option<String> {
    let mut value = arguments;
    for key in path {
        value = Members::parse(value).ok()?.get(key)?;
    }
    if let Some(text) = text(value) {
        return Some(text.into_owned());
    }
    let plain = matches!(value, "true" | "false") || value.parse::<f64>().is_ok();
    plain.then(|| value.to_owned())
}

/// Whether two values are equal; numbers are compared by value.
fn alike(said: &str, value: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    said == value || number(said).is_some_and(|said| number(value) == Some(said))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::value::RawValue;

    use super::*;
    use crate::model::Capability;

    /// X-17: a key that stands twice is refused wherever it stands in the arguments of a tool that has some repeated.
    #[test]
    fn a_key_that_stands_twice_is_refused_by_its_name() {
        let definition =
            r#"{"name":"t","inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}"#;
        let definition: Arc<RawValue> = RawValue::from_string(definition.into()).unwrap().into();
        let tool = Capability { kind: CapabilityKind::Tool, name: "t".into(), description: None, definition };
        let mirrors = Mirrors::default();
        mirrors.learn(&Listing { items: vec![tool], ..Listing::default() });
        let check = |name: &str, arguments: &str| {
            let params = format!(r#"{{"name":"{name}","arguments":{arguments}}}"#);
            mirrors
                .check(name, &Message::parse(Message::request(Some(1), "tools/call", Some(&params))).unwrap())
        };
        for twice in [r#"{"a":"x","a":"y"}"#, r#"{"b":[{"c":1,"c":2}],"a":"x"}"#, r#"{"a":"x","\u0061":"y"}"#]
        {
            let error = check("t", twice).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidParams);
            assert!(error.message().contains("stands twice"), "{error}");
        }
        assert!(check("t", r#"{"a":"x","b":{"a":"y"}}"#).is_ok());
        assert!(check("other", r#"{"a":"x","a":"y"}"#).is_ok(), "nothing here reads its arguments");
    }

    /// B-25: an argument that becomes a header is encoded there, so that it begins no line of its own.
    #[test]
    fn annotated_arguments_become_headers_and_others_do_not() {
        let definition = r#"{"name":"t","inputSchema":{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
            "list":{"type":"array","items":{"x-mcp-header":"Bad"}},
            "none":{"type":"boolean","x-mcp-header":"None"}}}}"#;
        let definition: Arc<RawValue> = RawValue::from_string(definition.into()).unwrap().into();
        let tool = Capability { kind: CapabilityKind::Tool, name: "t".into(), description: None, definition };
        let mirrors = Mirrors::default();
        mirrors.learn(&Listing { items: vec![tool], ..Listing::default() });
        let call = |params: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            mirrors.headers(&Message::parse(text.into()).unwrap())
        };
        let found =
            call(r#"{"name":"t","arguments":{"region":"ü","deep":{"n":42},"list":["x"],"none":null}}"#);
        let found = found.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found["mcp-param-region"], "=?base64?w7w=?=");
        assert_eq!(found["mcp-param-n"], "42");
        assert!(call(r#"{"name":"other","arguments":{}}"#).is_none());
        let broken = call(r#"{"name":"t","arguments":{"region":"a\r\nX-Evil: 1"}}"#).unwrap();
        assert_eq!(broken["mcp-param-region"], "=?base64?YQ0KWC1FdmlsOiAx?=");
    }
}

//! Translation of messages between a legacy client and a modern server: pure functions over bytes. Bytes that the eras do
//! not require to be changed stay as they are.

use bytes::Bytes;

use crate::error::{Cause, Error, ErrorKind, Result};
use crate::rpc::envelope::quote;
use crate::rpc::object::text;
use crate::rpc::{Edit, Members, Message, Method, Splice, meta, version};

/// The error code of 2025-11-25 and before for a resource that does not exist.
const NOT_FOUND_LEGACY: &str = "-32002";

/// The answer of a modern server.
#[derive(Debug)]
pub(super) enum Answered {
    /// The response as a legacy client reads it.
    Complete(Message),
    /// The server asks questions first.
    Asks(ServerQuestions),
}

/// The questions that a server asks before it answers.
#[derive(Debug, Default)]
pub(super) struct ServerQuestions {
    /// Key, method and raw params of each.
    pub(super) asked: Vec<(String, Method, Option<String>)>,
    /// The state that must be returned with the answers, unchanged.
    pub(super) state: Option<String>,
}

/// The request as a modern server expects it: with these members in `params._meta`.
///
/// [`ErrorKind::InvalidRequest`] if `params` or `_meta` is not an object or has a key twice.
pub(super) fn request(message: &Message, members: &[(&str, &str)]) -> Result<Bytes> {
    let mut splice = Splice::new();
    edit_params(message, &mut splice, |params| meta::set(params, members))?;
    Ok(splice.apply(message.bytes()))
}

/// The request once more, under a new id, with the answers (keys and raw results) and the server's own state. Members of
/// the same names from an earlier round, or from the client, are not kept.
pub(super) fn retry(
    request: &Message,
    id: u64,
    answers: &[(String, String)],
    state: Option<&str>,
) -> Result<Bytes> {
    let mut splice = request.with_id(id.to_string());
    edit_params(request, &mut splice, |params| {
        if answers.is_empty() {
            params.remove("inputResponses");
        } else {
            let all: Vec<_> = answers.iter().map(|(key, raw)| format!("{}:{raw}", quote(key))).collect();
            params.set("inputResponses", format!("{{{}}}", all.join(",")));
        }
        match state {
            Some(state) => params.set("requestState", state),
            None => params.remove("requestState"),
        };
        Ok(())
    })?;
    Ok(splice.apply(request.bytes()))
}

fn edit_params(
    message: &Message,
    splice: &mut Splice,
    change: impl FnOnce(&mut Edit<'_>) -> Result<()>,
) -> Result<()> {
    if let Some(params) = message.params() {
        let mut edit = Edit::of(params)?;
        change(&mut edit)?;
        edit.write(splice, message.range_of(params).start);
        return Ok(());
    }
    let mut params = Edit::of("{}")?;
    change(&mut params)?;
    let mut whole = Edit::of(message.text())?;
    whole.set("params", params.apply());
    whole.write(splice, 0);
    Ok(())
}

/// Reads the response to a request of this method.
///
/// [`ErrorKind::BadUpstream`] for a result of an unknown type.
pub(super) fn answer(message: &Message, method: &Method, uri: Option<&str>) -> Result<Answered> {
    let Some(result) = message.result() else {
        return Ok(Answered::Complete(error(message, method, uri)?));
    };
    let wrong = |error: Error| {
        Error::new(ErrorKind::BadUpstream, format!("the server's result cannot be read: {}", error.message()))
    };
    let mut edit = Edit::of(result).map_err(wrong)?;
    let kind = edit.members().text("resultType");
    match kind.as_deref() {
        None | Some("complete") => {}
        Some("input_required") => return questions(edit.members()).map_err(wrong).map(Answered::Asks),
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            let message = "the server answered with a kind of result that this client knows nothing of";
            return Err(Error::new(ErrorKind::BadUpstream, message).with("result_type", other));
        }
    }
    edit.remove("resultType");
    if method.is_cacheable() {
        edit.remove("ttlMs").remove("cacheScope");
    }
    if edit.is_empty() {
        return Ok(Answered::Complete(message.clone()));
    }
    let mut splice = Splice::new();
    edit.write(&mut splice, message.range_of(result).start);
    Message::parse(splice.apply(message.bytes())).map(Answered::Complete)
}

fn questions(result: &Members<'_>) -> Result<ServerQuestions> {
    let mut questions = ServerQuestions {
        state: result.get("requestState").filter(|raw| *raw != "null").map(str::to_owned),
        ..ServerQuestions::default()
    };
    for (key, raw) in Members::parse(result.get("inputRequests").unwrap_or("{}"))?.iter() {
        let asked = Members::parse(raw)?;
        let method = asked.text("method").ok_or_else(|| {
            Error::new(ErrorKind::InvalidRequest, "a member of `inputRequests` has no `method`")
        })?;
        questions.asked.push((key.to_owned(), Method::of(&method), asked.get("params").map(str::to_owned)));
    }
    Ok(questions)
}

/// The error response as a legacy client reads it: codes that only the modern era has become their legacy equivalents;
/// `uri` is the URI that `resources/read` requested.
fn error(message: &Message, method: &Method, uri: Option<&str>) -> Result<Message> {
    let Some((raw, error)) = message.error().and_then(|raw| Some((raw, Members::parse(raw).ok()?))) else {
        return Ok(message.clone());
    };
    let code = match error.get("code") {
        Some("-32602") if *method == Method::ResourcesRead && is_absent(&error, uri) => NOT_FOUND_LEGACY,
        // The client declared its capabilities when the session began; for it, the request is one that it may not make.
        Some("-32021") => "-32600",
        // The gateway made the headers and chose the version: the client is not to blame for their refusal.
        Some(code @ ("-32020" | "-32022")) => {
            let said: String = error.text("message").unwrap_or_default().chars().take(200).collect();
            let message = "the server refuses the way in which the gateway speaks to it";
            return Err(Error::new(ErrorKind::BadUpstream, message)
                .status(400)
                .because(Cause::Refused)
                .with("code", code)
                .with("message", said));
        }
        _ => return Ok(message.clone()),
    };
    let mut edit = Edit::of(raw)?;
    edit.set("code", code);
    let mut splice = Splice::new();
    edit.write(&mut splice, message.range_of(raw).start);
    Message::parse(splice.apply(message.bytes()))
}

/// Whether an error says that there is no such resource, and not that the params are wrong.
fn is_absent(error: &Members<'_>, uri: Option<&str>) -> bool {
    let named = error.get("data").and_then(|data| Members::parse(data).ok()?.text("uri"));
    named.is_some_and(|named| uri.is_none_or(|uri| named == uri))
        || error.text("message").is_some_and(|said| said.to_ascii_lowercase().contains("not found"))
}

/// A notification as a legacy client reads it: without the id of a subscription that it knows nothing of.
pub(super) fn notification(message: &Message) -> Result<Message> {
    let Some(params) = message.params() else { return Ok(message.clone()) };
    if memchr::memmem::find(params.as_bytes(), b"subscriptionId").is_none() {
        return Ok(message.clone());
    }
    let mut edit = Edit::of(params)?;
    let Some(found) = edit.members().get("_meta") else { return Ok(message.clone()) };
    let mut inner = Edit::of(found)?;
    inner.remove(meta::SUBSCRIPTION_ID);
    let left = inner.apply();
    if Members::parse(&left)?.iter().next().is_none() {
        edit.remove("_meta");
    } else {
        edit.set("_meta", left);
    }
    let mut splice = Splice::new();
    edit.write(&mut splice, message.range_of(params).start);
    Message::parse(splice.apply(message.bytes()))
}

/// The result of `initialize` for a legacy client, from that of `server/discover`.
pub(crate) fn introduction(discovered: &str) -> Result<String> {
    let mut edit = Edit::of(discovered)?;
    let who = edit
        .members()
        .get("serverInfo")
        .or_else(|| Members::parse(edit.members().get("_meta")?).ok()?.get(meta::SERVER_INFO))
        .unwrap_or(r#"{"name":"unknown","version":"0"}"#);
    edit.remove("resultType").remove("supportedVersions").remove("ttlMs").remove("cacheScope");
    edit.set("protocolVersion", quote(version::LATEST_LEGACY)).set("serverInfo", who);
    edit.set_if_absent("capabilities", "{}");
    Ok(edit.apply())
}

/// A server's question as a request to a legacy client.
pub(super) fn question(id: u64, method: &Method, params: Option<&str>) -> Result<Message> {
    let params = match (method, params) {
        (Method::Elicit, Some(params)) => Some(named_elicitation(params)?),
        (_, params) => params.map(str::to_owned),
    };
    Message::parse(Message::request(Some(id), method.as_str(), params.as_deref()))
}

/// An elicitation by URL must have an id in 2025-11-25, and has none in later revisions.
fn named_elicitation(params: &str) -> Result<String> {
    let mut edit = Edit::of(params)?;
    if edit.members().text("mode").as_deref() == Some("url") {
        edit.set_if_absent("elicitationId", quote(&uuid::Uuid::new_v4().to_string()));
    }
    Ok(edit.apply())
}

/// Whether a client that declared `capabilities` may be asked this.
pub(super) fn may_ask(capabilities: &str, method: &Method, params: Option<&str>) -> bool {
    let Ok(declared) = Members::parse(capabilities) else { return false };
    match method {
        Method::CreateMessage => declared.get("sampling").is_some(),
        Method::RootsList => declared.get("roots").is_some(),
        Method::Elicit => {
            let Some(modes) = declared.get("elicitation").and_then(|raw| Members::parse(raw).ok()) else {
                return false;
            };
            let mode = params.and_then(|params| Members::parse(params).ok()?.text("mode").map(String::from));
            match mode.as_deref() {
                // A declaration without a mode means the form, which was the only mode at first.
                None | Some("form") => modes.get("form").is_some() || modes.get("url").is_none(),
                Some(mode) => modes.get(mode).is_some(),
            }
        }
        _ => false,
    }
}

/// The URI that `resources/read` requests.
pub(super) fn uri(message: &Message) -> Option<String> {
    let params = message.params()?;
    text(Members::parse(params).ok()?.get("uri")?).map(String::from)
}

#[cfg(test)]
mod tests;

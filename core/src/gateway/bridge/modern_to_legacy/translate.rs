//! Translates messages between the eras, from a modern client to a legacy server and back. Parts on which the eras agree keep
//! their bytes.

use std::fmt::Write as _;
use std::ops::Range;

use bytes::Bytes;

use super::codes;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::envelope::quote;
use crate::rpc::object::text;
use crate::rpc::{Edit, Members, Message, Method, Splice, meta};

/// The error code of legacy servers for a resource that they do not have.
const NO_RESOURCE: i32 = -32002;
/// The error code of legacy servers when the user has to visit a page first.
const URL_ELICITATION_REQUIRED: i32 = -32042;

/// A modern request as a legacy server expects it: with the gateway's own id and progress token, and the name that the server
/// knows.
pub(crate) fn request(message: &Message, id: u64, rename: Option<&(Range<usize>, String)>) -> Result<Bytes> {
    let mut splice = message.with_id(id.to_string());
    if let Some((range, name)) = rename {
        splice.replace(range.clone(), name.clone());
    }
    if let Some(params) = message.params() {
        let mut edit = Edit::of(params)?;
        meta::strip_request_for(&mut edit, Some(id))?;
        edit.remove("inputResponses").remove("requestState");
        edit.write(&mut splice, message.range_of(params).start);
    }
    Ok(splice.apply(message.bytes()))
}

/// A response as the modern client gets it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    /// The code, if it is an error.
    pub(crate) code: Option<i32>,
}

/// A server's response with the client's own id; one of a legacy server becomes a modern one.
pub(crate) fn answer(message: &Message, client_id: &str, method: &Method, legacy: bool) -> Answer {
    let mut splice = message.with_id(client_id);
    if let (Some(result), true) = (message.result(), legacy)
        && let Ok(mut edit) = Edit::of(result)
    {
        meta::complete(&mut edit, method.is_cacheable());
        edit.write(&mut splice, message.range_of(result).start);
    }
    let code = message.error().map(|error| error_code(message, error, &mut splice));
    Answer { body: splice.apply(message.bytes()), code }
}

/// The code of a server's error as the modern client gets it; what has to change for that is noted in `splice`.
fn error_code(message: &Message, error: &str, splice: &mut Splice<'_>) -> i32 {
    let gone = codes::is(error, NO_RESOURCE) || codes::is(error, URL_ELICITATION_REQUIRED);
    let raw = Members::parse(error).ok().and_then(|members| members.get("code")).filter(|_| gone);
    if let Some(raw) = raw {
        let known = ErrorKind::InvalidParams.row().rpc;
        splice.replace(message.range_of(raw), known.to_string());
        return known;
    }
    let recoded = codes::recode(error);
    if let Some(error_now) = recoded.error {
        splice.replace(message.range_of(error), error_now);
    }
    recoded.code
}

/// A modern server's response with the scope `private`, if it says that others than its caller may be given it.
pub(crate) fn withheld(message: &Message) -> Option<Message> {
    let result = message.result()?;
    let members = Members::parse(result).ok()?;
    let scope = members.get("cacheScope").filter(|scope| text(scope).as_deref() != Some("private"))?;
    let mut splice = Splice::new();
    splice.replace(message.range_of(scope), r#""private""#);
    Message::parse(splice.apply(message.bytes())).ok()
}

/// A request of a server, as it stands in `inputRequests`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) method: String,
    /// Raw params.
    pub(crate) params: Option<String>,
}

impl Question {
    pub(crate) fn of(message: &Message) -> Self {
        let method = message.method().map_or("", Method::as_str).to_owned();
        Self { method, params: message.params().map(str::to_owned) }
    }

    /// The capability that a client must have declared to get this request, as in `requiredCapabilities`; `None` if it has
    /// declared it. [`ErrorKind::MethodNotFound`] if no client can get this request.
    pub(crate) fn missing(&self, capabilities: &str) -> Result<Option<&'static str>> {
        let params = self.params.as_deref().and_then(|params| Members::parse(params).ok());
        let by_url = params.and_then(|params| params.text("mode")).as_deref() == Some("url");
        let (path, required): (&[&str], _) = match self.method.as_str() {
            "sampling/createMessage" => (&["sampling"], r#"{"sampling":{}}"#),
            "elicitation/create" if by_url => (&["elicitation", "url"], r#"{"elicitation":{"url":{}}}"#),
            "elicitation/create" => (&["elicitation"], r#"{"elicitation":{"form":{}}}"#),
            "roots/list" => (&["roots"], r#"{"roots":{}}"#),
            _ => {
                return Err(Error::new(
                    ErrorKind::MethodNotFound,
                    "the server sent a request of a kind that no client answers",
                ));
            }
        };
        let mut at = Some(capabilities);
        for key in path {
            at = at.and_then(|raw| Members::parse(raw).ok()?.get(key)).filter(|raw| *raw != "null");
        }
        Ok(if at.is_some() { None } else { Some(required) })
    }
}

/// The requests after which a legacy server expects the client's request again: pages that the user has to visit.
pub(crate) fn pages_to_visit(message: &Message) -> Option<Vec<Question>> {
    let error = message.error()?;
    if !codes::is(error, URL_ELICITATION_REQUIRED) {
        return None;
    }
    let error = Members::parse(error).ok()?;
    let pages = Members::parse(error.get("data")?).ok()?.get("elicitations")?;
    let pages: Vec<&serde_json::value::RawValue> = serde_json::from_str(pages).ok()?;
    let question = |params: &&serde_json::value::RawValue| Question {
        method: Method::Elicit.as_str().into(),
        params: Some(params.get().to_owned()),
    };
    Some(pages.iter().map(question).collect()).filter(|pages: &Vec<_>| !pages.is_empty())
}

/// The result that sends a client the server's requests.
pub(crate) fn input_required<'a>(
    questions: impl Iterator<Item = (&'a str, &'a Question)>,
    state: &str,
) -> String {
    let mut out = String::from(r#"{"resultType":"input_required","inputRequests":{"#);
    for (i, (key, question)) in questions.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(out, r#"{comma}{}:{{"method":{}"#, quote(key), quote(&question.method));
        if let Some(params) = &question.params {
            let _ = write!(out, r#","params":{params}"#);
        }
        out.push('}');
    }
    let _ = write!(out, r#"}},"requestState":{}}}"#, quote(state));
    out
}

/// The answers in a retry, raw, by key. [`ErrorKind::InvalidParams`] unless `inputResponses` is an object of objects.
pub(crate) fn responses(raw: Option<&str>) -> Result<Vec<(String, String)>> {
    let invalid = || Error::new(ErrorKind::InvalidParams, "`inputResponses` must be an object of objects");
    let members = Members::parse(raw.unwrap_or("{}")).map_err(|_| invalid())?;
    members
        .iter()
        .map(|(key, value)| {
            Members::parse(value).map_err(|_| invalid())?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The severity of a log message; one without a known level has the highest.
pub(crate) fn gravity(message: &Message) -> usize {
    let level = || text(Members::parse(message.params()?).ok()?.get("level")?);
    level().and_then(|level| meta::gravity(&level)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    #[test]
    fn a_request_loses_only_what_the_legacy_era_does_not_know() {
        let message = message(concat!(
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"s__t","requestState":"x", "#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":"p","x/y":1.0},"#,
            r#""arguments":{"n":12345678901234567890123},"inputResponses":{}}}"#
        ));
        let name = message.params_members().unwrap().get("name").unwrap();
        let rename = (message.range_of(name), "\"t\"".to_owned());
        assert_eq!(
            request(&message, 7, Some(&rename)).unwrap(),
            concat!(
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t", "#,
                r#""_meta":{"progressToken":7,"x/y":1.0},"#,
                r#""arguments":{"n":12345678901234567890123}}}"#
            )
        );
    }

    #[test]
    fn an_answer_says_what_modern_answers_say_and_never_a_code_that_is_gone() {
        let read = message(r#"{"jsonrpc":"2.0","id":7,"result":{"contents":[], "x":1e0}}"#);
        let whole = answer(&read, "\"a\"", &Method::ResourcesRead, true);
        assert_eq!(
            whole.body,
            concat!(
                r#"{"jsonrpc":"2.0","id":"a","result":{"contents":[], "x":1e0,"resultType":"complete","#,
                r#""ttlMs":0,"cacheScope":"private"}}"#
            )
        );
        assert_eq!(
            answer(&read, "1", &Method::ResourcesRead, false).body,
            read.with_id("1").apply(read.bytes())
        );
        let gone =
            message(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32002,"message":"no","data":{"uri":"x"}}}"#);
        let mapped = answer(&gone, "1", &Method::ResourcesRead, true);
        assert_eq!(mapped.code, Some(-32602));
        assert_eq!(
            mapped.body,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":{"uri":"x"}}}"#
        );
    }

    /// T-05: an answer that a server labels `public` is withheld from everybody else where the operator wants that.
    #[test]
    fn a_public_answer_is_made_private_and_nothing_else_of_it_changes() {
        let read = |scope: &str| {
            message(&format!(
                r#"{{"jsonrpc":"2.0","id":7, "result":{{"ttlMs":1.0,{scope} "contents":[] }}}}"#
            ))
        };
        assert_eq!(
            withheld(&read(r#""cacheScope" : "p\u0075blic","#)).unwrap().bytes(),
            r#"{"jsonrpc":"2.0","id":7, "result":{"ttlMs":1.0,"cacheScope" : "private", "contents":[] }}"#
        );
        assert!(withheld(&read(r#""cacheScope":"private","#)).is_none() && withheld(&read("")).is_none());
    }

    #[test]
    fn a_question_needs_what_the_client_declared() {
        let question =
            |method: &str, params: &str| Question { method: method.into(), params: Some(params.into()) };
        let form = question("elicitation/create", r#"{"message":"?"}"#);
        let page = question("elicitation/create", r#"{"mode":"url"}"#);
        assert_eq!(form.missing(r#"{"elicitation":{}}"#).unwrap(), None);
        assert!(form.missing(r#"{"sampling":{}}"#).unwrap().is_some());
        assert!(page.missing(r#"{"elicitation":{}}"#).unwrap().is_some());
        assert_eq!(page.missing(r#"{"elicitation":{"url":{}}}"#).unwrap(), None);
        assert!(question("tools/list", "{}").missing("{}").is_err());
    }

    #[test]
    fn pages_that_must_be_visited_become_questions() {
        let refused = message(concat!(
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32042,"message":"visit","data":{"elicitations":"#,
            r#"[{"mode":"url","url":"https://x.example","message":"m"}]}}}"#
        ));
        let pages = pages_to_visit(&refused).unwrap();
        let result = input_required([("q1", &pages[0])].into_iter(), "s");
        assert_eq!(
            result,
            concat!(
                r#"{"resultType":"input_required","inputRequests":{"q1":{"method":"elicitation/create","params":"#,
                r#"{"mode":"url","url":"https://x.example","message":"m"}}},"requestState":"s"}"#
            )
        );
        assert_eq!(answer(&refused, "1", &Method::ToolsCall, true).code, Some(-32602));
    }

    #[test]
    fn answers_must_be_objects() {
        assert!(responses(None).unwrap().is_empty());
        assert_eq!(
            responses(Some(r#"{"q1":{"a":1}}"#)).unwrap(),
            [("q1".to_owned(), r#"{"a":1}"#.to_owned())]
        );
        for wrong in ["[]", r#"{"q1":1}"#, "null", r#"{"q1":{},"q1":{}}"#] {
            assert_eq!(responses(Some(wrong)).unwrap_err().kind(), ErrorKind::InvalidParams, "{wrong}");
        }
    }
}

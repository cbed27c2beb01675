//! The cases of `tests/vectors/api` over HTTP: REST and MCP of the running program.
//!
//! What a verb is over HTTP stands in [`said`]. A few steps have no such form: what has no route (`authenticate`), and wishes that the
//! routes have no place for; they are counted, so that none is lost unseen.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway::error::ErrorKind;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::modern::Modern;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::{Map, Value, json};

use crate::vectors::{DEAD, missing, note};

/// Steps that have no form over HTTP: `discover`, `authenticate`, `authorize`, `fly`, logins that name a page of the host's, credentials
/// and wishes within a document, and members that only a document can misspell.
const UNSAID: usize = 23;

/// A step as a request.
enum Said {
    Rest(Method, String, Option<Value>),
    /// Without a service: the route that takes wishes.
    Proxy(Value),
    /// Within a service: its method and parameters.
    Service(String, &'static str, Value),
}

/// The method of an MCP verb, and its parameters.
const CALLS: [(&str, &str, &[&str]); 8] = [
    ("call_tool", "tools/call", &["name", "arguments"]),
    ("read_resource", "resources/read", &["uri"]),
    ("get_prompt", "prompts/get", &["name", "arguments"]),
    ("complete", "completion/complete", &["ref", "argument"]),
    ("list_tools", "tools/list", &["cursor"]),
    ("list_resources", "resources/list", &["cursor"]),
    ("list_prompts", "prompts/list", &["cursor"]),
    ("list_resource_templates", "resources/templates/list", &["cursor"]),
];

/// Wishes of a call, and how `/mcp/proxy` has them.
const WISHES: [(&str, &str); 4] = [
    ("required_tools", "required_tools"),
    ("required_resources", "required_resources"),
    ("preferred_servers", "preferred_servers"),
    ("timeout_seconds", "timeout"),
];

/// The members of `input` without those that are null, if it has none but `known`.
fn members(input: &Value, known: &[&str]) -> Option<Map<String, Value>> {
    let all = input.as_object()?.iter().filter(|(_, value)| !value.is_null());
    let all: Map<_, _> = all.map(|(key, value)| (key.clone(), value.clone())).collect();
    all.keys().all(|key| known.contains(&key.as_str())).then_some(all)
}

/// A member as the query has it: lists are cut by commas.
fn query(members: &Map<String, Value>) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.replace(' ', "%20"),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    members.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join("&")
}

fn said(verb: &str, input: &Value, ids: &HashMap<String, String>) -> Option<Said> {
    let rest = |method: Method, path: String| Some(Said::Rest(method, path, None));
    let server = |known: &[&str]| {
        let name = members(input, known)?.get("server")?.as_str()?.to_owned();
        Some(format!("/api/v1/servers/{}", ids.get(&name).cloned().unwrap_or(name)))
    };
    let key = || Some(format!("/api/v1/api-keys/{}", members(input, &["key"])?.get("key")?.as_str()?));
    let tenant = |known| Some(format!("/api/v1/tenants/{}", members(input, known)?.get("tenant")?.as_str()?));
    match verb {
        "register" => Some(Said::Rest(Method::POST, "/api/v1/servers".into(), Some(input.clone()))),
        "create_key" => Some(Said::Rest(Method::POST, "/api/v1/api-keys".into(), Some(input.clone()))),
        "update" => {
            let path = server(&["server", "changes", "revision"])?;
            Some(Said::Rest(Method::PUT, path, Some(input["changes"].clone())))
        }
        "get" => rest(Method::GET, server(&["server"])?),
        "remove" => rest(Method::DELETE, server(&["server"])?),
        "approve" => rest(Method::POST, server(&["server"])? + "/approve"),
        "capabilities" => rest(Method::GET, server(&["server"])? + "/capabilities"),
        "health" => rest(Method::POST, server(&["server"])? + "/health-check"),
        "health_history" => {
            rest(Method::GET, format!("{}/health?limit={}", server(&["server", "limit"])?, input["limit"]))
        }
        "list" => rest(Method::GET, format!("/api/v1/servers?{}", query(input.as_object()?))),
        "find" => {
            let (kind, _) = input.as_object()?.iter().next()?;
            rest(Method::GET, format!("/api/v1/discovery/{kind}?{}", query(&members(input, &["tools"])?)))
        }
        "search" => {
            let asked = query(input.as_object()?).replace("query=", "q=");
            rest(Method::GET, format!("/api/v1/discovery/search?{asked}"))
        }
        "offered" if input["kind"] == "tools" => rest(Method::GET, "/mcp/tools".into()),
        "get_key" => rest(Method::GET, key()?),
        "revoke_key" => rest(Method::DELETE, key()?),
        "list_keys" => rest(Method::GET, "/api/v1/api-keys".into()),
        "create_tenant" => Some(Said::Rest(Method::POST, "/api/v1/tenants".into(), Some(input.clone()))),
        "get_tenant" => rest(Method::GET, tenant(&["tenant"])?),
        "list_tenants" if members(input, &[])?.is_empty() => rest(Method::GET, "/api/v1/tenants".into()),
        "update_tenant" => {
            Some(Said::Rest(Method::PUT, tenant(&["tenant", "changes"])?, Some(input["changes"].clone())))
        }
        "delete_tenant" => rest(Method::DELETE, tenant(&["tenant"])?),
        "set_credential" => {
            let path = server(&["server", "credential"])? + "/credentials";
            Some(Said::Rest(Method::POST, path, Some(input["credential"].clone())))
        }
        "list_credentials" => rest(Method::GET, server(&["server"])? + "/credentials"),
        "remove_credential" => {
            let path = server(&["server", "header"])?;
            rest(Method::DELETE, format!("{path}/credentials?header={}", input["header"].as_str()?))
        }
        "audit" => rest(Method::GET, format!("/api/v1/audit?{}", query(input.as_object()?))),
        "verify_audit" if members(input, &[])?.is_empty() => rest(Method::GET, "/api/v1/audit/verify".into()),
        "stats" if members(input, &[])?.is_empty() => rest(Method::GET, "/api/v1/admin/stats".into()),
        "metrics" => rest(Method::GET, "/api/v1/router/metrics".into()),
        "active_requests" => rest(Method::GET, "/api/v1/proxy/active-requests".into()),
        "cancel_request" => {
            rest(Method::DELETE, format!("/api/v1/proxy/requests/{}", input["request_id"].as_str()?))
        }
        "request" => {
            let params = input.get("params").cloned().unwrap_or(json!({}));
            let message =
                json!({ "jsonrpc": "2.0", "id": 1, "method": input.get("method")?, "params": params });
            Some(Said::Proxy(message))
        }
        _ => call(verb, input),
    }
}

fn call(verb: &str, input: &Value) -> Option<Said> {
    let (_, method, names) = CALLS.into_iter().find(|(own, ..)| *own == verb)?;
    let wishes = WISHES.map(|(own, _)| own);
    let known: Vec<&str> = names.iter().copied().chain(wishes).chain(["service"]).collect();
    let given = members(input, &known)?;
    let params = names.iter().filter_map(|name| Some(((*name).to_owned(), given.get(*name)?.clone())));
    let params = Value::Object(params.collect());
    let wished =
        WISHES.iter().filter_map(|(own, proxy)| Some(((*proxy).to_owned(), given.get(*own)?.clone())));
    let wished: Map<_, _> = wished.collect();
    if let Some(service) = given.get("service").and_then(Value::as_str) {
        return wished.is_empty().then(|| Said::Service(service.to_owned(), method, params));
    }
    let mut message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    message.as_object_mut()?.extend(wished);
    Some(Said::Proxy(message))
}

/// One case's gateway, and what it has told.
struct Face {
    gateway: Gateway,
    ids: HashMap<String, String>,
    /// The tag of each server in each revision.
    tags: HashMap<(String, u64), String>,
}

impl Face {
    async fn open(case: &Value, fake: &str) -> Self {
        let env = if case["open"]["config"].is_null() {
            vec![]
        } else {
            vec![("MREG_AUTH__API_KEYS", "true".to_owned())]
        };
        let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
        let mut face = Self { gateway, ids: HashMap::new(), tags: HashMap::new() };
        let given = case["open"]["servers"].as_array().into_iter().flatten().cloned();
        let servers = case["servers"].as_object().into_iter().flatten().map(|(name, server)| {
            json!({ "name": name, "endpoint_url": if server["dead"] == true { DEAD } else { fake }, "service": server["service"],
                "auto_discover": server["dead"] != true, "health_check": { "enabled": false } })
        });
        for registration in given.chain(servers) {
            let server = face.gateway.register(&registration).await;
            face.learn(&server, String::new());
            if registration["auto_discover"] == true {
                face.gateway.offers(server["id"].as_str().expect("an id"), "echo").await;
            }
        }
        face
    }

    /// Remembers the id and the tag of a server that was shown.
    fn learn(&mut self, server: &Value, tag: String) {
        if let (Some(name), Some(id)) = (server["name"].as_str(), server["id"].as_str()) {
            self.ids.insert(name.to_owned(), id.to_owned());
            self.tags.insert((name.to_owned(), server["revision"].as_u64().unwrap_or_default()), tag);
        }
    }

    /// What is wrong with what the step comes to; `None` as the outer answer if it cannot be said.
    async fn step(&mut self, step: &Value) -> Option<Option<String>> {
        let (verb, input) = (step["verb"].as_str()?, &step["input"]);
        Some(match said(verb, input, &self.ids)? {
            Said::Rest(method, path, body) => self.rest(step, method, &path, body).await,
            Said::Proxy(message) => {
                let sent = self.gateway.http().json(Method::POST, "/mcp/proxy", Some(&message)).await;
                let wished = WISHES.iter().any(|(_, proxy)| message.get(*proxy).is_some());
                let code = kind(step).map(|kind| match kind {
                    // Wishes stand beside the method there: the request itself is wrong.
                    ErrorKind::InvalidParams if wished => ErrorKind::InvalidRequest.row().rpc,
                    // As the revisions before 2026-07-28 have it, which this route speaks.
                    ErrorKind::ResourceNotFound => -32002,
                    kind => kind.row().rpc,
                });
                answered(step, code, &sent.expect("an answer").1)
            }
            Said::Service(service, method, params) => {
                let client = Modern::new(self.gateway.address(), &format!("/mcp/{service}"));
                let answer = client.request(method, params).await.expect("an answer");
                answered(step, kind(step).map(|kind| kind.row().rpc), &answer.response)
            }
        })
    }

    async fn rest(
        &mut self,
        step: &Value,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Option<String> {
        let mut headers = vec![("content-type", "application/json")];
        let revision = step["input"]["revision"].as_u64();
        let name = step["input"]["server"].as_str().unwrap_or_default().to_owned();
        let tag = revision.and_then(|revision| self.tags.get(&(name, revision)).cloned());
        headers.extend(tag.as_deref().map(|tag| ("if-match", tag)));
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let reply = self.gateway.http().send(method, path, &headers, body).await.expect("an answer");
        let (status, tag) = (reply.status, reply.header("etag").to_owned());
        let body: Value =
            serde_json::from_slice(&reply.bytes().await.expect("a body")).unwrap_or(Value::Null);
        self.learn(&body, tag);
        let Some(kind) = kind(step) else {
            let wrong = (status >= 300).then(|| format!("{status}: {body}"));
            return wrong.or_else(|| missing("", &step["gives"], &body));
        };
        let row = kind.row();
        // A condition that does not hold has a status of its own (RFC 9110, section 15.5.13).
        let expected = if revision.is_some() && kind == ErrorKind::Conflict { 412 } else { row.status };
        let wrong = (status != expected).then(|| format!("expected {expected}, found {status}: {body}"));
        wrong.or_else(|| missing("/error/code", &row.code.into(), &body["error"]["code"]))
    }
}

/// The kind of error that a step is to end with.
fn kind(step: &Value) -> Option<ErrorKind> {
    let name = step["fails"]["kind"].as_str()?;
    Some(*ErrorKind::ALL.iter().find(|kind| kind.row().name == name).expect("a kind of the one table"))
}

/// What is wrong with a JSON-RPC response to the step, which is an error if it has a `code`.
fn answered(step: &Value, code: Option<i32>, response: &Value) -> Option<String> {
    match (code, response.get("result")) {
        (None, Some(result)) => missing("", &step["gives"], result),
        (Some(code), None) => missing("/error/code", &code.into(), &response["error"]["code"]),
        _ => Some(format!("another outcome: {response}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_one_behaviour_holds_over_http() {
    let fake = Fake::start("fake").await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/api");
    let (mut steps, mut unsaid, mut wrong, mut noted) = (0, Vec::new(), Vec::new(), Vec::new());
    for file in std::fs::read_dir(folder).expect("the vectors") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a file of vectors");
        let group: Value = serde_json::from_str(&text).expect("vectors are JSON");
        for case in group["cases"].as_array().expect("cases") {
            let mut face = Face::open(case, &fake.url()).await;
            let (before, all) = ((unsaid.len(), wrong.len()), case["steps"].as_array().expect("steps"));
            for (number, step) in all.iter().enumerate() {
                let place = format!("{}, step {number}, {}", case["name"], step["verb"]);
                steps += 1;
                match face.step(step).await {
                    None => unsaid.push(place),
                    Some(None) => {}
                    Some(Some(why)) => wrong.push(format!("{place}: {why}")),
                }
            }
            let outcome = match (wrong.len() > before.1, unsaid.len() - before.0) {
                (true, _) => "NO",
                (false, 0) => "ok",
                (false, missed) if missed < all.len() => "part",
                (false, _) => "none",
            };
            noted.push(format!("{}\t{outcome}\n", case["name"].as_str().expect("a name")));
        }
    }
    note("http", &noted);
    assert!(wrong.is_empty(), "{} of {steps} steps are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(unsaid.len(), UNSAID, "{}", unsaid.join("\n"));
    assert!(steps >= 120, "{steps}");
}

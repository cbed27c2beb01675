use serde_json::{Value, json};

use super::*;
use crate::rpc::{Message, Method};

/// Waits for the outcome of work that a gateway does on its own runtime.
fn wait<T: Send + 'static>(
    facade: &Facade,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (done, outcome) = std::sync::mpsc::channel();
    let _work = facade.run(work, move |outcome| done.send(outcome).unwrap());
    outcome.recv_timeout(Duration::from_secs(60)).unwrap()
}

fn ask(facade: &Facade, verb: &str, input: &Value) -> Result<Value> {
    let answer = wait(facade, facade.perform(verb, input.to_string().into()))?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// Answers as a server whose tool `echo` returns its parameters; `fail` is an error of its own, `hang` is never answered.
async fn serve(housed: RegisteredServer) -> Result<()> {
    let links = Tasks::default();
    while let Some(link) = housed.receive().await? {
        links.spawn(async move { drop(talk(link).await) });
    }
    Ok(())
}

async fn talk(link: Hosted) -> Result<()> {
    while let Some(bytes) = link.receive().await? {
        let message = Message::parse(bytes)?;
        let Some(id) = message.id() else { continue };
        let params = message.params().unwrap_or("{}").to_owned();
        let result = match message.method() {
            Some(Method::Initialize) => {
                json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                    "serverInfo": { "name": "own", "version": "1" } })
            }
            Some(Method::ToolsList) => {
                let tool = |name| json!({ "name": name, "inputSchema": { "type": "object" } });
                json!({ "tools": [tool("echo"), tool("fail"), tool("hang")] })
            }
            Some(Method::ToolsCall) if params.contains("hang") => continue,
            Some(Method::ToolsCall) if params.contains("fail") => {
                let error = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32050,"message":"no","data":{{"b":1}}}}}}"#
                );
                link.send(error.into()).await?;
                continue;
            }
            Some(Method::ToolsCall) => {
                json!({ "content": [], "structuredContent": { "z": params, "a": 1 } })
            }
            Some(Method::Ping) => json!({}),
            _ => {
                let error = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no such method"}}}}"#
                );
                link.send(error.into()).await?;
                continue;
            }
        };
        link.send(crate::rpc::answer::result_response(id, &result.to_string())).await?;
    }
    Ok(())
}

/// A gateway with such a server, whose tools are known.
fn opened() -> Facade {
    let facade = Facade::open(b"").unwrap();
    let housed = wait(&facade, facade.register_in_process(Bytes::from_static(br#"{"name":"own"}"#))).unwrap();
    let _serving = facade.run(serve(housed), |_| {});
    ask(&facade, "discover", &json!({ "server": "own" })).unwrap();
    facade
}

#[test]
fn a_call_gives_the_bytes_of_the_result() {
    let facade = opened();
    let called = json!({ "name": "own__echo", "arguments": { "n": 1 } });
    let answer = wait(&facade, facade.perform("call_tool", called.to_string().into())).unwrap();
    let text = std::str::from_utf8(&answer).unwrap();
    assert!(text.starts_with(r#"{"content":[],"structuredContent":"#) && text.contains("echo"), "{text}");
    let of_service = json!({ "service": "own", "name": "echo", "required_tools": ["fail"], "_meta": null, "timeout_seconds": null });
    assert!(ask(&facade, "call_tool", &of_service).is_ok());
    let listed = ask(&facade, "list_tools", &json!({})).unwrap();
    assert_eq!(listed["tools"][0]["name"], "own__echo");
}

#[test]
fn each_failure_has_the_kind_to_act_on() {
    let facade = opened();
    let kind = |verb: &str, input: Value| ask(&facade, verb, &input).unwrap_err().kind();
    assert_eq!(kind("no_such_verb", json!({})), ErrorKind::MethodNotFound);
    assert_eq!(kind("call_tool", json!({ "name": "nothing" })), ErrorKind::InvalidParams);
    assert_eq!(kind("call_tool", json!({ "naem": "x" })), ErrorKind::InvalidParams);
    assert_eq!(kind("call_tool", json!({ "service": "other", "name": "echo" })), ErrorKind::NotFound);
    assert_eq!(kind("read_resource", json!({ "uri": "none:x" })), ErrorKind::ResourceNotFound);
    assert_eq!(kind("get", json!({ "server": "nobody" })), ErrorKind::NotFound);
    assert_eq!(
        kind("register", json!({ "name": "own", "endpoint_url": "http://127.0.0.1:1/" })),
        ErrorKind::Conflict
    );
    let waited = json!({ "name": "own__hang", "timeout_seconds": 0.01 });
    assert_eq!(kind("call_tool", waited), ErrorKind::Timeout);
    let refused = ask(&facade, "call_tool", &json!({ "name": "own__fail" })).unwrap_err();
    let document: Value = serde_json::from_slice(&error_document(&refused)).unwrap();
    assert_eq!((&document["kind"], &document["context"]["code"]), (&json!("bad_upstream"), &json!("-32050")));
    assert_eq!(document["context"]["data"], r#"{"b":1}"#);
}

#[test]
fn a_server_is_changed_found_and_removed_by_its_name() {
    let facade = opened();
    let changed = ask(&facade, "update", &json!({ "server": "own", "changes": { "weight": 3 } })).unwrap();
    assert_eq!((&changed["weight"], &changed["transport_type"]), (&json!(3), &json!("memory")));
    let found = ask(&facade, "find", &json!({ "tools": ["echo"] })).unwrap();
    assert_eq!(found["servers"][0]["name"], "own");
    assert_eq!(ask(&facade, "list", &json!({})).unwrap()["total"], 1);
    assert_eq!(ask(&facade, "remove", &json!({ "server": "own" })).unwrap(), Value::Null);
    assert_eq!(ask(&facade, "list", &json!({})).unwrap()["total"], 0);
}

#[test]
fn a_picked_server_is_busy_until_it_is_given_back_and_its_breaker_learns() {
    let facade = opened();
    let mut picked = facade.pick("own", Some("a key")).unwrap();
    let id = picked.server().id.to_string();
    let busy = || ask(&facade, "metrics", &json!({})).unwrap()["metrics"][&id]["active_connections"].clone();
    assert_eq!(busy(), 1);
    picked.failed();
    drop(picked);
    assert_eq!(busy(), 0);
    for _ in 0..4 {
        facade.pick("own", None).unwrap().failed();
    }
    assert_eq!(facade.pick("own", None).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(facade.pick("none", None).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn after_the_end_nothing_is_picked_and_what_could_be_is_not_kept() {
    let facade = opened();
    let picked = facade.pick("own", None).unwrap();
    let server = Arc::downgrade(picked.server());
    wait_closed(&facade);
    assert_eq!(facade.pick("own", None).unwrap_err().context(), [("reason", "closed".to_owned())]);
    assert!(server.upgrade().is_some(), "the one that was picked stays whole");
    drop(picked);
    assert!(server.upgrade().is_none(), "although the facade is still there");
}

#[test]
fn keys_are_made_and_judged() {
    let facade = opened();
    let made = ask(&facade, "create_key", &json!({ "name": "k", "role": "viewer" })).unwrap();
    assert_eq!(ask(&facade, "list_keys", &json!({})).unwrap()["total"], 1);
    assert_eq!(ask(&facade, "authenticate", &json!({})).unwrap()["role"], "admin");
    ask(&facade, "authorize", &json!({ "operation": "tools.call" })).unwrap();
    let nobody = ask(&facade, "authenticate", &json!({ "authorization": "Bearer x" })).unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unauthenticated, "nothing is configured that could judge it");
    assert!(facade.attach(br#"{"authorization":"Bearer x"}"#).is_err());
    ask(&facade, "revoke_key", &json!({ "key": made["id"] })).unwrap();
    assert_eq!(ask(&facade, "get_key", &json!({ "key": made["id"] })).unwrap()["active"], false);
}

/// However the threads of its runtime come to take turns.
#[test]
fn a_watch_that_waits_is_told_of_the_end_and_not_of_an_error() {
    for round in 0..30 {
        let facade = Facade::open(b"").unwrap();
        let waiting = facade.fly(facade.watch().unwrap().next());
        facade.end(None).unwrap();
        assert_eq!(waiting.wait().unwrap(), None, "round {round}");
    }
}

#[test]
fn changes_are_heard_and_the_watch_ends_with_the_gateway() {
    let facade = opened();
    let watch = facade.watch().unwrap();
    ask(&facade, "update", &json!({ "server": "own", "changes": { "weight": 2 } })).unwrap();
    // Discovery of the server may end in between, and is an event, too.
    let updated = (0..10).any(|_| {
        let event = wait(&facade, watch.next()).unwrap().unwrap();
        serde_json::from_slice::<Value>(&event).unwrap()["type"] == "server.updated"
    });
    assert!(updated, "the update is heard");
    let waiting = facade.fly(watch.next());
    wait_closed(&facade);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(waiting).unwrap(), None);
}

fn wait_closed(facade: &Facade) {
    facade.end(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_closed_gateway_says_so_and_closing_it_again_does_nothing() {
    let facade = opened();
    wait_closed(&facade);
    wait_closed(&facade);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(facade.perform("list", Bytes::new())).unwrap_err();
    assert_eq!(
        (error.kind(), error.context()),
        (ErrorKind::Unavailable, &[("reason", "closed".to_owned())][..])
    );
    assert!(
        runtime.block_on(facade.fly(async { Ok(()) })).is_err(),
        "work that begins after the end ends at once"
    );
}

#[test]
fn work_that_is_cancelled_or_dropped_reaches_the_server() {
    let facade = opened();
    let hang = || facade.perform("call_tool", json!({ "name": "own__hang" }).to_string().into());
    let (done, outcome) = std::sync::mpsc::channel();
    let work = facade.run(hang(), move |outcome| done.send(outcome).unwrap());
    work.cancel();
    let error = outcome.recv_timeout(Duration::from_secs(60)).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    drop(facade.fly(hang()));
}

/// A server of this process whose links are served as the bindings serve theirs.
fn opened_near() -> Facade {
    let facade = Facade::open(b"").unwrap();
    let registration = br#"{"name":"own","health_check":{"enabled":false}}"#;
    let housed = wait(&facade, facade.register_in_process(Bytes::from_static(registration))).unwrap();
    let near = facade.clone();
    let serving = async move {
        while let Some(link) = housed.receive().await? {
            let _talking = near.run(talk(link), |_| {});
        }
        Ok(())
    };
    let _serving = facade.run(serving, |_| {});
    ask(&facade, "discover", &json!({ "server": "own" })).unwrap();
    facade
}

#[test]
fn a_call_at_a_server_of_this_process_is_over_at_once_and_wakes_no_thread() {
    let facade = opened_near();
    let is_over_at_once = || {
        let (done, outcome) = std::sync::mpsc::channel();
        let call = facade.perform("call_tool", json!({ "name": "own__echo" }).to_string().into());
        let done = move |answer: Result<Bytes>| done.send((answer, std::thread::current().id())).unwrap();
        let _work = facade.run(call, done);
        let (answer, thread) = outcome.recv_timeout(Duration::from_secs(60)).unwrap();
        answer.unwrap();
        thread == std::thread::current().id()
    };
    // The threads of the runtime may still be busy with the end of earlier work.
    assert!((0..1000).any(|_| is_over_at_once()));
}

#[test]
fn work_that_must_run_apart_never_runs_on_the_thread_that_brings_it() {
    let facade = Facade::open(b"").unwrap();
    let (done, outcome) = std::sync::mpsc::channel();
    let work = async { Ok(std::thread::current().id()) };
    let _work = facade.run_apart(work, move |thread| done.send(thread).unwrap());
    let thread = outcome.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
    assert_ne!(thread, std::thread::current().id());
}

#[test]
fn work_that_comes_after_the_end_is_refused_and_what_waits_is_told_when_nobody_has_the_gateway_any_more() {
    let facade = Facade::open(b"").unwrap();
    wait_closed(&facade);
    let sleeping = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    };
    assert_eq!(wait(&facade, sleeping).unwrap_err().context(), [("reason", "closed".to_owned())]);
    let facade = Facade::open(b"").unwrap();
    let (done, outcome) = std::sync::mpsc::channel();
    let _work = facade.run(std::future::pending::<Result<()>>(), move |told| done.send(told).unwrap());
    drop(facade);
    let told = outcome.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(told.unwrap_err().context(), [("reason", "closed".to_owned())]);
}

#[test]
fn an_attached_client_opens_a_session_and_calls() {
    let facade = opened();
    let line = facade.attach(br#"{"service":"own"}"#).unwrap();
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    wait(&facade, line.send(hello.to_string().into())).unwrap();
    let answer = wait(&facade, line.receive()).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["result"]["serverInfo"]["name"], "own");
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "echo" } });
    wait(&facade, line.send(call.to_string().into())).unwrap();
    let answer = wait(&facade, line.receive()).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["id"], 2);
    wait(&facade, line.end()).unwrap();
    assert!(wait(&facade, line.receive()).unwrap().is_none());
}

#[cfg(feature = "server")]
#[test]
fn http_is_answered_without_a_socket() {
    let facade = opened();
    let header = |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
    let request = |method: &str, target: &str| Request {
        method: method.into(),
        target: target.into(),
        headers: vec![header("host", "localhost"), header("content-type", "application/json")],
        peer: Some("127.0.0.1".into()),
        mount: Mount::new(["rest"], None, true).unwrap(),
    };
    let exchange = facade.request(&request("POST", "/mcp/proxy")).unwrap();
    let call =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "own__echo" } });
    assert!(wait(&facade, exchange.push(call.to_string().into())).unwrap());
    exchange.finish();
    assert_eq!(wait(&facade, exchange.head()).unwrap().status, 200);
    let body = wait(&facade, exchange.piece()).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["success"], true);
    assert!(wait(&facade, exchange.piece()).unwrap().is_none());
    assert_eq!(facade.request(&request("A B", "/")).unwrap_err().kind(), ErrorKind::InvalidRequest);
    let nobody = Request { peer: None, ..request("GET", "/api/v1/servers") };
    let exchange = facade.request(&nobody).unwrap();
    exchange.finish();
    assert_eq!(wait(&facade, exchange.head()).unwrap().status, 401, "not taken for this machine");
}

#[cfg(feature = "sqlite")]
#[test]
fn what_is_registered_outlives_the_gateway_and_two_cannot_have_one_database() {
    let folder = tempfile::tempdir().unwrap();
    let document = json!({ "url": "sqlite:gateway.db", "data_dir": folder.path(),
        "servers": [{ "name": "a", "endpoint_url": "http://127.0.0.1:1/", "auto_discover": false }] });
    let facade = Facade::open(document.to_string().as_bytes()).unwrap();
    let second = Facade::open(document.to_string().as_bytes()).err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Conflict);
    wait_closed(&facade);
    let again = json!({ "url": "sqlite:gateway.db", "data_dir": folder.path() });
    let facade = Facade::open(again.to_string().as_bytes()).unwrap();
    assert_eq!(ask(&facade, "list", &json!({})).unwrap()["servers"][0]["name"], "a");
}

/// The answer to a client on a connection of its own: the names of the tools, or the error.
fn offered(facade: &Facade, who: &Value) -> Value {
    let line = match facade.attach(who.to_string().as_bytes()) {
        Ok(line) => line,
        Err(error) => return json!(error.kind().row().name),
    };
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {} });
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
    wait(facade, line.send(list.to_string().into())).unwrap();
    let answer = wait(facade, line.receive()).unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let Some(tools) = answer["result"]["tools"].as_array() else { return answer["error"]["code"].clone() };
    tools.iter().map(|tool| tool["name"].as_str().unwrap().split("__").next().unwrap()).collect()
}

/// X-19: a client of this process without a credential or an address is the program; one with an address is unidentified,
/// wherever the code runs, and the gateway's own tools are offered where they are asked for.
#[test]
fn a_client_in_the_process_has_the_rights_of_whom_it_calls_for() {
    let facade = opened();
    assert_eq!(offered(&facade, &json!({})), json!(["own", "own", "own"]));
    let all = offered(&facade, &json!({ "builtin": true }));
    assert!(all.as_array().unwrap().contains(&json!("gateway")), "{all}");
    for nobody in [json!({ "peer": "" }), json!({ "peer": "10.0.0.1", "builtin": true })] {
        assert!(offered(&facade, &nobody).is_i64(), "{nobody}");
    }
    assert_eq!(offered(&facade, &json!({ "authorization": "Bearer x" })), "unauthenticated");
    assert_eq!(offered(&facade, &json!({ "service": "gateway" })), -31404, "no such service");
}

/// X-20: a program's word for an address of this machine makes no caller an administrator, unless it is for development.
#[cfg(feature = "server")]
#[test]
fn a_peer_that_a_program_makes_up_is_nobody() {
    let facade = opened();
    let status = |mount: Mount, peer: &str| {
        let request = Request {
            method: "GET".into(),
            target: "/api/v1/servers".into(),
            // As frameworks add it while one develops.
            headers: vec![
                ("host".into(), "localhost".into()),
                ("X-Forwarded-For".into(), "127.0.0.1".into()),
            ],
            peer: Some(peer.into()),
            mount,
        };
        let exchange = facade.request(&request).unwrap();
        exchange.finish();
        wait(&facade, exchange.head()).unwrap().status
    };
    let mount = |trust, connected| Mount::new(["rest"], trust, connected).unwrap();
    for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(status(mount(None, false), peer), 401, "{peer}");
        assert_eq!(status(mount(Some("development"), false), peer), 200, "{peer}");
    }
    assert_eq!(status(mount(Some("development"), true), "10.0.0.1"), 401);
    assert_eq!(status(Mount::default(), "127.0.0.1"), 404, "REST is not mounted");
    let wrong = Mount::new(["rest"], Some("production"), false).unwrap_err();
    assert_eq!(wrong.context(), [("field", "trust".to_owned())]);
}

/// X-23: switching authentication on does not break the program's own registrations; over its HTTP surface and its MCP clients the
/// rules for strangers hold.
#[cfg(feature = "server")]
#[test]
fn a_program_registers_what_it_likes_and_callers_over_its_surface_do_not() {
    let document = json!({ "config": { "auth": { "api_keys": true } } });
    let facade = Facade::open(document.to_string().as_bytes()).unwrap();
    let quiet = |name: &str, mut server: Value| {
        server["name"] = json!(name);
        server["auto_discover"] = json!(false);
        server["health_check"] = json!({ "enabled": false });
        server
    };
    let command = json!({ "command": "/bin/false", "args": ["serve"] });
    let loopback = json!({ "endpoint_url": "http://127.0.0.1:9/mcp" });
    for (name, server) in [("own-command", &command), ("own-url", &loopback)] {
        ask(&facade, "register", &quiet(name, server.clone())).unwrap();
    }
    let changed = json!({ "server": "own-url", "changes": { "endpoint_url": "http://localhost:9/mcp" } });
    ask(&facade, "update", &changed).unwrap();

    let key = ask(&facade, "create_key", &json!({ "name": "root", "role": "admin" })).unwrap();
    let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
    for server in [&command, &loopback] {
        let request = Request {
            method: "POST".into(),
            target: "/api/v1/servers".into(),
            headers: vec![
                ("host".into(), "localhost".into()),
                ("content-type".into(), "application/json".into()),
                ("authorization".into(), bearer.clone().into()),
            ],
            peer: Some("127.0.0.1".into()),
            mount: Mount::new(["rest"], None, true).unwrap(),
        };
        let exchange = facade.request(&request).unwrap();
        let body = quiet("other", server.clone()).to_string();
        assert!(wait(&facade, exchange.push(body.into())).unwrap());
        exchange.finish();
        assert_eq!(wait(&facade, exchange.head()).unwrap().status, 403, "{server}");

        let who = json!({ "authorization": bearer, "builtin": true });
        for who in [who, json!({ "builtin": true })] {
            let line = facade.attach(who.to_string().as_bytes()).unwrap();
            let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {} });
            let params = json!({ "name": "gateway__register_server", "arguments": quiet("other", server.clone()), "_meta": meta });
            let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
            wait(&facade, line.send(call.to_string().into())).unwrap();
            let answer = wait(&facade, line.receive()).unwrap().unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert!(answer["result"]["isError"] == true || answer["error"].is_object(), "{answer}");
        }
    }
    assert_eq!(ask(&facade, "list", &json!({})).unwrap()["total"], 2);
}

/// X-04: every verb, for a caller whose credential is for another server, finds nothing and changes nothing.
#[test]
fn no_verb_reaches_further_than_the_credential_of_its_caller() {
    use super::governing::Governing;
    use super::verbs::{Own, Verb};
    use crate::model::{Grant, Principal, Role, TenantId};

    let facade = Facade::open(b"{}").unwrap();
    let server = |name: &str| {
        json!({ "name": name, "endpoint_url": "http://127.0.0.1:9/mcp", "description": name, "auto_discover": false,
            "health_check": { "enabled": false }, "capabilities": { "tools": [{ "name": name }] } })
    };
    let mine = ask(&facade, "register", &server("mine")).unwrap();
    ask(&facade, "register", &server("canary")).unwrap();
    ask(&facade, "create_tenant", &json!({ "id": "canary" })).unwrap();
    let key =
        ask(&facade, "create_key", &json!({ "name": "canary", "role": "viewer" })).unwrap()["id"].clone();
    let named = json!({ "server": "canary" });
    let inputs: Vec<(&str, Value)> = vec![
        ("register", server("canary-new")),
        ("update", json!({ "server": "canary", "changes": { "weight": 7 } })),
        ("remove", named.clone()),
        ("approve", named.clone()),
        ("get", named.clone()),
        ("list", json!({ "include_tools": true })),
        ("find", json!({ "tools": ["canary"] })),
        ("search", json!({ "query": "canary" })),
        ("offered", json!({ "kind": "tools" })),
        ("capabilities", named.clone()),
        ("discover", named.clone()),
        ("health", named.clone()),
        ("diagnose", named.clone()),
        ("health_history", named.clone()),
        ("create_key", json!({ "name": "k" })),
        ("get_key", json!({ "key": key })),
        ("list_keys", json!({})),
        ("rotate_key", json!({ "key": key })),
        ("revoke_key", json!({ "key": key })),
        ("stats", json!({})),
        ("metrics", json!({})),
        ("active_requests", json!({})),
        ("cancel_request", json!({ "request_id": "x" })),
        // They have credentials of their own.
        ("authenticate", json!({ "authorization": "Bearer x" })),
        ("authorize", json!({ "authorization": "Bearer x", "operation": "tools.call" })),
        ("create_tenant", json!({ "id": "new" })),
        ("get_tenant", json!({ "tenant": "canary" })),
        ("list_tenants", json!({})),
        ("update_tenant", json!({ "tenant": "canary", "changes": { "enabled": false } })),
        ("delete_tenant", json!({ "tenant": "canary" })),
        ("set_credential", json!({ "server": "canary", "credential": { "header": "x", "value": "v" } })),
        ("list_credentials", named.clone()),
        ("remove_credential", json!({ "server": "canary", "header": "x" })),
        ("begin_login", json!({ "server": "canary", "redirect_uri": "http://127.0.0.1:9/back" })),
        ("finish_login", json!({ "state": "x", "code": "y" })),
        ("audit", json!({})),
        ("verify_audit", json!({})),
    ];
    let all: Vec<&str> =
        Own::ALL.iter().map(|(name, _)| *name).chain(Governing::ALL.iter().map(|(name, _)| *name)).collect();
    assert_eq!(all, inputs.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "every verb");
    let state = || {
        [("list", json!({})), ("list_keys", json!({})), ("list_tenants", json!({}))]
            .map(|(verb, input)| ask(&facade, verb, &input).unwrap())
    };
    let before = state();
    let harmless = ["list", "offered", "list_keys", "stats", "metrics", "active_requests", "search", "find"];

    let server = Some(mine["id"].as_str().unwrap().parse().unwrap());
    let service = Some("mine".parse().unwrap());
    for grant in [Grant { server, ..Grant::default() }, Grant { service, ..Grant::default() }] {
        let caller =
            Caller::new(Principal::new(TenantId::default_tenant(), "user:a", Role::Admin).with(grant));
        for (verb, input) in &inputs {
            let house = facade.house().unwrap();
            let narrowed = OpenGateway {
                gateway: house.gateway.clone(),
                caller: caller.clone(),
                #[cfg(feature = "server")]
                surface: house.gateway.service(),
                _presence: None,
            };
            let (verb_of, input) = (Verb::named(verb).unwrap(), Bytes::from(input.to_string()));
            let outcome = wait(&facade, async move { verb_of.perform(&narrowed, &input).await });
            match outcome {
                Ok(answer) => {
                    let answer = String::from_utf8(answer.to_vec()).unwrap();
                    // These repeat the question.
                    let repeats = usize::from(["find", "search"].contains(verb));
                    let answer = answer.replacen("canary", "", repeats);
                    assert!(harmless.contains(verb) && !answer.contains("canary"), "{verb}: {answer}");
                }
                Err(error) => {
                    let kinds =
                        [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::Unauthenticated];
                    assert!(kinds.contains(&error.kind()), "{verb}: {error}");
                }
            }
        }
    }
    assert_eq!(state(), before);
}

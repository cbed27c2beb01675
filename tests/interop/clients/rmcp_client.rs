//! rmcp's client against one server; prints `{feature: "ok" | "absent" | "FAIL: why"}`.
//!
//! Usage: `rmcp_client [--discover] TARGET PREFIX PROFILE.json`. It opens with `initialize`, as is its default;
//! with `--discover` it speaks 2026-07-28, which has no handshake. TARGET is an URL, or `stdio:` and a JSON array
//! with a command. PREFIX stands before tool and prompt names. PROFILE names what the server offers;
//! what it does not name is reported as absent. Results are checked as JSON, so that each check reads
//! as the wire does.
#![expect(
    deprecated,
    reason = "sampling, roots and logging are deprecated in 2026-07-28, and are what legacy servers use"
)]

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest,
    CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, GetPromptRequestParams, Implementation, JsonObject, ListRootsResult, LoggingLevel,
    LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams,
    Root, RootsCapabilities, SamplingCapability, SamplingMessage, SetLevelRequestParams,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestContext, RequestHandle, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient};
use serde::Serialize;
use serde_json::{Map, Value, json};

const FEATURE_SECONDS: u64 = 15;
const ANSWER: &str = "forty-two, says the rmcp client";
const PAUSE: Duration = Duration::from_millis(50);

type Check = Result<(), String>;

/// What the server said without being asked.
#[derive(Default)]
struct Heard {
    asked: Vec<String>,
    logs: Vec<String>,
    progress: Vec<(f64, Option<f64>)>,
}

struct Handler {
    heard: Arc<Mutex<Heard>>,
    root: String,
}

impl Handler {
    fn note(&self, add: impl FnOnce(&mut Heard)) {
        add(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.sampling = Some(SamplingCapability::default());
        capabilities.elicitation = Some(ElicitationCapability::default());
        capabilities.roots = Some(RootsCapabilities::default());
        ClientConfig::new(capabilities, Implementation::new("interop-rmcp", "1.0.0"))
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        self.note(|heard| heard.asked.push(json!(params.messages).to_string()));
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text(ANSWER), "interop".to_owned()))
    }

    async fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.note(|heard| heard.asked.push(json!(params).to_string()));
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({ "name": ANSWER })))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new(format!("file://{}", self.root)).with_name("interop")]))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.note(|heard| heard.progress.push((params.progress, params.total)));
    }

    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.note(|heard| heard.logs.push(params.data.to_string()));
    }
}

struct Checks {
    client: RunningService<RoleClient, Handler>,
    heard: Arc<Mutex<Heard>>,
    prefix: String,
    profile: Value,
    discover: bool,
}

impl Checks {
    async fn connect(target: &str, prefix: String, profile: Value, discover: bool) -> Result<Self, String> {
        let mode = if discover {
            ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
        } else {
            ClientLifecycleMode::Initialize
        };
        let heard = Arc::new(Mutex::new(Heard::default()));
        let handler = Handler { heard: Arc::clone(&heard), root: text(&profile["root"])?.to_owned() };
        let client = if let Some(command) = target.strip_prefix("stdio:") {
            let command: Vec<String> = serde_json::from_str(command).map_err(shown)?;
            let (program, args) = command.split_first().ok_or("the command is empty")?;
            let mut child = tokio::process::Command::new(program)
                .args(args)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .map_err(shown)?;
            let pipes = child.stdout.take().zip(child.stdin.take()).ok_or("the child has no pipes")?;
            handler.serve_with_lifecycle(pipes, mode).await.map_err(shown)?
        } else {
            let transport = StreamableHttpClientTransport::from_uri(target);
            handler.serve_with_lifecycle(transport, mode).await.map_err(shown)?
        };
        Ok(Self { client, heard, prefix, profile, discover })
    }

    fn forget(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Heard::default();
    }

    fn heard<T>(&self, read: impl FnOnce(&Heard) -> T) -> T {
        read(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn named(&self, spec: &Value, member: &str) -> Result<String, String> {
        Ok(format!("{}{}", self.prefix, text(&spec[member])?))
    }

    fn tool(&self, spec: &Value) -> Result<CallToolRequestParams, String> {
        let mut params =
            CallToolRequestParams::new(self.named(spec, "tool")?).with_arguments(object(&spec["arguments"]));
        if self.discover {
            // There is no level to set: each request says which log messages it wants.
            params.meta.get_or_insert_default().set_log_level(LoggingLevel::Debug);
        }
        Ok(params)
    }

    async fn call(&self, spec: &Value) -> Result<String, String> {
        let result = wire(self.client.call_tool(self.tool(spec)?).await)?;
        let said = result["content"].to_string();
        ensure(result["isError"] != true, || format!("the tool answered an error: {said}"))?;
        Ok(said)
    }

    async fn call_checked(&self, spec: &Value) -> Check {
        includes(&self.call(spec).await?, &spec["text"])
    }

    /// The names of a list without the prefix, after checking that the prefixes are as the route promises.
    fn names(&self, items: &[Value]) -> Result<Vec<String>, String> {
        let names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
        ensure(names.iter().all(|name| name.contains("__") != self.prefix.is_empty()), || {
            format!("prefixes are wrong: {names:?}")
        })?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(&self.prefix)).map(str::to_owned).collect())
    }

    async fn check(&self, feature: &str, spec: &Value) -> Check {
        match feature {
            "tools/list" => {
                let names = self.names(&list(self.client.list_all_tools().await)?)?;
                let missing = array(spec).find(|&tool| !names.iter().any(|name| tool == name));
                ensure(missing.is_none(), || format!("{missing:?} is not among {names:?}"))
            }
            "resources/list" => member_of(&list(self.client.list_all_resources().await)?, "uri", spec),
            "resources/read" => self.read(spec).await,
            "templates" => {
                member_of(&list(self.client.list_all_resource_templates().await)?, "uriTemplate", spec)?;
                self.read(spec).await
            }
            "prompts/list" => {
                let names = self.names(&list(self.client.list_all_prompts().await)?)?;
                ensure(names.iter().any(|name| spec["name"] == *name), || format!("not among {names:?}"))
            }
            "prompts/get" => {
                let params = GetPromptRequestParams::new(self.named(spec, "name")?)
                    .with_arguments(object(&spec["arguments"]));
                let result = wire(self.client.get_prompt(params).await)?;
                same(&result["messages"][0]["content"]["text"], &spec["text"])
            }
            "complete prompt" => {
                let (name, argument, value) =
                    (self.named(spec, "name")?, text(&spec["argument"])?, text(&spec["value"])?);
                same(&wire(self.client.complete_prompt_simple(name, argument, value).await)?, &spec["values"])
            }
            "complete resource" => {
                let (uri, argument, value) =
                    (text(&spec["uri"])?, text(&spec["argument"])?, text(&spec["value"])?);
                same(
                    &wire(self.client.complete_resource_simple(uri, argument, value).await)?,
                    &spec["values"],
                )
            }
            "progress" => {
                self.forget();
                self.call_checked(spec).await?;
                let seen = self.heard(|heard| heard.progress.clone());
                let rises = seen.len() >= 2 && seen.windows(2).all(|pair| pair[0].0 < pair[1].0);
                ensure(rises && seen.iter().all(|(_, total)| *total == spec["total"].as_f64()), || {
                    format!("progress was {seen:?}")
                })
            }
            "logs" => {
                if !self.discover {
                    wire(self.client.set_level(SetLevelRequestParams::new(LoggingLevel::Debug)).await)?;
                }
                self.forget();
                self.call(spec).await?;
                let wanted = text(&spec["text"])?;
                while !self.heard(|heard| heard.logs.iter().any(|line| line.contains(wanted))) {
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(())
            }
            "cancel" => self.cancel(spec).await,
            "sampling" | "elicitation" => {
                self.forget();
                includes(&self.call(spec).await?, &json!(ANSWER))?;
                let asked = self.heard(|heard| heard.asked.clone());
                ensure(asked.len() == 1, || format!("asked: {asked:?}"))?;
                includes(&asked[0], &spec["asked"])
            }
            // A server asks for roots some time after the handshake.
            "roots" => self.until(spec).await,
            _ => self.call_checked(spec).await,
        }
    }

    async fn read(&self, spec: &Value) -> Check {
        let params = ReadResourceRequestParams::new(text(&spec["uri"])?);
        let result = wire(self.client.read_resource(params).await)?;
        same(&result["contents"][0]["uri"], &spec["uri"])?;
        includes(text(&result["contents"][0]["text"])?, &spec["text"])
    }

    async fn cancel(&self, spec: &Value) -> Check {
        self.forget();
        let handle = loop {
            let request = ClientRequest::CallToolRequest(CallToolRequest::new(self.tool(spec)?));
            let mut handle = self
                .client
                .send_cancellable_request(request, PeerRequestOptions::no_options())
                .await
                .map_err(shown)?;
            match self.begun(&mut handle).await? {
                Some(question) => ensure(question["resultType"] == "input_required", || {
                    format!("the call that was to be cancelled answered {question}")
                })?,
                None => break handle,
            }
            // A legacy server asks for roots some time after its handshake, and the next call is answered with that question.
            // `send_cancellable_request` hands it out; `call_tool` answers what is asked of it before the same server.
            self.call_checked(&self.profile["call"]).await?;
        };
        handle.cancel(Some("interop has seen enough".to_owned())).await.map_err(shown)?;
        self.call_checked(&self.profile["call"]).await?;
        match spec.get("proof") {
            Some(proof) => self.until(proof).await,
            None => Ok(()),
        }
    }

    /// Waits for the first progress of a call; gives its result if that comes first.
    async fn begun(&self, handle: &mut RequestHandle<RoleClient>) -> Result<Option<Value>, String> {
        while self.heard(|heard| heard.progress.is_empty()) {
            tokio::select! {
                answer = &mut handle.rx => return wire(answer.map_err(shown)?).map(Some),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        Ok(None)
    }

    /// Calls again and again until the text is as wished; the feature's time limit ends it.
    async fn until(&self, spec: &Value) -> Check {
        while includes(&self.call(spec).await?, &spec["text"]).is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn wire<T: Serialize>(result: Result<T, impl std::fmt::Display>) -> Result<Value, String> {
    serde_json::to_value(result.map_err(shown)?).map_err(shown)
}

fn list<T: Serialize>(result: Result<Vec<T>, impl std::fmt::Display>) -> Result<Vec<Value>, String> {
    Ok(array(&wire(result)?).cloned().collect())
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn object(value: &Value) -> JsonObject {
    value.as_object().cloned().unwrap_or_default()
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("{value} is not a string"))
}

fn ensure(condition: bool, why: impl FnOnce() -> String) -> Check {
    if condition { Ok(()) } else { Err(why()) }
}

fn same(found: &Value, wanted: &Value) -> Check {
    ensure(found == wanted, || format!("{found} instead of {wanted}"))
}

fn includes(whole: &str, part: &Value) -> Check {
    let part = text(part)?;
    ensure(whole.contains(part), || format!("{part:?} is not in {whole}"))
}

fn member_of(items: &[Value], member: &str, spec: &Value) -> Check {
    ensure(items.iter().any(|item| item[member] == spec[member]), || {
        format!("{} is not listed", spec[member])
    })
}

async fn limited(check: impl Future<Output = Check>) -> String {
    match tokio::time::timeout(Duration::from_secs(FEATURE_SECONDS), check).await {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(why)) => format!("FAIL: {}", why.chars().take(400).collect::<String>()),
        Err(_) => format!("FAIL: nothing after {FEATURE_SECONDS} s"),
    }
}

#[tokio::main]
async fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1).peekable();
    let discover = args.next_if(|argument| argument == "--discover").is_some();
    let (Some(target), Some(prefix), Some(path)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: rmcp_client [--discover] TARGET PREFIX PROFILE.json".to_owned());
    };
    let profile = std::fs::read_to_string(path).map_err(shown)?;
    let profile: Value = serde_json::from_str(&profile).map_err(shown)?;
    let checks = Checks::connect(&target, prefix, profile, discover).await?;
    let features = [
        ("tools/list", "tools"),
        ("tools/call", "call"),
        ("resources/list", "resource"),
        ("resources/read", "resource"),
        ("templates", "template"),
        ("prompts/list", "prompt"),
        ("prompts/get", "prompt"),
        ("complete prompt", "complete_prompt"),
        ("complete resource", "complete_resource"),
        ("progress", "progress"),
        ("logs", "logs"),
        ("cancel", "cancel"),
        ("sampling", "sampling"),
        ("elicitation", "elicitation"),
        ("roots", "roots"),
    ];
    let mut outcome = Map::new();
    for (feature, key) in features {
        let result = match checks.profile.get(key) {
            Some(spec) => limited(checks.check(feature, spec)).await,
            None => "absent".to_owned(),
        };
        outcome.insert(feature.to_owned(), Value::String(result));
    }
    println!("{}", Value::Object(outcome));
    checks.client.cancel().await.map_err(shown)?;
    Ok(())
}

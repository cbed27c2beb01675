//! `server/discover`, as the gateway answers it: for a service the answers of its servers, their capabilities together; for the
//! aggregated route the gateway's own.

use std::sync::Arc;

use serde_json::Value;

use crate::error::Result;
use crate::gateway::Core;
use crate::model::{Endpoint, Principal, Reply};
use crate::rpc::answer::result_response;
use crate::rpc::envelope::quote;
use crate::rpc::version::{self, LATEST_LEGACY};
use crate::rpc::{Edit, Members, Message, meta};

impl Core {
    /// The answer to `server/discover` on `route`. Errors as of [`Core::introduction`].
    pub(super) async fn introduce_modern(
        self: &Arc<Self>,
        route: &Endpoint,
        message: &Message,
        principal: &Principal,
    ) -> Result<Reply> {
        // Asks servers that have not answered before.
        let said = self.introduction(route, LATEST_LEGACY, principal).await?;
        let result = match route.service() {
            None => {
                let view = self.router.view_for(principal);
                let replicas = view.services.values().flat_map(|service| &service.replicas);
                let said_modern: Vec<_> =
                    replicas.filter_map(|replica| replica.listing.modern.as_deref()).collect();
                let tasks = said_modern.iter().find_map(|modern| tasks_of(&modern.discover));
                with_tasks(&from_initialize(&said, &[])?, tasks.as_deref())?
            }
            Some(_) if self.router.view_for(principal).is_own(route, principal) => {
                from_initialize(&said, &[])?
            }
            Some(name) => {
                let view = self.router.view_for(principal);
                let service = view.service(name.as_str())?;
                let heard: Vec<_> = service.replicas.iter().map(|replica| &*replica.listing).collect();
                let capabilities: Vec<Value> =
                    heard.iter().filter_map(|listing| capabilities(listing.initialize.as_deref()?)).collect();
                let modern: Option<Vec<_>> = heard.iter().map(|listing| listing.modern.as_deref()).collect();
                match modern.as_deref() {
                    Some([first, others @ ..]) => {
                        let others: Vec<_> = others.iter().map(|other| other.discover.as_str()).collect();
                        let replicas = &service.replicas;
                        let shared = replicas.iter().all(|replica| {
                            replica.server.configuration.may_be_public(self.book.has(replica.server.id))
                        });
                        from_discover(&first.discover, &others, &capabilities, shared)?
                    }
                    _ => from_initialize(&said, &capabilities)?,
                }
            }
        };
        Ok(Reply::own(result_response(message.id().unwrap_or("null"), &result)))
    }
}

/// The extension whose requests the aggregated route can deliver to the right server: the gateway knows which one made a task.
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A server's declaration of that extension, raw.
fn tasks_of(discover: &str) -> Option<String> {
    let capabilities = Members::parse(Members::parse(discover).ok()?.get("capabilities")?).ok()?;
    Some(Members::parse(capabilities.get("extensions")?).ok()?.get(TASKS)?.to_owned())
}

/// The same result, which declares the extension for the gateway, if a server does.
fn with_tasks(result: &str, tasks: Option<&str>) -> Result<String> {
    let Some(tasks) = tasks else { return Ok(result.to_owned()) };
    let mut edit = Edit::of(result)?;
    let mut capabilities = Edit::of(edit.members().get("capabilities").unwrap_or("{}"))?;
    capabilities.set("extensions", format!("{{{}:{tasks}}}", quote(TASKS)));
    let capabilities = capabilities.apply();
    edit.set("capabilities", capabilities);
    Ok(edit.apply())
}

/// The versions that clients can speak here, newest first, as raw JSON.
fn supported() -> String {
    let versions: Vec<_> = version::supported().into_iter().map(quote).collect();
    format!("[{}]", versions.join(","))
}

/// A legacy server's `initialize` result as the result of `server/discover`; `capabilities` are those of all replicas.
fn from_initialize(said: &str, capabilities: &[Value]) -> Result<String> {
    let mut edit = Edit::of(said)?;
    if let Some(info) = edit.members().get("serverInfo") {
        meta::set(&mut edit, &[(meta::SERVER_INFO, info)])?;
    }
    edit.remove("protocolVersion").remove("serverInfo").set("supportedVersions", supported());
    together(&mut edit, capabilities);
    meta::complete(&mut edit, true);
    Ok(edit.apply())
}

/// The result of modern servers: the first one's, kept as long as all of them allow, and shared with other callers only if they
/// all say so and `shared` allows it.
fn from_discover(said: &str, others: &[&str], capabilities: &[Value], shared: bool) -> Result<String> {
    let freshness = |said: &str| {
        let members = Members::parse(said).ok()?;
        let ttl = members.get("ttlMs")?.parse::<u64>().ok()?;
        Some((ttl, members.text("cacheScope").as_deref() == Some("public")))
    };
    let all = std::iter::once(&said).chain(others).map(|said| freshness(said).unwrap_or((0, false)));
    let (ttl, public) = all.fold((u64::MAX, shared), |(ttl, public), one| (ttl.min(one.0), public && one.1));
    let scope = if public { r#""public""# } else { r#""private""# };
    let mut edit = Edit::of(said)?;
    edit.set("supportedVersions", supported()).set("ttlMs", ttl.to_string()).set("cacheScope", scope);
    if !others.is_empty() {
        together(&mut edit, capabilities);
    }
    Ok(edit.apply())
}

fn capabilities(said: &str) -> Option<Value> {
    serde_json::from_str(Members::parse(said).ok()?.get("capabilities")?).ok()
}

/// Puts the capabilities of all replicas in the place of the first one's, where there are several. The legacy era's
/// experimental tasks are left out: this era's are an extension with other methods.
fn together(edit: &mut Edit<'_>, all: &[Value]) {
    let own = edit.members().get("capabilities").unwrap_or("{}");
    if let [_, _, ..] = all {
        let mut merged = all.iter().fold(Value::Object(serde_json::Map::new()), |mut merged, one| {
            merge(&mut merged, one);
            merged
        });
        if let Some(merged) = merged.as_object_mut() {
            merged.remove("tasks");
        }
        edit.set("capabilities", merged.to_string());
    } else if let Ok(mut capabilities) = Edit::of(own) {
        capabilities.remove("tasks");
        let capabilities = capabilities.apply();
        edit.set("capabilities", capabilities);
    }
}

/// Adds the capabilities of `other`; the union holds for both together.
fn merge(into: &mut Value, other: &Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (key, value) in other {
                match into.get_mut(key) {
                    Some(own) => merge(own, value),
                    None => _ = into.insert(key.clone(), value.clone()),
                }
            }
        }
        (into @ Value::Bool(false), Value::Bool(true)) => *into = Value::Bool(true),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_legacy_servers_words_become_a_discover_result() {
        let said = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"x":1.0},"tasks":{}},"serverInfo":{"name":"n"},"instructions":"i","y":2}"#;
        let result: Value = serde_json::from_str(&from_initialize(said, &[]).unwrap()).unwrap();
        assert_eq!(
            result,
            json!({
                "capabilities": { "tools": { "x": 1.0 } }, "instructions": "i", "y": 2,
                "supportedVersions": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "n" } },
            })
        );
    }

    #[test]
    fn the_aggregated_route_has_tasks_if_a_server_has() {
        let said =
            r#"{"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{"x":1.0},"other":{}}}}"#;
        assert_eq!(
            with_tasks(r#"{"capabilities":{"tools":{}}}"#, tasks_of(said).as_deref()).unwrap(),
            r#"{"capabilities":{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{"x":1.0}}}}"#
        );
        assert_eq!(with_tasks("{}", tasks_of(r#"{"capabilities":{}}"#).as_deref()).unwrap(), "{}");
    }

    #[test]
    fn replicas_can_do_together_what_one_of_them_can() {
        let all = [
            json!({"tools": {"listChanged": false}}),
            json!({"tools": {"listChanged": true}, "prompts": {}}),
        ];
        let said = r#"{"capabilities":{"tools":{"listChanged":false}}}"#;
        let result: Value = serde_json::from_str(&from_initialize(said, &all).unwrap()).unwrap();
        assert_eq!(result["capabilities"], json!({"tools": {"listChanged": true}, "prompts": {}}));
    }

    #[test]
    fn what_modern_replicas_said_is_kept_as_long_as_all_of_them_allow() {
        let first = r#"{"resultType":"complete","capabilities":{},"ttlMs":50,"cacheScope":"public"}"#;
        let read = |others: &[&str]| -> Value {
            serde_json::from_str(&from_discover(first, others, &[], true).unwrap()).unwrap()
        };
        assert_eq!((&read(&[])["ttlMs"], &read(&[])["cacheScope"]), (&json!(50), &json!("public")));
        let other = r#"{"ttlMs":7,"cacheScope":"private"}"#;
        assert_eq!((&read(&[other])["ttlMs"], &read(&[other])["cacheScope"]), (&json!(7), &json!("private")));
    }

    /// T-05: where an operator wants that, an answer labelled `public` becomes private.
    #[test]
    fn what_may_not_be_shared_is_private_whatever_the_server_says() {
        let first = r#"{"capabilities":{},"ttlMs":50,"cacheScope":"public"}"#;
        let result: Value = serde_json::from_str(&from_discover(first, &[], &[], false).unwrap()).unwrap();
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(50), &json!("private")));
    }
}

//! The gateway's own service, so that an agent can ask the gateway itself: tools that find, list, register and
//! remove servers, show how they are, count, and pass a request on, and a resource that shows how the gateway is set up.
//!
//! Each is a method of the handle, with the same checks and the same records; the results are the documents of the REST API.

mod run;
#[cfg(test)]
mod tests;
mod tool;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use self::tool::Tool;
use crate::auth::Operation;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Attempt, BuiltinCall, BuiltinItem, BuiltinService, CONFIG, Settings};
use crate::model::CapabilityKind;
use crate::rpc::envelope::quote;

/// The service; see [`Settings::own`](crate::gateway::Settings::own).
pub fn service() -> Arc<dyn BuiltinService> {
    Arc::new(Own)
}

/// The settings of the configuration, with the gateway's own service.
pub fn settings(config: &Config) -> Settings {
    Settings { own: config.server.builtin_service.then(service), ..Settings::of(config) }
}

#[derive(Debug)]
struct Own;

const RESOURCES: [BuiltinItem; 1] = [BuiltinItem {
    name: CONFIG,
    definition: include_str!("config.json"),
    needs: &[Operation::ResourcesRead, Operation::StatsRead],
}];

#[async_trait]
impl BuiltinService for Own {
    fn items(&self, kind: CapabilityKind) -> &[BuiltinItem] {
        match kind {
            CapabilityKind::Tool => &Tool::ITEMS,
            CapabilityKind::Resource => &RESOURCES,
            CapabilityKind::ResourceTemplate | CapabilityKind::Prompt => &[],
        }
    }

    async fn call(&self, own: BuiltinCall, tool: &str, arguments: &str) -> Result<String> {
        let unknown = || Error::new(ErrorKind::InvalidParams, "the gateway has no such tool");
        let tool = Tool::named(tool).ok_or_else(unknown)?;
        let (gateway, caller) = (own.gateway().clone(), own.caller().clone());
        // An error is a result, too, so that the model that called it can read the reason.
        Ok(run::outcome_of(tool, arguments, own).await.unwrap_or_else(|error| {
            let action = format!("tools/call gateway/{}", tool.name());
            gateway.refused(
                &Attempt {
                    principal: Some(&caller.principal),
                    credentials: None,
                    action: &action,
                    correlation_id: &caller.correlation_id,
                },
                &error,
            );
            let text = quote(&error.to_string());
            format!(r#"{{"content":[{{"type":"text","text":{text}}}],"isError":true}}"#)
        }))
    }

    async fn read(&self, own: BuiltinCall, uri: &str) -> Result<String> {
        let settings = own.gateway().settings();
        let text = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "opened_at": own.gateway().opened_at().to_string(),
            "authentication": settings.auth.is_configured(),
            "sessions": {
                "idle_seconds": settings.sessions.idle.as_secs(),
                "max_seconds": settings.sessions.longest.as_secs(),
                "max_sessions": settings.sessions.most,
                "max_per_principal": settings.sessions.most_each,
            },
            "breaker": settings.breaker,
            "list_budget_seconds": settings.list_budget.as_secs_f64(),
            "refresh_seconds": settings.refresh.as_secs(),
            "probing": settings.probing,
            "max_calls": settings.limits.max_calls,
        });
        let (uri, text) = (quote(uri), quote(&text.to_string()));
        Ok(format!(r#"{{"contents":[{{"uri":{uri},"mimeType":"application/json","text":{text}}}]}}"#))
    }
}

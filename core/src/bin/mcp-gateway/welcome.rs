//! The message of `serve` when it is ready: where to connect, and the snippet to paste into a client.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use mcp_registry_gateway::Result;
use mcp_registry_gateway::auth::LocalToken;
use mcp_registry_gateway::gateway::{Caller, Gateway};
use mcp_registry_gateway::registry::Filter;
use serde_json::json;

/// Services that are shown one by one.
const SHOWN: usize = 20;
/// Stands in the snippet where a client's own key goes.
const KEY: &str = "YOUR_KEY";

/// The text for people, on standard output: `base` is where this machine reaches the gateway, `elsewhere` where others do.
pub(crate) fn text(
    gateway: &Gateway,
    caller: &Caller,
    base: &str,
    elsewhere: Option<&str>,
) -> Result<String> {
    let services = services(gateway, caller)?;
    let mut lines = vec![
        format!("MCP Registry Gateway {}", env!("CARGO_PKG_VERSION")),
        String::new(),
        format!("  all services   {base}/mcp"),
    ];
    for (service, replicas) in services.iter().take(SHOWN) {
        let replicas = if *replicas == 1 { String::new() } else { format!("  ({replicas} replicas)") };
        lines.push(format!("  {service:<14} {base}/mcp/{service}{replicas}"));
    }
    if services.len() > SHOWN {
        lines.push(format!("  and {} more: `mcp-gateway list`", services.len() - SHOWN));
    }
    if services.is_empty() {
        lines.push("  no servers yet: `mcp-gateway register NAME URL-OR-COMMAND`".to_owned());
    }
    lines.push(format!("  documentation  {base}/docs"));
    lines.extend(gateway.local_token().map(|token| local_token(token, std::io::stdout().is_terminal())));
    lines.push(String::new());
    let mut server = json!({ "type": "http", "url": format!("{}/mcp", elsewhere.unwrap_or(base)) });
    if gateway.demands_credentials() {
        lines.push(format!(
            "For a client's configuration, with a key of `mcp-gateway keys create NAME` for {KEY}:"
        ));
        server["headers"] = json!({ "Authorization": format!("Bearer {KEY}") });
    } else {
        lines.push("For a client's configuration:".to_owned());
    }
    let snippet = json!({ "mcpServers": { "gateway": server } });
    lines.push(serde_json::to_string_pretty(&snippet).unwrap_or_default());
    Ok(lines.join("\n"))
}

/// The local token for a reader at a terminal, and else its location: text that is written elsewhere is kept and read by others.
fn local_token(token: &LocalToken, at_terminal: bool) -> String {
    let shown = match token.file() {
        Some(file) if !at_terminal => format!("in {}", file.display()),
        _ if at_terminal => token.reveal().to_owned(),
        _ => "in memory alone".to_owned(),
    };
    format!(
        "  local token    {shown}  (for commands, credentials and keys; `mcp-gateway` reads it by itself)"
    )
}

/// Services and how many replicas each has.
fn services(gateway: &Gateway, caller: &Caller) -> Result<BTreeMap<String, usize>> {
    let mut services = BTreeMap::new();
    for page in 1.. {
        let found = gateway.list(caller, &Filter { page, limit: Filter::MAX_LIMIT, ..Filter::default() })?;
        for server in &found.servers {
            *services.entry(server.service.to_string()).or_insert(0) += 1;
        }
        if found.servers.len() < Filter::MAX_LIMIT as usize {
            break;
        }
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_token_is_shown_at_a_terminal_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let token = LocalToken::beside(&folder.path().join("gateway.db")).unwrap();
        assert!(local_token(&token, true).contains(token.reveal()));
        let elsewhere = local_token(&token, false);
        assert!(!elsewhere.contains(token.reveal()) && elsewhere.contains("local.token"), "{elsewhere}");
    }
}

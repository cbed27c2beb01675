//! `routes.md`: every HTTP route.

use std::collections::BTreeMap;
use std::fmt::Write;

use mcp_registry_gateway::auth::Gate;
use mcp_registry_gateway::server;

use super::{code, head, table};

const ABOUT: &str = "
A running gateway shows the same at `/docs`, with bodies and parameters, and to programs at `/openapi.json`. [permissions.md](permissions.md) says who may
do an operation; the operation of a message to an MCP route depends on the message (`mcp`), and a public route asks for nothing. Lists come in
pages (`page`, `limit` 50, at most 200). [errors.md](errors.md) has the form of an error.
";

pub(super) fn page() -> String {
    let document = serde_json::to_value(server::document()).unwrap_or_default();
    let mut by_tag: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, route) in methods.as_object().into_iter().flatten() {
            let method = method.to_uppercase();
            let answers =
                route["responses"].as_object().into_iter().flatten().map(|(status, _)| code(status));
            let row = vec![
                code(&format!("{method} {path}")),
                route["summary"].as_str().unwrap_or_default().to_owned(),
                operation(&method, path),
                answers.collect::<Vec<_>>().join(" "),
            ];
            by_tag.entry(route["tags"][0].as_str().unwrap_or("others").to_owned()).or_default().push(row);
        }
    }
    let mut page = head("Routes", "the OpenAPI document") + ABOUT;
    for (tag, rows) in by_tag {
        let _ = write!(page, "\n## {tag}\n{}", table(&["route", "meaning", "operation", "answers"], rows));
    }
    page
}

fn operation(method: &str, path: &str) -> String {
    match Gate::of(method, path) {
        Some(Gate::Public) => "public".to_owned(),
        Some(Gate::Mcp) => "mcp".to_owned(),
        Some(Gate::Operation(operation)) => code(operation.as_str()),
        None => "–".to_owned(),
    }
}

//! An axum application with a gateway beside its own routes: MCP clients connect to /mcp, the routes call tools.
//!
//! `example-rust-axum [ADDRESS] [NAME=URL]…` registers the servers that it is told.

use std::error::Error as Failure;
use std::net::{Ipv4Addr, SocketAddr};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use mcp_registry_gateway::server::{Exposed, Part};
use mcp_registry_gateway::{Caller, Error, ErrorKind, Filter, Gateway, Registration, Result};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Failure>> {
    let (gateway, us) = (Gateway::builder().open().await?, Caller::local());

    // A server of this process. Yours is more likely one that is registered by its URL or its command.
    let numbers = Registration::named("numbers");
    let numbers = gateway.host(&us, numbers, |visit| visit.answer(answer)).await?;
    gateway.discover(&us, numbers.server().id).await?;

    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some((name, url)) => drop(gateway.register(&us, Registration::at(name, url)).await?),
            None => address = argument.parse()?,
        }
    }

    let app = Router::new()
        .route("/double/{n}", get(double))
        .route("/servers", get(servers))
        .with_state(gateway.clone())
        // MCP, and what else of the gateway is asked for by name: here /health and /ready.
        .fallback_service(gateway.service().exposing(Exposed::from_iter([Part::Health])));

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("MCP clients connect to http://{}/mcp", listener.local_addr()?);
    let stop = async move {
        // Without signals it runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        // Calls under way may end; then clients' streams do, which the server would wait for.
        gateway.close().await;
    };
    // The gateway has to know who asks.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).with_graceful_shutdown(stop).await?)
}

/// An MCP server as a function from a method and its parameters to the result.
async fn answer(method: String, params: Value) -> Result<Value> {
    Ok(match method.as_str() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "numbers", "version": "1" },
        }),
        "tools/list" => {
            let input =
                json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
            json!({ "tools": [{ "name": "double", "description": "Doubles a number", "inputSchema": input }] })
        }
        "tools/call" => {
            let doubled = params["arguments"]["n"].as_i64().and_then(|n| n.checked_mul(2));
            let text =
                doubled.map_or("`n` has to be a whole number that can be doubled".into(), |n| n.to_string());
            json!({ "content": [{ "type": "text", "text": text }], "isError": doubled.is_none() })
        }
        "ping" => json!({}),
        _ => return Err(Error::new(ErrorKind::MethodNotFound, "no such method")),
    })
}

async fn double(
    State(gateway): State<Gateway>,
    Path(n): Path<i64>,
) -> std::result::Result<Json<Value>, Refused> {
    let result = gateway.call_tool(&Caller::local(), "numbers__double", &json!({ "n": n })).await?;
    Ok(Json(json!({ "n": n, "doubled": result.text()? })))
}

async fn servers(State(gateway): State<Gateway>) -> std::result::Result<Json<Value>, Refused> {
    let page = gateway.list(&Caller::local(), &Filter::default())?;
    let shown =
        page.servers.iter().map(|server| json!({ "name": server.name, "health": server.health_status }));
    Ok(Json(shown.collect()))
}

/// An error of the gateway as the answer of a route: each kind has its status.
struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> axum::response::Response {
        let status = StatusCode::from_u16(self.0.kind().row().status);
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), self.0.to_string()).into_response()
    }
}

//! `mcp-gateway credentials login`: says where a person goes, and waits until they are back.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{ScopeArgs, path, read};
use crate::api::{Api, At};
use crate::exit::Failure;
use crate::table::{print, print_json};
use crate::wiring::Common;

#[derive(Debug, clap::Args)]
pub(super) struct Login {
    /// The id or the name of the server
    server: String,
    #[command(flatten)]
    whose: ScopeArgs,
    /// The client that was registered by hand at the authorization server [default: the gateway registers itself]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Read that client's secret from standard input
    #[arg(long, requires = "client_id")]
    secret: bool,
    /// A scope to ask for, once or several times [default: those that the server names]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Print where to go as JSON, and do not wait
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// How often the gateway is asked whether the person is back.
const PAUSE: Duration = Duration::from_secs(1);
/// How often at most: they have ten minutes.
const MOST: u32 = 600;

pub(super) async fn run(common: &Common, login: &Login) -> Result<(), Failure> {
    let api = login.at.api(common).await?;
    if let Api::Opened { .. } = &api {
        api.close().await;
        return Err(Failure::unreachable(
            "no gateway is running to which the browser could come back; start one with `mcp-gateway serve`"
                .to_owned(),
        ));
    }
    let outcome = logged_in(&api, login).await;
    api.close().await;
    outcome
}

async fn logged_in(api: &Api, login: &Login) -> Result<(), Failure> {
    let mut wish = json!({ "scopes": login.scopes });
    if let Some(id) = &login.client_id {
        wish["client_id"] = id.as_str().into();
    }
    if login.secret {
        wish["client_secret"] = read()?.into();
    }
    if let Some(subject) = &login.whose.subject {
        wish["subject"] = subject.as_str().into();
    }
    let credentials = path(api, &login.server, login.whose.own).await?;
    let before = granted(api, login, &credentials).await?;
    let begun = api.ask(Method::POST, &format!("{credentials}/login"), Some(&wish)).await?;
    if login.json {
        return print_json(&begun);
    }
    let text = |name: &str| begun[name].as_str().unwrap_or_default();
    print(&format!(
        "Open this in a browser, until {}:\n\n  {}\n",
        text("expires_at"),
        text("authorization_url")
    ))?;
    for _ in 0..MOST {
        tokio::time::sleep(PAUSE).await;
        let now = granted(api, login, &credentials).await?;
        // A renewal leaves that as it is.
        if now["created_at"] != before["created_at"] {
            let scopes = now["authorized"]["scopes"].as_array().into_iter().flatten();
            let scopes: Vec<_> = scopes.filter_map(Value::as_str).collect();
            let scopes =
                if scopes.is_empty() { String::new() } else { format!(", for {}", scopes.join(" ")) };
            return print(&format!("{} is authorized{scopes}", login.server));
        }
    }
    Err(Failure::failed("nobody came back from the authorization server within ten minutes".to_owned()))
}

/// The public part of the authorization that the server gets, if there is one.
async fn granted(api: &Api, login: &Login, credentials: &str) -> Result<Value, Failure> {
    let listed = api.ask(Method::GET, credentials, None::<&Value>).await?;
    let own = |credential: &&Value| {
        let subject = credential["subject"].as_str();
        credential["kind"] == "oauth" && (login.whose.own || subject == login.whose.subject.as_deref())
    };
    Ok(listed["credentials"].as_array().into_iter().flatten().find(own).cloned().unwrap_or_default())
}

//! `mcp-gateway credentials`.

mod login;

use std::io::Read;

use http::Method;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::healthcheck::id_of;
use crate::api::{Api, At};
use crate::exit::Failure;
use crate::table::{columns, print, print_json};
use crate::wiring::Common;

/// Sets, lists and removes credentials that the gateway sends to a server; logs in by OAuth.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pass show docs-token | mcp-gateway credentials set docs Authorization
  mcp-gateway credentials set docs Authorization --own < token.txt
  mcp-gateway credentials login docs
  mcp-gateway credentials list docs

Values are read from standard input, since other users of a machine can read command lines; they are never shown again.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Sets the credential that a server gets in a header, read from standard input, such as `Bearer …`
    Set(One),
    /// Lets the gateway into a server by OAuth, in a browser
    Login(login::Login),
    /// Lists the credentials of a server, without the values
    List(List),
    /// Removes the credential that a server gets in a header
    Remove(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The id or the name of the server
    server: String,
    /// The header, such as `Authorization` or `X-Api-Key`
    header: String,
    #[command(flatten)]
    whose: ScopeArgs,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// In your calls alone, of a server whose `configuration.credentials` is `caller`
    #[arg(long)]
    own: bool,
    /// In the calls of this caller alone, such as `key:…`; for administrators
    #[arg(long = "for", value_name = "SUBJECT")]
    subject: Option<String>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// The id or the name of the server
    server: String,
    /// The credentials in your calls alone
    #[arg(long)]
    own: bool,
    /// Print the credentials as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// Longest value that is read, in bytes: the gateway takes 8 KiB.
const LONGEST: u64 = 64 * 1024;

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Set(one) => {
            let value = read()?;
            let api = one.at.api(common).await?;
            let set = set(&api, &one, &value).await;
            api.close().await;
            let set = set?;
            if one.json {
                return print_json(&set);
            }
            print(&format!(
                "set {} of {}; it goes to {}",
                one.header,
                one.server,
                set["origin"].as_str().unwrap_or_default()
            ))
        }
        Command::Login(login) => login::run(common, &login).await,
        Command::Remove(one) => {
            let api = one.at.api(common).await?;
            let removed = remove(&api, &one).await;
            api.close().await;
            removed?;
            if one.json {
                return print_json(&json!({ "header": one.header, "removed": true }));
            }
            print(&format!("removed {} of {}", one.header, one.server))
        }
        Command::List(list) => {
            let api = list.at.api(common).await?;
            let listed = listed(&api, &list).await;
            api.close().await;
            let listed = listed?;
            if list.json {
                return print_json(&listed);
            }
            let rows: Vec<_> = listed["credentials"].as_array().into_iter().flatten().map(row).collect();
            if rows.is_empty() {
                return print(&format!("nothing is set for {}", list.server));
            }
            print(&columns(["HEADER", "KIND", "FOR", "ORIGIN", "SET BY", "SET AT"], &rows))
        }
    }
}

async fn set(api: &Api, one: &One, value: &str) -> Result<Value, Failure> {
    let mut wish = json!({ "header": one.header, "value": value });
    if let Some(subject) = &one.whose.subject {
        wish["subject"] = subject.as_str().into();
    }
    api.ask(Method::POST, &path(api, &one.server, one.whose.own).await?, Some(&wish)).await
}

async fn remove(api: &Api, one: &One) -> Result<Value, Failure> {
    let mut query = Serializer::new(String::new());
    query.append_pair("header", &one.header);
    if let Some(subject) = &one.whose.subject {
        query.append_pair("subject", subject);
    }
    let path = path(api, &one.server, one.whose.own).await?;
    api.ask(Method::DELETE, &format!("{path}?{}", query.finish()), None::<&Value>).await
}

async fn listed(api: &Api, list: &List) -> Result<Value, Failure> {
    api.ask(Method::GET, &path(api, &list.server, list.own).await?, None::<&Value>).await
}

async fn path(api: &Api, server: &str, own: bool) -> Result<String, Failure> {
    let id = id_of(api, server).await?;
    Ok(format!("/api/v1/servers/{id}/credentials{}", if own { "/own" } else { "" }))
}

/// The value on standard input, without a line's end.
fn read() -> Result<String, Failure> {
    let mut text = String::new();
    let failed = |error| Failure::failed(format!("the value cannot be read from standard input: {error}"));
    std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).map_err(failed)?;
    let value = text.trim_end_matches(['\r', '\n']);
    if value.is_empty() {
        return Err(Failure::usage("there is no value on standard input; give one, such as `Bearer …`"));
    }
    Ok(value.to_owned())
}

fn row(credential: &Value) -> [String; 6] {
    let text = |name: &str| credential[name].as_str().unwrap_or_default().to_owned();
    let subject = credential["subject"].as_str().unwrap_or("all").to_owned();
    [text("header"), text("kind"), subject, text("origin"), text("created_by"), text("created_at")]
}

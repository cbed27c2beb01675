//! `mcp-gateway keys`.
//!
//! Without a URL these commands work on the database itself, also while a gateway serves it, which takes up the changes within
//! a second: a user that can write the database needs no key to make the first one.

use std::sync::Arc;

use http::Method;
use mcp_registry_gateway::auth::Keys;
use mcp_registry_gateway::auth::keys::{DEFAULT_DAYS, NewKey, Secret};
use mcp_registry_gateway::clock::{Clock, SystemClock};
use mcp_registry_gateway::model::{ApiKey, KeyId, Principal, Role, ServerId, TenantId};
use mcp_registry_gateway::store::Store;
use mcp_registry_gateway::store::sqlite::SqliteStore;
use serde_json::{Value, json};

use crate::api::{Api, At};
use crate::exit::Failure;
use crate::table::{columns, plain, print, print_json};
use crate::wiring::Common;

/// Creates, lists, rotates and revokes API keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mcp-gateway keys create --role admin operator
  mcp-gateway keys create --role developer --days 30 ci
  mcp-gateway keys revoke 5f0c...

Without --url these work on the database, also while a gateway serves it.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Creates a key and prints it, once
    Create(Create),
    /// Lists the keys, also those that have ended
    List(List),
    /// Replaces a key by another that is like it; the old one holds for another 24 hours
    Rotate(One),
    /// Revokes a key, at once
    Revoke(One),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// For people
    name: String,
    /// admin, manager, developer, analyst, viewer or guest
    #[arg(long, default_value = "viewer")]
    role: Role,
    /// A scope that the key is narrowed to; may be repeated [default: all that the role may]
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// The id or the name of the only server that it may be used for
    #[arg(long)]
    server: Option<String>,
    /// How many days it lives
    #[arg(long, default_value_t = DEFAULT_DAYS)]
    days: u32,
    /// Requests a minute at most, instead of what its role allows
    #[arg(long, value_name = "COUNT")]
    requests_per_minute: Option<u32>,
    /// The tenant that it belongs to; with --url it is that of the key that asks
    #[arg(long, default_value = "default", conflicts_with = "url")]
    tenant: TenantId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct List {
    /// The tenant whose keys are listed; with --url it is that of the key that asks
    #[arg(long, default_value = "default", conflicts_with = "url")]
    tenant: TenantId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The id of the key
    id: KeyId,
    /// The tenant that it belongs to; with --url it is that of the key that asks
    #[arg(long, default_value = "default", conflicts_with = "url")]
    tenant: TenantId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Output {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// Keys a page.
const PAGE: u32 = 200;

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Create(create) => {
            let made = if create.output.at.names_a_gateway()? {
                let (api, server) = (create.output.at.api(common).await?, create.server.clone());
                let server = match server {
                    Some(server) => Some(super::healthcheck::id_of(&api, &server).await?),
                    None => None,
                };
                ask(api, Method::POST, "/api/v1/api-keys", Some(&wish(&create, server.as_deref()))).await?
            } else {
                Local::open(common, create.tenant.clone()).await?.create(&create).await?
            };
            shown(&made, create.output.json, "made")
        }
        Command::Rotate(one) => {
            let made = if one.output.at.names_a_gateway()? {
                let path = format!("/api/v1/api-keys/{}/rotate", one.id);
                ask(one.output.at.api(common).await?, Method::POST, &path, None).await?
            } else {
                Local::open(common, one.tenant).await?.rotate(one.id).await?
            };
            shown(&made, one.output.json, "made in its place")
        }
        Command::Revoke(one) => {
            if one.output.at.names_a_gateway()? {
                let path = format!("/api/v1/api-keys/{}", one.id);
                ask(one.output.at.api(common).await?, Method::DELETE, &path, None).await?;
            } else {
                Local::open(common, one.tenant).await?.revoke(one.id).await?;
            }
            if one.output.json {
                return print_json(&json!({ "id": one.id, "revoked": true }));
            }
            print(&format!("revoked {}", one.id))
        }
        Command::List(list) => {
            let keys = if list.output.at.names_a_gateway()? {
                listed(list.output.at.api(common).await?).await?
            } else {
                Local::open(common, list.tenant).await?.list().await?
            };
            if list.output.json {
                return print_json(&json!({ "total": keys.len(), "keys": keys }));
            }
            if keys.is_empty() {
                return print("no keys yet: `mcp-gateway keys create NAME`");
            }
            let head = ["ID", "NAME", "ROLE", "KEY", "ACTIVE", "USES", "EXPIRES"];
            print(&columns(head, &keys.iter().map(row).collect::<Vec<_>>()))
        }
    }
}

fn wish(create: &Create, server: Option<&str>) -> Value {
    json!({
        "name": create.name, "role": create.role, "scopes": scopes(create), "server_id": server,
        "expires_in_days": create.days, "requests_per_minute": create.requests_per_minute,
    })
}

fn scopes(create: &Create) -> Option<Vec<String>> {
    (!create.scopes.is_empty()).then(|| create.scopes.clone())
}

async fn ask(api: Api, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
    let answer = api.ask(method, path, body).await;
    api.close().await;
    answer
}

async fn listed(api: Api) -> Result<Vec<Value>, Failure> {
    let mut keys = Vec::new();
    for page in 1_u32.. {
        let path = format!("/api/v1/api-keys?limit={PAGE}&page={page}");
        let mut answer = api.ask(Method::GET, &path, None::<&Value>).await?;
        let Some(found) = answer["keys"].as_array_mut().filter(|found| !found.is_empty()) else { break };
        let last = found.len() < PAGE as usize;
        keys.append(found);
        if last {
            break;
        }
    }
    api.close().await;
    Ok(keys)
}

fn shown(made: &Value, json: bool, word: &str) -> Result<(), Failure> {
    if json {
        return print_json(made);
    }
    let text = |key: &str| plain(made[key].as_str().unwrap_or(""));
    print(&format!(
        "{}\n\n{word}: key {} ({}, {}), until {}. It is not shown again; send it as `Authorization: Bearer`.",
        text("key"),
        text("id"),
        text("name"),
        text("role"),
        text("expires_at"),
    ))
}

fn row(key: &Value) -> [String; 7] {
    let text = |name: &str| key[name].as_str().unwrap_or("").to_owned();
    let active = if key["active"] == true { "yes" } else { "no" };
    let shown = format!("mcp_…{}", text("hint"));
    [
        text("id"),
        text("name"),
        text("role"),
        shown,
        active.into(),
        key["uses"].to_string(),
        text("expires_at"),
    ]
}

/// The keys of one tenant in the database.
struct Local {
    store: Arc<SqliteStore>,
    keys: Keys,
    clock: Arc<dyn Clock>,
    owner: Principal,
}

impl Local {
    async fn open(common: &Common, tenant: TenantId) -> Result<Self, Failure> {
        let store = Arc::new(SqliteStore::open(&common.database(&common.configuration()?)?).await?);
        let clock = SystemClock::shared();
        let keys = Keys::open(Arc::clone(&store).api_keys(), Arc::clone(&clock)).await?;
        Ok(Self { store, keys, clock, owner: Principal::local(tenant) })
    }

    async fn create(self, create: &Create) -> Result<Value, Failure> {
        let server_id = match &create.server {
            Some(server) => Some(self.server(server).await?),
            None => None,
        };
        let new = NewKey {
            name: create.name.clone(),
            role: create.role,
            scopes: scopes(create),
            server_id,
            days: create.days,
            requests_per_minute: create.requests_per_minute,
        };
        let made = self.keys.create(&self.owner, new, None).await;
        self.made(made).await
    }

    async fn rotate(self, id: KeyId) -> Result<Value, Failure> {
        let made = self.keys.rotate(&self.owner, id, None).await;
        self.made(made).await
    }

    async fn made(self, made: mcp_registry_gateway::Result<(ApiKey, Secret)>) -> Result<Value, Failure> {
        self.store.close().await;
        let (key, secret) = made?;
        let mut answer = self.view(&key);
        answer["key"] = secret.reveal().into();
        Ok(answer)
    }

    async fn revoke(self, id: KeyId) -> Result<(), Failure> {
        let done = self.keys.revoke(&self.owner, id, None).await;
        self.store.close().await;
        Ok(done?)
    }

    async fn list(self) -> Result<Vec<Value>, Failure> {
        let mut keys = Vec::new();
        loop {
            let page = self.keys.list(&self.owner.tenant, keys.len() as u64, PAGE).await?;
            let last = page.keys.len() < PAGE as usize;
            keys.extend(page.keys.iter().map(|key| self.view(key)));
            if last {
                break;
            }
        }
        self.store.close().await;
        Ok(keys)
    }

    /// The id of the server with this id or name.
    async fn server(&self, asked: &str) -> Result<ServerId, Failure> {
        let servers = self.store.servers().await?;
        let own = servers.iter().filter(|server| server.tenant_id == self.owner.tenant);
        let mut named = own.filter(|server| server.name == asked || server.id.to_string() == asked);
        let unknown = || Failure::failed(format!("no server is named `{asked}`; see `mcp-gateway list`"));
        named.next().map(|server| server.id).ok_or_else(unknown)
    }

    fn view(&self, key: &ApiKey) -> Value {
        mcp_registry_gateway::server::key_record(key.clone(), self.clock.timestamp())
    }
}

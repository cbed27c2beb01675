//! The other direction: what an MCP client needs to reach this gateway, in the client's own file.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};

/// The variable that a client is told to take its key from, where it can.
const VARIABLE: &str = "MCP_GATEWAY_KEY";
/// Stands where a client can only be given the key itself.
const PLACEHOLDER: &str = "YOUR_KEY";

macro_rules! clients {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $file:literal,)+) => {
        /// An MCP client whose configuration can be written.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Client { $($(#[$doc])* $variant,)+ }

        impl Client {
            /// Every client.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The file that the text belongs into.
            pub const fn file(self) -> &'static str {
                match self { $(Self::$variant => $file,)+ }
            }
        }
    };
}

clients! {
    /// VS Code.
    VsCode = "vscode", ".vscode/mcp.json, or the user's mcp.json",
    /// Claude Desktop, which starts programs only: `mcp-remote` connects it.
    Claude = "claude", "claude_desktop_config.json",
    /// Claude Code.
    ClaudeCode = "claude-code", ".mcp.json",
    /// Cursor.
    Cursor = "cursor", ".cursor/mcp.json, or ~/.cursor/mcp.json",
    /// Windsurf.
    Windsurf = "windsurf", "~/.codeium/windsurf/mcp_config.json",
    /// Zed.
    Zed = "zed", "Zed's settings.json",
    /// Cline.
    Cline = "cline", "cline_mcp_settings.json",
    /// Gemini CLI.
    Gemini = "gemini", "~/.gemini/settings.json, or .gemini/settings.json",
    /// Codex.
    Codex = "codex", "~/.codex/config.toml",
    /// `OpenCode`.
    OpenCode = "opencode", "opencode.json",
    /// `LibreChat`.
    LibreChat = "librechat", "librechat.yaml",
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Client {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|client| client.as_str() == text).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|client| client.as_str()).collect();
            Error::new(ErrorKind::InvalidParams, format!("expected one of {}", words.join(", ")))
        })
    }
}

/// The endpoint that a client is to connect to.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The name of the entry.
    pub name: &'a str,
    /// The URL of the gateway's endpoint.
    pub url: &'a str,
    /// Whether a key has to be shown there.
    pub guarded: bool,
    /// The key to write into the text; `None`: a placeholder, where a key has to be shown.
    pub key: Option<&'a str>,
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Target<'_> {
    /// The value of the header `Authorization`, with `placeholder` in the place of a key that is not given.
    fn authorization(&self, placeholder: &str) -> Option<String> {
        match self.key {
            Some(key) => Some(format!("Bearer {key}")),
            None => self.guarded.then(|| format!("Bearer {placeholder}")),
        }
    }

    fn with_headers(&self, mut entry: Value, placeholder: &str) -> Value {
        if let Some(value) = self.authorization(placeholder) {
            entry["headers"] = json!({ "Authorization": value });
        }
        entry
    }
}

/// The text that makes `client` connect to `target`, to be put into [`Client::file`] as it is or beside what stands there.
pub fn export(client: Client, target: &Target<'_>) -> String {
    let (name, url) = (target.name, target.url);
    let under = |member: &str, entry: Value| json!({ member: { name: entry } });
    let variable = format!("${{{VARIABLE}}}");
    let env = format!("${{env:{VARIABLE}}}");
    let document = match client {
        Client::VsCode => {
            let entry =
                target.with_headers(json!({ "type": "http", "url": url }), "${input:mcp-gateway-key}");
            let mut file = under("servers", entry);
            if target.guarded && target.key.is_none() {
                let ask = json!({ "type": "promptString", "id": "mcp-gateway-key", "password": true,
                    "description": "API key of the MCP gateway" });
                file["inputs"] = json!([ask]);
            }
            file
        }
        Client::Claude => under("mcpServers", claude(target)),
        Client::ClaudeCode => {
            under("mcpServers", target.with_headers(json!({ "type": "http", "url": url }), &variable))
        }
        Client::Cursor => under("mcpServers", target.with_headers(json!({ "url": url }), &env)),
        Client::Windsurf => under("mcpServers", target.with_headers(json!({ "serverUrl": url }), &env)),
        Client::Zed => under("context_servers", target.with_headers(json!({ "url": url }), PLACEHOLDER)),
        Client::Cline => {
            let entry = json!({ "type": "streamableHttp", "url": url, "disabled": false });
            under("mcpServers", target.with_headers(entry, PLACEHOLDER))
        }
        Client::Gemini => under("mcpServers", target.with_headers(json!({ "httpUrl": url }), &variable)),
        Client::OpenCode => {
            let entry = json!({ "type": "remote", "url": url, "enabled": true });
            under("mcp", target.with_headers(entry, &format!("{{env:{VARIABLE}}}")))
        }
        Client::Codex => return codex(target),
        Client::LibreChat => return librechat(target, &variable),
    };
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// The header's value is a variable of its own: on some systems arguments with blanks are taken apart.
fn claude(target: &Target<'_>) -> Value {
    let mut args = vec!["-y", "mcp-remote", target.url];
    let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
        .iter()
        .any(|own| target.url.starts_with(own));
    if target.url.starts_with("http://") && !loopback {
        args.push("--allow-http");
    }
    let Some(value) = target.authorization(PLACEHOLDER) else {
        return json!({ "command": "npx", "args": args });
    };
    args.extend(["--header", "Authorization:${AUTHORIZATION}"]);
    json!({ "command": "npx", "args": args, "env": { "AUTHORIZATION": value } })
}

fn codex(target: &Target<'_>) -> String {
    let mut lines =
        vec![format!("[mcp_servers.{}]", quoted(target.name)), format!("url = {}", quoted(target.url))];
    lines.extend(match (target.key, target.guarded) {
        (Some(key), _) => {
            let value = quoted(&format!("Bearer {key}"));
            Some(format!("http_headers = {{ \"Authorization\" = {value} }}"))
        }
        (None, true) => Some(format!("bearer_token_env_var = \"{VARIABLE}\"")),
        (None, false) => None,
    });
    lines.join("\n")
}

fn librechat(target: &Target<'_>, variable: &str) -> String {
    let mut lines = vec![
        "mcpServers:".to_owned(),
        format!("  {}:", quoted(target.name)),
        "    type: streamable-http".to_owned(),
        format!("    url: {}", quoted(target.url)),
    ];
    if let Some(value) = target.authorization(variable) {
        lines.push("    headers:".to_owned());
        lines.push(format!("      Authorization: {}", quoted(&value)));
    }
    lines.join("\n")
}

/// A text in quotes, as JSON, TOML and YAML have it alike.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

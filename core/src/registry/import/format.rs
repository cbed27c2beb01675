//! The kinds of files that servers are written down in, and how one is told from another.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::model::registration::MEMBERS;

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        /// A kind of file that servers are written down in.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum Format { $($(#[$doc])* $variant,)+ }

        impl Format {
            /// Every format.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

formats! {
    /// `{"mcpServers": {…}}`, as most clients have it; which one cannot be told.
    #[default]
    McpServers = "mcp-servers",
    /// VS Code: `servers` in `mcp.json`, or `mcp.servers` in the settings.
    VsCode = "vscode",
    /// Claude Desktop.
    Claude = "claude",
    /// Claude Code: `.mcp.json`, or `~/.claude.json` with its projects.
    ClaudeCode = "claude-code",
    /// Cursor.
    Cursor = "cursor",
    /// Windsurf.
    Windsurf = "windsurf",
    /// Zed: `context_servers` in the settings.
    Zed = "zed",
    /// Cline.
    Cline = "cline",
    /// Gemini CLI: `mcpServers` in the settings, with `$VAR`.
    Gemini = "gemini",
    /// Codex: `[mcp_servers.NAME]` in `config.toml`.
    Codex = "codex",
    /// `OpenCode`: `mcp` in `opencode.json`.
    OpenCode = "opencode",
    /// `LibreChat`: `mcpServers` in `librechat.yaml`.
    LibreChat = "librechat",
    /// Docker's MCP Toolkit: a catalog, or a profile.
    Docker = "docker",
    /// agentgateway: the `targets` of its MCP backends.
    AgentGateway = "agentgateway",
    /// `ContextForge`: the `gateways` of an export.
    ContextForge = "contextforge",
    /// A `server.json` of the official registry.
    ServerJson = "server-json",
    /// Registrations of this gateway: a list, or one.
    Registrations = "registrations",
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|format| format.as_str() == text).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|format| format.as_str()).collect();
            Error::new(ErrorKind::InvalidParams, format!("expected one of {}", words.join(", ")))
        })
    }
}

/// The members at the root of Gemini's settings that no other client's file with `mcpServers` has.
const GEMINI: [&str; 5] = ["selectedAuthType", "security", "general", "contextFileName", "coreTools"];
/// The same for `LibreChat`.
const LIBRECHAT: [&str; 4] = ["endpoints", "interface", "registration", "fileConfig"];

impl Format {
    /// The format of a file with this root, if it is one that is known.
    pub(super) fn of(root: &Value) -> Option<Self> {
        let Value::Object(root) = root else {
            return root.as_array().is_some_and(|all| !all.is_empty()).then_some(Self::Registrations);
        };
        let has = |member: &str| root.contains_key(member);
        let is_list = |member: &str| root.get(member).is_some_and(Value::is_array);
        if is_list("packages") || is_list("remotes") {
            return Some(Self::ServerJson);
        }
        if has("mcpServers") {
            return Some(Self::of_shared(root));
        }
        if has("projects") {
            return Some(Self::ClaudeCode);
        }
        if has("context_servers") {
            return Some(Self::Zed);
        }
        if has("mcp_servers") {
            return Some(Self::Codex);
        }
        if has("registry")
            || is_list("servers") && (has("id") || root["servers"].get(0).is_some_and(is_of_docker))
        {
            return Some(Self::Docker);
        }
        if has("entities") {
            return Some(Self::ContextForge);
        }
        if let Some(mcp) = root.get("mcp") {
            return Some(if mcp.get("servers").is_some() {
                Self::VsCode
            } else if mcp.get("targets").is_some() {
                Self::AgentGateway
            } else {
                Self::OpenCode
            });
        }
        if ["binds", "backends", "targets", "listeners", "routes"].iter().any(|member| has(member)) {
            return Some(Self::AgentGateway);
        }
        if is_list("servers") {
            return Some(Self::Registrations);
        }
        if has("servers") || has("mcp.servers") {
            return Some(Self::VsCode);
        }
        let endpoint = MEMBERS.iter().filter(|(name, _)| ["command", "endpoint_url"].contains(name));
        let mut endpoint = endpoint.flat_map(|(name, others)| std::iter::once(name).chain(*others));
        (has("name") && endpoint.any(|member| has(member))).then_some(Self::Registrations)
    }

    fn of_shared(root: &Map<String, Value>) -> Self {
        let any = |members: &[&str]| members.iter().any(|member| root.contains_key(*member));
        let entries = root["mcpServers"].as_object().into_iter().flat_map(Map::values);
        if root.contains_key("projects") {
            Self::ClaudeCode
        } else if any(&GEMINI) || entries.into_iter().any(|entry| entry.get("httpUrl").is_some()) {
            Self::Gemini
        } else if any(&LIBRECHAT) {
            Self::LibreChat
        } else {
            Self::McpServers
        }
    }

    /// The member that a file of this format has, for the message that it is missing.
    pub(super) const fn member(self) -> &'static str {
        match self {
            Self::VsCode => "`servers`, or `mcp.servers`",
            Self::Zed => "`context_servers`",
            Self::Codex => "`mcp_servers`",
            Self::OpenCode => "`mcp`",
            Self::Docker => "`registry`, or a list `servers`",
            Self::AgentGateway => "an MCP backend with `targets`",
            Self::ContextForge => "`entities.gateways`",
            Self::ServerJson => "`packages` or `remotes`",
            Self::Registrations => "`name` and an `endpoint_url` or `command`",
            Self::McpServers
            | Self::Claude
            | Self::ClaudeCode
            | Self::Cursor
            | Self::Windsurf
            | Self::Cline
            | Self::Gemini
            | Self::LibreChat => "`mcpServers`",
        }
    }
}

fn is_of_docker(entry: &Value) -> bool {
    let kind = entry["type"].as_str();
    matches!(kind, Some("image" | "registry")) || entry.get("snapshot").is_some()
}

//! The items that a server offers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The four things an MCP server can offer by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityKind {
    /// `tools/list`, by `name`.
    Tool,
    /// `resources/list`, by `uri`.
    Resource,
    /// `resources/templates/list`, by `uriTemplate`.
    ResourceTemplate,
    /// `prompts/list`, by `name`.
    Prompt,
}

impl CapabilityKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Resource, Self::ResourceTemplate, Self::Prompt];

    /// The member of the item that identifies it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::ResourceTemplate => "uriTemplate",
        }
    }

    /// The method that lists this kind.
    pub const fn list_method(self) -> &'static str {
        match self {
            Self::Tool => "tools/list",
            Self::Resource => "resources/list",
            Self::ResourceTemplate => "resources/templates/list",
            Self::Prompt => "prompts/list",
        }
    }

    /// The member of the list's result that holds the items.
    pub const fn list_member(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Resource => "resources",
            Self::ResourceTemplate => "resourceTemplates",
            Self::Prompt => "prompts",
        }
    }

    /// The name in stores: as serde writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource_template",
            Self::Prompt => "prompt",
        }
    }
}

/// One tool, resource, template or prompt, with the server's own definition byte for byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Capability {
    /// The kind of the item.
    pub kind: CapabilityKind,
    /// Tool or prompt name, resource URI, or URI template.
    pub name: String,
    /// The server's description, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The definition as the server sent it.
    pub definition: Arc<RawValue>,
}

impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name && self.definition.get() == other.definition.get()
    }
}

/// Everything that one server offers, as found by asking it, or as declared until it answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Tools, resources, templates and prompts in the server's order.
    pub items: Vec<Capability>,
    /// The server's `initialize` result, byte for byte; `None` while it never answered. Of a server that has only
    /// `server/discover` it is made of that answer.
    pub initialize: Option<String>,
    /// Statements that only a server of the modern era makes; not kept by stores, since they are asked for again at every start.
    pub modern: Option<Arc<ModernListing>>,
}

/// Statements of a server of the modern era alone about its listing.
#[derive(Clone, Debug, PartialEq)]
pub struct ModernListing {
    /// The result of `server/discover`, byte for byte.
    pub discover: String,
    /// How long each list may be kept and by whom, in the order of [`CapabilityKind::ALL`]; `None` for a list that the
    /// server does not have.
    pub lists: [Option<Freshness>; 4],
}

/// How long an answer may be kept, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// From when it was asked for, in milliseconds.
    pub ttl_ms: u64,
    /// Whether it is the same for everybody.
    pub public: bool,
}

impl Freshness {
    /// The one that holds for both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { ttl_ms: self.ttl_ms.min(other.ttl_ms), public: self.public && other.public }
    }
}

impl ModernListing {
    /// How long the list of `kind` may be kept, if the server has it.
    pub fn freshness(&self, kind: CapabilityKind) -> Option<Freshness> {
        let place = CapabilityKind::ALL.iter().position(|one| *one == kind)?;
        self.lists[place]
    }
}

impl Listing {
    /// The items of one kind, in order.
    pub fn of(&self, kind: CapabilityKind) -> impl Iterator<Item = &Capability> {
        self.items.iter().filter(move |item| item.kind == kind)
    }

    /// Whether an item of this kind and name is offered.
    pub fn offers(&self, kind: CapabilityKind, name: &str) -> bool {
        self.of(kind).any(|item| item.name == name)
    }
}

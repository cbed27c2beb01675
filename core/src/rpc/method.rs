//! The methods that this gateway knows, and the facts that it needs about each.

use std::fmt;

/// The part of a method's params that names its object, and so its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutingKey {
    /// Nothing: answered by the gateway, or sent to all.
    None,
    /// `params.name`.
    Name,
    /// `params.uri`.
    Uri,
    /// `params.ref`: a prompt's name or a template's URI.
    Ref,
    /// `params.taskId`.
    TaskId,
}

macro_rules! methods {
    ($($variant:ident $name:literal $key:ident list=$list:literal cacheable=$cacheable:literal repeatable=$repeatable:literal;)+) => {
        /// A JSON-RPC method. Unknown ones are kept by name and passed through.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
            /// One that this gateway does not know.
            Other(Box<str>),
        }

        impl Method {
            /// The method of this name.
            pub fn of(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)+
                    other => Self::Other(other.into()),
                }
            }

            /// Its name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Other(name) => name,
                }
            }

            /// How it says to which service it goes.
            pub const fn routing_key(&self) -> RoutingKey {
                match self {
                    $(Self::$variant => RoutingKey::$key,)+
                    Self::Other(_) => RoutingKey::None,
                }
            }

            /// Whether it is one of the lists that follow a cursor.
            pub const fn is_list(&self) -> bool {
                match self {
                    $(Self::$variant => $list,)+
                    Self::Other(_) => false,
                }
            }

            /// Whether its answer carries `ttlMs` and `cacheScope` in the modern era.
            pub const fn is_cacheable(&self) -> bool {
                match self {
                    $(Self::$variant => $cacheable,)+
                    Self::Other(_) => false,
                }
            }

            /// Whether it may be sent a second time after a byte of it was written.
            /// `tools/call` may not: its effects are the server's.
            pub const fn is_repeatable(&self) -> bool {
                match self {
                    $(Self::$variant => $repeatable,)+
                    Self::Other(_) => false,
                }
            }
        }
    };
}

methods! {
    Initialize "initialize" None list=false cacheable=false repeatable=false;
    Discover "server/discover" None list=false cacheable=true repeatable=true;
    Ping "ping" None list=false cacheable=false repeatable=true;
    ToolsList "tools/list" None list=true cacheable=true repeatable=true;
    ToolsCall "tools/call" Name list=false cacheable=false repeatable=false;
    ResourcesList "resources/list" None list=true cacheable=true repeatable=true;
    ResourceTemplatesList "resources/templates/list" None list=true cacheable=true repeatable=true;
    ResourcesRead "resources/read" Uri list=false cacheable=true repeatable=true;
    ResourcesSubscribe "resources/subscribe" Uri list=false cacheable=false repeatable=true;
    ResourcesUnsubscribe "resources/unsubscribe" Uri list=false cacheable=false repeatable=true;
    PromptsList "prompts/list" None list=true cacheable=true repeatable=true;
    PromptsGet "prompts/get" Name list=false cacheable=false repeatable=true;
    Complete "completion/complete" Ref list=false cacheable=false repeatable=true;
    SetLevel "logging/setLevel" None list=false cacheable=false repeatable=true;
    Listen "subscriptions/listen" None list=false cacheable=false repeatable=false;
    TasksGet "tasks/get" TaskId list=false cacheable=false repeatable=true;
    TasksResult "tasks/result" TaskId list=false cacheable=false repeatable=true;
    TasksUpdate "tasks/update" TaskId list=false cacheable=false repeatable=false;
    TasksCancel "tasks/cancel" TaskId list=false cacheable=false repeatable=false;
    TasksList "tasks/list" None list=true cacheable=false repeatable=true;
    CreateMessage "sampling/createMessage" None list=false cacheable=false repeatable=false;
    Elicit "elicitation/create" None list=false cacheable=false repeatable=false;
    RootsList "roots/list" None list=false cacheable=false repeatable=true;
    Initialized "notifications/initialized" None list=false cacheable=false repeatable=false;
    Cancelled "notifications/cancelled" None list=false cacheable=false repeatable=false;
    Progress "notifications/progress" None list=false cacheable=false repeatable=false;
    LogMessage "notifications/message" None list=false cacheable=false repeatable=false;
    ToolsChanged "notifications/tools/list_changed" None list=false cacheable=false repeatable=false;
    ResourcesChanged "notifications/resources/list_changed" None list=false cacheable=false repeatable=false;
    PromptsChanged "notifications/prompts/list_changed" None list=false cacheable=false repeatable=false;
    ResourceUpdated "notifications/resources/updated" None list=false cacheable=false repeatable=false;
    Acknowledged "notifications/subscriptions/acknowledged" None list=false cacheable=false repeatable=false;
    RootsChanged "notifications/roots/list_changed" None list=false cacheable=false repeatable=false;
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

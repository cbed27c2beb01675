//! The tools of the gateway's own service.

use crate::auth::Operation;
use crate::gateway::BuiltinItem;

macro_rules! tools {
    ($($variant:ident $name:literal $operation:ident,)+) => {
        /// A tool of the gateway's own service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Tool {
            $($variant,)+
        }

        impl Tool {
            /// Every tool, in the order in which they are listed.
            pub(super) const ALL: [Self; [$($name),+].len()] = [$(Self::$variant,)+];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// As they are listed.
            pub(super) const ITEMS: [BuiltinItem; Self::ALL.len()] = [$(BuiltinItem {
                name: $name,
                definition: include_str!(concat!("tools/", $name, ".json")),
                needs: &[Operation::ToolsCall, Operation::$operation],
            },)+];
        }
    };
}

tools! {
    FindTools "find_tools" ServersRead,
    ListServers "list_servers" ServersRead,
    ProxyRequest "proxy_request" ToolsCall,
    RegisterServer "register_server" ServersRegister,
    RemoveServer "remove_server" ServersRemove,
    ServerHealth "server_health" ServersRead,
    Stats "stats" StatsRead,
}

impl Tool {
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_tool_is_defined_under_its_name_with_a_schema_of_an_object() {
        for tool in Tool::ITEMS {
            let definition: Value = serde_json::from_str(tool.definition).unwrap();
            assert_eq!(definition["name"], tool.name);
            assert_eq!(definition["inputSchema"]["type"], "object", "{}", tool.name);
            assert!(definition["description"].is_string(), "{}", tool.name);
        }
    }
}

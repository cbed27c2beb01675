//! Kind B: there, but silently missing. Every item has a name on `/mcp` that clients in use accept.

use mcp_registry_gateway_tests::field::Script;

use crate::case::{Case, case, run, sees};

#[tokio::test]
async fn every_item_is_there_under_a_usable_name() {
    run("B", CASES).await;
}

const CASES: &[Case] = &[case(
    "usable-name",
    || Script::tools(r#"[{"name":"read_file-2","inputSchema":{"type":"object"}}]"#),
    sees!(|at| {
        assert_eq!(at.names("tools/list").await, ["read_file-2"]);
        assert_eq!(at.call("read_file-2").await.text(), "read_file-2");
    }),
)];

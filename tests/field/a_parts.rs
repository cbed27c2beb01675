//! Kind A: a part takes the whole. A part that is bad costs that part.

use mcp_registry_gateway_tests::field::Script;

use crate::case::{Case, case, run, sees};

#[tokio::test]
async fn a_part_that_is_bad_costs_that_part() {
    run("A", CASES).await;
}

const CASES: &[Case] = &[case(
    "good-server",
    || Script::tools(r#"[{"name":"read","inputSchema":{"type":"object"}}]"#),
    sees!(|at| {
        assert_eq!(at.names("tools/list").await, ["read"]);
        assert_eq!(at.list_alone("tools/list").await[0]["name"], "read");
        assert_eq!(at.call("read").await.text(), "read");
    }),
)];

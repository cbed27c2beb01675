//! `errors.md`: every kind of error.

use std::fmt::Write;

use mcp_registry_gateway::ErrorKind;

use super::{code, head, table};

const ABOUT: &str = "
Programs act on the kind alone. MCP clients find it in `error.data.kind`, beside `data.source: \"gateway\"` and `data.retryable`; the REST API
has the code in `error.code`; the bindings have `kind` and `retryable`. An error without `data.source` comes from the server and was
passed on. Every error of the REST API is `{\"error\": {\"code\", \"message\", \"details\", \"correlation_id\", \"timestamp\"}}`, and the log has the same
correlation id.

`data.outcome: \"unknown\"` says that the server may have executed the call. Without it, the call was not executed.
";

pub(super) fn page() -> String {
    let mut page = head("Errors", "the one table in `core/src/error.rs`") + ABOUT + "\n";
    let columns = ["kind", "REST code", "HTTP status", "JSON-RPC code", "retryable"];
    page += &table(
        &columns,
        ErrorKind::ALL.map(|kind| {
            let row = kind.row();
            let retryable = if row.retryable { "yes" } else { "no" };
            vec![
                format!("[`{0}`](#{0})", row.name),
                code(row.code),
                row.status.to_string(),
                row.rpc.to_string(),
                retryable.to_owned(),
            ]
        }),
    );
    page.push_str("\nRetryable: the same call can succeed later without being changed.\n");
    for kind in ErrorKind::ALL {
        let (meaning, advice) = kind.explained();
        let _ = write!(page, "\n## {}\n{}\n\n**To do:** {advice}\n", kind.row().name, meaning.trim());
    }
    page
}

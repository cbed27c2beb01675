//! Every statement on data of a tenant names the tenant; those that cannot are listed with their reason.

use std::collections::BTreeSet;
use std::path::Path;

/// Tables whose rows belong to a tenant.
const TABLES: [&str; 3] = ["mcp_servers", "mcp_api_keys", "audit_logs"];

/// Parts of statements that name no tenant, and why they disclose nothing of another tenant.
const UNSCOPED: [(&str, &str); 11] = [
    (
        "FROM mcp_servers WHERE deleted_at IS NULL ORDER BY seq",
        "the register is loaded as a whole at the start",
    ),
    ("FROM mcp_servers s JOIN mcp_capabilities", "what servers offer is loaded as a whole at the start"),
    (
        "UPDATE mcp_servers SET initialize = ",
        "what the gateway itself heard; the server was found in its tenant before",
    ),
    ("UPDATE mcp_servers SET health_status = ", "what the gateway itself observed, by the server's own id"),
    (
        "UPDATE mcp_api_keys SET revoked_at = $2 WHERE server_id = ",
        "the server was found in its tenant before",
    ),
    ("UPDATE mcp_api_keys SET uses = ", "what the gateway itself counted, by the key's own id"),
    ("FROM audit_logs WHERE hash IS NULL", "rows of older versions are chained once, at the start"),
    ("UPDATE audit_logs SET number = ", "rows of older versions are chained once, at the start"),
    ("SELECT (SELECT count(*) FROM mcp_servers", "numbers alone, at the start"),
    ("SELECT NOT EXISTS (SELECT 1 FROM audit_logs)", "whether there is anything at all, at the start"),
    ("SELECT count(*) FROM sqlite_schema", "maintenance looks at the file, not at rows"),
];

/// The string literals of a source file that are SQL, on one line each.
fn statements(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let literals = code.split('"').skip(1).step_by(2);
    let joined = literals.map(|text| text.replace("\\\n", " "));
    let joined = joined.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    joined
        .filter(|text| ["SELECT ", "UPDATE ", "DELETE ", "INSERT "].iter().any(|verb| text.starts_with(verb)))
        .collect()
}

/// T-11: no statement reads or changes rows of tenants without the tenant, but those that are listed here with their reason.
#[test]
fn no_statement_touches_rows_of_tenants_without_the_tenant() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    let (mut seen, mut unscoped) = (0, BTreeSet::new());
    let rooms = [folder.clone(), folder.join("opening")];
    for file in rooms.iter().flat_map(|room| std::fs::read_dir(room).unwrap()) {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        for statement in statements(&std::fs::read_to_string(&path).unwrap()) {
            if !TABLES.iter().any(|table| statement.contains(table)) {
                continue;
            }
            seen += 1;
            // A column that is only read is no condition.
            let condition = statement.split_once(" WHERE ").map_or("", |(_, condition)| condition);
            let scoped = condition.contains("tenant_id") || statement.starts_with("INSERT ");
            if !scoped && !UNSCOPED.iter().any(|(part, _)| statement.contains(part)) {
                unscoped.insert(statement);
            }
        }
    }
    assert!(seen > 5, "the statements were not found");
    assert!(unscoped.is_empty(), "these name no tenant: {unscoped:#?}");
}

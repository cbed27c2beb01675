//! `permissions.md`: the rights of each role.

use mcp_registry_gateway::auth::PERMISSIONS;
use toml::{Table, Value};

use super::{code, head, table};

const ABOUT: &str = "
A caller may do an operation if its role is among those marked, and, if its credential has scopes, they cover the scopes named. A
refusal is 403 `PERMISSION_DENIED`; one for want of scopes names all that are needed. While no authentication is configured, a
process of this machine is an administrator, and shows the local token where that is needed (`SECURITY.md`).

A key with `server_id`, and a token whose audience is one service (`…/mcp/NAME`), is narrowed: it may do the operations marked in the
column *narrowed*, with its server or the servers of its service alone. Others are as unknown to it as servers that never were. Of calls
under way and sessions it sees its own; of API keys itself, and those that it made for such a server. It registers servers in its own
service only, and moves none. The other operations are about the whole tenant or the gateway's machine, and are refused.

A credential gives at most its own authority: a key has no role, scope, server or rate beyond its maker's and ends when its maker's
credential does, also one that replaces another.

The methods of the library and of the bindings ask the same table: each method that takes a `Caller` names its operation in its
documentation and asks before it does anything. Types without a `Caller`, such as the router inside the gateway, are not public.

## Operations
";

pub(super) fn page() -> String {
    // A test reads the same text, so that it is known to be a table.
    let matrix: Table = PERMISSIONS.parse().unwrap_or_default();
    let roles = words(matrix.get("roles"));
    let mut columns = vec!["operation", "meaning"];
    columns.extend(roles.iter().map(String::as_str));
    columns.extend(["narrowed", "scopes", "local token"]);
    let operations = rows(&matrix, "operations").map(|(name, row)| {
        let least =
            roles.iter().position(|role| Some(role.as_str()) == row.get("least").and_then(Value::as_str));
        let marks = (0..roles.len()).map(|place| if Some(place) <= least { "yes" } else { "–" }.to_owned());
        let mut cells = vec![code(name), text(row, "what")];
        cells.extend(marks);
        let flag = |key: &str| row.get(key).and_then(Value::as_bool).unwrap_or_default();
        cells.push(if flag("narrowed") { "yes" } else { "–" }.to_owned());
        cells.push(codes(&words(row.get("scopes"))));
        cells.push(if flag("local_token") { "needed" } else { "" }.to_owned());
        cells
    });
    let mut page = head("Permissions", "`core/src/auth/permissions.toml`, which the code reads,") + ABOUT;
    page += &table(&columns, operations);
    page += "\n## Scopes\n";
    let scopes = rows(&matrix, "scopes");
    let scopes =
        scopes.map(|(name, row)| vec![code(name), text(row, "what"), codes(&words(row.get("implies")))]);
    page += &table(&["scope", "meaning", "implies"], scopes);
    page + "\n[routes.md](routes.md) names the operation of each route.\n"
}

/// The rows of a part of the matrix.
fn rows<'a>(matrix: &'a Table, part: &str) -> impl Iterator<Item = (&'a String, &'a Table)> {
    let part = matrix.get(part).and_then(Value::as_table);
    part.into_iter().flatten().filter_map(|(name, row)| Some((name, row.as_table()?)))
}

fn text(row: &Table, key: &str) -> String {
    row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn words(value: Option<&Value>) -> Vec<String> {
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn codes(names: &[String]) -> String {
    names.iter().map(|name| code(name)).collect::<Vec<_>>().join(" ")
}

//! The pages of reference, made from the code: `mcp-gateway docs` writes them, and a test holds that they are current.

mod commands;
mod errors;
mod metrics;
mod permissions;
mod routes;
mod settings;

/// The command that writes the pages anew.
pub(crate) const COMMAND: &str = "cargo run -p mcp-registry-gateway --all-features --bin mcp-gateway -- docs";

/// Whether this build has all that the pages tell of. One without the OAuth client lacks the routes of logins.
pub(crate) const IS_COMPLETE: bool = cfg!(feature = "oauth");

/// Every page: the name of its file, and its text.
pub(crate) fn pages() -> [(&'static str, String); 6] {
    [
        ("commands.md", commands::page()),
        ("errors.md", errors::page()),
        ("metrics.md", metrics::page()),
        ("permissions.md", permissions::page()),
        ("routes.md", routes::page()),
        ("settings.md", settings::page()),
    ]
}

/// The beginning of a page.
fn head(title: &str, source: &str) -> String {
    format!("# {title}\n\nMade from {source} by `mcp-gateway docs`; a test holds that it is current.\n")
}

/// A table of these columns; nothing for no row.
fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rows: String =
        rows.into_iter().map(|cells| line(cells.iter().map(|cell| escaped(cell)).collect())).collect();
    if rows.is_empty() {
        return rows;
    }
    let names = columns.iter().map(ToString::to_string).collect();
    format!("{}|{}\n{rows}", line(names), "---|".repeat(columns.len()))
}

/// A cell that ends neither its column nor its line.
fn escaped(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(all(test, feature = "oauth"))]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_page_of_reference_is_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
        for (name, page) in pages() {
            let found = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            let differs = page.lines().zip(found.lines()).find(|(made, found)| made != found);
            assert!(
                found == page,
                "core/docs/reference/{name} is not current; `{COMMAND}` writes it anew: {differs:?}"
            );
        }
    }

    #[test]
    fn a_cell_ends_neither_its_column_nor_its_line() {
        let page = table(&["a", "b"], [vec!["x | y".to_owned(), "one\ntwo".to_owned()]]);
        assert_eq!(page, "| a | b |\n|---|---|\n| x \\| y | one two |\n");
    }
}

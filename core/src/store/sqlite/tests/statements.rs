//! The plan of every statement of this folder, read from the sources, so that none can be forgotten.

use std::path::Path;

use sqlx::{AssertSqlSafe, Row};

use super::SqliteStore;

/// Statements that no request waits for, or whose rows are few by construction: where each begins, and why it may do so.
const EXCUSED: [(&str, &str, &str); 8] = [
    ("SELECT tenant_id AS id, uri", "SCAN", "claims are few, and all are read once, at the start"),
    ("SELECT h.server_id AS id, h.at", "TEMP B-TREE", "a ring of health rows has at most a hundred"),
    ("SELECT count(*) FROM tenants", "SCAN", "asks whether the file can be read at all; tenants are few"),
    ("SELECT server_id AS id, tenant_id, subject", "SCAN", "credentials are all read once, at the start"),
    ("SELECT tenant_id AS id, ordinal", "SCAN", "jobs go through all chains, one a tenant"),
    ("SELECT (SELECT count(*)", "SCAN", "records are counted once, at the start"),
    ("SELECT NOT EXISTS", "SCAN", "ends at the first row, at the start"),
    ("SELECT id, display_name, status", "SCAN", "tenants are few, and all are read"),
];

/// The text literals of Rust source that are SQL, with their line breaks folded as the compiler does it.
fn statements(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(place) = rest.find(['"', '\'', '/']) {
        let (mark, after) = (rest.as_bytes()[place], &rest[place + 1..]);
        rest = match mark {
            b'/' if after.starts_with('/') => after.split_once('\n').map_or("", |(_, next)| next),
            b'\'' if after.starts_with("\"'") => &after[2..],
            b'"' => {
                let (text, next) = literal(after);
                // A statement put together of pieces cannot be read here; those statements are listed by hand in `tests.rs`.
                let is_piece = rest[..place].trim_end().ends_with("concat!(");
                let is_sql = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "]
                    .iter()
                    .any(|verb| text.starts_with(verb));
                if is_sql && !is_piece {
                    found.push(text);
                }
                next
            }
            _ => after,
        };
    }
    found
}

/// The literal that begins here, and the text after it.
fn literal(source: &str) -> (String, &str) {
    let (mut text, mut chars) = (String::new(), source.char_indices());
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return (text, &source[place + 1..]),
            '\\' => match chars.next() {
                Some((next, '\n')) => {
                    let line = &source[next + 1..];
                    let begin = source.len() - line.trim_start().len();
                    let (more, after) = literal(&source[begin..]);
                    return (text + &more, after);
                }
                Some((_, escaped)) => text.push(escaped),
                None => break,
            },
            c => text.push(c),
        }
    }
    (text, "")
}

#[test]
fn statements_are_found_as_the_compiler_reads_them() {
    let source = "const A: &str = \"SELECT a, \\\n    b FROM t\"; // \"SELECT no\"\nlet c = '\"'; let d = \"DELETE FROM \\\"t\\\"\"; let e = \"other\";";
    assert_eq!(statements(source), ["SELECT a, b FROM t", "DELETE FROM \"t\""]);
}

/// L-13: no statement of the store reads a whole table: every plan uses an index or the rows' own numbers.
#[tokio::test]
async fn every_statement_in_the_sources_finds_its_rows_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("registry.db")).await.unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    let mut seen = 0;
    let rooms = [sources.clone(), sources.join("opening")];
    for file in rooms.iter().flat_map(|room| std::fs::read_dir(room).unwrap()) {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The upkeep runs on an operator's demand; the versions of the tables are read at the start.
        let apart = ["optimize.rs", "migrations.rs"].contains(&&*name);
        if apart || path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let program = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for sql in statements(program) {
            seen += 1;
            let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(&store.writer)
                .await;
            let plan = plan.unwrap_or_else(|error| panic!("{name}: {error}\n{sql}"));
            for step in plan {
                let step: String = step.get("detail");
                let scans = step.starts_with("SCAN")
                    && !step.contains("USING INDEX")
                    && !step.contains("USING COVERING");
                let slow = scans || step.contains("TEMP B-TREE");
                let excused =
                    EXCUSED.iter().any(|(begin, what, _)| sql.starts_with(begin) && step.contains(what));
                assert!(!slow || excused, "{name}: {sql}\n{step}");
            }
        }
    }
    assert!(seen >= 20, "only {seen} statements were found");
}

//! Documents: their links lead somewhere, the files that they name exist, and each block of code is one that a test runs.

use std::path::{Path, PathBuf};

use mcp_registry_gateway::config::{self, Sources};

/// Folders whose files documents name.
const FOLDERS: [&str; 7] =
    ["core/", "tests/", "bindings-node/", "bindings-python/", "examples/", "ffi/", ".config/"];

/// A block of code of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) language: String,
    /// The line before it, which may say how it is run.
    mark: String,
    text: String,
}

/// The blocks of a document.
pub(super) fn blocks(document: &str) -> Vec<Block> {
    let (mut found, mut before, mut open) = (Vec::new(), "", None::<Block>);
    for line in document.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => found.push(block),
            (Some(language), None) => {
                open = Some(Block { language: language.into(), mark: before.into(), text: String::new() });
            }
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
        before = line;
    }
    found
}

/// What is wrong with a block, if anything. `compiled`: whether the documentation tests of the crate have the document.
pub(super) fn fault(block: &Block, compiled: bool) -> Option<String> {
    match block.language.as_str() {
        "sh" if !block.mark.starts_with("<!-- run: ") => {
            Some("a block of commands without `<!-- run: NAME … -->` before it, so that tests/readme/run does not run it".into())
        }
        "toml" => {
            let file = Some((PathBuf::from("page.toml"), block.text.clone()));
            config::load(&Sources { file, ..Sources::default() }).err().map(|problems| problems.to_string())
        }
        "json" => serde_json::from_str::<serde_json::Value>(&block.text).err().map(|error| error.to_string()),
        "rust" if !compiled => Some("Rust in a document that no documentation test includes".into()),
        "sh" | "rust" | "text" | "yaml" => None,
        other => Some(format!("nothing runs blocks of `{other}`")),
    }
}

/// The links of a document to other files, and the files that it names in code.
pub(super) fn named(document: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in document.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                found.push((path.to_owned(), true));
            }
        }
        for code in line.split('`').skip(1).step_by(2) {
            let path = code.split_whitespace().next().unwrap_or_default();
            let is_path = FOLDERS.iter().any(|folder| path.starts_with(folder));
            if is_path && !path.contains(['*', '…', '{', '<']) {
                found.push((path.to_owned(), false));
            }
        }
    }
    found
}

/// What `document` at `path` names and is not there.
pub(super) fn dangling(root: &Path, path: &Path, document: &str) -> Vec<String> {
    let folder = path.parent().unwrap_or(root);
    let is_there = |(name, link): &(String, bool)| if *link { folder } else { root }.join(name).exists();
    let lost = named(document).into_iter().filter(|name| !is_there(name));
    lost.map(|(name, _)| format!("{}: {name}", path.display())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_nothing_runs_is_seen() {
        let wrong = |text: &str| blocks(text).iter().filter_map(|block| fault(block, false)).count();
        assert_eq!(wrong("<!-- run: a -->\n```sh\nls\n```\n```text\nx\n```\n"), 0);
        assert_eq!(wrong("```sh\nls\n```\n"), 1);
        assert_eq!(wrong("```toml\n[server]\nprot = 1\n```\n```toml\n[server]\nport = 1\n```\n"), 1);
        assert_eq!(wrong("```json\n{\n```\n```rust\nf();\n```\n```python\nf()\n```\n"), 3);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_seen() {
        let text = "[a](b.md#c) and `core/src/x.rs`, `core/src/*.rs`, [web](https://a.example)\n```sh\n[no](z.md)\n```\n";
        assert_eq!(named(text), [("b.md".to_owned(), true), ("core/src/x.rs".to_owned(), false)]);
        assert_eq!(dangling(Path::new("/nowhere"), Path::new("/nowhere/a.md"), text).len(), 2);
    }
}

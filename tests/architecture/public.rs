//! The public items of the library, read from its sources, as the page `core/docs/reference/rust-api.md` lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::source::Source;

/// The words that begin an item, as far as the page names them.
const KINDS: [&str; 10] = ["struct", "enum", "trait", "fn", "const", "static", "type", "mod", "use", "union"];

/// The words that may stand between `pub` and the kind of an item.
const MODIFIERS: [&str; 4] = ["async", "unsafe", "extern", "const"];

/// An item of a module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    name: String,
    kind: String,
}

/// The public items of one file.
#[derive(Debug, Default)]
struct Items {
    items: BTreeSet<Item>,
    /// Public methods by the name of their type.
    methods: BTreeMap<String, BTreeSet<String>>,
}

impl Items {
    fn read(tokens: &[TokenTree]) -> Self {
        let mut found = Self::default();
        found.collect(tokens);
        found
    }

    fn collect(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(ident) if ident == "pub" => at = self.public(tokens, at + 1),
                TokenTree::Ident(ident) if ident == "impl" => at = self.implementation(tokens, at + 1),
                TokenTree::Ident(ident) if ident == "macro_rules" => at = past(tokens, at),
                // A macro with items in it, such as the one that makes a table of an enumeration.
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && is_macro(tokens, at) => {
                    self.collect(&inside(group.stream()));
                    at += 1;
                }
                TokenTree::Ident(ident) if KINDS.contains(&ident.to_string().as_str()) => {
                    at = past(tokens, at);
                }
                _ => at += 1,
            }
        }
    }

    /// The item behind a `pub`, and where the next one begins.
    fn public(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        if matches!(tokens.get(at), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
        {
            return at + 1;
        }
        while word(tokens, at).is_some_and(|word| MODIFIERS.contains(&word.as_str()))
            && word(tokens, at + 1)
                .is_some_and(|next| KINDS.contains(&next.as_str()) || MODIFIERS.contains(&next.as_str()))
        {
            at += 1;
        }
        let Some(kind) = word(tokens, at).filter(|word| KINDS.contains(&word.as_str())) else {
            return at + 1;
        };
        let end = past(tokens, at);
        if kind == "use" {
            let names = leaves(&tokens[at + 1..end]);
            self.items.extend(names.into_iter().map(|name| Item { name, kind: "re-export".into() }));
        } else if let Some(name) = word(tokens, at + 1) {
            self.items.insert(Item { name, kind });
        }
        end
    }

    /// The public methods of an implementation that is no trait's.
    fn implementation(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let end = past(tokens, at);
        let head = &tokens[at..end];
        let (mut depth, mut name, mut arrow) = (0_i32, None, false);
        for token in head {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
                TokenTree::Punct(punct) if punct.as_char() == '>' && !arrow => depth -= 1,
                TokenTree::Ident(ident) if depth == 0 && ident == "for" => return end,
                TokenTree::Ident(ident) if depth == 0 && ident == "where" => break,
                TokenTree::Ident(ident) if depth == 0 => name = Some(ident.to_string()),
                _ => {}
            }
            arrow = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '-');
        }
        if let (Some(name), Some(TokenTree::Group(body))) = (name, head.last()) {
            let own = Self::read(&inside(body.stream()));
            self.methods.entry(name).or_default().extend(own.items.into_iter().map(|item| item.name));
        }
        end
    }
}

fn inside(stream: TokenStream) -> Vec<TokenTree> {
    stream.into_iter().collect()
}

fn word(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at)? {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_macro(tokens: &[TokenTree], at: usize) -> bool {
    matches!(at.checked_sub(1).and_then(|before| tokens.get(before)), Some(TokenTree::Punct(punct)) if punct.as_char() == '!')
}

/// Where the item at `at` is over: behind its `;`, or behind its braces, which are no part of a `use`.
fn past(tokens: &[TokenTree], at: usize) -> usize {
    let is_use = word(tokens, at).is_some_and(|word| word == "use");
    // The value of a constant may have braces of its own.
    let is_value = word(tokens, at).is_some_and(|word| ["const", "static"].contains(&word.as_str()))
        && word(tokens, at + 1).is_none_or(|next| next != "fn");
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ';' => return place + 1,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !is_use && !is_value => {
                return place + 1;
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The names that a `use` brings.
fn leaves(tokens: &[TokenTree]) -> Vec<String> {
    let (mut found, mut last) = (Vec::new(), None);
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident != "as" => last = Some(ident.to_string()),
            TokenTree::Group(group) => {
                found.extend(leaves(&inside(group.stream())));
                last = None;
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' || punct.as_char() == ';' => {
                found.extend(last.take());
            }
            TokenTree::Punct(punct) if punct.as_char() == '*' => last = Some("*".to_owned()),
            _ => {}
        }
    }
    found.extend(last);
    found.retain(|name| name != "_");
    found
}

/// The module of a file, by names.
fn module(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    let parts = parts.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "mod" && part != "lib").collect()
}

/// The page, from the sources of the library.
pub(super) fn page(library: &[(PathBuf, Source)]) -> String {
    let files: Vec<(Vec<String>, Items)> = library
        .iter()
        .filter(|(path, _)| !path.starts_with("bin"))
        .map(|(path, source)| (module(path), Items::read(source.tokens())))
        .collect();
    let mut open: BTreeSet<Vec<String>> = BTreeSet::from([Vec::new()]);
    for (path, items) in &files {
        let modules = items.items.iter().filter(|item| item.kind == "mod");
        open.extend(modules.map(|item| [path.as_slice(), std::slice::from_ref(&item.name)].concat()));
    }
    let is_open = |path: &[String]| (0..=path.len()).all(|length| open.contains(&path[..length]));
    // Methods stand with their type, by the module of the root in which both are.
    let mut methods: BTreeMap<(Option<&String>, &String), BTreeSet<&String>> = BTreeMap::new();
    for (path, items) in &files {
        for (name, own) in &items.methods {
            methods.entry((path.first(), name)).or_default().extend(own);
        }
    }
    let mut page = String::from(
        "# Rust API\n\nEvery public item of the crate, made from its sources. A test fails on an item that is not in the list;\n\
         `WRITE_PAGES=1 cargo test -p mcp-registry-gateway-tests --test architecture public` writes the list anew. `cargo doc --open` has the\n\
         documentation of each. Methods stand with their type, those of fields and traits left out.\n",
    );
    let mut sorted: Vec<_> =
        files.iter().filter(|(path, items)| is_open(path) && !items.items.is_empty()).collect();
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    for (path, items) in sorted {
        let title = if path.is_empty() { "mcp_registry_gateway".to_owned() } else { path.join("::") };
        let _ = write!(page, "\n## `{title}`\n| item | kind | methods |\n|---|---|---|\n");
        for Item { name, kind } in &items.items {
            let own = methods.get(&(path.first(), name)).into_iter().flatten();
            let own: Vec<_> = own.map(|method| format!("`{method}`")).collect();
            let _ = writeln!(page, "| `{name}` | {kind} | {} |", own.join(" "));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, text: &str) -> (PathBuf, Source) {
        (PathBuf::from(path), Source::parse(text).expect("a snippet of Rust"))
    }

    #[test]
    fn only_what_can_be_reached_is_public() {
        let library = [
            read("lib.rs", "pub mod a;\nmod b;\npub use b::{One, two as Three};\npub(crate) fn f() {}"),
            read(
                "a.rs",
                "pub struct A;\nimpl A { pub fn new() -> Self { A } fn own() {} }\nimpl Clone for A { fn clone(&self) -> A { A } }\npub const fn c() {}\npub const D: u8 = { 1 };\nfn g() { pub struct Hidden; }",
            ),
            read("b.rs", "pub struct One;\npub struct Deep;\nkinds! { pub enum Made { A } }"),
        ];
        let page = page(&library);
        for line in [
            "| `A` | struct | `new` |",
            "| `One` | re-export |  |",
            "| `Three` | re-export |  |",
            "| `c` | fn |  |",
            "| `D` | const |  |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing of\n{page}");
        }
        for name in ["Deep", "Hidden", "`own`", "`f`", "`two`", "clone"] {
            assert!(!page.contains(name), "{name} is no public item:\n{page}");
        }
        let made = Items::read(read("x.rs", "kinds! { pub enum Made { A } }").1.tokens());
        assert_eq!(made.items.into_iter().map(|item| item.name).collect::<Vec<_>>(), ["Made"]);
    }
}

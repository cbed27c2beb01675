//! The length of functions: one fits a screen.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenTree};

use super::source::{Source, lines};

/// Lines of code that a function may have, its head and what is nested in it counted.
pub(crate) const LINES: usize = 50;

/// Each function in `source` that has more than `most` lines of code, with their number.
pub(crate) fn long(source: &Source, most: usize) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    collect(source.tokens(), most, &mut found);
    found
}

fn collect(tokens: &[TokenTree], most: usize, found: &mut Vec<(String, usize)>) {
    for (at, token) in tokens.iter().enumerate() {
        match (token, tokens.get(at + 1)) {
            (TokenTree::Ident(word), Some(TokenTree::Ident(name))) if word == "fn" => {
                let length = length(&tokens[at..]);
                found.extend((length > most).then(|| (name.to_string(), length)));
            }
            (TokenTree::Group(group), _) => {
                let inside: Vec<_> = group.stream().into_iter().collect();
                collect(&inside, most, found);
            }
            _ => {}
        }
    }
}

/// Lines with code of the function that begins here; none if it has no body.
fn length(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    match tokens.iter().position(is_end) {
        Some(end) if matches!(tokens[end], TokenTree::Group(_)) => {
            let mut found = BTreeSet::new();
            lines(&tokens[..=end], &mut found);
            found.len()
        }
        _ => 0,
    }
}

#[test]
fn no_function_of_the_gateway_or_of_the_http_entry_is_longer_than_a_screen() {
    let library = super::library();
    let files: Vec<_> = library
        .iter()
        .filter(|(path, _)| ["gateway", "server"].iter().any(|module| path.starts_with(module)))
        .collect();
    let all: usize = files.iter().map(|(_, source)| long(source, 0).len()).sum();
    assert!(files.len() > 100 && all > 1000, "{all} functions were found in {} files", files.len());
    let found = files.iter().flat_map(|(path, source)| {
        let name = |(name, length)| format!("{}: `{name}` has {length} lines", path.display());
        long(source, LINES).into_iter().map(name)
    });
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "over {LINES} lines of code:\n{}", found.join("\n"));
}

#[test]
fn a_long_function_is_found_wherever_it_stands() {
    let lengths = |text: &str, most| long(&Source::parse(text).expect("Rust"), most);
    let body = "    g();\n".repeat(49);
    let at_the_limit = format!("fn f(\n) {{\n{body}}}\n");
    assert_eq!(lengths(&at_the_limit, LINES), [("f".to_owned(), 52)]);
    assert_eq!(lengths(&at_the_limit, 52), []);
    let quiet = "fn f() {\n    // why\n\n    g();\n}\ntrait T { fn t(&self) -> fn(u8); }\n";
    assert_eq!(lengths(quiet, 0), [("f".to_owned(), 3)], "comments and blank lines do not count");
    let method = format!("impl A {{\n    async fn m(&self) {{\n{body}        h();\n    }}\n}}\n");
    assert_eq!(lengths(&method, LINES), [("m".to_owned(), 52)]);
    let tested = format!("#[cfg(test)]\nmod tests {{\n{at_the_limit}}}\n");
    assert_eq!(lengths(&tested, LINES), [], "tests may be long");
}

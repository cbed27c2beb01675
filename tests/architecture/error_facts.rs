//! Code decides by the typed facts of an error. Its context and message are for people: only what writes an error down reads
//! the context, and nothing compares a message.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenTree};

use super::source::Source;

/// The files, below the root of the repository, that may read an error's context: the error itself, and each place where an
/// error becomes an answer, a page, a line of the log or of a command.
const RENDERERS: [&str; 7] = [
    "core/src/error.rs",
    "core/src/bin/mcp-gateway/commands/validate.rs",
    "core/src/views/fault.rs",
    "core/src/observe/mod.rs",
    "core/src/rpc/answer.rs",
    "core/src/server/answer.rs",
    "core/src/server/rest/logins.rs",
];

/// Folders whose sources are looked at.
const FOLDERS: [&str; 4] = ["bindings-node/src", "bindings-python/src", "core/src", "ffi/src"];

/// Names under which code holds an error whose text it could compare.
const ERRORS: [&str; 5] = ["e", "err", "error", "failure", "refused"];

/// Methods of text that tell one text from another.
const COMPARES: [&str; 11] = [
    "cmp",
    "contains",
    "ends_with",
    "eq",
    "eq_ignore_ascii_case",
    "find",
    "ne",
    "parse",
    "starts_with",
    "strip_prefix",
    "strip_suffix",
];

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(word)) => Some(word.to_string()),
        _ => None,
    }
}

fn punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn no_arguments(token: Option<&TokenTree>) -> bool {
    let empty =
        |group: &proc_macro2::Group| group.delimiter() == Delimiter::Parenthesis && group.stream().is_empty();
    matches!(token, Some(TokenTree::Group(group)) if empty(group))
}

/// Runs `look` over the tokens of each group of `tokens`, and over `tokens` themselves. The first argument is the tokens before
/// the group.
fn every_group(
    tokens: &[TokenTree],
    before: &[TokenTree],
    look: &mut impl FnMut(&[TokenTree], &[TokenTree]),
) {
    look(before, tokens);
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            let inside: Vec<_> = group.stream().into_iter().collect();
            every_group(&inside, &tokens[..at], look);
        }
    }
}

/// The lines that read an error's context.
fn reads_context(source: &Source) -> Vec<usize> {
    let mut lines = Vec::new();
    every_group(source.tokens(), &[], &mut |_, tokens| {
        for at in 1..tokens.len() {
            let method = punct(tokens.get(at - 1), '.') && no_arguments(tokens.get(at + 1));
            let path = at > 2
                && ident(tokens.get(at - 3)).as_deref() == Some("Error")
                && punct(tokens.get(at - 1), ':');
            let named = ident(tokens.get(at));
            if (method || path) && matches!(named.as_deref(), Some("context" | "client_context")) {
                lines.push(tokens[at].span().start().line);
            }
        }
    });
    lines
}

/// Where the expression that ends before `at` begins, as far as it is a chain of names, calls and `&`.
fn beginning(tokens: &[TokenTree], at: usize) -> usize {
    let part = |token: &TokenTree| match token {
        TokenTree::Ident(word) => word != "match" && word != "if" && word != "return",
        TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
        TokenTree::Punct(punct) => "&*.?:".contains(punct.as_char()),
        TokenTree::Literal(_) => false,
    };
    tokens[..at].iter().rposition(|token| !part(token)).map_or(0, |last| last + 1)
}

/// Whether `token`, and what stands before it, compare what follows.
fn compares_next(before: &[TokenTree], within: Option<&[TokenTree]>) -> bool {
    match before {
        [.., TokenTree::Punct(first), TokenTree::Punct(second)] => {
            second.as_char() == '=' && "=!".contains(first.as_char())
        }
        [.., TokenTree::Ident(word)] => word == "match",
        [] => matches!(within, Some([.., TokenTree::Ident(name), TokenTree::Punct(mark)])
            if mark.as_char() == '!' && ["matches", "assert_matches"].contains(&name.to_string().as_str())),
        _ => false,
    }
}

/// Whether what stands in `after` compares what came before it.
fn compares_previous(after: &[TokenTree]) -> bool {
    match after {
        [TokenTree::Punct(first), TokenTree::Punct(second), ..] => {
            second.as_char() == '=' && "=!".contains(first.as_char())
        }
        [TokenTree::Punct(dot), TokenTree::Ident(method), ..] => {
            dot.as_char() == '.' && COMPARES.contains(&method.to_string().as_str())
        }
        _ => false,
    }
}

/// The lines that compare an error's message, or the whole of its text, with something.
fn compares_text(source: &Source) -> Vec<usize> {
    let mut lines = Vec::new();
    every_group(source.tokens(), &[], &mut |before, tokens| {
        for at in 1..tokens.len() {
            if !punct(tokens.get(at - 1), '.') || !no_arguments(tokens.get(at + 1)) {
                continue;
            }
            let receiver = at.checked_sub(2).and_then(|at| ident(tokens.get(at)));
            let text = match ident(tokens.get(at)).as_deref() {
                Some("message") => true,
                Some("to_string") => receiver.is_some_and(|name| ERRORS.contains(&name.as_str())),
                _ => false,
            };
            let start = beginning(tokens, at);
            if text && (compares_previous(&tokens[at + 2..]) || compares_next(&tokens[..start], Some(before)))
            {
                lines.push(tokens[at].span().start().line);
            }
        }
    });
    lines
}

/// The sources that are looked at, by their paths below the root of the repository.
fn looked_at() -> Vec<(PathBuf, Source)> {
    let core = super::library().into_iter().map(|(path, source)| (Path::new("core/src").join(path), source));
    let mut all: Vec<_> = core.collect();
    for folder in FOLDERS.into_iter().filter(|folder| *folder != "core/src") {
        for path in super::sources(&super::root().join(folder)) {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let source = Source::parse(&text).unwrap_or_else(|| super::panic_at(&path));
            all.push((path.strip_prefix(super::root()).expect("below the root").to_owned(), source));
        }
    }
    all
}

fn is_renderer(path: &Path) -> bool {
    RENDERERS.iter().any(|renderer| path == Path::new(renderer))
}

/// What `find` finds in the files that are no renderers.
fn found(find: impl Fn(&Source) -> Vec<usize>) -> Vec<String> {
    let files = looked_at();
    for renderer in RENDERERS {
        let reads = |(path, source): &(PathBuf, Source)| {
            path == Path::new(renderer) && !reads_context(source).is_empty()
        };
        assert!(files.iter().any(reads), "{renderer} reads no context and needs no place in the list");
    }
    let others = files.iter().filter(|(path, _)| !is_renderer(path));
    others
        .flat_map(|(path, source)| {
            find(source).into_iter().map(move |line| format!("{}:{line}", path.display()))
        })
        .collect()
}

#[test]
fn only_what_writes_an_error_down_reads_its_context() {
    let wrong = found(reads_context);
    assert!(
        wrong.is_empty(),
        "the context of an error is for people; decide by `cause()` or another typed fact:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn nothing_compares_the_text_of_an_error() {
    let wrong = found(compares_text);
    assert!(
        wrong.is_empty(),
        "the message of an error is for people; decide by `kind()`, `cause()` or another typed fact:\n{}",
        wrong.join("\n")
    );
}

fn parse(text: &str) -> Source {
    Source::parse(text).expect("a snippet of Rust")
}

#[test]
fn a_read_of_the_context_is_found_wherever_it_hides() {
    let lines = |text: &str| reads_context(&parse(text));
    assert_eq!(
        lines("fn f() {\n    if error.context().iter().any(|(key, _)| *key == \"status\") {}\n}"),
        [2]
    );
    assert_eq!(lines("fn f() {\n    g(|e: &Error| e.client_context());\n}"), [2]);
    assert_eq!(lines("fn f() {\n    error.map(Error::context)\n}"), [2]);
    assert!(
        lines("fn f() { self.context; context(); error.context(\"more\"); Other::context(1) }").is_empty()
    );
    assert!(lines("// error.context()\n#[cfg(test)]\nmod tests { fn f() { error.context(); } }").is_empty());
}

#[test]
fn a_comparison_of_an_errors_text_is_found_wherever_it_hides() {
    let lines = |text: &str| compares_text(&parse(text));
    for body in [
        "if error.message() == \"no\" {}",
        "if \"no\" != error.message() {}",
        "if error.message().contains(\"no\") {}",
        "let a = g(|| answer.error().message().starts_with('4'));",
        "match error.message() { \"no\" => {} _ => {} }",
        "let a = matches!(error.message(), \"no\" | \"none\");",
        "if error.to_string().ends_with(\"no\") {}",
    ] {
        assert_eq!(lines(&format!("fn f() {{\n    {body}\n}}")), [2], "{body}");
    }
    for body in [
        "let a = error.message().to_owned();",
        "g(format!(\"it failed: {}\", error.message()));",
        "let a = value.to_string().contains(\"no\");",
        "let a = error.kind() == ErrorKind::NotFound;",
        "match error.kind() { _ => error.message() }",
    ] {
        assert!(lines(&format!("fn f() {{ {body} }}")).is_empty(), "{body}");
    }
}

//! The seams of the gateway: what it must ask of a value rather than find out by the value's kind.

use std::path::Path;

use proc_macro2::TokenTree;

use super::order;
use super::source::Source;

/// Where the gateway may name kinds of transport: what registers a server writes them down.
const REGISTER: [&str; 1] = ["api/hosted.rs"];

/// The lines on which `source` names a variant, or another member, of the type `name`.
fn members_of(source: &Source, name: &str) -> Vec<usize> {
    let mut found = Vec::new();
    collect(source.tokens(), name, &mut found);
    found
}

fn collect(tokens: &[TokenTree], name: &str, found: &mut Vec<usize>) {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(ident)
                if ident == name && colon(tokens.get(at + 1)) && colon(tokens.get(at + 2)) =>
            {
                found.push(ident.span().start().line);
            }
            TokenTree::Group(group) => {
                let inside: Vec<_> = group.stream().into_iter().collect();
                collect(&inside, name, found);
            }
            _ => {}
        }
    }
}

/// Where files of the gateway, but for those at `allowed`, name members of the type `name`.
fn named<'a>(
    files: impl IntoIterator<Item = (&'a Path, &'a Source)>,
    name: &str,
    allowed: &[&str],
) -> Vec<String> {
    let files = files.into_iter().filter(|(path, _)| !allowed.iter().any(|one| path.ends_with(one)));
    let lines = files.flat_map(|(path, source)| {
        members_of(source, name).into_iter().map(move |line| format!("{}:{line}", path.display()))
    });
    lines.collect()
}

#[test]
fn the_gateway_asks_a_connector_how_it_is_and_compares_no_transport() {
    let library = super::library();
    let files = super::below(&library, "gateway");
    assert!(files.len() > 80, "the files of the gateway were not found");
    let found = named(files, "TransportType", &REGISTER);
    assert!(found.is_empty(), "ask the `Connector` instead:\n{}", found.join("\n"));
}

/// The one file that knows which kinds of endpoints there are.
const ENDPOINT: &str = "model/endpoint.rs";

/// Whether the enum of the kinds of endpoints is private to `source`, so that nothing else can match on them.
fn hides_kinds(source: &Source) -> bool {
    let words: Vec<_> = source.tokens().iter().map(ToString::to_string).collect();
    let at = |word: &str, name: &str| words.windows(2).position(|pair| pair[0] == word && pair[1] == name);
    match (at("struct", "Endpoint"), at("enum", "Kind")) {
        (Some(endpoint), Some(kind)) => {
            let content = words[endpoint + 2].as_str();
            !content.contains("pub") && !words[..kind].ends_with(&["pub".to_owned()])
        }
        _ => false,
    }
}

#[test]
fn kinds_of_endpoints_are_told_apart_in_one_file() {
    let library = super::library();
    let endpoint = library.iter().find(|(path, _)| path.ends_with(ENDPOINT));
    let (_, endpoint) = endpoint.expect("the file of endpoints");
    assert!(hides_kinds(endpoint), "the kinds of endpoints are not private to {ENDPOINT}");
    let elsewhere = library.iter().filter(|(path, _)| !path.ends_with(ENDPOINT));
    let route: Vec<_> = elsewhere
        .filter(|(path, source)| path.starts_with("gateway") && order::names(source, "Route"))
        .map(|(path, _)| path)
        .collect();
    assert!(route.is_empty(), "an endpoint goes by another name in {route:?}");
}

#[test]
fn kinds_of_endpoints_that_others_could_match_on_are_found() {
    let hides = |text: &str| hides_kinds(&Source::parse(text).expect("Rust"));
    assert!(hides("/// A.\n#[derive(Clone)]\npub struct Endpoint(Kind);\nenum Kind { All }"));
    assert!(!hides("pub struct Endpoint(Kind);\npub enum Kind { All }"));
    assert!(!hides("pub struct Endpoint(pub Kind);\nenum Kind { All }"));
    assert!(!hides("pub enum Endpoint { All }"));
}

#[test]
fn a_comparison_of_a_transport_is_found() {
    let parse = |text: &str| Source::parse(text).expect("Rust");
    let compared = parse("fn f() {\n    if t == TransportType::Http {}\n}\n");
    let matched = parse("fn f() { matches!(t, TransportType::Http) }");
    let silent = parse("// TransportType::Http\nuse crate::model::TransportType;\nfn f(t: TransportType) {}");
    let tested = parse("#[cfg(test)]\nmod tests { const A: T = TransportType::Http; }");
    let files = [
        ("a.rs", &compared),
        ("b.rs", &matched),
        ("c.rs", &silent),
        ("d.rs", &tested),
        ("api/hosted.rs", &compared),
    ];
    let files = files.map(|(path, source)| (Path::new(path), source));
    assert_eq!(named(files, "TransportType", &REGISTER), ["a.rs:2", "b.rs:1"]);
}

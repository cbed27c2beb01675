//! The order of modules: each uses only those above it in `lib.rs`, and each room of a module only those above it in its `mod.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use proc_macro2::{Delimiter, TokenTree};

use crate::source::Source;

/// The modules of a library, or the rooms of one of its modules, by rank; and the re-exports of the file that declares them.
#[derive(Debug)]
pub(crate) struct Order {
    /// The module that the rooms belong to; `None` for the modules of the library.
    within: Option<&'static str>,
    ranks: BTreeMap<String, usize>,
    exports: BTreeMap<String, String>,
}

impl Order {
    /// The order that `lib` declares.
    pub(crate) fn read(lib: &Source) -> Self {
        Self::declared(lib, None)
    }

    /// The order that `module`, the `mod.rs` of the module `name`, declares for its rooms.
    pub(crate) fn rooms(name: &'static str, module: &Source) -> Self {
        Self::declared(module, Some(name))
    }

    fn declared(lib: &Source, within: Option<&'static str>) -> Self {
        let mut ranks = BTreeMap::new();
        let mut exports = BTreeMap::new();
        for statement in lib.tokens().split(|token| is(token, ';')) {
            let mut words = Vec::new();
            idents(statement, &mut words);
            match words.iter().position(|word| word == "mod" || word == "use") {
                Some(at) if words[at] == "mod" => {
                    let rank = ranks.len();
                    ranks.extend(words.get(at + 1).map(|name| (name.clone(), rank)));
                }
                Some(at) => {
                    let path = words[at + 1..].iter().filter(|word| *word != "crate" && *word != "self");
                    let path: Vec<_> = path.cloned().collect();
                    if let [module, names @ ..] = path.as_slice() {
                        exports.extend(names.iter().map(|name| (name.clone(), module.clone())));
                    }
                }
                None => {}
            }
        }
        Self { within, ranks, exports }
    }

    /// How many modules there are.
    pub(crate) fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Where the file at `path`, below the root or below the module of these rooms, uses a module that stands below its own.
    pub(crate) fn arrows_upwards(&self, path: &Path, source: &Source) -> Vec<String> {
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
        let Some(own) = parts.first().map(|first| first.trim_end_matches(".rs")) else { return Vec::new() };
        // `lib.rs` and the programs stand outside the order.
        let Some(rank) = self.ranks.get(own) else { return Vec::new() };
        let depth = parts.len() - usize::from(parts.last() == Some(&"mod.rs"));
        let mut used = Vec::new();
        let leaves = |ups| if self.within.is_some() { ups == depth } else { ups >= depth };
        paths(source.tokens(), self.within, &leaves, &mut used);
        let wrong = used.into_iter().filter_map(|(name, line)| {
            let module = if self.ranks.contains_key(&name) { &name } else { self.exports.get(&name)? };
            let upwards = self.ranks.get(module)? > rank;
            upwards
                .then(|| format!("{}:{line}: `{own}` uses `{module}`, which stands below it", path.display()))
        });
        wrong.collect()
    }
}

/// What stands in a library's root besides modules and re-exports.
pub(crate) fn logic(lib: &Source) -> Vec<String> {
    let mut words = Vec::new();
    idents(lib.tokens(), &mut words);
    let keywords =
        ["fn", "impl", "struct", "enum", "trait", "const", "static", "macro_rules", "type", "union"];
    words.retain(|word| keywords.contains(&word.as_str()));
    words
}

/// Whether `word` stands anywhere in the code.
pub(crate) fn names(source: &Source, word: &str) -> bool {
    let mut words = Vec::new();
    idents(source.tokens(), &mut words);
    words.iter().any(|found| found == word)
}

/// The names that directly follow `crate::` (and the name of the module `within`), or as many `super::` as make a path of them
/// that `leaves` the file's own module, with their lines.
fn paths(
    tokens: &[TokenTree],
    within: Option<&str>,
    leaves: &impl Fn(usize) -> bool,
    found: &mut Vec<(String, usize)>,
) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(ident) if ident == "crate" && follows(tokens, at) => {
                names_within(&tokens[at + 3..], within, found);
                at += 3;
            }
            TokenTree::Ident(ident) if ident == "super" && follows(tokens, at) => {
                let mut ups = 1;
                at += 3;
                while matches!(tokens.get(at), Some(TokenTree::Ident(ident)) if ident == "super")
                    && follows(tokens, at)
                {
                    ups += 1;
                    at += 3;
                }
                if leaves(ups) {
                    first_names(&tokens[at..], found);
                }
            }
            TokenTree::Group(group) => {
                let inside: Vec<_> = group.stream().into_iter().collect();
                paths(&inside, within, leaves, found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Whether `::` follows the token at `at`.
fn follows(tokens: &[TokenTree], at: usize) -> bool {
    matches!((tokens.get(at + 1), tokens.get(at + 2)), (Some(a), Some(b)) if is(a, ':') && is(b, ':'))
        && tokens.len() > at + 3
}

/// The first name of each path that begins here and goes on in the module `within`, if there is one.
fn names_within(tokens: &[TokenTree], within: Option<&str>, found: &mut Vec<(String, usize)>) {
    let Some(module) = within else { return first_names(tokens, found) };
    match tokens.first() {
        Some(TokenTree::Ident(ident)) if ident == module && follows(tokens, 0) => {
            first_names(&tokens[3..], found);
        }
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inside: Vec<_> = group.stream().into_iter().collect();
            inside.split(|token| is(token, ',')).for_each(|path| names_within(path, within, found));
        }
        _ => {}
    }
}

/// The first name of each path that begins here: one, or those of a `{…}`.
fn first_names(tokens: &[TokenTree], found: &mut Vec<(String, usize)>) {
    match tokens.first() {
        Some(TokenTree::Ident(ident)) => found.push((ident.to_string(), ident.span().start().line)),
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inside: Vec<_> = group.stream().into_iter().collect();
            inside.split(|token| is(token, ',')).for_each(|path| first_names(path, found));
        }
        _ => {}
    }
}

fn idents(tokens: &[TokenTree], found: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => found.push(ident.to_string()),
            TokenTree::Group(group) if group.delimiter() != Delimiter::Bracket => {
                let inside: Vec<_> = group.stream().into_iter().collect();
                idents(&inside, found);
            }
            _ => {}
        }
    }
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! Doc.\npub mod error;\npub mod model;\n#[cfg(feature = \"x\")]\npub mod gateway;\n\npub use error::{Error, Result};\npub use gateway::Gateway;\n";

    fn wrong(path: &str, text: &str) -> usize {
        let order = Order::read(&Source::parse(LIB).expect("a library"));
        order.arrows_upwards(Path::new(path), &Source::parse(text).expect("a snippet")).len()
    }

    #[test]
    fn a_use_of_a_module_below_is_found_in_every_form() {
        assert_eq!(wrong("model/mod.rs", "use crate::gateway::x;"), 1);
        assert_eq!(wrong("model/mod.rs", "use crate::{error::Error, gateway::{a, b}};"), 1);
        assert_eq!(wrong("model/ids.rs", "fn f() { crate::gateway::g() }"), 1);
        assert_eq!(wrong("model.rs", "fn f() { format!(\"{}\", crate::gateway::g()); }"), 1);
        assert_eq!(wrong("model/mod.rs", "use super::gateway::x;"), 1);
        assert_eq!(wrong("model/ids.rs", "use super::super::gateway::x;"), 1);
        assert_eq!(wrong("error.rs", "use crate::Gateway;"), 1, "through a re-export of the root");
    }

    #[test]
    fn a_use_of_a_module_above_or_of_itself_or_in_a_test_is_fine() {
        assert_eq!(
            wrong("gateway/mod.rs", "use crate::model::x; use crate::error::Error; use crate::gateway::y;"),
            0
        );
        assert_eq!(wrong("model/ids.rs", "use super::gateway; use crate::{Error, Result};"), 0);
        assert_eq!(wrong("model/mod.rs", "#[cfg(test)]\nmod tests { use crate::gateway::x; }"), 0);
        assert_eq!(wrong("model/mod.rs", "// use crate::gateway::x;\n/// [`crate::gateway`]\nfn f() {}"), 0);
        assert_eq!(wrong("bin/tool/main.rs", "use crate::gateway::x;"), 0);
    }

    #[test]
    fn a_use_of_a_room_below_is_found_in_every_form() {
        const GATEWAY: &str =
            "mod session;\nmod call;\nmod api;\n\npub use self::api::Answer;\npub use crate::auth::Caller;\n";
        let order = Order::rooms("gateway", &Source::parse(GATEWAY).expect("a module"));
        let wrong = |path: &str, text: &str| {
            order.arrows_upwards(Path::new(path), &Source::parse(text).expect("a snippet")).len()
        };
        assert_eq!(wrong("session/client.rs", "use crate::gateway::call::x;"), 1);
        assert_eq!(
            wrong("session/client.rs", "use crate::{error::Error, gateway::{api::a, session::b}};"),
            1
        );
        assert_eq!(wrong("session/client.rs", "use super::super::call::x;"), 1);
        assert_eq!(wrong("call/mod.rs", "fn f() { super::api::g() }"), 1);
        assert_eq!(
            wrong("call/own.rs", "use crate::gateway::Answer;"),
            1,
            "through a re-export of the module"
        );
        assert_eq!(wrong("api/admin.rs", "use crate::gateway::{Caller, call::x}; use super::keys;"), 0);
        assert_eq!(
            wrong("call/own.rs", "use crate::api; use super::api; use crate::gateway::session::x;"),
            0
        );
    }

    #[test]
    fn logic_in_the_root_is_found() {
        assert!(logic(&Source::parse(LIB).expect("a library")).is_empty());
        let with = format!("{LIB}\npub fn f() {{}}");
        assert_eq!(logic(&Source::parse(&with).expect("a library")), ["fn"]);
    }
}

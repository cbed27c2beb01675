//! What the root of the library offers, and whether its documentation shows it at work.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The fences of code that is compiled by the documentation tests.
const COMPILED: [&str; 3] = ["", "rust", "no_run"];

/// The names that `lib` re-exports, each with its path below the root.
pub(crate) fn names(lib: &str) -> Vec<Vec<String>> {
    let tokens: Vec<_> = lib.parse::<TokenStream>().into_iter().flatten().collect();
    let mut found = Vec::new();
    for statement in tokens.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';'))
    {
        let at = statement.windows(2).position(|pair| is(&pair[0], "pub") && is(&pair[1], "use"));
        let Some(at) = at else { continue };
        let mut path = Vec::new();
        for token in &statement[at + 2..] {
            match token {
                TokenTree::Ident(ident) => path.push(ident.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let names = group.stream().into_iter().filter_map(|token| match token {
                        TokenTree::Ident(ident) => Some(ident.to_string()),
                        _ => None,
                    });
                    found.extend(names.map(|name| [path.as_slice(), &[name]].concat()));
                    path.clear();
                }
                _ => {}
            }
        }
        found.extend((path.len() > 1).then_some(path));
    }
    found
}

/// Whether the item of this name in `source` has an example that is compiled; `None` if it is not defined there.
pub(crate) fn shows(source: &str, name: &str) -> Option<bool> {
    let docs = docs_of(source.parse().ok()?, name)?;
    let mut fences = docs.iter().filter_map(|line| line.trim().strip_prefix("```"));
    // Each second one ends a block.
    Some(fences.by_ref().step_by(2).any(|fence| COMPILED.contains(&fence.trim())))
}

/// The documentation of a type or trait, also of one that a macro makes of its name.
fn docs_of(stream: TokenStream, name: &str) -> Option<Vec<String>> {
    let (mut docs, mut last) = (Vec::new(), String::new());
    for token in stream {
        match token {
            TokenTree::Ident(ident) => {
                let defines = ["struct", "enum", "trait", "type", "#"].contains(&last.as_str());
                if ident == name && defines && !docs.is_empty() {
                    return Some(docs);
                }
                last = ident.to_string();
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket && last == "#" => {
                docs.extend(doc(group.stream()));
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                if let Some(found) = docs_of(group.stream(), name) {
                    return Some(found);
                }
                docs.clear();
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => docs.clear(),
            TokenTree::Punct(punct) if punct.as_char() == '#' => "#".clone_into(&mut last),
            _ => {}
        }
    }
    None
}

/// The line of a documentation comment.
fn doc(attribute: TokenStream) -> Option<String> {
    let tokens: Vec<_> = attribute.into_iter().collect();
    match tokens.as_slice() {
        [first, _, TokenTree::Literal(text)] if is(first, "doc") => {
            Some(text.to_string().trim_start_matches('r').trim_matches('"').to_owned())
        }
        _ => None,
    }
}

fn is(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_root_are_found_with_their_modules() {
        let lib = "pub mod a;\npub use a::{One, Two};\n#[cfg(x)]\npub use b::c::Three;\nuse d::Four;";
        let found: Vec<_> = names(lib).into_iter().map(|path| path.join("::")).collect();
        assert_eq!(found, ["a::One", "a::Two", "b::c::Three"]);
    }

    #[test]
    fn an_example_that_is_not_compiled_shows_nothing() {
        let item = |fence: &str| {
            format!("/// A.\n///\n/// ```{fence}\n/// f();\n/// ```\n#[derive(A)]\npub struct One {{}}\n")
        };
        let shown = |fence| shows(&item(fence), "One");
        assert_eq!(["", "no_run"].map(shown), [Some(true); 2]);
        assert_eq!(["text", "ignore", "compile_fail"].map(shown), [Some(false); 3]);
        assert_eq!(shows(&format!("{}/// B.\npub trait Two {{}}", item("")), "Two"), Some(false));
        assert_eq!(shows("pub fn f() -> One {}", "One"), None);
        let made = "name! {\n    /// A.\n    ///\n    /// ```\n    /// f();\n    /// ```\n    One, check\n}";
        assert_eq!(shows(made, "One"), Some(true));
    }
}

//! Bindings decide nothing: what each of their methods holds, and that each verb of the core has its line in each of them.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenTree};

use crate::source::Source;

/// Lines of code that one method may have, and that they may have on average.
const LONGEST: usize = 16;
const AVERAGE: usize = 5;

/// What gives a default, reads a document, or tries again.
const DECIDES: [&str; 12] = [
    "from_slice",
    "from_str",
    "loop",
    "or_default",
    "parse",
    "retry",
    "serde_json",
    "sleep",
    "timeout",
    "unwrap_or",
    "unwrap_or_default",
    "while",
];

/// What marks the methods that another language calls.
const MARKS: [&str; 3] = ["napi", "pymethods", "uniffi"];

/// A method that another language calls.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    name: String,
    lines: usize,
    decides: Vec<String>,
}

/// The methods in `source` that another language calls.
pub(super) fn methods(source: &Source) -> Vec<Method> {
    let mut found = Vec::new();
    let mut marked = false;
    let mut implementing = false;
    for token in source.tokens() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                let first = group.stream().into_iter().next().map(|token| token.to_string());
                marked |= first.is_some_and(|first| MARKS.contains(&first.as_str()));
            }
            TokenTree::Ident(ident) if ident == "impl" => implementing = true,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                if marked && implementing {
                    let inside: Vec<_> = group.stream().into_iter().collect();
                    functions(&inside, &mut found);
                }
                (marked, implementing) = (false, false);
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => (marked, implementing) = (false, false),
            _ => {}
        }
    }
    found
}

fn functions(tokens: &[TokenTree], found: &mut Vec<Method>) {
    let mut name = None;
    for pair in tokens.windows(2) {
        match pair {
            [TokenTree::Ident(word), TokenTree::Ident(called)] if word == "fn" => {
                name = Some(called.to_string());
            }
            [_, TokenTree::Group(body)] if body.delimiter() == Delimiter::Brace => {
                let Some(name) = name.take() else { continue };
                let mut lines = BTreeSet::new();
                let mut words = BTreeSet::new();
                look(body.stream().into_iter(), &mut lines, &mut words);
                let decides = words.into_iter().filter(|word| DECIDES.contains(&word.as_str())).collect();
                found.push(Method { name, lines: lines.len(), decides });
            }
            _ => {}
        }
    }
}

/// The lines and the words below.
fn look(tokens: impl Iterator<Item = TokenTree>, lines: &mut BTreeSet<usize>, words: &mut BTreeSet<String>) {
    for token in tokens {
        lines.insert(token.span().start().line);
        match token {
            TokenTree::Group(group) => look(group.stream().into_iter(), lines, words),
            TokenTree::Ident(ident) => drop(words.insert(ident.to_string())),
            _ => {}
        }
    }
}

/// What is wrong with `methods`, which are those of `binding`.
pub(super) fn thick(binding: &str, methods: &[Method]) -> Vec<String> {
    let long = methods.iter().filter(|method| method.lines > LONGEST);
    let long = long.map(|method| format!("{binding}: {} has {} lines", method.name, method.lines));
    let decide = methods.iter().filter(|method| !method.decides.is_empty());
    let decide = decide.map(|method| format!("{binding}: {} has {}", method.name, method.decides.join(", ")));
    let all: usize = methods.iter().map(|method| method.lines).sum();
    let swollen = all > AVERAGE * methods.len();
    let swollen = swollen.then(|| format!("{binding}: {all} lines in {} methods", methods.len()));
    long.chain(decide).chain(swollen).collect()
}

/// The verbs of the core's facade, from the sources that have them: `"name" Verb,` in tables of `own`, and `row("name", …)`.
pub(super) fn verbs(own: &[&str], mcp: &str) -> Vec<String> {
    let table = |text: &'_ str| {
        text.split("\ntable! {\n")
            .nth(1)
            .unwrap_or_default()
            .split("\n}")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let own: String = own.iter().map(|text| table(text) + "\n").collect();
    let own = own.lines().filter(|line| line.starts_with("    \""));
    let mcp = mcp.split("const ROWS").nth(1).unwrap_or_default().split("];").next().unwrap_or_default();
    // A method's name has a slash, parameters stand behind the name of their verb.
    let named =
        |line: &&str| ["row(\"", "\"", "Row { name"].iter().any(|start| line.trim_start().starts_with(start));
    let all = own.chain(mcp.lines().filter(named)).filter_map(|line| line.split('"').nth(1));
    all.filter(|name| !name.contains('/')).map(str::to_owned).collect()
}

/// The verbs that `face` does not have as `form` writes them, with `*` for the verb.
pub(super) fn astray<'a>(verbs: &'a [String], face: &str, form: &str) -> Vec<&'a str> {
    verbs.iter().map(String::as_str).filter(|verb| !face.contains(&form.replace('*', verb))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Method> {
        methods(&Source::parse(text).expect("a snippet of Rust"))
    }

    #[test]
    fn methods_are_counted_where_another_language_calls_them() {
        let text = "impl A {\n fn no() { parse() }\n}\n#[napi]\nimpl A {\n /// Doc.\n #[napi]\n pub fn f(&self) -> B {\n  a();\n  b(|| {\n   c\n  })\n }\n}\n";
        assert_eq!(found(text), [Method { name: "f".into(), lines: 3, decides: vec![] }]);
        assert!(thick("x", &found(text)).is_empty());
    }

    #[test]
    fn a_method_that_decides_or_swells_is_found() {
        let text = |body: &str| format!("#[uniffi::export]\nimpl A {{\n fn f(&self) {{\n{body}\n }}\n}}\n");
        assert_eq!(thick("x", &found(&text("a.unwrap_or(1)"))), ["x: f has unwrap_or"]);
        assert_eq!(thick("x", &found(&text("if a { b.parse() }"))), ["x: f has parse"]);
        let long = "a();\n".repeat(LONGEST + 1);
        assert_eq!(thick("x", &found(&text(&long))), ["x: f has 17 lines", "x: 17 lines in 1 methods"]);
    }

    #[test]
    fn verbs_are_read_from_both_tables_and_missed_in_a_face() {
        let own = "macro_rules! table {\n}\ntable! {\n    /// Doc.\n    Own\n    #[cfg(feature = \"a\")]\n    \"get\" Get,\n}\n\"other\" Other,";
        let mcp = "const ROWS: &[Row] = &[\n    row(\"call_tool\", \"tools/call\", &[]),\n    row(\n        \"complete\",\n        \"completion/complete\",\n    ),\n    Row { name: \"request\", method: None },\n];\nrow(\"no\")";
        let verbs = verbs(&[own, "\ntable! {\n    Few\n    \"few\" Few,\n}\n"], mcp);
        assert_eq!(verbs, ["get", "few", "call_tool", "complete", "request"]);
        assert_eq!(astray(&verbs, "p('get') p('few') p('complete') p('request')", "'*'"), ["call_tool"]);
    }
}

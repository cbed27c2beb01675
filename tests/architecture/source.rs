//! A Rust source as tokens, with what is compiled for tests alone cut out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The tokens of a source file that are not for tests.
#[derive(Debug)]
pub(crate) struct Source {
    tokens: Vec<TokenTree>,
    lines: BTreeSet<usize>,
    test_modules: Vec<String>,
    allowances: Vec<usize>,
}

impl Source {
    /// The source in `text`; `None` if it is not Rust.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let stream = TokenStream::from_str(text).ok()?;
        let mut source = Self {
            tokens: Vec::new(),
            lines: BTreeSet::new(),
            test_modules: Vec::new(),
            allowances: Vec::new(),
        };
        source.tokens = source.prune(stream);
        lines(&source.tokens, &mut source.lines);
        Some(source)
    }

    /// What is left of the file.
    pub(crate) fn tokens(&self) -> &[TokenTree] {
        &self.tokens
    }

    /// Lines with code; comments, documentation and blank lines do not count.
    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The lines on which a lint is allowed, in tests too.
    pub(crate) fn allowances(&self) -> impl Iterator<Item = usize> {
        self.allowances.iter().copied()
    }

    /// The files, or folders, of the test modules that the file at `path` declares.
    pub(crate) fn test_files(&self, path: &Path) -> Vec<PathBuf> {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = if ["mod", "lib", "main"].contains(&stem) {
            path.parent().map(Path::to_owned).unwrap_or_default()
        } else {
            path.with_extension("")
        };
        self.test_modules
            .iter()
            .flat_map(|name| [folder.join(name), folder.join(format!("{name}.rs"))])
            .collect()
    }

    /// Cuts out items under `#[cfg(test)]` and documentation, at every depth.
    fn prune(&mut self, stream: TokenStream) -> Vec<TokenTree> {
        let mut kept = Vec::new();
        let mut tokens = stream.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let is_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
            let inner = is_hash
                && tokens
                    .next_if(|next| matches!(next, TokenTree::Punct(punct) if punct.as_char() == '!'))
                    .is_some();
            let attribute = |next: &TokenTree| matches!(next, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket);
            if is_hash && let Some(TokenTree::Group(group)) = tokens.next_if(attribute) {
                match head(&group).as_str() {
                    "allow" => self.allowances.push(group.span().start().line),
                    "cfg" if for_tests(&group) && !inner => {
                        self.skip_item(&mut tokens);
                        continue;
                    }
                    "doc" => continue,
                    _ => {}
                }
                kept.push(token);
                kept.push(TokenTree::Group(group));
            } else if let TokenTree::Group(group) = &token {
                let inside = self.prune(group.stream());
                let mut pruned = Group::new(group.delimiter(), inside.into_iter().collect());
                pruned.set_span(group.span());
                kept.push(TokenTree::Group(pruned));
                // The closing delimiter has a line of its own as a rule.
                self.lines.insert(group.span_close().start().line);
            } else {
                kept.push(token);
            }
        }
        kept
    }

    /// Skips to the end of an item, remembering the module that it declares and the lints that it allows.
    fn skip_item(&mut self, tokens: &mut std::iter::Peekable<proc_macro2::token_stream::IntoIter>) {
        let mut last = String::new();
        for token in tokens.by_ref() {
            match token {
                TokenTree::Ident(ident) if last == "mod" => {
                    self.test_modules.push(ident.to_string());
                    last.clear();
                }
                TokenTree::Ident(ident) => last = ident.to_string(),
                TokenTree::Punct(punct) if punct.as_char() == ';' => return,
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    self.note_allowances(group.stream());
                    return;
                }
                TokenTree::Group(group) if head(&group) == "allow" => {
                    self.allowances.push(group.span().start().line);
                }
                _ => {}
            }
        }
    }

    fn note_allowances(&mut self, stream: TokenStream) {
        let mut hash = false;
        for token in stream {
            if let TokenTree::Group(group) = &token {
                if hash && head(group) == "allow" {
                    self.allowances.push(group.span().start().line);
                }
                self.note_allowances(group.stream());
            }
            hash = matches!(&token, TokenTree::Punct(punct) if "#!".contains(punct.as_char()));
        }
    }
}

/// Adds the lines on which `tokens` stand to those `found`.
pub(crate) fn lines(tokens: &[TokenTree], found: &mut BTreeSet<usize>) {
    for token in tokens {
        if let TokenTree::Group(group) = token {
            found.insert(group.span_open().start().line);
            found.insert(group.span_close().start().line);
            let inside: Vec<_> = group.stream().into_iter().collect();
            lines(&inside, found);
        } else {
            found.extend(token.span().start().line..=token.span().end().line);
        }
    }
}

/// The name of an attribute.
fn head(group: &Group) -> String {
    group.stream().into_iter().next().map(|token| token.to_string()).unwrap_or_default()
}

/// Whether a `cfg` attribute names `test` outside a `not(…)`.
fn for_tests(group: &Group) -> bool {
    fn names_test(stream: TokenStream) -> bool {
        let mut negated = false;
        for token in stream {
            match token {
                TokenTree::Ident(ident) if ident == "test" => return true,
                TokenTree::Ident(ident) => negated = ident == "not",
                TokenTree::Group(group) if !negated && names_test(group.stream()) => return true,
                _ => negated = false,
            }
        }
        false
    }
    names_test(group.stream())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse(text).expect("a snippet of Rust")
    }

    #[test]
    fn lines_of_code_leave_out_comments_documentation_blank_lines_and_tests() {
        let text = "//! Doc.\n\n/// Doc.\nfn f() {\n    // why\n    g(\n        1,\n    );\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        assert_eq!(parse(text).lines(), 5);
        assert_eq!(parse("#[cfg(not(test))]\nfn f() {\n}\n").lines(), 3);
        assert_eq!(parse("#[cfg(all(test, loom))]\nfn f() {\n}\n").lines(), 0);
        assert_eq!(parse("const A: &str = \"1\n2\n3\";\n").lines(), 3, "a literal over three lines");
        let long = "fn f() {}\n".repeat(401);
        assert_eq!(parse(&long).lines(), 401);
    }

    #[test]
    fn an_allowed_lint_is_found_wherever_it_hides() {
        let lines = |text: &str| parse(text).allowances().collect::<Vec<_>>();
        assert_eq!(lines("#![allow(dead_code)]\n"), [1]);
        assert_eq!(lines("fn f() {\n    #[allow(unused)]\n    let x = 1;\n}\n"), [2]);
        assert_eq!(
            lines(
                "#[cfg(test)]\nmod tests {\n    fn t() {\n        #[allow(unused)]\n        let x = 1;\n    }\n}\n"
            ),
            [4]
        );
        assert!(
            lines(
                "// #[allow(x)]\nfn f() { let s = \"#[allow(x)]\"; }\n#[expect(x, reason = \"y\")]\nfn g() {}"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_declared_test_module_names_its_file() {
        let source = parse("#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod contract;\nmod real;\n");
        let files = source.test_files(Path::new("store/mod.rs"));
        assert!(
            files.contains(&PathBuf::from("store/tests.rs"))
                && files.contains(&PathBuf::from("store/contract"))
        );
        assert!(!files.contains(&PathBuf::from("store/real.rs")));
        assert!(source.test_files(Path::new("rpc/sse.rs")).contains(&PathBuf::from("rpc/sse/tests.rs")));
    }
}

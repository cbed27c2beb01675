//! One argument of a program, as `[stdio] allow` describes it: text in which `*` stands for a part of a name.
//!
//! A called program reads its arguments by a grammar of its own: `@` begins a version, `:` a scheme, `/` a path, `=` the value of
//! an option. So `*` stands for no character that leads out of the name in which it was written.

/// The characters that `*` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// All but blanks, control characters and `@ : / \ =`.
    Text,
    /// Those of the name of a package: ASCII letters, digits, `.`, `_` and `-`.
    Package,
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Text => {
                !byte.is_ascii_whitespace()
                    && !byte.is_ascii_control()
                    && !matches!(byte, b'@' | b':' | b'/' | b'\\' | b'=')
            }
            Self::Package => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'),
        }
    }
}

/// Whether `text` matches `pattern`. `..` and a `-` in front are matched only by a pattern that has them.
pub(super) fn fits(pattern: &str, text: &str, alphabet: Alphabet) -> bool {
    if text.matches("..").count() > pattern.matches("..").count() {
        return false;
    }
    if text.starts_with('-') && !pattern.starts_with('-') {
        return false;
    }
    // A blank that is not ASCII has bytes that no check of single bytes sees.
    if text.chars().any(|found| found.is_whitespace() || found.is_control()) && !pattern.eq(text) {
        return false;
    }
    matches(pattern.as_bytes(), text.as_bytes(), alphabet)
}

/// `reached[i]`: the part of the pattern that was read matches the first `i` bytes of the text.
fn matches(pattern: &[u8], text: &[u8], alphabet: Alphabet) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for wanted in pattern {
        if *wanted == b'*' {
            for at in 0..text.len() {
                reached[at + 1] |= reached[at] && alphabet.has(text[at]);
            }
        } else {
            for at in (0..text.len()).rev() {
                reached[at + 1] = reached[at] && text[at] == *wanted;
            }
            reached[0] = false;
        }
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_a_part_of_a_name() {
        let yes = [
            ("*", "ab"),
            ("a*", "a"),
            ("*b", "ab"),
            ("a*c*e", "abcde"),
            ("a**b", "ab"),
            ("x", "x"),
            ("--root=*", "--root=data"),
            ("/srv/*/..", "/srv/a/.."),
            ("@acme/*@1.*", "@acme/x@1.2.3"),
            ("größe-*", "größe-ü"),
            ("a b", "a b"),
        ];
        for (pattern, text) in yes {
            assert!(fits(pattern, text, Alphabet::Text), "{pattern} {text}");
        }
        let no = [
            ("", "a"),
            ("a*", "ba"),
            ("a*a", "a"),
            ("a*c*e", "aec"),
            ("x", "xy"),
            ("*.js", "a.ts"),
            ("*", "-x"),
            ("*", "a b"),
            ("*", "a\u{a0}b"),
            ("*", "a\0"),
            ("--root=*", "--root=a/b"),
            ("--root=*", "--root=.."),
            ("/srv/*", "/srv/../etc"),
            ("/srv/*", "/srv/a/b"),
            ("/srv/.*", "/srv/.."),
            ("*", r"a\b"),
            ("*", "A=1"),
            ("@acme/*", "@acme/x@file:../y"),
        ];
        for (pattern, text) in no {
            assert!(!fits(pattern, text, Alphabet::Text), "{pattern} {text}");
        }
        assert!(fits("acme-*", "acme-a.b_c-1", Alphabet::Package));
        for text in ["acme-a[extra]", "acme-a,b", "acme-a>1", "acme-ü", "acme-a#b", "acme-a%2f", "acme-~1"] {
            assert!(!fits("acme-*", text, Alphabet::Package), "{text}");
        }
    }
}

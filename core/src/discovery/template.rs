//! URI templates (RFC 6570), read the other way round: whether a URI can have come from a template.
//!
//! More tolerant than the RFC, since servers are: `{name}` stands for one or more characters other than `/`;
//! `{+name}`, `{#name}` and every `{name*}` for one or more of any; `{/name}` and `{.name}` for their sign and the text
//! after it; `{?…}`, `{&…}` and `{;…}` for nothing, or their sign and anything.
//!
//! Matching moves the set of positions that can be reached through the parts one after another and never goes back:
//! its time is at most the template's length times the URI's, whatever a hostile server writes.

use std::sync::Arc;

/// Longest template, in bytes, that is matched.
pub const MAX_TEMPLATE: usize = 2048;
/// Longest URI, in bytes, that is matched.
pub const MAX_MATCHED: usize = 8192;

/// A parsed URI template.
#[derive(Clone, Debug)]
pub struct Template {
    text: Arc<str>,
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug)]
enum TemplatePart {
    Literal(Box<str>),
    /// One or more characters; whether `/` is one of them.
    Some {
        slash: bool,
    },
    /// Nothing, or this sign and then anything.
    Query(u8),
}

impl Template {
    /// Reads a template; `None` if a brace is open or empty, or it is longer than [`MAX_TEMPLATE`].
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEMPLATE {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, tail) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
            if !literal.is_empty() {
                parts.push(TemplatePart::Literal(literal.into()));
            }
            rest = tail;
            if let Some(tail) = rest.strip_prefix('{') {
                let (expression, tail) = tail.split_once('}')?;
                expand(expression, &mut parts)?;
                rest = tail;
            } else if !rest.is_empty() {
                return None;
            }
        }
        Some(Self { text: text.into(), parts })
    }

    /// The template as it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The text before the first expression: every URI that matches begins with it.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(TemplatePart::Literal(text)) => text,
            _ => "",
        }
    }

    /// Whether `uri` can have come from this template. Never for a URI longer than [`MAX_MATCHED`].
    pub fn matches(&self, uri: &str) -> bool {
        self.can_make(uri, false)
    }

    /// As [`Template::matches`]; a plain name stands for several segments, too, as many servers mean it.
    pub fn fits(&self, uri: &str) -> bool {
        self.can_make(uri, true)
    }

    fn can_make(&self, uri: &str, slashes: bool) -> bool {
        let uri = uri.as_bytes();
        if uri.len() > MAX_MATCHED {
            return false;
        }
        // `reached[n]`: the parts so far can have made the first n bytes.
        let mut reached = vec![false; uri.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            let mut next = vec![false; uri.len() + 1];
            match part {
                TemplatePart::Literal(text) => {
                    for at in (0..uri.len()).filter(|at| reached[*at]) {
                        if uri[at..].starts_with(text.as_bytes()) {
                            next[at + text.len()] = true;
                        }
                    }
                }
                TemplatePart::Some { slash } => {
                    let mut running = false;
                    for (at, byte) in uri.iter().enumerate() {
                        running = (running || reached[at]) && (slashes || *slash || *byte != b'/');
                        next[at + 1] = running;
                    }
                }
                TemplatePart::Query(sign) => {
                    let mut running = false;
                    for at in 0..=uri.len() {
                        next[at] = running || reached[at];
                        running |= reached[at] && uri.get(at) == Some(sign);
                    }
                }
            }
            reached = next;
        }
        reached[uri.len()]
    }
}

fn expand(expression: &str, parts: &mut Vec<TemplatePart>) -> Option<()> {
    let (sign, names) = match expression.as_bytes().first()? {
        sign @ (b'+' | b'#' | b'.' | b'/' | b';' | b'?' | b'&') => (Some(*sign), &expression[1..]),
        _ => (None, expression),
    };
    if names.is_empty() || names.contains(['{', '/']) {
        return None;
    }
    if let Some(sign @ (b';' | b'?' | b'&')) = sign {
        parts.push(TemplatePart::Query(sign));
        return Some(());
    }
    for (place, name) in names.split(',').enumerate() {
        // Several names in one expression are joined by its sign, or by a comma.
        match sign {
            Some(b'.') => parts.push(TemplatePart::Literal(".".into())),
            Some(b'/') => parts.push(TemplatePart::Literal("/".into())),
            Some(b'#') if place == 0 => parts.push(TemplatePart::Literal("#".into())),
            _ if place > 0 => parts.push(TemplatePart::Literal(",".into())),
            _ => {}
        }
        parts.push(TemplatePart::Some { slash: name.ends_with('*') || matches!(sign, Some(b'+' | b'#')) });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(template: &str, uri: &str) -> bool {
        Template::parse(template).unwrap().matches(uri)
    }

    #[test]
    fn a_plain_name_stands_for_one_segment() {
        assert!(matches("test://template/{id}/data", "test://template/123/data"));
        assert!(matches("db://{table}/{row}", "db://users/7"));
        assert!(matches("mail:{a},{b}", "mail:x,y"));
        assert!(!matches("test://template/{id}/data", "test://template//data"));
        assert!(!matches("test://template/{id}/data", "test://template/1/2/data"));
        assert!(!matches("test://template/{id}/data", "test://template/1/data/more"));
        assert!(!matches("test://x/{id}", "test://y/1"));
    }

    #[test]
    fn a_plain_name_fits_several_segments_where_no_template_matches() {
        let fits = |template: &str, uri: &str| Template::parse(template).unwrap().fits(uri);
        assert!(fits("kb://{path}", "kb://a/b/c.md") && fits("kb://{path}", "kb://a"));
        assert!(fits("kb://{area}/x/{path}", "kb://a/x/b/c"));
        assert!(!fits("kb://{path}", "kb://") && !fits("kb://{path}", "other://a/b"));
    }

    #[test]
    fn operators_reach_as_far_as_they_say() {
        assert!(matches("file://{+path}", "file:///a/b/c.txt"));
        assert!(matches("file:///{path*}", "file:///a/b"));
        assert!(matches("x://h{/path*}", "x://h/a/b"));
        assert!(matches("x://h{/a,b}", "x://h/1/2"));
        assert!(!matches("x://h{/a}", "x://h/1/2"));
        assert!(matches("x://h/f{.ext}", "x://h/f.txt"));
        assert!(matches("x://h/s{?q,lang}", "x://h/s"));
        assert!(matches("x://h/s{?q,lang}", "x://h/s?q=a/b&lang=de"));
        assert!(!matches("x://h/s{?q}", "x://h/sq"));
        assert!(matches("x://h/s?fixed=1{&q}", "x://h/s?fixed=1&q=2"));
        assert!(matches("x://h/p{#part}", "x://h/p#one/two"));
    }

    #[test]
    fn what_is_not_a_template_is_not_matched() {
        for bad in ["x://{", "x://}", "x://{}", "x://{a{b}}", "x://{+}", &"a".repeat(MAX_TEMPLATE + 1)] {
            assert!(Template::parse(bad).is_none(), "{bad:.20}");
        }
    }

    /// B-14: crafted templates and names cost no time.
    #[test]
    fn a_hostile_template_takes_no_exponential_time() {
        let template = Template::parse(&"{a*}x".repeat(300)).unwrap();
        assert!(!template.matches(&format!("{}y", "x".repeat(4000))));
        assert!(!template.matches(&"x".repeat(MAX_MATCHED + 1)));
    }
}

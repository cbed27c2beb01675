//! Escapes that are half of a surrogate pair: they stand for no character, and parsers disagree about their meaning (RFC 8259,
//! section 8.2).

/// The length of one escape, such as `\ud83d`.
const ESCAPE: usize = 6;

/// The place of the first such escape at or behind `from`, if there is one. Text that is no JSON is refused by the parser; this
/// only has to be right where it is.
pub(super) fn first_half(source: &str, from: usize) -> Option<usize> {
    // Most messages have no escapes.
    let bytes = source.as_bytes();
    let mut at = from + memchr::memchr(b'\\', bytes.get(from..)?)?;
    while let Some(found) = memchr::memmem::find(bytes.get(at..)?, b"\\u") {
        let start = at + found;
        let backslashes = bytes[at..start].iter().rev().take_while(|byte| **byte == b'\\').count();
        at = start + 2;
        if backslashes % 2 == 1 {
            continue;
        }
        match unit(source, at) {
            Some(0xD800..=0xDBFF) => {
                let low = source.get(at + 4..at + ESCAPE).filter(|text| *text == "\\u");
                if !matches!(low.and_then(|_| unit(source, at + ESCAPE)), Some(0xDC00..=0xDFFF)) {
                    return Some(start);
                }
                at += 4 + ESCAPE;
            }
            Some(0xDC00..=0xDFFF) => return Some(start),
            _ => {}
        }
    }
    None
}

/// `source` with U+FFFD for each such escape; `None` if it has none.
pub(super) fn replaced(source: &str) -> Option<String> {
    let mut at = first_half(source, 0)?;
    let mut out = String::with_capacity(source.len());
    let mut done = 0;
    loop {
        out.push_str(&source[done..at]);
        out.push_str("\\ufffd");
        done = at + ESCAPE;
        match first_half(source, done) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.push_str(&source[done..]);
    Some(out)
}

/// The four hexadecimal digits at `at`.
fn unit(source: &str, at: usize) -> Option<u16> {
    let digits =
        source.get(at..at + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_replaced_and_every_whole_stays() {
        for (source, expected) in [
            (r"\ud83d\ud83d\ude00", Some(r"\ufffd\ud83d\ude00")),
            (r"\ude00\ud83d", Some(r"\ufffd\ufffd")),
            (r"a\\\ud800b", Some(r"a\\\ufffdb")),
            (r"\ud83d\u0041", Some(r"\ufffd\u0041")),
            (r"\ud83dü\udc00", Some(r"\ufffdü\ufffd")),
            (r"\\ud800", None),
            (r"\ud83d\ude00\n", None),
            ("ü", None),
        ] {
            assert_eq!(replaced(source).as_deref(), expected, "{source}");
        }
    }
}

//! Finds the members of a JSON object in one pass, and sees on the way that all of it is JSON (RFC 8259).
//!
//! Every message is read here, some parts of it twice. A parser that can make values of its input took a tenth of the cost of a
//! call. Nothing is decoded or allocated; the grammar is held to that of `serde_json` by a property test and by fuzzing.

use super::MAX_DEPTH;

/// The fault of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not JSON.
    Syntax,
    /// It nests deeper than [`MAX_DEPTH`].
    Deep,
    /// It is JSON, and no object.
    Kind,
}

/// A member: its key as it stands between the quotes, whether it stands there without an escape, and its raw value.
pub(super) type Member<'a> = (&'a str, bool, &'a str);

/// The members of one object, one after the other.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    begun: bool,
    /// Arrays and objects that are open.
    depth: usize,
    /// Which of them are objects; the innermost is the lowest bit.
    objects: u128,
}

impl<'a> Scan<'a> {
    /// Ready to read the members of the one object that `text` must be.
    pub(super) fn object(text: &'a str) -> Result<Self, Fault> {
        let mut scan = Self { text, at: 0, begun: false, depth: 0, objects: 0 };
        scan.space();
        if scan.eat(b'{') {
            scan.depth = 1;
            return Ok(scan);
        }
        scan.value()?;
        scan.end()?;
        Err(Fault::Kind)
    }

    /// The next member; `None` when the object has ended, and the text with it.
    pub(super) fn member(&mut self) -> Result<Option<Member<'a>>, Fault> {
        self.space();
        if self.eat(b'}') {
            return self.end().map(|()| None);
        }
        if self.begun {
            if !self.eat(b',') {
                return Err(Fault::Syntax);
            }
            self.space();
        }
        self.begun = true;
        let start = self.at + 1;
        let plain = self.string()?;
        let key = &self.text[start..self.at - 1];
        self.colon()?;
        let start = self.at;
        self.value()?;
        Ok(Some((key, plain, &self.text[start..self.at])))
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Goes behind the value that begins here.
    fn value(&mut self) -> Result<(), Fault> {
        let floor = self.depth;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{') => {
                    self.open(true)?;
                    if !self.eat(b'}') {
                        self.key()?;
                        continue;
                    }
                    self.close();
                }
                Some(b'[') => {
                    self.open(false)?;
                    if !self.eat(b']') {
                        continue;
                    }
                    self.close();
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') => self.word("null")?,
                _ => return Err(Fault::Syntax),
            }
            // A value has ended; the next token depends on its container.
            while self.depth > floor {
                self.space();
                let in_object = self.objects & 1 == 1;
                if self.eat(b',') {
                    self.space();
                    if in_object {
                        self.key()?;
                    }
                    break;
                }
                if !self.eat(if in_object { b'}' } else { b']' }) {
                    return Err(Fault::Syntax);
                }
                self.close();
            }
            if self.depth == floor {
                return Ok(());
            }
        }
    }

    fn open(&mut self, object: bool) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::Deep);
        }
        self.depth += 1;
        self.objects = (self.objects << 1) | u128::from(object);
        self.at += 1;
        self.space();
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    fn key(&mut self) -> Result<(), Fault> {
        self.string()?;
        self.colon()
    }

    fn colon(&mut self) -> Result<(), Fault> {
        self.space();
        if !self.eat(b':') {
            return Err(Fault::Syntax);
        }
        self.space();
        Ok(())
    }

    /// Goes behind the string that must begin here; whether it has no escape.
    fn string(&mut self) -> Result<bool, Fault> {
        if !self.eat(b'"') {
            return Err(Fault::Syntax);
        }
        let mut plain = true;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let run = run(rest);
            self.at += run + 1;
            match rest.get(run) {
                Some(b'"') => return Ok(plain),
                Some(b'\\') => {
                    plain = false;
                    self.at += escape(&rest[run + 1..]).ok_or(Fault::Syntax)?;
                }
                _ => return Err(Fault::Syntax),
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits == 0 { Err(Fault::Syntax) } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Fault::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// Bytes before the first that ends a string, begins an escape or must not stand in one.
fn run(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return n * 8 + stops.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().take_while(|byte| **byte >= b' ' && !matches!(byte, b'"' | b'\\')).count()
}

/// The highest bit of each byte that is a control character, a quote or a backslash; above the first, other bits may be set, too.
/// (Mycroft, 1987: `(x - 1) & !x` has the highest bit of a byte that is zero.)
fn stops(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let zero = |word: u64| word.wrapping_sub(EACH) & !word;
    let control = word.wrapping_sub(EACH * 0x20) & !word;
    let quote = zero(word ^ (EACH * u64::from(b'"')));
    let backslash = zero(word ^ (EACH * u64::from(b'\\')));
    (control | quote | backslash) & (EACH * 0x80)
}

/// The length of the escape whose backslash stands before `rest`, without it.
fn escape(rest: &[u8]) -> Option<usize> {
    match rest.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(1),
        b'u' => rest.get(1..5)?.iter().all(u8::is_ascii_hexdigit).then_some(5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::super::generated::json_text;
    use super::*;

    /// Whether `text` is JSON, by this scanner.
    fn accepts(text: &str) -> bool {
        let read = |mut scan: Scan<'_>| {
            while scan.member()?.is_some() {}
            Ok(())
        };
        matches!(Scan::object(text).and_then(read), Ok(()) | Err(Fault::Kind))
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    #[test]
    fn what_is_json_is_found_so_and_nothing_else() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "{}",
            " { } ",
            "{}x",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a" :1 ,"b": 2}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[,1]}"#,
            r#"{"a":[1}}"#,
            r#"{"a":{"b":1]}"#,
            r#"{"a":[[],{}]}"#,
            "{1:2}",
            r#"{"a":01}"#,
            r#"{"a":-}"#,
            r#"{"a":-0}"#,
            r#"{"a":1.}"#,
            r#"{"a":.1}"#,
            r#"{"a":1e}"#,
            r#"{"a":1E+9}"#,
            r#"{"a":+1}"#,
            r#"{"a":0x1}"#,
            r#"{"a":tru}"#,
            r#"{"a":truee}"#,
            r#"{"a":null}"#,
            r#"{"a":NaN}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"\u12Gz"}"#,
            r#"{"a":"\u12aF"}"#,
            r#"{"a":"\"}"#,
            r#"{"a":"1234567\"}"#,
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"1234567\t\"}",
            "{\"a\":\"1234567\u{7f}é\"}",
            "{\"\n\":1}",
            "{\"a\":\u{a0}1}",
            "\u{feff}{}",
            "1 2",
            "[1]",
            "nul",
        ] {
            assert_eq!(accepts(text), is_json(text), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_what_is_open_is_closed_by_its_own_kind() {
        let nested = |deep: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(deep - 1), "]".repeat(deep - 1));
        let read = |text: &str| Scan::object(text).and_then(|mut scan| scan.member().map(drop));
        assert_eq!(read(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(Fault::Deep));
        assert_eq!(Scan::object(&"[".repeat(MAX_DEPTH + 1)).unwrap_err(), Fault::Deep);
        let mixed = format!(r#"{{"a":{}{}}}"#, r#"[{"b":"#.repeat(60) + "1", "}]".repeat(60));
        assert!(accepts(&mixed) && !accepts(&mixed.replacen("}]", "]}", 1)));
    }

    #[test]
    fn a_string_ends_at_its_quote_wherever_that_stands_among_eight_bytes() {
        for length in 0..40 {
            let text = "ü".repeat(length / 2) + &"x".repeat(length % 2);
            for (stop, at) in [('"', Some(true)), ('\\', None), ('\u{1f}', None), ('\0', None)] {
                let bytes = format!("{text}{stop}tail of more than eight bytes");
                assert_eq!(run(bytes.as_bytes()), text.len(), "{length} {stop:?} {at:?}");
            }
            assert_eq!(run(text.as_bytes()), text.len());
        }
    }

    proptest! {
        #[test]
        fn what_was_json_and_is_changed_in_one_place_is_judged_as_a_parser_judges_it(
            text in json_text(), at in any::<prop::sample::Index>(), put in "[\\[\\]{},:\"\\\\0-9eE+.a-z \u{1}é-]{0,2}", cut in 0..2_usize
        ) {
            prop_assert!(accepts(&text));
            let mut changed: Vec<char> = text.chars().collect();
            let at = at.index(changed.len() + 1);
            changed.splice(at..(at + cut).min(changed.len()), put.chars());
            let changed: String = changed.into_iter().collect();
            prop_assert_eq!(accepts(&changed), is_json(&changed), "{}", changed);
        }
    }
}

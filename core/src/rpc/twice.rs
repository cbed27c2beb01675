//! Keys that stand twice in one object, at any depth.
//!
//! Readers disagree about which of two equal keys counts, so that one part of a system may approve a text that another part
//! reads otherwise.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use super::object::Key;

/// From so many keys on, they are compared by their hashes.
const MANY: usize = 32;

/// The reason why `json` cannot be trusted to mean the same to every reader: a key that stands twice in one object, or a text
/// that is no JSON. `None` if there is none.
pub fn ambiguity(json: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Walk.deserialize(&mut reader).err().map(|error| {
        let text = error.to_string();
        // The parser's place in the text means nothing to a person who sees the item alone.
        text.split(" at line ").next().unwrap_or_default().to_owned()
    })
}

struct Walk;

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Walk)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut few: SmallVec<[Cow<'de, str>; 8]> = SmallVec::new();
        let mut many: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(Key(key)) = members.next_key()? {
            if few.contains(&key) || many.contains(&key) {
                let shown: String = key.chars().take(40).collect();
                return Err(A::Error::custom(format!("the key {shown:?} stands twice in one object")));
            }
            if few.len() < MANY {
                few.push(key);
            } else {
                many.insert(key);
            }
            members.next_value_seed(Walk)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_found_at_any_depth_and_however_it_is_written() {
        for json in
            [r#"{"a":1,"a":2}"#, r#"{"x":[{"y":{"a":1,"\u0061":2}}]}"#, r#"[[{"a":{},"b":{"c":1,"c":1}}]]"#]
        {
            assert!(ambiguity(json).unwrap().contains("stands twice"), "{json}");
        }
        for json in [r#"{"a":{"a":{"a":[{"a":1},{"a":2}]}}}"#, "1", "[]", r#"{"n":12345678901234567890123}"#]
        {
            assert_eq!(ambiguity(json), None, "{json}");
        }
        let wide: Vec<_> = (0..100).map(|n| format!(r#""k{n}":1"#)).collect();
        assert_eq!(ambiguity(&format!("{{{}}}", wide.join(","))), None);
        assert!(ambiguity(&format!(r#"{{{},"k70":1}}"#, wide.join(","))).is_some());
        assert!(ambiguity("{").is_some());
    }
}

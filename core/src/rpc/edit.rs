//! Members of one JSON object set and removed; every byte of the others stays as it came.
//!
//! The outcome of an edit is written into a [`Splice`], so that several places of one message change in one copy. A
//! member that is removed takes one comma with it; one that is added stands behind the last.

use std::ops::Range;

use super::object::range_in;
use super::{Members, Splice};
use crate::error::Result;
use crate::rpc::envelope::quote;

/// Changes to one object.
#[derive(Debug)]
pub struct Edit<'a> {
    source: &'a str,
    members: Members<'a>,
    removed: Vec<bool>,
    replaced: Vec<(Range<usize>, String)>,
    added: Vec<(String, String)>,
}

impl<'a> Edit<'a> {
    /// No change yet to `source`, which must be one object: errors as of [`Members::parse`].
    pub fn of(source: &'a str) -> Result<Self> {
        let members = Members::parse(source)?;
        let removed = vec![false; members.iter().count()];
        Ok(Self { source, members, removed, replaced: Vec::new(), added: Vec::new() })
    }

    /// The members as they came.
    pub fn members(&self) -> &Members<'a> {
        &self.members
    }

    /// Sets the member `key` to the raw value `value`.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        match self.members.get(key) {
            Some(old) => self.replaced.push((range_in(self.source, old), value.into())),
            None => self.added.push((quote(key), value.into())),
        }
        self
    }

    /// Adds the member `key` if the object has none.
    pub fn set_if_absent(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        if self.members.get(key).is_none() {
            self.added.push((quote(key), value.into()));
        }
        self
    }

    /// Takes the member `key` out if it is there.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        if let Some(place) = self.members.iter().position(|(name, _)| name == key) {
            self.removed[place] = true;
        }
        self
    }

    /// Whether anything changes.
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.added.is_empty() && !self.removed.contains(&true)
    }

    /// Writes the changes into `splice`, for a text in which the object begins at `base`.
    pub fn write(self, splice: &mut Splice, base: usize) {
        let values: Vec<Range<usize>> =
            self.members.iter().map(|(_, value)| range_in(self.source, value)).collect();
        let open = self.source.find('{').map_or(0, |at| at + 1);
        let mut put = |range: Range<usize>, text: String| {
            splice.replace(base + range.start..base + range.end, text);
        };
        for (range, value) in self.replaced {
            put(range, value);
        }
        let kept = self.removed.iter().any(|removed| !removed);
        let mut tail = String::new();
        for (i, (key, value)) in self.added.iter().enumerate() {
            if kept || i > 0 {
                tail.push(',');
            }
            tail.push_str(key);
            tail.push(':');
            tail.push_str(value);
        }
        let mut at = 0;
        while at < values.len() {
            if !self.removed[at] {
                at += 1;
                continue;
            }
            let first = at;
            while at < values.len() && self.removed[at] {
                at += 1;
            }
            let end = values[at - 1].end;
            let last = at == values.len();
            let range = if first > 0 {
                values[first - 1].end..end
            } else if last {
                open..end
            } else {
                // Up to the comma behind it, so that the next member becomes the first.
                let comma = self.source[end..].find(',').map_or(end, |comma| end + comma + 1);
                open..comma
            };
            put(range, if last { std::mem::take(&mut tail) } else { String::new() });
        }
        if !tail.is_empty() {
            let end = values.last().map_or(open, |value| value.end);
            put(end..end, tail);
        }
    }

    /// The object with the changes made.
    pub fn apply(self) -> String {
        let source = self.source;
        let mut splice = Splice::new();
        self.write(&mut splice, 0);
        String::from_utf8(splice.apply(source.as_bytes()).to_vec()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn edited(source: &str, change: impl FnOnce(&mut Edit<'_>)) -> String {
        let mut edit = Edit::of(source).unwrap();
        change(&mut edit);
        edit.apply()
    }

    #[test]
    fn a_removed_member_takes_one_comma_with_it_wherever_it_stands() {
        let source = r#"{ "a" : 1 , "b":[2,{"x":","}], "c":"3" }"#;
        assert_eq!(edited(source, |e| _ = e.remove("a")), r#"{ "b":[2,{"x":","}], "c":"3" }"#);
        assert_eq!(edited(source, |e| _ = e.remove("b")), r#"{ "a" : 1, "c":"3" }"#);
        assert_eq!(edited(source, |e| _ = e.remove("c")), r#"{ "a" : 1 , "b":[2,{"x":","}] }"#);
        assert_eq!(edited(source, |e| _ = e.remove("a").remove("b").remove("c")), "{ }");
        assert_eq!(edited(source, |e| _ = e.remove("d")), source);
    }

    #[test]
    fn a_member_is_set_in_its_place_or_behind_the_last() {
        assert_eq!(edited("{ }", |e| _ = e.set("a", "1")), r#"{"a":1 }"#);
        assert_eq!(edited(r#"{"b": 1e0 }"#, |e| _ = e.set("a", "1").set("b", "2")), r#"{"b": 2,"a":1 }"#);
        assert_eq!(
            edited(r#"{"b":1}"#, |e| _ = e.remove("b").set("a", "1").set("c", "2")),
            r#"{"a":1,"c":2}"#
        );
        assert_eq!(edited(r#"{"a":1}"#, |e| _ = e.set_if_absent("a", "2")), r#"{"a":1}"#);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-e,:{}\"]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_edit_does_to_the_text_what_it_does_to_the_value(
            object in prop::collection::btree_map("[a-d\"\\\\,]{0,2}", value(), 0..6),
            removed in prop::collection::vec("[a-d]", 0..4),
            set in prop::collection::btree_map("[a-d]", value(), 0..4),
            pretty in any::<bool>(),
        ) {
            let mut expected: serde_json::Map<String, Value> = object.into_iter().collect();
            let source = Value::from(expected.clone());
            let source =
                if pretty { serde_json::to_string_pretty(&source).unwrap() } else { source.to_string() };
            let mut edit = Edit::of(&source).unwrap();
            for key in removed.iter().filter(|key| !set.contains_key(*key)) {
                edit.remove(key);
                expected.remove(key);
            }
            for (key, value) in &set {
                edit.set(key, value.to_string());
                expected.insert(key.clone(), value.clone());
            }
            let found: Value = serde_json::from_str(&edit.apply()).unwrap();
            prop_assert_eq!(found, Value::from(expected));
        }
    }
}

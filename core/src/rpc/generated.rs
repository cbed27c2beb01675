//! JSON as text that tests generate: odd white space, oddly written numbers and strings, keys in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::envelope::quote;

/// Any JSON.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        "-?[1-9][0-9]{0,40}(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
        Just("-0.0e-0".to_owned()),
        "[ -~äß\u{1F600}\u{2028}]{0,12}".prop_map(|value| quote(&value)),
        Just(r#""\u0041\/\ud83d\ude00\u0000\b""#.to_owned()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,"))),
            members("[a-zA-Z$@.\\-/_ ]{1,8}", inner, 4).prop_map(|members| object(&members)),
        ]
    })
}

/// Members of an object: keys that fit `keys`, none twice, and raw values.
pub(crate) fn members(
    keys: &'static str,
    values: impl Strategy<Value = String>,
    most: usize,
) -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(keys, values, 0..=most)
}

/// The object of these members, backwards: a map that sorts its keys would not be noticed otherwise. Keys that begin with `v`
/// are written with an escape.
pub(crate) fn object(members: &BTreeMap<String, String>) -> String {
    let key = |key: &str| match key.strip_prefix('v') {
        Some(rest) => format!("\"\\u0076{}", &quote(rest)[1..]),
        None => quote(key),
    };
    let members: Vec<_> =
        members.iter().rev().map(|(name, value)| format!("{} : {value}", key(name))).collect();
    format!("{{ {} }}", members.join(", "))
}

//! Values as people write them: a number where a text belongs, `NAME=value` where a member belongs.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A text, or a number or boolean that stands for its own spelling.
pub(super) struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spelling;
        impl Visitor<'_> for Spelling {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
                Ok(Text(format!("{value:?}")))
            }

            fn visit_str<E>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Text, E> {
                Ok(Text(value))
            }
        }
        deserializer.deserialize_any(Spelling)
    }
}

/// A list of texts. `None` for `null`.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Words;
    impl<'de> Visitor<'de> for Words {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(Text(text)) = list.next_element()? {
                all.push(text);
            }
            Ok(Some(all))
        }
    }
    deserializer.deserialize_any(Words)
}

/// One entry of a list of variables or headers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Pair {
    Spelled(String),
    Member {
        #[serde(alias = "key")]
        name: String,
        value: Option<Text>,
    },
}

/// An object with texts as members, or a list of `NAME=value` or `{name, value}`. A member that is `null` is left out; `None` for `null`.
pub(super) fn pairs<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Option<BTreeMap<String, String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, Option<Text>>()? {
                all.extend(value.map(|Text(value)| (name, value)));
            }
            Ok(Some(all))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some(pair) = list.next_element()? {
                match pair {
                    Pair::Member { name, value } => all.extend(value.map(|Text(value)| (name, value))),
                    Pair::Spelled(text) => {
                        let (name, value) = text
                            .split_once('=')
                            .ok_or_else(|| de::Error::custom("an entry of the list is not `NAME=value`"))?;
                        all.insert(name.to_owned(), value.to_owned());
                    }
                }
            }
            Ok(Some(all))
        }
    }
    deserializer.deserialize_any(Pairs)
}

/// Yes or no, also as a text or as a number. `None` for `null`.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let Some(Text(text)) = Option::deserialize(deserializer)? else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(Some(true)),
        "false" | "no" | "off" | "0" => Ok(Some(false)),
        _ => Err(de::Error::custom("expected `true` or `false`")),
    }
}

/// A program, or a list of a program and its arguments. `None` for `null`.
pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Command>, D::Error> {
    Option::deserialize(deserializer)
}

/// A program as it is written.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
pub(super) enum Command {
    Text(String),
    List(Vec<Text>),
}

impl Command {
    /// The program, and the arguments that are written together with it.
    pub(super) fn apart(self) -> (Option<String>, Vec<String>) {
        let words = match self {
            Self::List(words) => words.into_iter().map(|Text(word)| word).collect(),
            Self::Text(text) => words_of(&text).unwrap_or_else(|| vec![text]),
        };
        let mut words = words.into_iter();
        (words.next(), words.collect())
    }
}

/// The words of a command line, if `text` is one and not the path of a program with blanks in it, such as `/opt/My Server/run`: it
/// begins with a bare name, or an option or a whole path follows.
fn words_of(text: &str) -> Option<Vec<String>> {
    let (first, rest) = text.trim().split_once(char::is_whitespace)?;
    let bare = !first.contains(['/', '\\']);
    if !bare && !rest.trim_start().starts_with(['-', '/', '@', '"', '\'', '.']) {
        return None;
    }
    shell_words::split(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_taken_apart_and_a_path_with_blanks_is_not() {
        for (text, words) in [
            ("npx", None),
            ("npx -y 'a b'", Some(vec!["npx", "-y", "a b"])),
            ("/usr/bin/node /srv/app.js --x", Some(vec!["/usr/bin/node", "/srv/app.js", "--x"])),
            ("/opt/My Server/run", None),
            (r"C:\Program Files\node\npx.cmd", None),
            ("npx 'open", None),
        ] {
            let words = words.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(words_of(text), words, "{text}");
        }
    }
}

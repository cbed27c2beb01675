//! The text of a file as one value: JSON, JSON with comments, JSON5, TOML or YAML, within limits that hold for all of them.

use std::fmt;
use std::rc::Rc;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// Levels of objects and lists in each other, at most.
pub(super) const MAX_DEPTH: usize = 64;
/// Values in a file at most, also after its aliases were replaced.
const MAX_VALUES: usize = 200_000;
/// Bytes of text in a file at most, also after its aliases were replaced.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Members that stand twice, at most.
const MAX_TWICE: usize = 1_000;

/// The path of a member within its file.
pub(super) type Path = Vec<Rc<str>>;

/// The contents of a file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Value,
    /// The members that stand twice in their object. The last value counts, as everywhere with JSON, but which one is meant?
    pub(super) twice: Vec<Path>,
}

/// The values and bytes that a file may still have.
#[derive(Debug)]
pub(super) struct Budget {
    values: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { values: MAX_VALUES, bytes: MAX_BYTES }
    }
}

impl Budget {
    pub(super) fn take(&mut self, values: usize, bytes: usize) -> Result<(), String> {
        let left = (self.values.checked_sub(values), self.bytes.checked_sub(bytes));
        let (Some(values), Some(bytes)) = left else {
            return Err(format!(
                "the file has more than {MAX_VALUES} values, or more than {MAX_BYTES} bytes of text, after its aliases are \
                 replaced; divide it"
            ));
        };
        (self.values, self.bytes) = (values, bytes);
        Ok(())
    }
}

/// The error of a value that lies too deep.
pub(super) fn too_deep() -> String {
    format!(
        "the file has more than {MAX_DEPTH} levels of objects and lists in each other; no file of servers does"
    )
}

/// Reads `text` in the notation that it looks like.
pub(super) fn read(text: &str) -> Result<Document, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err("the file is empty; expected JSON, YAML or TOML with servers".into());
    }
    if looks_like_json(text) {
        return json(text);
    }
    if let Some(root) = toml(text) {
        return Ok(Document { root, twice: Vec::new() });
    }
    yaml(text)
}

/// Whether the first thing that is no blank opens an object, a list of them, or a comment of JSON5.
fn looks_like_json(text: &str) -> bool {
    let text = text.trim_start();
    let list = text.strip_prefix('[').map(str::trim_start);
    let list = list.is_some_and(|rest| rest.starts_with(['{', ']', '/']) || rest.is_empty());
    list || text.starts_with(['{', '/'])
}

/// The tables of a file that is TOML and names servers. A file that is no TOML is probably YAML, whose error says more.
fn toml(text: &str) -> Option<Value> {
    // The parser's own limit of depth is 80.
    text.contains("mcp_servers").then(|| toml::from_str(text).ok()).flatten()
}

#[cfg(feature = "import")]
fn json(text: &str) -> Result<Document, String> {
    // Its words tell the place and never a value; what has no code of its own is about a limit.
    json5::from_str(text).map_err(|error| match error.code() {
        Some(_) => format!("the file is neither JSON nor JSON with comments: {error}"),
        None => error.to_string(),
    })
}

#[cfg(not(feature = "import"))]
fn json(text: &str) -> Result<Document, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("the file is not JSON, and this build reads no other notation (feature `import`): {error}")
    })
}

#[cfg(feature = "import")]
fn yaml(text: &str) -> Result<Document, String> {
    let root = super::yaml::read(text)?;
    Ok(Document { root, twice: Vec::new() })
}

#[cfg(not(feature = "import"))]
fn yaml(_: &str) -> Result<Document, String> {
    Err("the file is not JSON, and this build reads no other notation; build with the feature `import`"
        .into())
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut state = State::default();
        let root = Seed(&mut state).deserialize(deserializer)?;
        Ok(Self { root, twice: state.twice })
    }
}

#[derive(Default)]
struct State {
    budget: Budget,
    path: Path,
    twice: Vec<Path>,
}

/// Reads one value. This function recurses instead of the parser, with the parser's limit of depth.
struct Seed<'a>(&'a mut State);

impl Seed<'_> {
    fn counted<E: de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.0.budget.take(1, bytes).map_err(E::custom)
    }

    fn deeper<E: de::Error>(&mut self, step: Rc<str>) -> Result<(), E> {
        if self.0.path.len() >= MAX_DEPTH {
            return Err(E::custom(too_deep()));
        }
        self.0.path.push(step);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(mut self) -> Result<Value, E> {
        self.counted(0).map(|()| Value::Null)
    }

    fn visit_bool<E: de::Error>(mut self, value: bool) -> Result<Value, E> {
        self.counted(0).map(|()| value.into())
    }

    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<Value, E> {
        self.counted(0).map(|()| value.into())
    }

    fn visit_u64<E: de::Error>(mut self, value: u64) -> Result<Value, E> {
        self.counted(0).map(|()| value.into())
    }

    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<Value, E> {
        self.counted(0).map(|()| Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(mut self, value: &str) -> Result<Value, E> {
        self.counted(value.len()).map(|()| value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Value, A::Error> {
        self.counted(0)?;
        self.deeper("[]".into())?;
        let mut all = Vec::new();
        while let Some(value) = list.next_element_seed(Seed(self.0))? {
            all.push(value);
        }
        self.0.path.pop();
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        self.counted(0)?;
        let mut all = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.counted(key.len())?;
            self.deeper(key.as_str().into())?;
            let value = map.next_value_seed(Seed(self.0))?;
            if all.insert(key, value).is_some() {
                self.0.twice.push(self.0.path.clone());
                if self.0.twice.len() > MAX_TWICE {
                    return Err(de::Error::custom(format!(
                        "more than {MAX_TWICE} members stand twice in their object"
                    )));
                }
            }
            self.0.path.pop();
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
#[cfg(feature = "import")]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        read(text).unwrap().root
    }

    #[test]
    fn comments_trailing_commas_quotes_and_a_byte_order_mark_are_read() {
        let text =
            "\u{feff}// a\n{ /* b */ 'a': [1, 2.5, -3,], b: true, // c\n \"d\": null, e: 'x\\u00e4', }\n";
        assert_eq!(value(text), json!({ "a": [1, 2.5, -3], "b": true, "d": null, "e": "xä" }));
        assert_eq!(
            value("[mcp_servers.a]\ncommand = 'x'\n"),
            json!({ "mcp_servers": { "a": { "command": "x" } } })
        );
        assert_eq!(value("a: 1\n"), json!({ "a": 1 }));
    }

    #[test]
    fn members_that_stand_twice_are_named() {
        let document = read(r#"{"a": {"b": 1, "c": [{"d": 1, "d": 2}], "b": 2}}"#).unwrap();
        let paths: Vec<String> = document.twice.iter().map(|path| path.join("/")).collect();
        assert_eq!(paths, ["a/c/[]/d", "a/b"]);
    }

    /// X-31: a hostile file is refused in bounded time and memory, and the refusal says why.
    #[test]
    fn depth_size_and_number_of_values_are_bounded() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{a:[", "]}")] {
            let text = format!("{{\"x\":{}1{}}}", open.repeat(300_000), close.repeat(300_000));
            assert!(read(&text).unwrap_err().contains("64 levels"), "{open}");
            let text = format!("{{\"x\":{}", open.repeat(300_000));
            assert!(read(&text).unwrap_err().contains("64 levels"), "{open}");
        }
        let many = format!("[{{}}{}]", ",0".repeat(MAX_VALUES));
        assert!(read(&many).unwrap_err().contains("200000 values"));
        let twice = format!("{{{}}}", "\"a\":0,".repeat(MAX_TWICE + 2));
        assert!(read(&twice).unwrap_err().contains("stand twice"));
        for text in ["", " ", "{", "{\"a\": }", "/* x", "{'a': 'secret"] {
            let error = read(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}

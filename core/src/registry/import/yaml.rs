//! YAML, as far as files of servers use it: one document, plain data, aliases within the limits of every file.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use super::document::{Budget, MAX_DEPTH, too_deep};

/// The value of an anchor, with its cost.
struct Anchored {
    value: Value,
    values: usize,
    bytes: usize,
    depth: usize,
}

/// A list or an object that has begun.
struct Open {
    anchor: usize,
    value: Value,
    /// The key that waits for its value.
    key: Option<String>,
}

/// Builds a value of events, without recursion.
#[derive(Default)]
struct Builder {
    budget: Budget,
    anchors: HashMap<usize, Anchored>,
    open: Vec<Open>,
    root: Option<Value>,
}

/// The one document of `text`.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut builder = Builder::default();
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            // Its own words can repeat a part of the text.
            let mark = error.marker();
            format!("the file is not YAML: see line {} column {}", mark.line(), mark.col() + 1)
        })?;
        let at = |problem: String| format!("{problem} (line {})", span.start.line());
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    return Err(at("the file has several YAML documents; keep one".into()));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let texts = style != ScalarStyle::Plain || tag.is_some_and(|tag| is_text(&tag.to_string()));
                builder
                    .value(if texts { text.into_owned().into() } else { plain(&text) }, anchor)
                    .map_err(at)?;
            }
            Event::Alias(anchor) => builder.alias(anchor).map_err(at)?,
            Event::SequenceStart(_, anchor, _) => {
                builder.begin(Value::Array(Vec::new()), anchor).map_err(at)?;
            }
            Event::MappingStart(_, anchor, _) => {
                builder.begin(Value::Object(Map::new()), anchor).map_err(at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => builder.end().map_err(at)?,
            _ => {}
        }
    }
    Ok(builder.root.unwrap_or_default())
}

fn is_text(tag: &str) -> bool {
    tag.ends_with(":str") || tag == "!!str"
}

impl Builder {
    fn begin(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.budget.take(1, 0)?;
        self.open.push(Open { anchor, value, key: None });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(Open { anchor, mut value, .. }) = self.open.pop() else { return Ok(()) };
        if let Value::Object(members) = &mut value {
            merge(members);
        }
        self.keep(anchor, &value);
        self.put(value)
    }

    fn value(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        self.budget.take(1, value.as_str().map_or(0, str::len))?;
        self.keep(anchor, &value);
        self.put(value)
    }

    fn alias(&mut self, anchor: usize) -> Result<(), String> {
        let meant = self.anchors.get(&anchor).ok_or("an alias stands within what it stands for")?;
        if self.open.len() + meant.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        self.budget.take(meant.values, meant.bytes)?;
        let value = meant.value.clone();
        self.put(value)
    }

    fn keep(&mut self, anchor: usize, value: &Value) {
        if anchor != 0 {
            let (values, bytes, depth) = cost(value);
            self.anchors.insert(anchor, Anchored { value: value.clone(), values, bytes, depth });
        }
    }

    /// Puts a whole value where it belongs.
    fn put(&mut self, value: Value) -> Result<(), String> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        match (&mut open.value, open.key.take()) {
            (Value::Array(all), _) => all.push(value),
            (Value::Object(all), Some(key)) => {
                if all.contains_key(&key) {
                    let shown: String = key.chars().take(80).collect();
                    return Err(format!("{shown:?} stands twice in one mapping; keep one"));
                }
                all.insert(key, value);
            }
            (Value::Object(_), None) => match value {
                Value::String(key) => open.key = Some(key),
                Value::Array(_) | Value::Object(_) => {
                    return Err("a key of a mapping is a list or a mapping; write a text".into());
                }
                other => open.key = Some(other.to_string()),
            },
            _ => {}
        }
        Ok(())
    }
}

/// Puts the members of `<<` beside the others, which come first.
fn merge(members: &mut Map<String, Value>) {
    let merged = match members.remove("<<") {
        Some(Value::Object(one)) => vec![Value::Object(one)],
        Some(Value::Array(several)) => several,
        Some(other) => return drop(members.insert("<<".into(), other)),
        None => return,
    };
    for one in merged {
        let Value::Object(one) = one else { continue };
        for (key, value) in one {
            members.entry(key).or_insert(value);
        }
    }
}

/// The values, bytes and levels in `value`, whose depth is bounded already.
fn cost(value: &Value) -> (usize, usize, usize) {
    let sum = |(values, bytes, depth), (more, longer, deeper)| {
        (values + more, bytes + longer, usize::max(depth, deeper + 1))
    };
    match value {
        Value::String(text) => (1, text.len(), 0),
        Value::Array(all) => all.iter().map(cost).fold((1, 0, 1), sum),
        Value::Object(all) => {
            let members = all.iter().map(|(key, value)| {
                let (values, bytes, depth) = cost(value);
                (values, bytes + key.len(), depth)
            });
            members.fold((1, 0, 1), sum)
        }
        _ => (1, 0, 0),
    }
}

/// A plain scalar by YAML 1.2's core schema. A number that is not written as it would be printed, such as `0123` or `1.10`, stays a
/// text: servers get numbers as texts, and the leading zero of a secret is a part of it.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    let whole = text.parse::<i64>().ok().map(Number::from);
    let number = whole.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
    match number {
        Some(number) if number.to_string() == text => Value::Number(number),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_data_anchors_and_merges_are_read() {
        let text = "# c\nbase: &b {env: {A: '1'}, cwd: /x}\nserver:\n  <<: *b\n  cwd: /y\n  args: [a, 1, 0123, 1.10, true, 'no', !!str 7]\n  on: yes\n  text: |\n    two\n    lines\n";
        let expected = json!({ "base": {"env": {"A": "1"}, "cwd": "/x"}, "server": {"env": {"A": "1"}, "cwd": "/y",
            "args": ["a", 1, "0123", "1.10", true, "no", "7"], "on": "yes", "text": "two\nlines\n"} });
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("# nothing\n").unwrap(), Value::Null);
    }

    /// aliases cost what they stand for, so that a bomb is refused before it is built.
    #[test]
    fn bombs_and_knots_are_refused() {
        let level = |n: i32| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
        let laughs =
            format!("a0: &a0 [{}]\n{}", ["lol"; 10].join(", "), (1..12).map(level).collect::<String>());
        assert!(read(&laughs).unwrap_err().contains("values"), "a billion laughs");
        let step = |n: i32| format!("a{n}: &a{n} [*a{}]\n", n - 1);
        let deep = format!("a0: &a0 [x]\n{}", (1..5_000).map(step).collect::<String>());
        assert!(read(&deep).unwrap_err().contains("64 levels"), "a ladder of aliases");
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1_000));
        assert!(read(&long).unwrap_err().contains("bytes of text"), "a long text, repeated");
        for (text, why) in [
            ("a: &a [*a]\n", "within what it stands for"),
            ("a: *b\n", "not YAML"),
            ("a: 1\na: 2\n", "stands twice"),
            ("--- {a: 1}\n--- {b: 2}\n", "several YAML documents"),
            ("? [a]\n: 1\n", "a key of a mapping"),
            ("a: [\n", "not YAML"),
            ("\tsecret: 'x", "not YAML"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("secret"), "{text:?}: {error}");
        }
        for open in ["[", "{a: ", "- "] {
            assert!(read(&open.repeat(100_000)).is_err(), "{open}");
        }
    }
}

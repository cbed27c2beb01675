//! One behaviour over all faces: the cases of `tests/vectors/api`, here over the facade that the bindings stand on.
//!
//! A case opens a gateway, registers its `servers` (all at one fake server; one that is `dead` at a port where nobody listens), and goes
//! through its steps. `gives` is a part of the answer: members that it names, lists item by item, `"*"` for anything. `fails` has the
//! error's kind and a part of its context.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use mcp_registry_gateway::facade::{Facade, error_document};
use mcp_registry_gateway_tests::fake::Fake;
use serde_json::{Value, json};

/// Where nobody listens.
pub(super) const DEAD: &str = "http://127.0.0.1:9/mcp";

fn perform(facade: &Facade, verb: &str, input: &Value) -> Result<Value, Value> {
    let (done, outcome) = mpsc::channel();
    let _work = facade.run(facade.perform(verb, input.to_string().into()), move |outcome| {
        drop(done.send(outcome));
    });
    let read = |bytes: &Bytes| serde_json::from_slice(bytes).expect("a document");
    let outcome = outcome.recv_timeout(Duration::from_secs(60)).expect("an outcome");
    outcome.map(|answer| read(&answer)).map_err(|error| read(&error_document(&error)))
}

/// What of `expected` the answer does not have.
pub(super) fn missing(at: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::String(any), _) if any == "*" => None,
        (Value::Object(expected), Value::Object(found)) => expected.iter().find_map(|(key, value)| {
            missing(&format!("{at}/{key}"), value, found.get(key).unwrap_or(&Value::Null))
        }),
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            let pairs = expected.iter().zip(found).enumerate();
            pairs
                .into_iter()
                .find_map(|(i, (expected, found))| missing(&format!("{at}/{i}"), expected, found))
        }
        (expected, found) if expected == found => None,
        _ => Some(format!("{at}: expected {expected}, found {found}")),
    }
}

/// Notes for `tests/vectors/table` what became of the cases over `face`.
pub(super) fn note(face: &str, lines: &[String]) {
    if let Some(folder) = std::env::var_os("VECTORS_TABLE") {
        std::fs::write(Path::new(&folder).join(face), lines.concat()).expect("the table's folder");
    }
}

fn run(case: &Value, fake: &str) -> Result<(), String> {
    let open = case.get("open").unwrap_or(&Value::Null);
    let document = if open.is_null() { String::new() } else { open.to_string() };
    let facade = Facade::open(document.as_bytes()).map_err(|error| error.to_string())?;
    for (name, server) in case["servers"].as_object().into_iter().flatten() {
        let dead = server["dead"] == true;
        let registration = json!({
            "name": name, "endpoint_url": if dead { DEAD } else { fake }, "service": server.get("service"),
            "auto_discover": false, "health_check": { "enabled": false },
        });
        perform(&facade, "register", &registration).map_err(|error| error.to_string())?;
        if !dead {
            perform(&facade, "discover", &json!({ "server": name })).map_err(|error| error.to_string())?;
        }
    }
    for (number, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
        let verb = step["verb"].as_str().expect("a verb");
        let outcome = perform(&facade, verb, &step["input"]);
        let wrong = match (outcome, step.get("gives"), step.get("fails")) {
            (Ok(answer), Some(expected), None) => missing("", expected, &answer),
            (Err(error), None, Some(expected)) => missing("", expected, &error),
            (outcome, ..) => Some(format!("another outcome: {outcome:?}")),
        };
        if let Some(wrong) = wrong {
            return Err(format!("step {number}, {verb}: {wrong}"));
        }
    }
    facade.end(Some(Duration::ZERO)).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_one_behaviour_holds_over_the_facade() {
    let fake = Fake::start("fake").await;
    let url = fake.url();
    let outcome = tokio::task::spawn_blocking(move || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/api");
        let (mut cases, mut wrong, mut noted) = (0, Vec::new(), Vec::new());
        for file in std::fs::read_dir(folder).expect("the vectors") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("a file of vectors");
            let group: Value = serde_json::from_str(&text).expect("vectors are JSON");
            for case in group["cases"].as_array().expect("cases") {
                cases += 1;
                match run(case, &url) {
                    Ok(()) => noted.push(format!("{}\tok\n", case["name"].as_str().expect("a name"))),
                    Err(why) => wrong.push(format!("{}: {why}", case["name"])),
                }
            }
        }
        note("rust", &noted);
        (cases, wrong)
    });
    let (cases, wrong) = outcome.await.expect("the cases");
    assert!(
        wrong.is_empty() && cases >= 60,
        "{} of {cases} cases are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

//! The index over a register, and the asking of servers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Index, ListSource, fetch, parse_list};
use crate::clock::ManualClock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{AuditEntry, Capability, CapabilityKind, Listing, Registration, ServerId, TenantId};
use crate::registry::{Actor, Filter, Registry};
use crate::store::{MemoryStore, Store};

const TOOL: CapabilityKind = CapabilityKind::Tool;

fn tenant() -> TenantId {
    TenantId::new("t").unwrap()
}

fn actor() -> Actor {
    Actor { subject: "local".into(), correlation_id: None }
}

async fn registry() -> Registry {
    Registry::open(Arc::new(MemoryStore::new()), ManualClock::shared()).await.unwrap()
}

/// Registers a server; `more` is merged into its registration.
async fn add(registry: &Registry, name: &str, more: Value) -> ServerId {
    let mut value = json!({"name": name, "endpoint_url": "http://h/mcp"});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let registration: Registration = serde_json::from_str(&value.to_string()).unwrap();
    registry.register(&tenant(), &actor(), registration).await.unwrap().id
}

fn tools(names: &[&str]) -> Value {
    json!({"tools": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()})
}

fn sorted(mut ids: Vec<ServerId>) -> Vec<ServerId> {
    ids.sort_unstable();
    ids
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn servers_are_found_by_what_they_offer_by_service_and_by_tag() {
    let registry = registry().await;
    let a = add(&registry, "a", json!({"capabilities": tools(&["x", "y"]), "service": "s", "tags": ["red"]}))
        .await;
    let b = add(
        &registry,
        "b",
        json!({"capabilities": tools(&["y", "z"]), "service": "s", "tags": ["red", "dear"]}),
    )
    .await;
    let index = Index::build(&registry.state());
    let t = tenant();
    assert_eq!(index.offering(&t, TOOL, "x"), [a]);
    assert_eq!(index.offering(&t, TOOL, "y"), sorted(vec![a, b]));
    assert_eq!(index.offering(&t, CapabilityKind::Prompt, "y"), []);
    assert_eq!(index.offering(&TenantId::new("other").unwrap(), TOOL, "y"), []);
    assert_eq!(index.service(&t, "s"), sorted(vec![a, b]));
    assert_eq!(index.tagged(&t, "dear"), [b]);
    for tags in [&["red"] as &[&str], &["red", "dear"], &["dear", "none"], &[]] {
        let filter = Filter { tags: owned(tags), limit: 1, page: 1, ..Filter::default() };
        let (page, expected) =
            (index.list(&t, &filter, |_| true).unwrap(), index.state().list(&t, &filter).unwrap());
        assert_eq!((page.total, page.servers), (expected.total, expected.servers), "{tags:?}");
    }
    let both = index.find_all(&t, TOOL, &owned(&["z", "y"]));
    assert_eq!((both.len(), both[0].server.id), (1, b));
    assert_eq!(both[0].matches.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["z", "y"]);
    let names: Vec<_> =
        index.find_all(&t, TOOL, &owned(&["y"])).into_iter().map(|f| f.server.name.clone()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(index.find_all(&t, TOOL, &owned(&["x", "z"])).is_empty());
    assert!(index.find_all(&t, TOOL, &[]).is_empty());
}

#[tokio::test]
async fn a_resource_is_found_by_its_uri_before_any_template() {
    let registry = registry().await;
    let list = |uris: &[&str], templates: &[&str]| {
        json!({"capabilities": {
            "resources": uris.iter().map(|uri| json!({"uri": uri, "name": "r"})).collect::<Vec<_>>(),
            "resourceTemplates": templates.iter().map(|t| json!({"uriTemplate": t, "name": "t"})).collect::<Vec<_>>(),
        }})
    };
    let exact = add(&registry, "exact", list(&["db://users/1"], &[])).await;
    let rows = add(&registry, "rows", list(&[], &["db://{table}/{row}", "db://users/{row}"])).await;
    let any = add(&registry, "any", list(&[], &["db://{+path}", "{+all}", "broken://{"])).await;
    let mut index = Index::build(&registry.state());
    let t = tenant();
    assert_eq!(*index.resource(&t, "db://users/1"), [exact]);
    assert_eq!(*index.resource(&t, "db://users/2"), sorted(vec![rows, any]));
    assert_eq!(*index.resource(&t, "db://a/b/c"), [any]);
    assert_eq!(*index.resource(&t, "other:x"), [any]);
    let found = index.find_all(&t, CapabilityKind::Resource, &owned(&["db://users/2"]));
    let matches: Vec<_> = found.iter().map(|found| found.matches[0].name.as_str()).collect();
    assert_eq!(matches, ["db://{+path}", "db://users/{row}"]);
    registry.remove(&t, &actor(), any, None).await.unwrap();
    index = index.next(&registry.state());
    assert_eq!(*index.resource(&t, "db://users/2"), [rows]);
    assert!(index.resource(&t, "other:x").is_empty());
}

/// Everything that an index answers for these names, to compare two of them.
fn answers(index: &Index) -> BTreeMap<String, Vec<ServerId>> {
    let t = tenant();
    let mut all = BTreeMap::new();
    for n in 0..12 {
        all.insert(format!("tool {n}"), index.offering(&t, TOOL, &format!("t{n}")).to_vec());
        all.insert(format!("service {n}"), index.service(&t, &format!("s{n}")).to_vec());
        all.insert(format!("tag {n}"), index.tagged(&t, &format!("g{n}")).to_vec());
        all.insert(format!("uri {n}"), index.resource(&t, &format!("u{n}://x/y")).into_owned());
    }
    all
}

#[tokio::test]
async fn an_index_carried_along_equals_one_built_anew() {
    let registry = registry().await;
    let random = crate::random::Random::seeded(7);
    let t = tenant();
    let offer = |random: &crate::random::Random| {
        let pick = |prefix: &str, many: usize| -> Vec<String> {
            (0..random.below(many)).map(|_| format!("{prefix}{}", random.below(12))).collect()
        };
        let mut names = pick("t", 5);
        names.sort();
        names.dedup();
        let templates: std::collections::BTreeSet<_> = pick("u", 3).into_iter().collect();
        json!({
            "service": format!("s{}", random.below(12)),
            "tags": pick("g", 4),
            "capabilities": {
                "tools": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
                "resourceTemplates":
                    templates.iter().map(|u| json!({"uriTemplate": format!("{u}://{{+x}}")})).collect::<Vec<_>>(),
            },
        })
    };
    let mut living = Vec::new();
    let mut index = Index::build(&registry.state());
    for step in 0..200 {
        match random.below(4) {
            0 if !living.is_empty() => {
                let id = living.swap_remove(random.below(living.len()));
                registry.remove(&t, &actor(), id, None).await.unwrap();
            }
            1 if !living.is_empty() => {
                let patch = serde_json::from_str(&offer(&random).to_string()).unwrap();
                registry.update(&t, &actor(), living[random.below(living.len())], patch, None).await.unwrap();
            }
            2 if !living.is_empty() => {
                let asked =
                    Listing { items: Vec::new(), initialize: Some(step.to_string()), ..Listing::default() };
                registry.set_listing(living[random.below(living.len())], asked).await.unwrap();
            }
            _ => living.push(add(&registry, &format!("n{step}"), offer(&random)).await),
        }
        // Sometimes several changes are taken up together.
        if random.below(3) > 0 {
            index = index.next(&registry.state());
            assert_eq!(answers(&index), answers(&Index::build(&registry.state())), "step {step}");
        }
    }
    for id in living {
        registry.remove(&t, &actor(), id, None).await.unwrap();
    }
    index = index.next(&registry.state());
    assert!(answers(&index).values().all(Vec::is_empty));
}

async fn shop() -> Registry {
    let registry = registry().await;
    let issue = json!({"tools": [
        {"name": "create_issue", "description": "Open a new issue in a repository"},
        {"name": "listIssues", "description": "All issues"},
        {"name": "merge", "description": "Merge a pull request that closes an issue"},
    ]});
    add(&registry, "github", json!({"description": "Code hosting", "tags": ["git"], "capabilities": issue}))
        .await;
    let weather = json!({"tools": [{"name": "forecast", "description": "Weather of the next days"}]});
    for replica in ["weather.b", "weather.a"] {
        add(&registry, replica, json!({"service": "weather", "capabilities": weather.clone()})).await;
    }
    registry
}

fn names(index: &Index, query: &str) -> Vec<String> {
    index.search(&tenant(), query, 10).into_iter().map(|hit| hit.name).collect()
}

#[tokio::test]
async fn search_ranks_a_word_in_a_name_above_one_in_a_description() {
    let registry = shop().await;
    let index = Index::build(&registry.state());
    assert_eq!(names(&index, "issue"), ["create_issue", "listIssues", "merge"]);
    assert_eq!(names(&index, "ISSUES")[0], "listIssues");
    assert_eq!(names(&index, "git")[0], "github");
    assert_eq!(names(&index, "merge pull")[0], "merge");
    assert_eq!(names(&index, "i"), [""; 0], "a single letter is no beginning of a word");
    assert_eq!(names(&index, "zeppelin"), [""; 0]);
    assert_eq!(names(&index, ""), [""; 0]);
    assert_eq!(index.search(&tenant(), "issue", 1).len(), 1);
    assert!(index.search(&TenantId::new("other").unwrap(), "issue", 9).is_empty());
}

#[tokio::test]
async fn replicas_appear_once_and_the_order_is_always_the_same() {
    let registry = shop().await;
    let index = Index::build(&registry.state());
    let hits = index.search(&tenant(), "forecast weather", 10);
    assert_eq!(
        (hits[0].name.as_str(), hits[0].service.as_str(), hits[0].kind),
        ("forecast", "weather", "tool")
    );
    assert_eq!(hits.iter().filter(|hit| hit.name == "forecast").count(), 1);
    let first = registry.find(&tenant(), "weather.a").unwrap();
    assert_eq!(hits[0].server_id, first.id);
    assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score && pair[1].score > 0.0));
    for _ in 0..5 {
        assert_eq!(Index::build(&registry.state()).search(&tenant(), "forecast weather", 10), hits);
    }
}

/// A document that is not near the best is never noted: that must not change which are the best.
#[tokio::test]
async fn the_best_few_are_the_first_of_all() {
    let registry = registry().await;
    for n in 0..150 {
        let tools: Vec<_> = (0..20)
            .map(|tool| json!({ "name": format!("forecast_{tool}"), "description": "rain ".repeat((n + tool) % 5 + 1) }))
            .collect();
        let service = format!("weather-{}", n % 40);
        let name = format!("s{:03}", n * 37 % 150);
        add(&registry, &name, json!({ "service": service, "capabilities": { "tools": tools } })).await;
    }
    let index = Index::build(&registry.state());
    for query in ["rain", "forecast", "rain forecast 3"] {
        let all = index.search(&tenant(), query, usize::MAX);
        let says: std::collections::HashSet<_> =
            all.iter().map(|hit| (&hit.service, hit.kind, &hit.name)).collect();
        assert_eq!(says.len(), all.len(), "each once");
        assert!(all.len() > 400, "{}", all.len());
        for limit in [1, 7, 50, 200] {
            assert_eq!(index.search(&tenant(), query, limit), all[..limit], "{query} {limit}");
        }
    }
}

#[tokio::test]
async fn search_sees_a_change_in_the_next_index() {
    let registry = shop().await;
    let index = Index::build(&registry.state());
    assert_eq!(names(&index, "kanban"), [""; 0]);
    let id = registry.find(&tenant(), "github").unwrap().id;
    let patch = serde_json::from_str(r#"{"description": "Kanban boards"}"#).unwrap();
    registry.update(&tenant(), &actor(), id, patch, None).await.unwrap();
    assert_eq!(names(&index.next(&registry.state()), "kanban"), ["github"]);
    assert_eq!(names(&index, "kanban"), [""; 0], "the older index stays what it was");
}

#[tokio::test]
async fn ten_thousand_servers_with_twenty_tools_are_indexed_and_one_change_touches_one() {
    let store = MemoryStore::new();
    let entry = AuditEntry {
        at: jiff::Timestamp::UNIX_EPOCH,
        tenant_id: tenant(),
        actor: String::new(),
        action: String::new(),
        target: String::new(),
        outcome: String::new(),
        correlation_id: None,
        detail: json!({}),
    };
    let definition: Arc<serde_json::value::RawValue> =
        Arc::from(serde_json::from_str::<Box<_>>("{}").unwrap());
    for n in 0..10_000 {
        let server = crate::store::testing::server(&tenant(), &format!("s{n}"));
        let items = (0..20).map(|tool| {
            // Half of the names are everywhere, half are this server's own.
            let name = if tool < 10 { format!("common{tool}") } else { format!("own{n}_{tool}") };
            Capability { kind: TOOL, name, description: None, definition: definition.clone() }
        });
        let listing = Listing { items: items.collect(), initialize: None, ..Listing::default() };
        store.insert_server(&server, &listing, &entry).await.unwrap();
    }
    let registry = Registry::open(Arc::new(store), ManualClock::shared()).await.unwrap();
    let index = Index::build(&registry.state());
    let t = tenant();
    assert_eq!(index.offering(&t, TOOL, "common3").len(), 10_000);
    let own = index.offering(&t, TOOL, "own77_19").to_vec();
    assert_eq!(index.find_all(&t, TOOL, &owned(&["common3", "own77_11"])).len(), 1);
    for n in 0..20 {
        let asked = Listing { items: Vec::new(), initialize: Some(n.to_string()), ..Listing::default() };
        registry.set_listing(own[0], asked).await.unwrap();
    }
    let next = index.next(&registry.state());
    assert_eq!(next.offering(&t, TOOL, "common3").len(), 9_999);
    assert_eq!(next.offering(&t, TOOL, "own77_19"), []);
}

#[test]
fn a_page_gives_items_cursor_and_what_was_left_out() {
    let raw = r#"{"tools":[{"name":"a","inputSchema":{}},{"name":"b\u200bc","inputSchema":{}}],"nextCursor":"1","_meta":{}}"#;
    let page = parse_list(TOOL, raw).unwrap();
    assert_eq!((page.items.len(), page.excluded.len(), page.next_cursor.as_deref()), (1, 1, Some("\"1\"")));
    assert_eq!(parse_list(TOOL, r#"{"tools":[],"nextCursor":null}"#).unwrap().next_cursor, None);
    assert_eq!(
        parse_list(TOOL, r#"{"tools":[],"nextCursor":""}"#).unwrap().next_cursor.as_deref(),
        Some("\"\"")
    );
    assert_eq!(parse_list(TOOL, r#"{"tools":[],"nextCursor":7}"#).unwrap().next_cursor.as_deref(), Some("7"));
    for nothing in ["{}", r#"{"tools":null}"#, r#"{"tools":{},"nextCursor":false}"#] {
        let page = parse_list(TOOL, nothing).unwrap();
        assert_eq!((page.items.len(), page.next_cursor, page.excluded), (0, None, vec![]), "{nothing}");
    }
    let page = parse_list(TOOL, r#"{"tools":[],"nextCursor":["a"]}"#).unwrap();
    assert!(page.next_cursor.is_none() && page.excluded[0].is_list, "{page:?}");
    for bad in ["[]", r#"{"tools":1}"#, "x"] {
        assert_eq!(parse_list(TOOL, bad).unwrap_err().kind(), ErrorKind::BadUpstream, "{bad}");
    }
}

/// Answers by method and cursor, and records its requests.
#[derive(Default)]
struct Fake {
    answers: HashMap<(&'static str, Option<String>), Result<Value, ErrorKind>>,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    fn with(mut self, method: &'static str, cursor: Option<&str>, answer: Result<Value, ErrorKind>) -> Self {
        self.answers.insert((method, cursor.map(str::to_owned)), answer);
        self
    }
}

#[async_trait]
impl ListSource for Fake {
    async fn ask(&self, method: &str, params: Option<String>) -> Result<String> {
        self.asked.lock().unwrap().push(method.to_owned());
        let cursor = params.map(|params| {
            let params: Value = serde_json::from_str(&params).unwrap();
            params["cursor"].as_str().unwrap().to_owned()
        });
        let known = self.answers.iter().find(|((known, at), _)| *known == method && *at == cursor);
        match known {
            Some((_, Ok(answer))) => Ok(answer.to_string()),
            Some((_, Err(kind))) => Err(Error::new(*kind, "no")),
            None => panic!("asked {method} at {cursor:?}"),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "an answer is good or bad, and this one is good")]
fn page(names: &[&str], next: Option<&str>) -> Result<Value, ErrorKind> {
    let tools: Vec<_> = names.iter().map(|name| json!({"name": name, "inputSchema": {}})).collect();
    Ok(match next {
        Some(next) => json!({"tools": tools, "nextCursor": next}),
        None => json!({"tools": tools}),
    })
}

const TOOLS_ONLY: &str = r#"{"capabilities":{"tools":{"listChanged":true},"logging":{}}}"#;

#[tokio::test]
async fn all_pages_are_followed_and_only_what_is_declared_is_asked() {
    let fake = Fake::default().with("tools/list", None, page(&["a", "b"], Some("\"2"))).with(
        "tools/list",
        Some("\"2"),
        page(&["b", "c"], None),
    );
    let fetched = fetch(&fake, TOOLS_ONLY, &|_| {}).await.unwrap();
    let names: Vec<_> = fetched.listing.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(fetched.listing.initialize.as_deref(), Some(TOOLS_ONLY));
    assert_eq!((fetched.excluded.len(), fetched.excluded[0].name.as_str()), (1, "b"));
    assert_eq!(*fake.asked.lock().unwrap(), ["tools/list", "tools/list"]);
}

#[tokio::test]
async fn a_list_that_the_server_does_not_have_is_empty() {
    let fake = Fake::default().with("resources/list", None, Ok(json!({"resources": [{"uri": "x:y"}]}))).with(
        "resources/templates/list",
        None,
        Err(ErrorKind::MethodNotFound),
    );
    let fetched = fetch(&fake, r#"{"capabilities":{"resources":{}}}"#, &|_| {}).await.unwrap();
    assert_eq!(fetched.listing.items.len(), 1);
}

#[tokio::test]
async fn a_server_that_declares_no_list_is_asked_for_its_tools_and_no_object_is_needed_to_declare_one() {
    for nothing in [r#"{"protocolVersion":"x"}"#, r#"{"capabilities":{}}"#, r#"{"capabilities":[]}"#] {
        let fake = Fake::default().with("tools/list", None, page(&["a"], None));
        let fetched = fetch(&fake, nothing, &|_| {}).await.unwrap();
        assert_eq!(fetched.listing.items.len(), 1, "{nothing}");
        let fake = Fake::default().with("tools/list", None, Err(ErrorKind::MethodNotFound));
        let fetched = fetch(&fake, nothing, &|_| {}).await.unwrap();
        assert_eq!((fetched.listing.items.len(), fetched.failed.len()), (0, 0), "{nothing}");
        let fake = Fake::default().with("tools/list", None, Err(ErrorKind::BadUpstream));
        assert_eq!(fetch(&fake, nothing, &|_| {}).await.unwrap().failed.len(), 1, "{nothing}");
    }
    for value in ["[]", "null", "true", "{}", "7"] {
        let fake = Fake::default().with("prompts/list", None, Ok(json!({"prompts": [{"name": "p"}]})));
        let declared = format!(r#"{{"capabilities":{{"prompts":{value}}}}}"#);
        assert_eq!(fetch(&fake, &declared, &|_| {}).await.unwrap().listing.items.len(), 1, "{value}");
    }
}

#[tokio::test]
async fn a_list_that_fails_takes_no_other_along_and_keeps_its_earlier_items() {
    let all = r#"{"capabilities":{"tools":{},"prompts":{}}}"#;
    let fake = Fake::default().with("tools/list", None, page(&["a"], None)).with(
        "prompts/list",
        None,
        Err(ErrorKind::BadUpstream),
    );
    let heard = Mutex::new(Vec::new());
    let mut fetched =
        fetch(&fake, all, &|part| heard.lock().unwrap().push(part.pending.clone())).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), [vec![CapabilityKind::Prompt], vec![]]);
    let failed: Vec<_> = fetched.failed.iter().map(|(kind, error)| (*kind, error.kind())).collect();
    assert_eq!(failed, [(CapabilityKind::Prompt, ErrorKind::BadUpstream)]);
    let earlier = [r#"{"tools":[{"name":"gone"}]}"#, r#"{"prompts":[{"name":"p"}]}"#];
    let kinds = [TOOL, CapabilityKind::Prompt];
    let items = kinds.into_iter().zip(earlier).flat_map(|(kind, list)| parse_list(kind, list).unwrap().items);
    fetched.keep(&Listing { items: items.collect(), ..Listing::default() });
    let names: Vec<_> = fetched.listing.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["a", "p"]);
    let fake = Fake::default().with("tools/list", None, Err(ErrorKind::Timeout)).with(
        "prompts/list",
        None,
        Err(ErrorKind::BadUpstream),
    );
    assert_eq!(fetch(&fake, all, &|_| {}).await.unwrap_err().kind(), ErrorKind::Timeout, "nothing was heard");
}

#[tokio::test]
async fn a_list_that_fails_at_a_later_page_keeps_the_pages_before() {
    let fake = Fake::default().with("tools/list", None, page(&["a"], Some("2"))).with(
        "tools/list",
        Some("2"),
        Err(ErrorKind::Timeout),
    );
    let fetched = fetch(&fake, TOOLS_ONLY, &|_| {}).await.unwrap();
    let (_, error) = &fetched.failed[0];
    assert_eq!((fetched.listing.items.len(), error.kind()), (1, ErrorKind::Timeout));
    assert!(error.to_string().contains("tools/list"));
    assert_eq!(fetch(&fake, "[]", &|_| {}).await.unwrap_err().kind(), ErrorKind::BadUpstream);
}

#[tokio::test]
async fn a_cursor_that_comes_again_ends_the_list_and_is_reported() {
    let fake = Fake::default().with("tools/list", None, page(&["a"], Some(""))).with(
        "tools/list",
        Some(""),
        page(&["b"], Some("")),
    );
    let fetched = fetch(&fake, TOOLS_ONLY, &|_| {}).await.unwrap();
    assert_eq!(fetched.listing.items.len(), 2);
    assert!(fetched.excluded[0].reason.contains("second time"), "{:?}", fetched.excluded);
}

/// A server whose list never ends.
struct Endless {
    items: usize,
    pages: Mutex<usize>,
}

#[async_trait]
impl ListSource for Endless {
    async fn ask(&self, _method: &str, _params: Option<String>) -> Result<String> {
        let mut pages = self.pages.lock().unwrap();
        *pages += 1;
        let tools: Vec<_> =
            (0..self.items).map(|n| json!({"name": format!("t{pages}.{n}"), "inputSchema": {}})).collect();
        Ok(json!({"tools": tools, "nextCursor": pages.to_string()}).to_string())
    }
}

#[tokio::test]
async fn a_list_without_end_is_cut_at_the_limits_and_says_so() {
    for (items, expected, reason) in [(0, 0, "1000 pages"), (3000, 10_000, "10000 items")] {
        let endless = Endless { items, pages: Mutex::new(0) };
        let fetched = fetch(&endless, TOOLS_ONLY, &|_| {}).await.unwrap();
        assert_eq!(fetched.listing.items.len(), expected);
        assert!(fetched.excluded[0].reason.contains(reason), "{:?}", fetched.excluded);
    }
}

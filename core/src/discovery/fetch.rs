//! Asks a server for everything that it offers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::list::parse_list;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Capability, CapabilityKind, Freshness, Listing, ModernListing};
use crate::registry::items::{Excluded, MAX_ITEMS, Repaired};
use crate::rpc::{Members, Method};

/// Pages of one list at most.
pub const MAX_PAGES: usize = 1000;
/// Bytes of all definitions of one server at most.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A server that can be asked: a session, or its stand-in in tests.
#[async_trait]
pub trait ListSource: Send + Sync {
    /// Sends a request and returns the raw `result`. `params` is a raw JSON object.
    ///
    /// An answer with error -32601 is [`ErrorKind::MethodNotFound`].
    async fn ask(&self, method: &str, params: Option<String>) -> Result<String>;
}

/// The listing of a server, and the parts of its answers that were not used.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The listing.
    pub listing: Listing,
    /// The items that were left out, for the log and the operator.
    pub excluded: Vec<Excluded>,
    /// The items that were repaired.
    pub repaired: Vec<Repaired>,
    /// The lists that could not be read, or not to their end.
    pub failed: Vec<(CapabilityKind, Arc<Error>)>,
    /// The lists that have not been asked for yet.
    pub pending: Vec<CapabilityKind>,
}

impl Fetched {
    /// Completes the lists that could not be read, or not yet, with the items that the server offered before.
    pub fn keep(&mut self, earlier: &Listing) {
        let incomplete: Vec<_> =
            self.failed.iter().map(|(kind, _)| *kind).chain(self.pending.iter().copied()).collect();
        for kind in incomplete {
            let known: HashSet<String> = self.listing.of(kind).map(|item| item.name.clone()).collect();
            let missing = earlier.of(kind).filter(|item| !known.contains(&item.name)).cloned();
            let missing: Vec<_> = missing.collect();
            self.listing.items.extend(missing);
        }
    }
}

/// Receives the listing as it is after each list that was asked for.
pub type Heard<'a> = &'a (dyn Fn(&Fetched) + Send + Sync);

/// Asks for each list whose capability `initialize`, the server's raw result, declares, through all pages. A server that declares
/// none is asked for its tools.
///
/// A list that the server turns out not to have is empty. A list that passes a limit, or whose cursor comes again, is
/// cut there, and [`Fetched::excluded`] says so. A list that fails, at its first page or later, is in [`Fetched::failed`], and
/// the others are asked for.
///
/// Errors: those of `ask` if each declared list fails at once, and [`ErrorKind::BadUpstream`] for an introduction that cannot be
/// read.
pub async fn fetch(ask: &dyn ListSource, initialize: &str, heard: Heard<'_>) -> Result<Fetched> {
    let mut fetched = Fetched {
        listing: Listing { items: Vec::new(), initialize: Some(initialize.to_owned()), ..Listing::default() },
        ..Fetched::default()
    };
    let declared = declared(initialize)?;
    let asked = if declared.is_empty() { vec![CapabilityKind::Tool] } else { declared.clone() };
    fetched.pending.clone_from(&asked);
    let (mut bytes, mut answered) = (0, false);
    for kind in asked {
        let before = fetched.listing.items.len();
        let outcome = fetch_list(ask, kind, &mut fetched, &mut bytes).await;
        fetched.pending.retain(|pending| *pending != kind);
        match outcome {
            Ok(()) => answered = true,
            Err(error) if error.kind() == ErrorKind::MethodNotFound => answered = true,
            Err(error) => {
                answered |= fetched.listing.items.len() > before;
                fetched.failed.push((kind, Arc::new(error.with("list", kind.list_method()))));
            }
        }
        if answered {
            heard(&fetched);
        }
    }
    if answered || declared.is_empty() || fetched.failed.is_empty() {
        return Ok(fetched);
    }
    // Nobody was told of it yet, so nobody else holds it.
    let first = Arc::into_inner(fetched.failed.swap_remove(0).1);
    Err(first.unwrap_or_else(|| Error::new(ErrorKind::BadUpstream, "the server answers none of its lists")))
}

/// As [`fetch`], from a server of the modern era, with its statements of how long its answers may be kept; asks it anew for its
/// description. How legacy clients are told of it is left open.
///
/// Errors: as of [`fetch`].
pub async fn fetch_modern(ask: &dyn ListSource, heard: Heard<'_>) -> Result<Fetched> {
    let asking = Noting { ask, lists: Mutex::default() };
    let discover = ask.ask(Method::Discover.as_str(), None).await?;
    let mut fetched = fetch(&asking, &discover, heard).await?;
    fetched.listing.initialize = None;
    let lists = *asking.lists();
    fetched.listing.modern = Some(Arc::new(ModernListing { discover, lists }));
    Ok(fetched)
}

/// Notes how long the lists that come through may be kept.
struct Noting<'a> {
    ask: &'a dyn ListSource,
    lists: Mutex<[Option<Freshness>; 4]>,
}

impl Noting<'_> {
    fn lists(&self) -> MutexGuard<'_, [Option<Freshness>; 4]> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ListSource for Noting<'_> {
    async fn ask(&self, method: &str, params: Option<String>) -> Result<String> {
        let result = self.ask.ask(method, params).await?;
        let place = CapabilityKind::ALL.iter().position(|kind| kind.list_method() == method);
        if let (Some(place), Ok(members)) = (place, Members::parse(&result)) {
            let page = freshness(&members);
            let known = &mut self.lists()[place];
            *known = Some(known.map_or(page, |known| known.and(page)));
        }
        Ok(result)
    }
}

/// How long a result may be kept, by its own statement: not at all and by nobody else, unless it says otherwise.
pub fn freshness(result: &Members<'_>) -> Freshness {
    Freshness {
        ttl_ms: result.get("ttlMs").and_then(|raw| raw.parse().ok()).unwrap_or(0),
        public: result.text("cacheScope").as_deref() == Some("public"),
    }
}

async fn fetch_list(
    ask: &dyn ListSource,
    kind: CapabilityKind,
    fetched: &mut Fetched,
    bytes: &mut usize,
) -> Result<()> {
    let cut = |reason: String| Excluded { kind, name: String::new(), reason, is_list: true };
    let mut names: HashSet<String> = HashSet::new();
    let mut cursors = HashSet::new();
    let mut params = None;
    for _ in 0..MAX_PAGES {
        let page = parse_list(kind, &ask.ask(kind.list_method(), params.take()).await?)?;
        if page.next_cursor.as_ref().is_some_and(|cursor| cursors.contains(cursor))
            && page.items.iter().all(|item| names.contains(&item.name))
        {
            // The same page over and over: its items are known, and so are their faults.
            fetched.excluded.push(cut("the list was cut: its cursor came a second time".into()));
            return Ok(());
        }
        fetched.excluded.extend(page.excluded);
        fetched.repaired.extend(page.repaired);
        for item in page.items {
            if names.contains(&item.name) {
                let reason = "it stands on two pages; the first is used".to_owned();
                fetched.excluded.push(Excluded { kind, name: item.name, reason, is_list: false });
                continue;
            }
            if let Some(limit) = limit_passed(&fetched.listing.items, *bytes, &item) {
                fetched.excluded.push(cut(limit));
                return Ok(());
            }
            *bytes += item.definition.get().len();
            names.insert(item.name.clone());
            fetched.listing.items.push(item);
        }
        // A server that excludes for ever would fill the memory by its mistakes.
        fetched.excluded.truncate(MAX_ITEMS);
        fetched.repaired.truncate(MAX_ITEMS);
        let Some(cursor) = page.next_cursor else { return Ok(()) };
        params = Some(format!(r#"{{"cursor":{cursor}}}"#));
        if !cursors.insert(cursor) {
            fetched.excluded.push(cut("the list was cut: its cursor came a second time".into()));
            return Ok(());
        }
    }
    fetched.excluded.push(cut(format!("the list was cut: it has more than {MAX_PAGES} pages")));
    Ok(())
}

fn limit_passed(items: &[Capability], bytes: usize, next: &Capability) -> Option<String> {
    if items.len() >= MAX_ITEMS {
        return Some(format!("the list was cut: a server offers at most {MAX_ITEMS} items"));
    }
    let more = bytes + next.definition.get().len();
    (more > MAX_BYTES)
        .then(|| format!("the list was cut: a server's definitions have at most {MAX_BYTES} bytes"))
}

/// The lists that a server says it has. A capability counts whatever its value: some serializers write an empty object as a list.
fn declared(initialize: &str) -> Result<Vec<CapabilityKind>> {
    let bad = |error: Error| {
        Error::new(ErrorKind::BadUpstream, format!("the server's introduction cannot be read: {error}"))
    };
    let introduction = Members::parse(initialize).map_err(bad)?;
    let Some(capabilities) = introduction.get("capabilities").filter(|raw| raw.starts_with('{')) else {
        return Ok(Vec::new());
    };
    let capabilities = Members::parse(capabilities).map_err(bad)?;
    let has = |kind: &CapabilityKind| {
        capabilities.get(match kind {
            CapabilityKind::Tool => "tools",
            CapabilityKind::Resource | CapabilityKind::ResourceTemplate => "resources",
            CapabilityKind::Prompt => "prompts",
        })
    };
    Ok(CapabilityKind::ALL.into_iter().filter(|kind| has(kind).is_some()).collect())
}

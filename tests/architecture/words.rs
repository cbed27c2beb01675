//! The names of the library are the field's own: words that it had of its own, and that were replaced, do not come back.

use std::collections::BTreeMap;
use std::path::Path;

use super::order::names;
use super::source::Source;

/// Words that no identifier has, and the word to use.
const REPLACED: [(&str, &str); 53] = [
    ("Asked", "…Request"),
    ("Attached", "ClientConnection"),
    ("Book", "CredentialCache"),
    ("Booked", "InFlightGuard"),
    ("Bound", "StickyRoutes"),
    ("Desk", "LocalQueue"),
    ("Door", "McpRoute, AppState"),
    ("Ears", "NotificationReader"),
    ("Errand", "ResolvedCall"),
    ("Flight", "WorkHandle"),
    ("Heads", "FramingGuard"),
    ("House", "OpenGateway"),
    ("Housed", "RegisteredServer"),
    ("Journey", "ForwardRequest"),
    ("Knock", "DeferredWaker"),
    ("Landing", "RequestGuard, Completion"),
    ("Load", "InFlight"),
    ("Maker", "CustomBalancer"),
    ("Means", "TransportContext"),
    ("Near", "InlineTask"),
    ("Passage", "CallContext"),
    ("Place", "Replica, RawPermit, ServiceState, ErrorFormat, Location"),
    ("Pulse", "ActivityMonitor"),
    ("Questions", "PendingRequests"),
    ("Reach", "EraNegotiator"),
    ("Remedy", "RetryAdvice"),
    ("Resident", "InProcessServer"),
    ("Sheet", "HeaderSet"),
    ("Spread", "BalancerFactory"),
    ("Strand", "ReplayStream"),
    ("Striped", "PerThread"),
    ("Supplied", "ProvidedCredentials"),
    ("Supply", "CredentialProvider"),
    ("Told", "Notification, FailureListener"),
    ("Veil", "Visibility"),
    ("Visit", "ServerConnection"),
    ("Wanted", "CredentialRequest"),
    ("Way", "SessionSlot, OpenMode, LaunchPlan, HandshakeMode"),
    ("Whose", "CredentialScope"),
    ("Wishes", "RoutingHints"),
    ("downward", "modern_to_legacy"),
    ("house_server", "register_in_process"),
    ("lay_out", "enqueue_local"),
    ("leave_place", "release_raw"),
    ("legs", "sse_requests"),
    ("own_service", "builtin_service"),
    ("patience", "timeouts"),
    ("seen_by", "for_principal"),
    ("sight", "view_for"),
    ("take_off", "track"),
    ("take_place", "acquire_raw"),
    ("thrift", "cache_trim"),
    ("work_off", "run_local"),
];

/// Files that have one of the words, and why.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("gateway/api/published.rs", "Bound", "`std::ops::Bound` is the standard library's")];

fn found<'a>(files: impl Iterator<Item = (&'a Path, &'a Source)>) -> BTreeMap<String, Vec<&'static str>> {
    let words = |source: &Source| {
        REPLACED.iter().filter(|(old, _)| names(source, old)).map(|(old, _)| *old).collect()
    };
    files
        .map(|(path, source)| (path.display().to_string(), words(source)))
        .filter(|(_, words): &(_, Vec<_>)| !words.is_empty())
        .collect()
}

#[test]
fn no_identifier_of_the_library_is_a_word_that_was_replaced() {
    let library = super::library();
    let mut found = found(library.iter().map(|(path, source)| (path.as_path(), source)));
    for (file, word, _) in EXCEPTIONS {
        let words = found.get_mut(file);
        let at = words.as_ref().and_then(|words| words.iter().position(|found| *found == word));
        assert!(at.is_some(), "{file} has no `{word}` and needs no exception");
        if let Some(words) = words {
            words.retain(|found| *found != word);
        }
    }
    found.retain(|_, words| !words.is_empty());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_word_that_was_replaced_is_found() {
    let source = Source::parse("struct Errand { way: u8 }").expect("Rust");
    let found = found(std::iter::once((Path::new("a.rs"), &source)));
    assert_eq!(found["a.rs"], ["Errand"]);
}

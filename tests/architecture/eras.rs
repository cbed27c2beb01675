//! Each era in rooms of its own: what would have to change outside of them when the legacy era ends is listed here, and does not
//! grow unseen.

use std::collections::BTreeSet;
use std::path::Path;

use super::order::names;
use super::source::Source;

/// Files and folders of the gateway that go with the legacy era: its clients' sessions, streams and questions, the bridges, and
/// what of modern clients is kept for the sake of legacy servers.
const ROOMS: [&str; 7] = [
    "bridge/modern_to_legacy",
    "bridge/modern_to_legacy.rs",
    "legacy",
    "modern/notification_reader.rs",
    "session",
    "upstream/legacy_adapter",
    "upstream/legacy_adapter.rs",
];

/// What those rooms are known by outside of them.
const WORDS: [&str; 11] = [
    "Client",
    "ModernToLegacy",
    "NotificationReader",
    "Outbox",
    "Parked",
    "PendingRequests",
    "Replays",
    "Seal",
    "SessionSettings",
    "Sessions",
    "LegacyAdapter",
];

/// The files outside of the rooms that name one of them: these would have to change.
const SEAMS: [&str; 9] = [
    "call/context.rs",
    "call/relay.rs",
    "call/sink.rs",
    "forward.rs",
    "mod.rs",
    "modern/mod.rs",
    "pipeline.rs",
    "settings.rs",
    "upstream/era_negotiator.rs",
];

fn is_room(file: &Path) -> bool {
    ROOMS.iter().any(|room| file.starts_with(room))
}

/// Which of the gateway's files name a room of the legacy era without being in one.
pub(crate) fn seams<'a>(files: impl Iterator<Item = (&'a Path, &'a Source)>) -> BTreeSet<String> {
    let outside = files.filter(|(file, _)| !is_room(file));
    let naming = outside.filter(|(_, source)| WORDS.iter().any(|word| names(source, word)));
    naming.map(|(file, _)| file.display().to_string()).collect()
}

#[test]
fn the_legacy_era_is_named_outside_of_its_rooms_where_it_is_listed_and_nowhere_else() {
    let library = super::library();
    let files: Vec<_> = library
        .iter()
        .filter_map(|(path, source)| Some((path.strip_prefix("gateway").ok()?, source)))
        .collect();
    for room in ROOMS {
        assert!(files.iter().any(|(file, _)| file.starts_with(room)), "{room} is not there");
    }
    let listed: BTreeSet<String> = SEAMS.iter().map(ToString::to_string).collect();
    assert_eq!(seams(files.into_iter()), listed);
}

#[test]
fn a_file_that_names_a_room_is_found() {
    let parse = |text: &str| Source::parse(text).expect("Rust");
    let (naming, silent) = (parse("use super::client::Client;"), parse("// Client\nfn f() {}"));
    let files = [("a.rs", &naming), ("b.rs", &silent), ("session/client.rs", &naming)];
    let found = seams(files.iter().map(|(file, source)| (Path::new(file), *source)));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a.rs"]);
}

use futures_util::{FutureExt as _, StreamExt as _};

use super::*;

fn text(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// The messages that the stream has now.
fn read(reader: &mut Reader) -> Vec<Bytes> {
    std::iter::from_fn(|| reader.next().now_or_never().flatten()).collect()
}

fn push(strand: &ReplayStream, message: impl Into<String>) -> bool {
    strand.push(text(message)).now_or_never().is_some()
}

/// F-14: a legacy client that leaves has cancelled nothing.
#[test]
fn who_left_gets_what_came_behind_the_last_event_that_it_saw_and_then_the_answer() {
    let replays = Replays::default();
    let strand = replays.begin(true);
    let (mut reader, numbering) = strand.attach(0).unwrap();
    assert_eq!((numbering.id(0), numbering.id(1)), ("1-0".into(), "1-1".into()));
    assert!(push(&strand, "a") && push(&strand, "b"));
    assert_eq!(read(&mut reader), ["a", "b"]);
    drop(reader);
    assert!(!strand.is_attached());
    assert!(push(&strand, "c"));
    let (mut reader, numbering) = replays.resume("1-1").unwrap();
    assert_eq!(read(&mut reader), ["b", "c"]);
    assert_eq!(numbering.id(1), "1-2", "ids go on where they were");
    replays.retire(&strand, text("answer"), Tick::default());
    assert_eq!(read(&mut reader), ["answer"]);
    assert!(reader.next().now_or_never().unwrap().is_none(), "the stream ends with the answer");
    let again = |id| replays.resume(id).map(|(mut reader, _)| read(&mut reader));
    assert_eq!(again("1-3").unwrap(), ["answer"], "what was written need not have arrived");
    assert_eq!(again("1-4").unwrap(), Vec::<Bytes>::new());
}

#[test]
fn an_id_that_was_not_given_here_is_nothing() {
    let (replays, other) = (Replays::default(), Replays::default());
    let strand = replays.begin(true);
    assert!(push(&strand, "secret"));
    for id in ["", "1", "2-0", "1-2", "1--1", "-1-0", "x-y", "1-0x", "99999999999999999999-0"] {
        assert!(replays.resume(id).is_none(), "{id}");
    }
    assert!(other.resume("1-0").is_none(), "another session has no such stream");
    assert!(replays.resume("1-0").is_some());
    replays.end();
    assert!(replays.resume("1-0").is_none());
}

#[test]
fn the_latest_reader_reads_and_the_one_before_leaves() {
    let replays = Replays::default();
    let strand = replays.begin(true);
    let (mut first, _) = strand.attach(0).unwrap();
    let (mut second, _) = replays.resume("1-0").unwrap();
    assert!(push(&strand, "a"));
    assert!(first.next().now_or_never().unwrap().is_none());
    drop(first);
    assert!(strand.is_attached(), "the old reader's end is not the new one's");
    assert_eq!(read(&mut second), ["a"]);
}

#[test]
fn a_reader_that_is_behind_slows_the_server_and_one_that_left_does_not() {
    let strand = Replays::default().begin(true);
    let (reader, _) = strand.attach(0).unwrap();
    let taken = (0..100).take_while(|n| push(&strand, n.to_string())).count();
    assert_eq!(taken, 32);
    drop(reader);
    assert!((0..1000).all(|n| push(&strand, n.to_string())));
}

#[test]
fn what_is_kept_is_bounded_and_the_answer_is_kept_whatever_came_before_it() {
    let replays = Replays::default();
    let strand = replays.begin(true);
    drop(strand.attach(0));
    for _ in 0..1000 {
        assert!(push(&strand, "x".repeat(10 * 1024)));
    }
    assert!(strand.locked().bytes <= KEPT_BYTES);
    assert!(replays.resume("1-0").is_none(), "what came behind it was given up, and a gap is not hidden");
    let huge = "y".repeat(2 * KEPT_BYTES);
    replays.retire(&strand, text(huge.clone()), Tick::default());
    assert_eq!(strand.locked().kept.len(), 1);
    let (mut reader, _) = replays.resume("1-1000").unwrap();
    assert_eq!(read(&mut reader), [huge]);
    assert_eq!(strand.locked().bytes, 0, "it is not kept once it was handed out");
}

#[test]
fn ended_streams_are_forgotten_in_time_and_make_room_for_each_other() {
    let replays = Replays::default();
    let running = replays.begin(true);
    for n in 0..40 {
        let strand = replays.begin(true);
        replays.retire(&strand, text(n.to_string()), Tick::default());
    }
    assert_eq!(replays.locked().streams.len(), ENDED + 1);
    assert!(replays.resume("25-0").is_none() && replays.resume("26-0").is_some());
    for _ in 0..3 {
        replays.retire(&replays.begin(true), text("x".repeat(ENDED_BYTES)), Tick::default());
    }
    assert_eq!(replays.locked().streams.len(), 2, "what is large makes room for itself alone");
    replays.sweep(Tick::default() + ENDED_FOR);
    assert_eq!(replays.locked().streams.len(), 1);
    assert!(push(&running, "a") && replays.resume("1-0").is_some());
}

#[test]
fn a_pause_ends_the_connection_only_where_the_client_knows_of_such() {
    let replays = Replays::default();
    for (polls, id) in [(true, "1-1"), (false, "2-1")] {
        let strand = replays.begin(polls);
        let (mut reader, _) = strand.attach(0).unwrap();
        assert!(push(&strand, "a"));
        strand.pause();
        assert_eq!(read(&mut reader), ["a"], "what there was is read first");
        assert_eq!(reader.next().now_or_never(), polls.then_some(None));
        drop(reader);
        assert!(push(&strand, "b"));
        let (mut reader, _) = replays.resume(id).unwrap();
        assert_eq!(read(&mut reader), ["b"]);
        assert!(reader.next().now_or_never().is_none(), "it goes on");
    }
}

#[tokio::test]
async fn who_waits_is_woken_by_a_message_by_room_and_by_the_end_of_the_session() {
    let replays = Replays::default();
    let strand = replays.begin(true);
    let (mut reader, _) = strand.attach(0).unwrap();
    let (next, ()) = tokio::join!(reader.next(), strand.push(text("a")));
    assert_eq!(next.unwrap(), "a");
    while push(&strand, "b") {}
    let ((), next) = tokio::join!(strand.push(text("c")), reader.next());
    assert_eq!(next.unwrap(), "b");
    read(&mut reader);
    let (next, ()) = tokio::join!(reader.next(), async { replays.end() });
    assert!(next.is_none());
    assert!(push(&replays.begin(true), "nobody hears"));
}

//! Fuzzing that every run of the tests can afford: each target sees its corpus, and some thousand mutations of it from a fixed
//! seed. With a nightly toolchain cargo-fuzz runs the same targets on the same corpus for as long as it is let:
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz envelope`. What it finds goes into the corpus.
#![expect(clippy::expect_used, clippy::panic, reason = "a panic in a test is a failed test")]

mod mutate;
mod targets;

use std::path::Path;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Mutations that a target sees, unless `FUZZ_CASES` says how many.
const CASES: u32 = 20_000;

#[expect(clippy::disallowed_methods, reason = "how long to look is the caller's choice")]
fn cases() -> u32 {
    std::env::var("FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// The files of a target's corpus, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect()
}

fn fuzz(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(corpus.len() >= 5, "the corpus of {name} was not found");
    for input in &corpus {
        target(input);
    }
    let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&mutate::inputs(corpus), |input| {
        let ran = std::panic::catch_unwind(|| target(&input));
        ran.map_err(|_| TestCaseError::fail("it panicked; the message stands above"))
    });
    if let Err(TestError::Fail(reason, input)) = outcome {
        panic!("{name}: {reason}\nadd this to tests/fuzz/corpus/{name}: {}", input.escape_ascii());
    }
    outcome.expect("no input was rejected");
}

#[test]
fn the_envelope_codec_holds_for_any_bytes() {
    fuzz("envelope", targets::envelope);
}

#[test]
fn the_sse_codec_holds_for_any_bytes() {
    fuzz("sse", targets::sse);
}

#[test]
fn the_line_codec_holds_for_any_bytes() {
    fuzz("lines", targets::lines);
}

#[test]
fn the_header_codecs_hold_for_any_bytes() {
    fuzz("header", targets::header);
}

#[test]
fn the_url_codecs_hold_for_any_bytes() {
    fuzz("url", targets::url);
}

#[test]
fn a_target_that_breaks_is_found_out() {
    // A fault that no input of the corpus shows, one deletion away from it.
    let breaks = |input: &[u8]| assert!(!input.windows(2).any(|pair| pair == b"\"2"), "as it should");
    let ran = std::panic::catch_unwind(|| fuzz("envelope", breaks));
    assert!(ran.is_err());
}

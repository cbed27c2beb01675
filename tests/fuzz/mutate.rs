//! Inputs near those of a corpus.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;

/// Pieces on which the codecs decide.
const WORDS: [&[u8]; 34] = [
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"1e400",
    b"-0",
    b"\"id\":",
    b"\"method\":",
    b"\"params\":",
    b"\"jsonrpc\":\"2.0\"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\0",
    b"data:",
    b"id:",
    b"event:",
    b"\xef\xbb\xbf",
    b"\xff",
    b"//",
    b"@",
    b"%2e",
    b"..",
    b"#",
    b"=?base64?",
    b"localhost",
];

#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Splice(Index, Index, Index, usize),
}

/// Inputs of `corpus` after up to eight edits.
pub(crate) fn inputs(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let corpus = Arc::new(corpus);
    let index = any::<Index>;
    let word = prop::sample::select(WORDS.as_slice()).prop_map(<[u8]>::to_vec);
    let bytes = prop_oneof![word, prop::collection::vec(any::<u8>(), 1..6)];
    let edit = prop_oneof![
        (index(), 0_u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (index(), bytes).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (index(), 1_usize..20).prop_map(|(at, length)| Edit::Remove(at, length)),
        (index(), 1_usize..12, 2_usize..40).prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
        (index(), index(), index(), 1_usize..60)
            .prop_map(|(to, other, from, n)| Edit::Splice(to, other, from, n)),
    ];
    (index(), prop::collection::vec(edit, 1..9)).prop_map(move |(which, edits)| {
        let mut input = which.get(&corpus).clone();
        for edit in edits {
            apply(&mut input, edit, &corpus);
        }
        input
    })
}

fn apply(input: &mut Vec<u8>, edit: Edit, corpus: &[Vec<u8>]) {
    let end = |at: usize, length: usize, all: usize| (at + length).min(all);
    match edit {
        Edit::Flip(at, bit) if !input.is_empty() => {
            let at = at.index(input.len());
            input[at] ^= 1 << bit;
        }
        Edit::Insert(at, bytes) => {
            let at = at.index(input.len() + 1);
            input.splice(at..at, bytes);
        }
        Edit::Remove(at, length) if !input.is_empty() => {
            let at = at.index(input.len());
            input.drain(at..end(at, length, input.len()));
        }
        Edit::Repeat(at, length, times) if !input.is_empty() => {
            let at = at.index(input.len());
            let piece = input[at..end(at, length, input.len())].repeat(times);
            input.splice(at..at, piece);
        }
        Edit::Splice(to, other, from, length) => {
            let other = other.get(corpus);
            let from = from.index(other.len() + 1);
            let to = to.index(input.len() + 1);
            input.splice(to..to, other[from..end(from, length, other.len())].to_vec());
        }
        Edit::Flip(..) | Edit::Remove(..) | Edit::Repeat(..) => {}
    }
}

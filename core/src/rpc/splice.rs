//! Replaces slices of a message and leaves every other byte as it is.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Replacements in one text, made in order of position.
#[derive(Debug, Default)]
pub struct Splice {
    edits: Vec<(Range<usize>, String)>,
}

impl Splice {
    /// No change yet.
    pub const fn new() -> Self {
        Self { edits: Vec::new() }
    }

    /// Replaces `range` by `text`. Ranges must not overlap.
    pub fn replace(&mut self, range: Range<usize>, text: impl Into<String>) -> &mut Self {
        self.edits.push((range, text.into()));
        self
    }

    /// `source` with the replacements made.
    pub fn apply(mut self, source: &[u8]) -> Bytes {
        self.edits.sort_by_key(|(range, _)| range.start);
        let grown: usize = self.edits.iter().map(|(_, text)| text.len()).sum();
        let mut out = BytesMut::with_capacity(source.len() + grown);
        let mut at = 0;
        for (range, text) in &self.edits {
            debug_assert!(at <= range.start, "replacements overlap");
            out.extend_from_slice(&source[at..range.start]);
            out.extend_from_slice(text.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&source[at..]);
        out.freeze()
    }
}

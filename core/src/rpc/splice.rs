//! Replaces slices of a message and leaves every other byte as it is.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

/// Replacements in one text, made in order of position.
#[derive(Debug, Default)]
pub struct Splice<'t> {
    // The most that an ordinary call needs.
    edits: SmallVec<[(Range<usize>, Cow<'t, str>); 2]>,
}

impl<'t> Splice<'t> {
    /// No change yet.
    pub const fn new() -> Self {
        Self { edits: SmallVec::new_const() }
    }

    /// Replaces `range` by `text`. Ranges must not overlap.
    pub fn replace(&mut self, range: Range<usize>, text: impl Into<Cow<'t, str>>) -> &mut Self {
        self.edits.push((range, text.into()));
        self
    }

    /// `source` with the replacements made.
    pub fn apply(mut self, source: &[u8]) -> Bytes {
        self.edits.sort_by_key(|(range, _)| range.start);
        let gone: usize = self.edits.iter().map(|(range, _)| range.len()).sum();
        let new: usize = self.edits.iter().map(|(_, text)| text.len()).sum();
        // Exactly as long as it becomes: bytes with room to spare cost another allocation.
        let mut out = Vec::with_capacity((source.len() + new).saturating_sub(gone));
        let mut at = 0;
        for (range, text) in &self.edits {
            debug_assert!(at <= range.start, "replacements overlap");
            out.extend_from_slice(&source[at..range.start]);
            out.extend_from_slice(text.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&source[at..]);
        out.into()
    }
}

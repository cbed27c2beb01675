//! The words of one server and of its listing, each with its weight.
//!
//! A card stays empty until the first search after its server changed.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::model::Server;
use crate::registry::RegisteredEntry;

/// How much a word counts by where it stands.
const NAME: f32 = 4.0;
const TAG: f32 = 2.0;
const TEXT: f32 = 1.0;
/// How much a word counts that only begins with the one that is searched.
const PREFIX: f32 = 0.5;
/// Bytes of one text that are read: enough to be found by, and no way to fill the memory.
const MAX_TEXT: usize = 4096;

/// The words of one server and of its listing.
#[derive(Debug, Default)]
pub(super) struct Card(OnceLock<Words>);

impl Card {
    /// The words, read from `entry`, which this card belongs to, where that was not done yet.
    pub(super) fn words(&self, entry: &RegisteredEntry) -> &Words {
        self.0.get_or_init(|| Words::of(entry))
    }
}

/// A document and the weighted frequency of a word in it.
type Occurrence = (u32, f32);

/// Documents are numbered: 0 is the server, n + 1 is item n of its listing.
///
/// A search reads this of every server, so that it lies in few places, one after another.
#[derive(Debug)]
pub(super) struct Words {
    /// All words in order, without anything between them.
    text: Box<str>,
    /// Where each word ends in `text`, and its occurrences in `occurrences`.
    ends: Box<[(u32, u32)]>,
    occurrences: Box<[Occurrence]>,
    /// How many words each document has.
    pub(super) lengths: Box<[u32]>,
    /// How many words all documents have together.
    pub(super) length: u32,
}

impl Words {
    fn of(entry: &RegisteredEntry) -> Self {
        let mut all: BTreeMap<String, Vec<Occurrence>> = BTreeMap::new();
        let mut lengths = Vec::with_capacity(entry.listing.items.len() + 1);
        let mut read = |document: u32, parts: &[(f32, &str)]| {
            let mut length = 0;
            for (weight, text) in parts {
                words(cut(text), |word| {
                    length += 1;
                    let found = match all.get_mut(word) {
                        Some(found) => found,
                        None => all.entry(word.to_owned()).or_default(),
                    };
                    match found.last_mut() {
                        Some((last, sum)) if *last == document => *sum += *weight,
                        _ => found.push((document, *weight)),
                    }
                });
            }
            length
        };
        let Server { name, service, display_name, description, tags, .. } = &*entry.server;
        let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
        let tags = tags.join(" ");
        let mut parts = vec![(NAME, name.as_str()), (TAG, tags.as_str())];
        if !name.eq_ignore_ascii_case(service.as_str()) {
            parts.push((NAME, service.as_str()));
        }
        let (display_name, description) = (text(display_name), text(description));
        parts.extend([(NAME, display_name.as_str()), (TEXT, description.as_str())]);
        lengths.push(read(0, &parts));
        for (document, item) in (1..).zip(&entry.listing.items) {
            let description = item.description.as_deref().unwrap_or_default();
            lengths
                .push(read(document, &[(NAME, &item.name), (TEXT, description), (TEXT, service.as_str())]));
        }
        Self::laid_out(&all, lengths)
    }

    fn laid_out(all: &BTreeMap<String, Vec<Occurrence>>, lengths: Vec<u32>) -> Self {
        let mut text = String::with_capacity(all.keys().map(String::len).sum());
        let mut occurrences = Vec::with_capacity(all.values().map(Vec::len).sum());
        let mut ends = Vec::with_capacity(all.len());
        for (word, found) in all {
            text.push_str(word);
            occurrences.extend_from_slice(found);
            let end = |length| u32::try_from(length).unwrap_or(u32::MAX);
            ends.push((end(text.len()), end(occurrences.len())));
        }
        let length = lengths.iter().copied().fold(0, u32::saturating_add);
        Self {
            text: text.into(),
            ends: ends.into(),
            occurrences: occurrences.into(),
            lengths: lengths.into(),
            length,
        }
    }

    /// The bytes of the word of this number, in order, and where it is found.
    fn word(&self, number: usize) -> Option<(&[u8], &[Occurrence])> {
        let (start, first) = number.checked_sub(1).map_or((0, 0), |before| self.ends[before]);
        let (end, last) = *self.ends.get(number)?;
        let text = self.text.as_bytes().get(start as usize..end as usize)?;
        Some((text, self.occurrences.get(first as usize..last as usize)?))
    }

    /// The number of the first word that does not come before `word`.
    fn first_from(&self, word: &str) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.word(middle).is_some_and(|(known, _)| known < word.as_bytes()) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Tells the documents that have `word`, or a word that begins with it.
    pub(super) fn frequencies(&self, word: &str, mut tell: impl FnMut(u32, f32)) {
        // A single letter begins too many words to say anything.
        let prefixes = word.chars().nth(1).is_some();
        for (known, found) in (self.first_from(word)..).map_while(|number| self.word(number)) {
            let exact = known.len() == word.len();
            if !known.starts_with(word.as_bytes()) || !(exact || prefixes) {
                break;
            }
            let factor = if exact { 1.0 } else { PREFIX };
            for (document, weight) in found {
                tell(*document, weight * factor);
            }
        }
    }
}

/// The words of `text` in lower case. A word ends where letters and digits end, and inside `camelCase` and `HTTPServer`.
pub(super) fn words(text: &str, mut tell: impl FnMut(&str)) {
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    let mut before: Option<char> = None;
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() {
            let next_is_small = chars.peek().is_some_and(|next| next.is_lowercase());
            let begins =
                before.is_some_and(|before| c.is_uppercase() && (!before.is_uppercase() || next_is_small));
            if begins && !word.is_empty() {
                tell(&word);
                word.clear();
            }
            word.extend(c.to_lowercase());
            before = Some(c);
        } else {
            before = None;
        }
        if before.is_none() && !word.is_empty() {
            tell(&word);
            word.clear();
        }
    }
    if !word.is_empty() {
        tell(&word);
    }
}

/// The first 4 KiB.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_signs_and_inside_compounds() {
        for (text, expected) in [
            ("create_issue v2", "create issue v2"),
            ("createIssue", "create issue"),
            ("HTTPServer XML", "http server xml"),
            ("  --ÄÖ straßeNord. ", "äö straße nord"),
            ("s3Bucket 日本", "s3 bucket 日本"),
            ("", ""),
        ] {
            let mut found = Vec::new();
            words(text, |word| found.push(word.to_owned()));
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = format!("a{}", "ü".repeat(MAX_TEXT));
        assert_eq!(cut(&text).len(), MAX_TEXT - 1);
    }
}

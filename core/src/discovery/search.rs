//! Ranked search over what servers say of themselves.
//!
//! Each server has a card with its words, made at the first search after it changed; a search reads all cards. That
//! keeps a change cheap, and there is no inverted index that would have to follow each of them.

use std::cmp::Ordering;
use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use crate::model::{Server, ServerId};
use crate::registry::Entry;

/// How much a word counts by where it stands.
const NAME: f64 = 4.0;
const TAG: f64 = 2.0;
const TEXT: f64 = 1.0;
/// How much a word counts that only begins with the one that is searched.
const PREFIX: f64 = 0.5;
/// The usual parameters of BM25.
const K1: f64 = 1.2;
const B: f64 = 0.75;

const MAX_WORDS: usize = 16;
/// Bytes of a description that are read: enough to be found by, and no way to fill the memory.
const MAX_TEXT: usize = 4096;

/// One result of a ranked search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// The service that has it.
    pub service: String,
    /// A server that has it: of several replicas, the first by name.
    pub server_id: ServerId,
    /// `server`, or the kind of capability.
    pub kind: &'static str,
    /// The name of the server or capability.
    pub name: String,
    /// What it says of itself.
    pub description: Option<String>,
    /// BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3.4) with k1 = 1.2, b = 0.75
    /// and fields weighted as in its section 3.6: a word counts 4 in a name, 2 in a tag, 1 in a description, and half of
    /// it where it only begins with the word searched. Higher is better; comparable within one answer only.
    pub score: f64,
}

/// The words of one server and of what it offers.
#[derive(Debug, Default)]
pub(super) struct Card(OnceLock<Words>);

/// A document and the weighted frequency of a word in it.
type Occurrence = (u32, f32);

/// Documents are numbered: 0 is the server, n + 1 is item n of its listing.
#[derive(Debug)]
struct Words {
    /// Ordered by word.
    words: Vec<(Box<str>, Vec<Occurrence>)>,
    lengths: Vec<u32>,
}

struct Candidate<'a> {
    entry: &'a Entry,
    document: u32,
    score: f64,
}

pub(super) fn search<'a>(
    cards: impl Iterator<Item = (&'a Arc<Entry>, &'a Arc<Card>)>,
    query: &str,
    limit: usize,
) -> Vec<Hit> {
    let searched = searched(query);
    let width = searched.len();
    if width == 0 || limit == 0 {
        return Vec::new();
    }
    let (mut documents, mut total_length) = (0.0, 0.0);
    let mut candidates = Vec::new();
    // The weighted frequency of each searched word, by candidate.
    let mut frequencies: Vec<f64> = Vec::new();
    let mut lengths = Vec::new();
    let mut own = Vec::new();
    for (entry, card) in cards {
        let words = card.0.get_or_init(|| Words::of(entry));
        documents += as_f64(words.lengths.len());
        total_length += words.lengths.iter().copied().map(f64::from).sum::<f64>();
        own.clear();
        own.resize(words.lengths.len() * width, 0.0);
        let mut any = false;
        for (place, word) in searched.iter().enumerate() {
            words.frequencies(word, |document, frequency| {
                own[document as usize * width + place] += frequency;
                any = true;
            });
        }
        if !any {
            continue;
        }
        for ((document, found), length) in (0..).zip(own.chunks_exact(width)).zip(&words.lengths) {
            if found.iter().any(|frequency| *frequency > 0.0) {
                frequencies.extend_from_slice(found);
                lengths.push(f64::from(*length));
                candidates.push(Candidate { entry, document, score: 0.0 });
            }
        }
    }
    let rarity: Vec<f64> = (0..width)
        .map(|place| {
            let having = frequencies.iter().skip(place).step_by(width).filter(|found| **found > 0.0);
            let having = as_f64(having.count());
            (1.0 + (documents - having + 0.5) / (having + 0.5)).ln()
        })
        .collect();
    let mean_length = if documents > 0.0 { total_length / documents } else { 1.0 };
    for ((candidate, found), length) in
        candidates.iter_mut().zip(frequencies.chunks_exact(width)).zip(lengths)
    {
        candidate.score = score(found, &rarity, length / mean_length);
    }
    best(candidates, limit)
}

fn searched(query: &str) -> Vec<String> {
    let mut searched: Vec<String> = Vec::new();
    words(cut(query), |word| {
        if searched.len() < MAX_WORDS && !searched.iter().any(|known| known == word) {
            searched.push(word.to_owned());
        }
    });
    searched
}

fn score(frequencies: &[f64], rarity: &[f64], relative_length: f64) -> f64 {
    let norm = K1 * (1.0 - B + B * relative_length);
    let terms = frequencies.iter().zip(rarity);
    terms.map(|(frequency, rarity)| rarity * frequency * (K1 + 1.0) / (frequency + norm)).sum()
}

/// The best of each that says the same, and of these the best `limit`, in order.
fn best(candidates: Vec<Candidate<'_>>, limit: usize) -> Vec<Hit> {
    let mut unique: HashMap<_, Candidate<'_>> = HashMap::new();
    for candidate in candidates {
        match unique.entry(candidate.identity()) {
            Slot::Vacant(slot) => drop(slot.insert(candidate)),
            Slot::Occupied(mut slot) => {
                if candidate.order(slot.get()).is_lt() {
                    slot.insert(candidate);
                }
            }
        }
    }
    let mut best: Vec<_> = unique.into_values().collect();
    if best.len() > limit {
        best.select_nth_unstable_by(limit - 1, Candidate::order);
        best.truncate(limit);
    }
    best.sort_unstable_by(Candidate::order);
    best.iter().map(Candidate::hit).collect()
}

impl<'a> Candidate<'a> {
    /// Kind and name.
    fn says(&self) -> (&'static str, &'a str, Option<&'a String>) {
        let entry = self.entry;
        let item = self.document.checked_sub(1).and_then(|n| entry.listing.items.get(n as usize));
        match item {
            Some(item) => (item.kind.as_str(), &item.name, item.description.as_ref()),
            None => ("server", &entry.server.name, entry.server.description.as_ref()),
        }
    }

    /// What makes two candidates the same for whoever searches.
    fn identity(&self) -> (&'a str, &'static str, &'a str) {
        let (kind, name, _) = self.says();
        (self.entry.server.service.as_str(), kind, name)
    }

    /// By score, best first; equal scores by name, kind and server, so that the order is always the same.
    fn order(&self, other: &Self) -> Ordering {
        let key = |candidate: &Self| {
            let (kind, name, _) = candidate.says();
            (name, kind, candidate.entry.server.name.as_str())
        };
        other.score.total_cmp(&self.score).then_with(|| key(self).cmp(&key(other)))
    }

    fn hit(&self) -> Hit {
        let (kind, name, description) = self.says();
        let server = &self.entry.server;
        Hit {
            service: server.service.to_string(),
            server_id: server.id,
            kind,
            name: name.to_owned(),
            description: description.cloned(),
            score: self.score,
        }
    }
}

impl Words {
    fn of(entry: &Entry) -> Self {
        let mut all: BTreeMap<String, Vec<Occurrence>> = BTreeMap::new();
        let mut lengths = Vec::with_capacity(entry.listing.items.len() + 1);
        let mut read = |document: u32, parts: &[(f64, &str)]| {
            let mut length = 0;
            for (weight, text) in parts {
                words(cut(text), |word| {
                    length += 1;
                    let found = match all.get_mut(word) {
                        Some(found) => found,
                        None => all.entry(word.to_owned()).or_default(),
                    };
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "the weights are small whole numbers"
                    )]
                    let weight = *weight as f32;
                    match found.last_mut() {
                        Some((last, sum)) if *last == document => *sum += weight,
                        _ => found.push((document, weight)),
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
        Self { words: all.into_iter().map(|(word, found)| (word.into(), found)).collect(), lengths }
    }

    /// Tells the documents that have `word`, or a word that begins with it.
    fn frequencies(&self, word: &str, mut tell: impl FnMut(u32, f64)) {
        let start = self.words.partition_point(|(known, _)| **known < *word);
        // A single letter begins too many words to say anything.
        let prefixes = word.chars().nth(1).is_some();
        for (known, found) in self.words[start..].iter().take_while(|(known, _)| known.starts_with(word)) {
            let exact = known.len() == word.len();
            if !(exact || prefixes) {
                break;
            }
            let factor = if exact { 1.0 } else { PREFIX };
            for (document, weight) in found {
                tell(*document, f64::from(*weight) * factor);
            }
        }
    }
}

/// The words of `text` in lower case. A word ends where letters and digits end, and inside `camelCase` and `HTTPServer`.
fn words(text: &str, mut tell: impl FnMut(&str)) {
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    let mut before: Option<char> = None;
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() {
            let next_is_small = chars.peek().is_some_and(|next| next.is_lowercase());
            let begins = before.is_some_and(|before| {
                c.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && next_is_small))
            });
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

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[expect(clippy::cast_precision_loss, reason = "counts of documents are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

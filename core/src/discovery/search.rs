//! Ranked search over what servers say of themselves.
//!
//! Each server has a card with its words, made at the first search after it changed; a search reads all cards. That
//! keeps a change cheap, and there is no inverted index that would have to follow each of them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
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
    length: f64,
    /// The weighted frequency of each searched word.
    frequencies: Vec<f64>,
}

pub(super) fn search<'a>(
    cards: impl Iterator<Item = (&'a Arc<Entry>, &'a Arc<Card>)>,
    query: &str,
    limit: usize,
) -> Vec<Hit> {
    let mut searched: Vec<String> = Vec::new();
    words(cut(query), |word| {
        if searched.len() < MAX_WORDS && !searched.iter().any(|known| known == word) {
            searched.push(word.to_owned());
        }
    });
    let (mut documents, mut total_length) = (0.0, 0.0);
    let mut candidates = Vec::new();
    for (entry, card) in cards {
        let words = card.0.get_or_init(|| Words::of(entry));
        documents += as_f64(words.lengths.len());
        total_length += words.lengths.iter().copied().map(f64::from).sum::<f64>();
        let mut own: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (place, word) in searched.iter().enumerate() {
            words.frequencies(word, |document, frequency| {
                own.entry(document).or_insert_with(|| vec![0.0; searched.len()])[place] += frequency;
            });
        }
        candidates.extend(own.into_iter().map(|(document, frequencies)| {
            let length = words.lengths.get(document as usize).copied().map_or(0.0, f64::from);
            Candidate { entry, document, length, frequencies }
        }));
    }
    let rarity: Vec<f64> = (0..searched.len())
        .map(|place| {
            let having = as_f64(candidates.iter().filter(|c| c.frequencies[place] > 0.0).count());
            (1.0 + (documents - having + 0.5) / (having + 0.5)).ln()
        })
        .collect();
    let mean_length = if documents > 0.0 { total_length / documents } else { 1.0 };
    let mut scored: Vec<_> =
        candidates.into_iter().map(|candidate| (candidate.score(&rarity, mean_length), candidate)).collect();
    scored.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.order(other)));
    let mut seen = HashSet::new();
    let hits = scored.iter().filter(|(_, candidate)| seen.insert(candidate.identity()));
    hits.take(limit).map(|(score, candidate)| candidate.hit(*score)).collect()
}

impl Candidate<'_> {
    fn score(&self, rarity: &[f64], mean_length: f64) -> f64 {
        let norm = K1 * (1.0 - B + B * self.length / mean_length);
        let terms = self.frequencies.iter().zip(rarity);
        terms.map(|(frequency, rarity)| rarity * frequency * (K1 + 1.0) / (frequency + norm)).sum()
    }

    /// Kind and name.
    fn says(&self) -> (&'static str, &str, Option<&String>) {
        let item = self.document.checked_sub(1).and_then(|n| self.entry.listing.items.get(n as usize));
        match item {
            Some(item) => (item.kind.as_str(), &item.name, item.description.as_ref()),
            None => ("server", &self.entry.server.name, self.entry.server.description.as_ref()),
        }
    }

    /// What makes two candidates the same for whoever searches.
    fn identity(&self) -> (&str, &'static str, &str) {
        let (kind, name, _) = self.says();
        (self.entry.server.service.as_str(), kind, name)
    }

    /// The order of equal scores.
    fn order(&self, other: &Self) -> Ordering {
        let key = |candidate: &Self| {
            let (kind, name, _) = candidate.says();
            (name.to_owned(), kind, candidate.entry.server.name.clone())
        };
        key(self).cmp(&key(other))
    }

    fn hit(&self, score: f64) -> Hit {
        let (kind, name, description) = self.says();
        let server = &self.entry.server;
        Hit {
            service: server.service.to_string(),
            server_id: server.id,
            kind,
            name: name.to_owned(),
            description: description.cloned(),
            score,
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

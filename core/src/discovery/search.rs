//! Ranked search over the servers' descriptions of themselves.
//!
//! A search reads the cards of all servers. That keeps a change cheap: there is no inverted index that would have to follow each
//! of them. The rarity of a word is known only when all are read: a document that has any of the words is noted in few bytes, and
//! judged after that.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde::Serialize;

use super::card::{Words, cut, words};
use crate::model::{Capability, Server, ServerId};
use crate::registry::RegisteredEntry;

/// The usual parameters of BM25.
const K1: f64 = 1.2;
const B: f64 = 0.75;

const MAX_WORDS: usize = 16;

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
    /// Its description of itself.
    pub description: Option<String>,
    /// BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3.4) with k1 = 1.2, b = 0.75
    /// and fields weighted as in its section 3.6: a word counts 4 in a name, 2 in a tag, 1 in a description, and half of
    /// it where it only begins with the word searched. Higher is better; comparable within one answer only.
    pub score: f64,
}

#[derive(Clone, Copy)]
struct Candidate<'a> {
    entry: &'a RegisteredEntry,
    /// Which of the servers it is of, in their order.
    server: u32,
    document: u32,
    score: f64,
}

/// The best `limit` of the documents that `shown` lets through. The `cards` are those of servers in the order of their names,
/// with `room` documents at most.
pub(super) fn search<'a>(
    cards: impl Iterator<Item = (&'a RegisteredEntry, &'a Words)>,
    room: usize,
    query: &str,
    limit: usize,
    shown: impl Fn(&Server, &Capability) -> bool,
) -> Vec<Hit> {
    let searched = searched(query);
    let width = searched.len();
    if width == 0 || limit == 0 {
        return Vec::new();
    }
    // Memory that is not written to costs nothing; memory that grows is copied.
    let (found, frequencies) = (Vec::with_capacity(room), Vec::with_capacity(room * width));
    let mut found = DocumentMatch { documents: found, frequencies, card: Vec::new(), having: vec![0; width] };
    let (mut documents, mut total_length) = (0_usize, 0.0);
    let mut having_any = Vec::new();
    for (entry, words) in cards {
        documents += words.lengths.len();
        total_length += f64::from(words.length);
        let server = u32::try_from(having_any.len()).unwrap_or(u32::MAX);
        if found.read(&searched, words, server) {
            having_any.push(entry);
        }
    }
    let documents = as_f64(documents);
    let rarity: Vec<f64> = found
        .having
        .iter()
        .map(|having| (1.0 + (documents - as_f64(*having) + 0.5) / (as_f64(*having) + 0.5)).ln())
        .collect();
    let mean_length = if documents > 0.0 { total_length / documents } else { 1.0 };
    let (norm, norm_per_word) = (K1 * (1.0 - B), K1 * B / mean_length);
    let mut best = Best { limit, kept: Vec::new(), worst: None };
    for (one, frequencies) in found.documents.iter().zip(found.frequencies.chunks_exact(width)) {
        let score = score(frequencies, &rarity, norm + norm_per_word * f64::from(one.length));
        let entry = having_any[one.server as usize];
        best.offer(Candidate { entry, server: one.server, document: one.number, score }, &shown);
    }
    best.hits()
}

/// Documents that have any of the words: all that the second half of a search needs of them, one after another.
struct DocumentMatch {
    documents: Vec<SearchDocument>,
    /// The weighted frequency of each searched word in each of them.
    frequencies: Vec<f32>,
    /// The same of all documents of the card that is being read.
    card: Vec<f32>,
    /// How many documents have each word.
    having: Vec<usize>,
}

struct SearchDocument {
    server: u32,
    number: u32,
    length: u32,
}

impl DocumentMatch {
    /// Reads a card; whether it has any of the words.
    fn read(&mut self, searched: &[String], words: &Words, server: u32) -> bool {
        let width = searched.len();
        self.card.clear();
        self.card.resize(words.lengths.len() * width, 0.0);
        let mut any = false;
        for (word, text) in searched.iter().enumerate() {
            words.frequencies(text, |document, frequency| {
                self.card[document as usize * width + word] += frequency;
                any = true;
            });
        }
        if any {
            let documents = (0..).zip(&words.lengths).zip(self.card.chunks_exact(width));
            for ((number, length), frequencies) in documents {
                let mut has = false;
                for (count, frequency) in self.having.iter_mut().zip(frequencies) {
                    *count += usize::from(*frequency > 0.0);
                    has |= *frequency > 0.0;
                }
                if has {
                    self.documents.push(SearchDocument { server, number, length: *length });
                    self.frequencies.extend_from_slice(frequencies);
                }
            }
        }
        any
    }
}

/// The best of each that says the same, and of these the best `limit`.
struct Best<'a> {
    limit: usize,
    /// In no order, and more than `limit` until they are sorted out.
    kept: Vec<Candidate<'a>>,
    /// The last of the best when they were sorted out: a candidate behind it is none of them.
    worst: Option<Candidate<'a>>,
}

impl<'a> Best<'a> {
    fn offer(&mut self, candidate: Candidate<'a>, shown: impl Fn(&Server, &Capability) -> bool) {
        if self.worst.as_ref().is_some_and(|worst| candidate.order(worst).is_gt())
            || candidate.item().is_some_and(|item| !shown(&candidate.entry.server, item))
        {
            return;
        }
        self.kept.push(candidate);
        if self.kept.len() / 4 > self.limit.max(64) {
            self.sort_out();
        }
    }

    fn sort_out(&mut self) {
        self.kept.sort_unstable_by(Candidate::order);
        // The first of those that say the same is the best of them.
        let mut seen = HashSet::with_capacity(self.limit.min(self.kept.len()));
        self.kept.retain(|candidate| seen.len() < self.limit && seen.insert(candidate.identity()));
        self.worst = self.kept.last().filter(|_| self.kept.len() == self.limit).copied();
    }

    fn hits(mut self) -> Vec<Hit> {
        self.sort_out();
        self.kept.iter().map(Candidate::hit).collect()
    }
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

fn score(frequencies: &[f32], rarity: &[f64], norm: f64) -> f64 {
    let terms = frequencies.iter().zip(rarity).filter(|(frequency, _)| **frequency > 0.0);
    let terms = terms.map(|(frequency, rarity)| (f64::from(*frequency), rarity));
    terms.map(|(frequency, rarity)| rarity * frequency * (K1 + 1.0) / (frequency + norm)).sum()
}

impl<'a> Candidate<'a> {
    fn item(&self) -> Option<&'a Capability> {
        self.document.checked_sub(1).and_then(|n| self.entry.listing.items.get(n as usize))
    }

    /// Kind, name and description.
    fn says(&self) -> (&'static str, &'a str, Option<&'a String>) {
        let server = &self.entry.server;
        match self.item() {
            Some(item) => (item.kind.as_str(), &item.name, item.description.as_ref()),
            None => ("server", &server.name, server.description.as_ref()),
        }
    }

    /// The identity under which two candidates are the same for a searcher.
    fn identity(&self) -> (&'a str, &'static str, &'a str) {
        let (kind, name, _) = self.says();
        (self.entry.server.service.as_str(), kind, name)
    }

    /// By score, best first. Equal scores by the server's name and then as it lists them: always the same, and the order in which
    /// they are looked at, so that of thousands that score alike none is kept that comes too late.
    fn order(&self, other: &Self) -> Ordering {
        let place = |candidate: &Self| (candidate.server, candidate.document);
        other.score.total_cmp(&self.score).then_with(|| place(self).cmp(&place(other)))
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

#[expect(clippy::cast_precision_loss, reason = "counts of documents are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

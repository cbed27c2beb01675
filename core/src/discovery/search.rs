//! Ranked search over what servers say of themselves.
//!
//! A search reads the cards of all servers. That keeps a change cheap: there is no inverted index that would have to
//! follow each of them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use serde::Serialize;

use super::card::{Card, cut, words};
use crate::model::ServerId;
use crate::registry::Entry;

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
    /// What it says of itself.
    pub description: Option<String>,
    /// BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3.4) with k1 = 1.2, b = 0.75
    /// and fields weighted as in its section 3.6: a word counts 4 in a name, 2 in a tag, 1 in a description, and half of
    /// it where it only begins with the word searched. Higher is better; comparable within one answer only.
    pub score: f64,
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
        let words = card.words(entry);
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

#[expect(clippy::cast_precision_loss, reason = "counts of documents are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

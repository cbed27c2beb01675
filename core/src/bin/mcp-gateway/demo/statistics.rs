//! The promises of each algorithm about its distribution, and whether a run kept them.

use std::collections::BTreeMap;
use std::time::Duration;

use mcp_registry_gateway::model::Algorithm;
use serde::Serialize;

/// How far chance may go, in standard deviations: with four servers one run in 37,000 is beyond it.
const SIGMAS: f64 = 4.5;

/// One algorithm's run as the demo reports it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    /// The algorithm.
    pub(super) name: &'static str,
    /// Calls sent.
    pub(super) calls: u64,
    /// Calls without the right answer.
    pub(super) errors: u64,
    /// Calls that each server answered.
    pub(super) per_server: BTreeMap<String, u64>,
    /// The largest load of a server relative to its fair share; the share follows the weights.
    pub(super) max_over_mean: f64,
    /// Median time of a call as the client saw it, in milliseconds.
    pub(super) p50_ms: f64,
    /// The servers' weights.
    pub(super) weights: BTreeMap<String, u32>,
    /// Keys that reached more than one server; none but under consistent hashing.
    pub(super) moved_keys: u64,
    /// The promise of the algorithm, in words.
    pub(super) promise: String,
    /// The promise that broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broken: Option<String>,
}

/// The counts of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Calls sent and ended.
    pub(super) calls: u64,
    /// Calls without the right answer.
    pub(super) errors: u64,
    /// The message of the first error.
    pub(super) first_error: Option<String>,
    /// Right answers by server; has every server from the start.
    pub(super) per_server: BTreeMap<String, u64>,
    /// Times of right answers.
    pub(super) times: Vec<Duration>,
    /// Keys that reached more than one server, and which.
    pub(super) moved_keys: Vec<String>,
}

impl Run {
    /// Judges the counts.
    pub(super) fn judge(algorithm: Algorithm, weights: &BTreeMap<String, u32>, mut counts: Counts) -> Self {
        let loads = Loads::new(weights, &counts.per_server);
        let (promise, kept) = loads.promise(algorithm);
        let broken = if counts.errors > 0 {
            let first = counts.first_error.as_deref().unwrap_or("no reason given");
            Some(format!("{} of {} calls failed, the first with: {first}", counts.errors, counts.calls))
        } else if let Some(first) = counts.moved_keys.first() {
            Some(format!(
                "{} keys reached more than one server, the first moved {first}",
                counts.moved_keys.len()
            ))
        } else if kept {
            None
        } else {
            Some(format!("{algorithm} promises {promise}; got {:?}", counts.per_server))
        };
        Self {
            name: algorithm.as_str(),
            calls: counts.calls,
            errors: counts.errors,
            max_over_mean: rounded(loads.max_over_mean()),
            p50_ms: rounded(median(&mut counts.times).as_secs_f64() * 1e3),
            per_server: counts.per_server,
            weights: weights.clone(),
            moved_keys: counts.moved_keys.len() as u64,
            promise,
            broken,
        }
    }
}

/// Calls beside the fair share of each server.
struct Loads {
    pairs: Vec<(f64, f64)>,
    total: f64,
}

impl Loads {
    #[expect(clippy::cast_precision_loss, reason = "counts of a demo are far below 2^52")]
    fn new(weights: &BTreeMap<String, u32>, per_server: &BTreeMap<String, u64>) -> Self {
        let total = per_server.values().sum::<u64>() as f64;
        let weight: f64 = weights.values().copied().map(f64::from).sum();
        let pairs = weights.iter().map(|(name, own)| {
            let calls = per_server.get(name).copied().unwrap_or(0) as f64;
            (calls, total * f64::from(*own) / weight)
        });
        Self { pairs: pairs.collect(), total }
    }

    fn max_over_mean(&self) -> f64 {
        self.pairs.iter().map(|(calls, share)| calls / share).fold(0.0, f64::max)
    }

    /// The promise in words, and whether it was kept.
    #[expect(clippy::cast_precision_loss, reason = "a handful of servers")]
    fn promise(&self, algorithm: Algorithm) -> (String, bool) {
        let servers = self.pairs.len() as f64;
        let most = self.pairs.iter().map(|(calls, share)| (calls - share).abs()).fold(0.0, f64::max);
        // Each call is a draw with probability 1/servers: the deviation of a binomial count.
        let sigma = (self.total * (servers - 1.0)).sqrt() / servers;
        let noise = SIGMAS * sigma * servers / self.total;
        let within = |factor: f64| self.max_over_mean() <= factor;
        match algorithm {
            // The shares are whole only if the number of calls is a multiple of the servers'.
            Algorithm::RoundRobin => ("the same count for all".into(), most < 1.0),
            Algorithm::Weighted => ("exact proportion to the weights".into(), most <= 1.0),
            Algorithm::Random => {
                (format!("no count more than {:.0} off the mean", SIGMAS * sigma), most <= SIGMAS * sigma)
            }
            // A replica that a busy machine lets wait gets less, which is the purpose of the algorithm: no tight bound holds.
            Algorithm::LeastConnections => {
                let used = self.pairs.iter().all(|(calls, _)| *calls > 0.0);
                ("every server is used, none above 3 of the mean".into(), used && within(3.0))
            }
            Algorithm::ConsistentHash => {
                let factor = 1.2 + noise;
                (format!("a key stays on its server, none above {factor:.2} of the mean"), within(factor))
            }
        }
    }
}

/// The median; zero of nothing.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Three decimals, enough for a reader.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(algorithm: Algorithm, weights: [u32; 4], calls: [u64; 4], errors: u64) -> Run {
        let names = ["a", "b", "c", "d"].map(String::from);
        let weights = names.iter().cloned().zip(weights).collect();
        let total = calls.iter().sum::<u64>() + errors;
        let per_server = names.into_iter().zip(calls).collect();
        let counts = Counts { calls: total, errors, per_server, ..Counts::default() };
        Run::judge(algorithm, &weights, counts)
    }

    #[test]
    fn round_robin_may_differ_by_one_call_and_no_more() {
        assert!(run(Algorithm::RoundRobin, [1; 4], [500; 4], 0).broken.is_none());
        assert!(run(Algorithm::RoundRobin, [1; 4], [26, 25, 25, 25], 0).broken.is_none());
        assert!(run(Algorithm::RoundRobin, [1; 4], [501, 500, 500, 499], 0).broken.is_some());
    }

    #[test]
    fn weighted_is_measured_against_the_share_of_its_weight() {
        let kept = run(Algorithm::Weighted, [4, 2, 1, 1], [1000, 500, 250, 250], 0);
        assert!(kept.broken.is_none());
        assert!((kept.max_over_mean - 1.0).abs() < 1e-9);
        let even = run(Algorithm::Weighted, [4, 2, 1, 1], [500; 4], 0);
        assert!(even.broken.is_some());
        assert!((even.max_over_mean - 2.0).abs() < 1e-9);
    }

    #[test]
    fn random_may_differ_as_far_as_chance_goes() {
        // One standard deviation of 2,000 draws among four is 19.4.
        assert!(run(Algorithm::Random, [1; 4], [560, 480, 480, 480], 0).broken.is_none());
        assert!(run(Algorithm::Random, [1; 4], [590, 470, 470, 470], 0).broken.is_some());
    }

    #[test]
    fn one_server_that_gets_everything_breaks_every_promise() {
        for algorithm in Algorithm::ALL {
            assert!(run(*algorithm, [1; 4], [2000, 0, 0, 0], 0).broken.is_some(), "{algorithm}");
        }
    }

    #[test]
    fn an_error_breaks_the_promise_also_where_the_distribution_is_right() {
        let broken = run(Algorithm::RoundRobin, [1; 4], [10; 4], 1).broken.unwrap();
        assert!(broken.starts_with("1 of 41 calls failed"), "{broken}");
    }
}

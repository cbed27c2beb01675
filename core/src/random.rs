//! Seeded randomness that any number of threads can draw from without a lock.
//!
//! `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) over one atomic
//! counter: good enough to spread load and jitter, repeatable from its seed, never for secrets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

/// A stream of 64-bit numbers determined by its seed and the order of draws.
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Random {
    /// The stream of `seed`.
    pub const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A stream that differs in each process and each call.
    pub fn from_entropy() -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        Self::seeded(high ^ low)
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        mix(self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
    }

    /// An id that differs from all others, as long as it need not be hard to guess.
    pub fn uuid(&self) -> Uuid {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// A number below `bound`, by Lemire's multiply-shift (bias below `bound`/2^64); 0 for bound 0.
    pub fn below(&self, bound: usize) -> usize {
        usize::try_from((u128::from(self.next()) * bound as u128) >> 64).unwrap_or(0)
    }

    /// `base` lengthened or shortened by up to `share` of itself (0.2: from 80 % to 120 %).
    #[expect(clippy::cast_precision_loss, reason = "53 bits are plenty for jitter")]
    pub fn jitter(&self, base: Duration, share: f64) -> Duration {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        base.mul_f64((1.0 + share * (2.0 * unit - 1.0)).max(0.0))
    }
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

//! The hash ring: which server a key belongs to, the same in every process, language and machine.
//!
//! Everything that decides is written down here, so that anyone can compute it:
//! - The hash is XXH3-64 with the seed [`HASH_SEED`]. Its result does not depend on the byte order of the machine.
//! - A key's place is the hash of its UTF-8 bytes.
//! - A server of name `name` has points 0 to v - 1; the place of point i is the hash of the UTF-8 bytes of `name`
//!   followed by i as four bytes, lowest first. Names, not ids: a replica that is registered anew gets its keys
//!   back, and gateways with databases of their own agree.
//! - A key belongs to the server of the first point at or after its place, going round.
//! - v = max(1, round(P · weight / R)): R is the largest weight of the set rounded up to a power of two, and P is
//!   2,048 for up to 128 servers in the set (drained ones count), 512 up to 1,024, 64 above. Weight 0 has no points.
//!
//! Why these numbers: with some 1,000 to 2,000 points each, the worst of 100 equal servers gets 7 to 13 % more than the
//! mean; with 160 it gets 21 to 27 %. A point takes 24 bytes, so a ring takes at most 12.6 MB for 1,024 servers
//! and 15.4 MB for 10,000, where it is built in well under 0.2 s. P and R move in powers, since a formula that follows
//! the size of the set would move keys each time a server comes or goes; crossing one of the steps moves more.
//!
//! [`hashring`] keeps the points; the ring is built by one `batch_add`, and walked by asking for the point at or after
//! the last one plus one, since the crate's own `get_with_replicas` clones all of it.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use hashring::HashRing;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Entry;

/// The seed of XXH3-64 for keys and points: `mreg` in ASCII.
pub const HASH_SEED: u64 = 0x6d72_6567;

/// The hash of an affinity key: XXH3-64 of its UTF-8 bytes with [`HASH_SEED`].
pub fn key_of(text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), HASH_SEED)
}

/// Points of a server of the largest weight (if that is a power of two), by number of servers.
const fn points_of_heaviest(servers: usize) -> u64 {
    match servers {
        0..=128 => 2048,
        129..=1024 => 512,
        _ => 64,
    }
}

/// The ring over the members of a pool.
pub(super) struct Ring {
    points: HashRing<Point, AsPlaced>,
    /// The members that it was built of.
    members: Vec<(Arc<str>, u32)>,
}

impl Ring {
    /// The ring over these members; `previous` itself if it is of the same ones in the same order.
    pub(super) fn over(roster: &[Entry], previous: Option<&Arc<Self>>) -> Arc<Self> {
        match previous {
            Some(ring) if ring.is_of(roster) => Arc::clone(ring),
            _ => Arc::new(Self::build(roster)),
        }
    }

    fn is_of(&self, roster: &[Entry]) -> bool {
        self.members.len() == roster.len()
            && self
                .members
                .iter()
                .zip(roster)
                .all(|((name, weight), entry)| *weight == entry.weight && *name == entry.name)
    }

    fn build(roster: &[Entry]) -> Self {
        let heaviest = roster.iter().map(|entry| u64::from(entry.weight)).max().unwrap_or(0);
        let reference = heaviest.next_power_of_two();
        let full = points_of_heaviest(roster.len());
        // In the order of names, so that two points in the same place would fall alike everywhere.
        let mut members: Vec<usize> = (0..roster.len()).filter(|index| roster[*index].weight > 0).collect();
        members.sort_by(|a, b| roster[*a].name.cmp(&roster[*b].name));
        let mut placed = Vec::new();
        let mut bytes = Vec::new();
        for member in members {
            let entry = &roster[member];
            let count = ((full * u64::from(entry.weight) + reference / 2) / reference).max(1);
            for point in 0..u32::try_from(count).unwrap_or(u32::MAX) {
                bytes.clear();
                bytes.extend_from_slice(entry.name.as_bytes());
                bytes.extend_from_slice(&point.to_le_bytes());
                placed.push(Point { place: xxh3_64_with_seed(&bytes, HASH_SEED), member });
            }
        }
        let mut points = HashRing::with_hasher(AsPlaced);
        points.batch_add(placed);
        let members = roster.iter().map(|entry| (Arc::clone(&entry.name), entry.weight)).collect();
        Self { points, members }
    }

    /// The first point at or after `place`, going round.
    pub(super) fn at(&self, place: u64) -> Option<&Point> {
        self.points.get(&place)
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} members, {} points)", self.members.len(), self.points.len())
    }
}

/// One point of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) place: u64,
    pub(super) member: usize,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.place);
    }
}

/// Leaves places as they are: they are hashes already.
#[derive(Clone, Copy, Debug)]
struct AsPlaced;

impl BuildHasher for AsPlaced {
    type Hasher = RingPoint;
    fn build_hasher(&self) -> RingPoint {
        RingPoint(0)
    }
}

struct RingPoint(u64);

impl Hasher for RingPoint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, HASH_SEED);
    }

    fn write_u64(&mut self, place: u64) {
        self.0 = place;
    }
}

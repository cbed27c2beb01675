//! One thing for each of a few groups of threads, so that threads seldom touch the same memory: where two change one counter, each
//! waits until the other's processor has handed it over.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Enough for the processors of most machines; more threads share.
const STRIPES: usize = 16;

/// One `T` for each group of threads.
#[derive(Debug)]
pub(crate) struct PerThread<T>(Box<[Apart<T>]>);

/// A group of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stripe(usize);

/// Alone in what processors hand over to each other: two lines of 64 bytes, since they are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> PerThread<T> {
    /// Each made by `make`.
    pub(crate) fn new(mut make: impl FnMut() -> T) -> Self {
        Self((0..STRIPES).map(|_| Apart(make())).collect())
    }

    /// The one of the calling thread, always the same.
    pub(crate) fn mine(&self) -> &T {
        self.of(Stripe::mine())
    }

    /// The one of a group.
    pub(crate) fn of(&self, stripe: Stripe) -> &T {
        &self.0[stripe.0].0
    }

    /// All of them, the calling thread's first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let (others, from_mine) = self.0.split_at(Stripe::mine().0);
        from_mine.iter().chain(others).map(|apart| &apart.0)
    }
}

impl Stripe {
    /// The calling thread's.
    pub(crate) fn mine() -> Self {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
        }
        // A thread that ends and has nothing of its own any more can use any.
        Self(STRIPE.try_with(|stripe| *stripe).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_thread_always_has_the_same_one_and_sees_those_of_the_others() {
        let striped = PerThread::new(|| AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let mine = striped.mine();
                    mine.fetch_add(1, Ordering::Relaxed);
                    assert!(std::ptr::eq(mine, striped.mine()));
                    assert!(striped.all().next().is_some_and(|first| std::ptr::eq(first, mine)));
                });
            }
        });
        let all: Vec<u32> = striped.all().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(all.iter().sum::<u32>(), 40);
        assert!(all.iter().all(|count| (2..=3).contains(count)), "{all:?}");
    }
}

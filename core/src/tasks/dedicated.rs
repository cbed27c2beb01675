//! A thread for work that waits for a disk again and again.

/// Runs `work` on a thread of its own until it ends by itself, as when nobody is left who could ask for more.
pub(crate) fn dedicated(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

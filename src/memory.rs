//! How much memory there is, asked before much of it is taken.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Result};

/// Bytes that the user allows; 0: as many as the system does.
static ALLOWED: AtomicU64 = AtomicU64::new(0);

/// Part of what is free that one request may take: what is small is not asked for.
const USABLE: f64 = 0.9;

/// From now on the process takes no more than `bytes`, if it can be told beforehand. Results do not depend on it.
pub fn allow(bytes: u64) {
    ALLOWED.store(bytes, Relaxed);
}

/// How many pieces of `each` bytes may be taken for `what`, `wanted` at most.
///
/// # Errors
/// If there is not enough for one.
pub fn fit(each: u64, wanted: usize, what: &str) -> Result<usize> {
    fit_beside(0, each, wanted, what)
}

/// As [`fit`], with `beside` bytes taken for it whatever the number of pieces.
///
/// # Errors
/// As [`fit`].
pub fn fit_beside(beside: u64, each: u64, wanted: usize, what: &str) -> Result<usize> {
    let bound = tightest();
    let pieces = usize::try_from(bound.room().saturating_sub(beside) / each.max(1)).unwrap_or(usize::MAX).min(wanted);
    if pieces > 0 || wanted == 0 {
        return Ok(pieces);
    }
    Err(Error::Memory { what: what.to_string(), needed: each.saturating_add(beside), taken: bound.taken, limit: bound.limit })
}

/// # Errors
/// If there are no `bytes` left for `what`.
pub fn require(bytes: u64, what: &str) -> Result<()> {
    fit(bytes, 1, what).map(drop)
}

/// A bound on memory, and how much of it is taken.
#[derive(Clone, Copy)]
struct Bound {
    limit: u64,
    taken: u64,
}

impl Bound {
    fn room(self) -> u64 {
        (self.limit.saturating_sub(self.taken) as f64 * USABLE) as u64
    }
}

/// The bound that leaves the least room; none where neither user nor system sets one.
fn tightest() -> Bound {
    let resident = in_use();
    let allowed = Some(ALLOWED.load(Relaxed)).filter(|bytes| *bytes > 0);
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = group.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let machine = kilobytes("/proc/meminfo", "MemAvailable:").map(|left| left.saturating_add(resident));
    let resident = allowed.into_iter().chain(group).chain(machine).map(|limit| Bound { limit, taken: resident });
    let addresses = address_space().map(|limit| Bound { limit, taken: kilobytes("/proc/self/status", "VmSize:").unwrap_or(0) });
    resident.chain(addresses).min_by_key(|bound| bound.room()).unwrap_or(Bound { limit: u64::MAX, taken: 0 })
}

/// Bytes of buffers, as [`Lent`] counts them: now, and the most so far.
static BUFFERS: AtomicU64 = AtomicU64::new(0);
static MOST_BUFFERS: AtomicU64 = AtomicU64::new(0);
/// Bytes of all else, when they could be told last.
static ELSE: AtomicU64 = AtomicU64::new(0);

/// Bytes of a buffer, counted for as long as it lives.
#[derive(Debug, Default)]
pub struct Lent(u64);

impl Lent {
    pub fn new(bytes: u64) -> Self {
        let now = BUFFERS.fetch_add(bytes, Relaxed) + bytes;
        MOST_BUFFERS.fetch_max(now, Relaxed);
        Lent(bytes)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        BUFFERS.fetch_sub(self.0, Relaxed);
    }
}

/// Bytes of this process in memory, without those of buffers that were given back and that the allocator holds for the next
/// ones. How many it holds is not known: none only where there never were more buffers than now.
fn in_use() -> u64 {
    let resident = kilobytes("/proc/self/status", "VmRSS:").unwrap_or(0);
    let (now, most) = (BUFFERS.load(Relaxed), MOST_BUFFERS.load(Relaxed));
    let least = resident.saturating_sub(most);
    if now == most {
        ELSE.store(least, Relaxed);
    }
    now + ELSE.load(Relaxed).max(least)
}

/// What `ulimit -v` says, if anything.
fn address_space() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Most bytes of this process in memory so far, where the system tells.
pub fn peak() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

fn kilobytes(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_there_and_no_more() {
        assert_eq!(fit(1, 7, "seven bytes").unwrap(), 7);
        assert_eq!(fit(u64::MAX, 0, "nothing").unwrap(), 0);
        let error = require(u64::MAX, "a whole world").unwrap_err();
        assert!(matches!(error, Error::Memory { needed: u64::MAX, .. }));
        assert!(error.to_string().contains("a whole world"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_of_this_process() {
        // Each core counts some pages for itself before the system knows of them.
        const UNCOUNTED: u64 = 4 << 20;
        let bound = tightest();
        assert!(0 < bound.taken && bound.taken <= peak().unwrap() + UNCOUNTED && bound.taken < bound.limit);
    }
}

//! How long stages report what they do, without knowing who listens.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::checkpoint::Unit;
use crate::error::{Error, Result};

/// Listener for long stages. The terminal is one implementation, silence another.
pub trait Progress: Sync {
    /// A stage of `steps` steps begins.
    fn begin(&self, _stage: &str, _steps: usize) {}
    /// One step of the current stage is done; `detail` is short, for example `loss 0.031`.
    fn step(&self, _detail: &str) {}
    /// The loss that the step under way found.
    fn loss(&self, _loss: f64) {}
    /// The current stage is over.
    fn end(&self) {}
    /// Something was not done, or was done otherwise than asked: the user must hear of it.
    fn warn(&self, _message: &str) {}
    /// Something worth knowing that needs no action.
    fn note(&self, _message: &str) {}
    /// The next unit of work, which may keep its state.
    fn unit(&self) -> Unit<'_> {
        Unit::default()
    }
    /// True once the work should stop.
    fn interrupted(&self) -> bool {
        interrupt_requested()
    }

    /// # Errors
    /// [`Error::Interrupted`] once the work should stop.
    fn check(&self) -> Result<()> {
        if self.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Hears nothing.
pub struct Silent;

impl Progress for Silent {}

/// Lines of one kind that a person is told of.
const TOLD: usize = 32;

/// The first of `lines`, and how many more there are; a report has them all.
pub fn abridged(lines: impl ExactSizeIterator<Item = String>) -> impl Iterator<Item = String> {
    let more = lines.len().saturating_sub(TOLD);
    lines.take(TOLD).chain((more > 0).then(|| format!("likewise for {more} more; --report names them all")))
}

static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Asks every running stage to stop at its next step.
pub fn request_interrupt() {
    INTERRUPT.store(true, Ordering::SeqCst);
}

/// True once [`request_interrupt`] was called.
pub fn interrupt_requested() -> bool {
    INTERRUPT.load(Ordering::SeqCst)
}

/// For work that nobody listens to.
///
/// # Errors
/// [`Error::Interrupted`] once [`request_interrupt`] was called.
pub fn check_interrupt() -> Result<()> {
    if interrupt_requested() { Err(Error::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_end_with_their_number() {
        let lines = |count: usize| abridged((0..count).map(|line| line.to_string())).collect::<Vec<_>>();
        assert_eq!(lines(TOLD).last().map(String::as_str), Some("31"));
        assert_eq!(lines(TOLD + 5)[TOLD..], ["likewise for 5 more; --report names them all"]);
    }
}

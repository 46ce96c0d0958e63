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

static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Asks every running stage to stop at its next step.
pub fn request_interrupt() {
    INTERRUPT.store(true, Ordering::SeqCst);
}

/// True once [`request_interrupt`] was called.
pub fn interrupt_requested() -> bool {
    INTERRUPT.load(Ordering::SeqCst)
}

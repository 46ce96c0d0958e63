//! Being asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

#[cfg(unix)]
use signal_hook::consts::SIGXFSZ;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::{Error, Result};
use crate::progress;

static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// From now on SIGINT and SIGTERM ask the work to stop at its next step; a second one ends the process at once.
///
/// # Errors
/// If the system does not let us listen.
#[cfg(unix)]
pub fn listen() -> Result<()> {
    let fail = |error: std::io::Error| Error::Internal(format!("cannot listen for signals: {error}"));
    // A file that may not grow then fails to be written, which is told of, instead of ending the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(fail)?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(fail)?;
    let wait = move || {
        for signal in signals.forever() {
            if RECEIVED.swap(signal, Ordering::SeqCst) != 0 {
                std::process::exit(i32::from(exit_code()));
            }
            progress::request_interrupt();
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop).map_err(fail)
}

/// Elsewhere the system ends the process by itself.
#[cfg(not(unix))]
pub fn listen() -> Result<()> {
    Ok(())
}

/// 128 and the number of the signal.
pub fn exit_code() -> u8 {
    if RECEIVED.load(Ordering::SeqCst) == SIGTERM { 143 } else { 130 }
}

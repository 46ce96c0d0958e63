//! Panics, ours or a library's: no panic text reaches a user.

use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Keeps panics quiet unless RUST_BACKTRACE asks for them. The last place is remembered; an engine that panics is caught
/// where it is used.
pub fn silence() {
    if std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value == "0") {
        panic::set_hook(Box::new(remember));
    }
}

fn remember(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|location| {
        let file = Path::new(location.file()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("{file}:{}", location.line())
    });
    *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
}

/// What to tell of a panic that reached the top.
pub fn error() -> Error {
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Error::Internal(format!("stopped unexpectedly at {}", place.as_deref().unwrap_or("an unknown place")))
}

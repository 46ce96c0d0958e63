//! What a long run has reached, kept in a folder so that another run can go on from there.
//!
//! A run asks for the same units of work in the same order every time, since all it does follows from model, settings and
//! seed. Each unit may keep its state under its number; a unit that finds a state goes on from it, one that finds none begins
//! anew and reaches the same. What is kept therefore changes how long a run takes, never what it makes.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::progress::{Progress, interrupt_requested};

/// How often a unit that is under way is kept.
const USUALLY_EVERY: Duration = Duration::from_secs(20);
/// The file that says which run a folder belongs to.
const RUN_FILE: &str = "run";
const SUFFIX: &str = ".state";

/// A folder of kept states.
pub struct Checkpoints {
    folder: PathBuf,
    every: Duration,
    next: AtomicUsize,
    last: Mutex<Instant>,
}

impl Checkpoints {
    /// Goes on from `folder`, or begins one. `run` says line by line what the results follow from.
    ///
    /// # Errors
    /// If the folder belongs to another run, or cannot be read or written.
    pub fn open(folder: &Path, run: &str) -> Result<Self> {
        Self::open_every(folder, run, USUALLY_EVERY)
    }

    fn open_every(folder: &Path, run: &str, every: Duration) -> Result<Self> {
        match fs::read_to_string(folder.join(RUN_FILE)) {
            Ok(kept) => compare(folder, &kept, run)?,
            Err(error) if error.kind() == ErrorKind::NotFound => begin(folder, run)?,
            Err(error) => return Err(Error::file(folder, error)),
        }
        Ok(Checkpoints { folder: folder.to_path_buf(), every, next: AtomicUsize::new(0), last: Mutex::new(Instant::now()) })
    }

    fn unit(&self) -> Unit<'_> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        Unit(Some((self, self.folder.join(format!("{number:06}{SUFFIX}")))))
    }

    /// Whether it is time to keep what is under way again: also when the work is about to stop.
    fn is_time(&self) -> bool {
        interrupt_requested() || self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= self.every
    }

    fn write(&self, path: &Path, state: &impl Serialize) -> Result<()> {
        let payload = postcard::to_stdvec(state).map_err(|error| Error::Internal(format!("a state cannot be kept: {error}")))?;
        let fail = |error: std::io::Error| Error::file(&self.folder, format!("what was reached cannot be kept: {error}"));
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(fail)?;
        file.write_all(&Sha256::digest(&payload)).and_then(|()| file.write_all(&payload)).map_err(fail)?;
        file.persist(path).map_err(|error| fail(error.error))?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(())
    }
}

/// Removes the folder of a run that is over, if there is one.
///
/// # Errors
/// If it cannot be removed.
pub fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(folder, error)),
        _ => Ok(()),
    }
}

fn begin(folder: &Path, run: &str) -> Result<()> {
    let fail = |error: std::io::Error| Error::file(folder, error);
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::file(folder, "holds something else than the checkpoint of a run; move it away to use --resume"));
    }
    fs::create_dir_all(folder).map_err(fail)?;
    fs::write(folder.join(RUN_FILE), run).map_err(fail)
}

fn compare(folder: &Path, kept: &str, run: &str) -> Result<()> {
    if kept == run {
        return Ok(());
    }
    let differing = kept.lines().zip(run.lines()).find(|(kept, now)| kept != now);
    let (kept, now) = differing.unwrap_or(("fewer or more settings", "this run's"));
    let (kept, now) = (kept.trim(), now.trim());
    Err(Error::file(folder, format!("is the checkpoint of another run: `{kept}` there, `{now}` here; delete it to begin anew")))
}

/// What is kept of a unit: a step on the way, or what it came to.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Reached<Step, End> {
    Step(Step),
    End(End),
}

/// A unit of work that may keep its state.
#[derive(Default)]
pub struct Unit<'a>(Option<(&'a Checkpoints, PathBuf)>);

impl Unit<'_> {
    /// What an earlier run kept of this unit.
    ///
    /// # Errors
    /// If it cannot be read, or was damaged.
    pub fn kept<Step: DeserializeOwned, End: DeserializeOwned>(&self) -> Result<Option<Reached<Step, End>>> {
        let Some((_, path)) = &self.0 else { return Ok(None) };
        let damaged = || Error::file(path, "is damaged; delete its folder to begin anew");
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(path, error)),
        };
        let (digest, payload) = bytes.split_at_checked(Sha256::output_size()).ok_or_else(damaged)?;
        if Sha256::digest(payload).as_slice() != digest {
            return Err(damaged());
        }
        postcard::from_bytes(payload).map(Some).map_err(|_| damaged())
    }

    /// Keeps what the unit came to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&self, end: &impl Serialize) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |(checkpoints, path)| checkpoints.write(path, &Reached::<(), _>::End(end)))
    }

    /// Keeps what the unit has reached, if nothing was kept for a while or the work is about to stop.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep<Step: Serialize>(&self, step: impl FnOnce() -> Result<Step>) -> Result<()> {
        match &self.0 {
            Some((checkpoints, path)) if checkpoints.is_time() => checkpoints.write(path, &Reached::<_, ()>::Step(step()?)),
            _ => Ok(()),
        }
    }
}

/// Passes everything on to another listener, and lets units of work keep their states.
pub struct Resumable<'a> {
    pub inner: &'a dyn Progress,
    pub checkpoints: Checkpoints,
}

impl Progress for Resumable<'_> {
    fn begin(&self, stage: &str, steps: usize) {
        self.inner.begin(stage, steps);
    }

    fn step(&self, detail: &str) {
        self.inner.step(detail);
    }

    fn loss(&self, loss: f64) {
        self.inner.loss(loss);
    }

    fn end(&self) {
        self.inner.end();
    }

    fn warn(&self, message: &str) {
        self.inner.warn(message);
    }

    fn note(&self, message: &str) {
        self.inner.note(message);
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }

    fn unit(&self) -> Unit<'_> {
        self.checkpoints.unit()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::progress::Silent;

    /// Stops the work after some steps; keeps every state.
    struct Stopping {
        left: AtomicUsize,
    }

    impl Progress for Stopping {
        fn step(&self, _: &str) {
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).ok();
        }

        fn interrupted(&self) -> bool {
            self.left.load(Ordering::SeqCst) == 0
        }
    }

    /// Checks that `work`, interrupted every few steps and resumed until it is done, makes what it makes in one go.
    pub fn check_resuming<T: PartialEq + std::fmt::Debug>(steps_each: usize, work: impl Fn(&dyn Progress) -> Result<T>) {
        let wanted = work(&Silent).unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("kept");
        for runs in 0.. {
            let stopping = Stopping { left: AtomicUsize::new(steps_each) };
            let checkpoints = Checkpoints::open_every(&folder, "run", Duration::ZERO).unwrap();
            match work(&Resumable { inner: &stopping, checkpoints }) {
                Err(Error::Interrupted) => assert!(runs < 100, "no run comes further than the one before"),
                found => {
                    assert!(runs > 1, "it was never interrupted");
                    assert_eq!(found.unwrap(), wanted);
                    return;
                }
            }
        }
    }

    #[test]
    fn a_unit_finds_what_it_kept() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("kept");
        let open = || Checkpoints::open(&folder, "model: a\nseed: 1\n");
        let first = open().unwrap();
        assert_eq!(first.unit().kept::<u8, Vec<f32>>().unwrap(), None);
        first.unit().finish(&vec![1.0f32, f32::NAN, -0.0]).unwrap();
        first.unit().keep(|| -> Result<u8> { panic!("it is not time yet") }).unwrap();
        let often = Checkpoints { every: Duration::ZERO, ..first };
        often.unit().keep(|| Ok(7u8)).unwrap();
        let again = open().unwrap();
        assert_eq!(again.unit().kept::<u8, Vec<f32>>().unwrap(), None);
        let Reached::End(numbers) = again.unit().kept::<u8, Vec<f32>>().unwrap().unwrap() else { panic!("it was finished") };
        assert_eq!(numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), [1.0f32, f32::NAN, -0.0].map(f32::to_bits));
        assert_eq!(again.unit().kept::<u8, u8>().unwrap(), None);
        assert_eq!(again.unit().kept::<u8, u8>().unwrap(), Some(Reached::Step(7)));
        remove(&folder).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
        assert_eq!(Unit::default().kept::<u8, u8>().unwrap(), None);
    }

    #[test]
    fn another_run_and_damage_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("kept");
        let kept = Checkpoints::open(&folder, "model: a\nseed: 1\n").unwrap();
        kept.unit().finish(&7u64).unwrap();
        let error = Checkpoints::open(&folder, "model: a\nseed: 2\n").err().unwrap().to_string();
        assert!(error.contains("`seed: 1` there, `seed: 2` here"), "{error}");
        let state = folder.join("000000.state");
        let bytes = fs::read(&state).unwrap();
        for damaged in [&bytes[..bytes.len() - 1], &bytes[..9], &[]] {
            fs::write(&state, damaged).unwrap();
            let error = Checkpoints::open(&folder, "model: a\nseed: 1\n").unwrap().unit().kept::<u64, u64>().unwrap_err().to_string();
            assert!(error.contains("is damaged"), "{error}");
        }
        let strange = place.path().join("strange");
        fs::create_dir(&strange).unwrap();
        fs::write(strange.join("thesis.txt"), "years of work").unwrap();
        assert!(Checkpoints::open(&strange, "").err().unwrap().to_string().contains("holds something else"));
    }
}

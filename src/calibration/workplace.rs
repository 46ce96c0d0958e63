//! Where a folder is made before it is put in its place, and what a killed run leaves of it.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::write::is_ours;

const PREFIX: &str = ".zeroq-";
/// A file that is locked for as long as the run lives that made it.
const LOCK: &str = "lock";
const NEW: &str = "new";
const OLD: &str = "old";

/// A folder beside the one that is to be written.
pub(super) struct Workplace {
    folder: TempDir,
    fresh: PathBuf,
    _lock: File,
}

impl Workplace {
    /// # Errors
    /// If `parent` cannot be written into.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::create_new(folder.path().join(LOCK))?;
        // Without locks nothing is ever taken for stale.
        let _ = lock.try_lock();
        let fresh = folder.path().join(NEW);
        fs::create_dir(&fresh)?;
        Ok(Workplace { folder, fresh, _lock: lock })
    }

    /// The folder to fill.
    pub fn fresh(&self) -> &Path {
        &self.fresh
    }

    /// Makes what was filled the folder `to`, which is replaced.
    ///
    /// # Errors
    /// If it cannot be moved there; what was there stays.
    pub fn put_in_place(self, to: &Path) -> io::Result<()> {
        if !to.exists() {
            return fs::rename(&self.fresh, to);
        }
        if exchange(&self.fresh, to).is_ok() {
            return Ok(());
        }
        let old = self.folder.path().join(OLD);
        fs::rename(to, &old)?;
        fs::rename(&self.fresh, to).inspect_err(|_| drop(fs::rename(&old, to)))
    }
}

/// Lets two folders change places, so that there is one in each at any time.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Removes the workplaces in `parent` of runs that were killed. What holds anything else, or a set that was to be replaced
/// when there was no other one yet, stays.
pub(super) fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| name(entry).starts_with(PREFIX)) {
        if let Ok(Some(_lock)) = abandoned(&entry) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The lock of a workplace whose run is gone.
fn abandoned(entry: &DirEntry) -> io::Result<Option<File>> {
    if !entry.file_type()?.is_dir() {
        return Ok(None);
    }
    let inside = fs::read_dir(entry.path())?.collect::<io::Result<Vec<_>>>()?;
    let own = |entry: &DirEntry| -> io::Result<bool> {
        let kind = entry.file_type()?;
        Ok(match name(entry).as_str() {
            LOCK => kind.is_file(),
            NEW | OLD => kind.is_dir() && fs::read_dir(entry.path())?.flatten().all(|file| is_ours(&name(&file))),
            _ => false,
        })
    };
    let has = |wanted: &str| inside.iter().any(|entry| name(entry) == wanted);
    if !has(LOCK) || has(NEW) && has(OLD) {
        return Ok(None);
    }
    for entry in &inside {
        if !own(entry)? {
            return Ok(None);
        }
    }
    let lock = File::open(entry.path().join(LOCK))?;
    Ok(lock.try_lock().is_ok().then_some(lock))
}

fn name(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_run_left_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str, files: &[&str]| {
            for file in files {
                let path = place.path().join(name).join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        };
        make(".zeroq-killed", &["lock", "new/set.safetensors", "new/picture-0000.png"]);
        make(".zeroq-killed-late", &["lock", "old/set.safetensors"]);
        make(".zeroq-between", &["lock", "new/set.safetensors", "old/set.safetensors"]);
        make(".zeroq-unlocked", &["new/set.safetensors"]);
        make(".zeroq-precious", &["lock", "new/thesis.txt"]);
        make(".zeroq-other", &["lock", "notes"]);
        make("zeroq-killed", &["lock", "new/set.safetensors"]);
        let alive = Workplace::new(place.path()).unwrap();
        remove_stale(place.path());
        let mut left: Vec<String> = fs::read_dir(place.path()).unwrap().map(|entry| name(&entry.unwrap())).collect();
        left.sort();
        let alive = alive.folder.path().file_name().unwrap().to_string_lossy().into_owned();
        let mut wanted = vec![alive, ".zeroq-between".into(), ".zeroq-other".into(), ".zeroq-precious".into(), ".zeroq-unlocked".into()];
        wanted.push("zeroq-killed".into());
        wanted.sort();
        assert_eq!(left, wanted);
    }

    #[test]
    fn a_folder_takes_the_place_of_another() {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("set");
        for content in ["one", "two"] {
            let workplace = Workplace::new(place.path()).unwrap();
            fs::write(workplace.fresh().join("file"), content).unwrap();
            workplace.put_in_place(&to).unwrap();
            assert_eq!(fs::read_to_string(to.join("file")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}

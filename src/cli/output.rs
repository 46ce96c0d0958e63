//! Results: whole or not at all.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::onnx::{Encoded, is_data_of};
use crate::tensor::check_sources;

/// Checks before the work begins that `output` can be written, will not replace anything unasked, and is none of `inputs`.
///
/// # Errors
/// Says what is in the way.
pub fn check_output(output: &Path, inputs: &[&Path], force: bool) -> Result<()> {
    let parent = parent_of(output);
    if output.file_name().is_none() || output.is_dir() {
        return Err(Error::file(output, "is a folder; give the name of a file"));
    }
    if !parent.is_dir() {
        return Err(Error::file(parent, "there is no such folder to write into"));
    }
    if fs::symlink_metadata(output).is_ok_and(|there| !there.is_file() && !there.is_symlink()) {
        return Err(Error::file(output, "is a device, a pipe or a socket, which is never replaced; give the name of a file"));
    }
    if let Ok(place) = fs::canonicalize(output)
        && inputs.iter().any(|input| fs::canonicalize(input).is_ok_and(|input| input == place))
    {
        return Err(Error::file(output, "is an input; give another output"));
    }
    if !force && fs::symlink_metadata(output).is_ok() {
        return Err(exists(output));
    }
    tempfile::tempfile_in(&parent).map(drop).map_err(|error| Error::file(parent, format!("cannot be written into: {error}")))
}

/// Writes a file under no name, or another one where the system knows no files without, and moves it into place.
///
/// # Errors
/// If it cannot be written, or is there already and `force` is not given.
pub fn write_file(output: &Path, bytes: &[u8], force: bool) -> Result<()> {
    Fresh::new(output, |mut file| file.write_all(bytes))?.place(output, force)
}

/// Writes a model and, where it has one, its other file. That has a name of its own and comes first: with the model's name
/// the new pair is in place of the old one, whatever happens before or after. Then data that an earlier model of this name
/// had go, but none of `inputs`.
///
/// # Errors
/// As [`write_file`].
pub fn write_model(output: &Path, encoded: &Encoded, inputs: &[PathBuf], force: bool) -> Result<()> {
    let model = Fresh::new(output, |mut file| file.write_all(&encoded.model))?;
    if !force && fs::symlink_metadata(output).is_ok() {
        return Err(exists(output));
    }
    if encoded.has_data() {
        write_data(&output.with_file_name(&encoded.data_name), encoded, force)?;
    }
    model.place(output, force)?;
    if force {
        remove_former_data(output, &encoded.data_name, inputs);
    }
    Ok(())
}

fn write_data(path: &Path, encoded: &Encoded, force: bool) -> Result<()> {
    let write = |mut file: &File| {
        encoded.data().try_for_each(|(offset, bytes)| {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&bytes)
        })
    };
    let fresh = Fresh::new(path, write)?;
    check_sources()?;
    fresh.place(path, force)?;
    // The name must not come to the disk after that of the model; not every file system can promise it.
    File::open(parent_of(path)).and_then(|folder| folder.sync_all()).or(Ok(()))
}

/// What cannot be removed stays: the result is there.
fn remove_former_data(output: &Path, kept: &str, inputs: &[PathBuf]) {
    let Some(name) = output.file_name().and_then(|name| name.to_str()) else { return };
    let Ok(entries) = fs::read_dir(parent_of(output)) else { return };
    let is_input = |path: &Path| inputs.iter().any(|input| fs::canonicalize(input).ok() == fs::canonicalize(path).ok());
    for entry in entries.flatten() {
        let other = entry.file_name();
        let former = other.to_str().is_some_and(|other| other != kept && is_data_of(other, name));
        if former && entry.file_type().is_ok_and(|kind| kind.is_file()) && !is_input(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A whole file that is not in its place yet.
enum Fresh {
    /// Nothing of it is left when the process is killed.
    Unnamed(File),
    Named(NamedTempFile),
}

impl Fresh {
    /// A file beside `output` that `write` has filled.
    fn new(output: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> Result<Self> {
        let fill = || {
            let fresh = match unnamed::create(&parent_of(output)) {
                Some(file) => Fresh::Unnamed(file),
                None => Fresh::Named(named(&parent_of(output))?),
            };
            let file = match &fresh {
                Fresh::Unnamed(file) => file,
                Fresh::Named(file) => file.as_file(),
            };
            write(file)?;
            file.sync_all()?;
            Ok(fresh)
        };
        fill().map_err(|error: io::Error| Error::file(output, error))
    }

    fn place(self, output: &Path, force: bool) -> Result<()> {
        let placed = match self {
            Fresh::Unnamed(file) => unnamed::place(&file, output, force),
            Fresh::Named(file) if force => file.persist(output).map(drop).map_err(|error| error.error),
            Fresh::Named(file) => file.persist_noclobber(output).map(drop).map_err(|error| error.error),
        };
        placed.map_err(|error| if error.kind() == ErrorKind::AlreadyExists { exists(output) } else { Error::file(output, error) })
    }
}

fn named(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".zeroq-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Files without a name.
#[cfg(target_os = "linux")]
mod unnamed {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

    /// `None` where the file system knows no such files.
    pub fn create(folder: &Path) -> Option<File> {
        open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o666)).ok().map(File::from)
    }

    /// Gives `file` the name `output`.
    pub fn place(file: &File, output: &Path, force: bool) -> io::Result<()> {
        let source = format!("/proc/self/fd/{}", file.as_raw_fd());
        let link = |to: &Path| linkat(CWD, source.as_str(), CWD, to, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from);
        match link(output) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && force => {}
            linked => return linked,
        }
        // A link replaces nothing; a name does, for which the file needs one, for a moment.
        let beside: PathBuf = output.with_file_name(format!(".zeroq-{}", std::process::id()));
        link(&beside)?;
        std::fs::rename(&beside, output).inspect_err(|_| drop(std::fs::remove_file(&beside)))
    }
}

#[cfg(not(target_os = "linux"))]
mod unnamed {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub fn create(_: &Path) -> Option<File> {
        None
    }

    pub fn place(_: &File, _: &Path, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn exists(output: &Path) -> Error {
    Error::file(output, "exists already; give --force to replace it")
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Prints the result. A reader that went away is no failure.
///
/// # Errors
/// If stdout cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::file("stdout", error)),
        _ => Ok(()),
    }
}

/// Prints the result as one JSON value.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&to_json(value)?)
}

/// A value as indented JSON, one line break at the end.
///
/// # Errors
/// If the value has no JSON form.
pub fn to_json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_unasked() {
        let place = tempfile::tempdir().unwrap();
        let (input, output) = (place.path().join("in"), place.path().join("out"));
        fs::write(&input, "model").unwrap();
        check_output(&output, &[&input], false).unwrap();
        write_file(&output, b"one", false).unwrap();
        assert!(check_output(&output, &[&input], false).is_err());
        assert!(write_file(&output, b"two", false).unwrap_err().to_string().contains("--force"));
        assert_eq!(fs::read(&output).unwrap(), b"one");
        write_file(&output, b"two", true).unwrap();
        assert_eq!(fs::read(&output).unwrap(), b"two");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_input_is_never_the_output() {
        let place = tempfile::tempdir().unwrap();
        let input = place.path().join("in");
        fs::write(&input, "model").unwrap();
        let same = place.path().join(".").join("in");
        assert!(check_output(&same, &[&input], true).unwrap_err().to_string().contains("is an input"));
        assert!(check_output(place.path(), &[], true).is_err());
        assert!(check_output(&place.path().join("no/out"), &[], true).is_err());
    }
}

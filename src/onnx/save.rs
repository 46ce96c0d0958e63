//! From a [`Model`] to a file, whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::encode::to_bytes;
use super::model::Model;
use crate::error::{Error, Result};

/// Checks, before any work is done, that `path` may be written: it is none of the files that the model was read from,
/// its folder exists, and nothing stands there unless `force`.
///
/// # Errors
/// Says which of these does not hold.
pub fn check_output(model: &Model, path: impl AsRef<Path>, force: bool) -> Result<()> {
    let path = path.as_ref();
    refuse_input(model, path)?;
    if !folder_of(path).is_dir() {
        return Err(Error::file(path, format!("the folder `{}` does not exist", folder_of(path).display())));
    }
    if path.is_dir() {
        return Err(Error::file(path, "this is a folder; name the output file"));
    }
    if path.symlink_metadata().is_ok_and(|there| !there.is_file() && !there.is_symlink()) {
        return Err(Error::file(path, "this is a device, a pipe or a socket, which is never replaced; name a file"));
    }
    if path.symlink_metadata().is_ok() && !force {
        return Err(Error::file(path, "the output exists already; --force replaces it"));
    }
    Ok(())
}

/// # Errors
/// If `path` is one of the files that the model was read from.
pub fn refuse_input(model: &Model, path: &Path) -> Result<()> {
    let inputs = std::iter::once(&model.path).chain(&model.external_files).filter(|input| !input.as_os_str().is_empty());
    match inputs.into_iter().find(|input| same_file(input, path)) {
        Some(input) => Err(Error::file(path, format!("the output would overwrite the input `{}`", input.display()))),
        None => Ok(()),
    }
}

/// Writes the model to `path` by way of a temporary file in the same folder, so that no half file is ever seen.
///
/// # Errors
/// As [`check_output`] and [`to_bytes`]; or if the file cannot be written.
pub fn save(model: &Model, path: impl AsRef<Path>, force: bool) -> Result<()> {
    let path = path.as_ref();
    check_output(model, path, force)?;
    let bytes = to_bytes(model)?;
    let fail = |error: std::io::Error| Error::file(path, error);
    let mut file = temporary_file(folder_of(path)).map_err(fail)?;
    file.write_all(&bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    let persisted = if force { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map_err(|error| fail(error.error))?;
    sync_folder(folder_of(path));
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> { path.canonicalize().ok() };
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

fn temporary_file(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".zeroq-").suffix(".onnx.part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
        builder.tempfile_in(folder)
    }
    #[cfg(not(unix))]
    builder.tempfile_in(folder)
}

/// The rename reaches the disk with its folder; not every file system can do this, and the file is whole either way.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::samples::{convolution, encoded};
    use crate::onnx::{Limits, load};

    #[test]
    fn writes_only_where_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in.onnx");
        let output = folder.path().join("out.onnx");
        std::fs::write(&input, encoded(&convolution())).unwrap();
        let model = load(&input, &Limits::default()).unwrap();
        save(&model, &output, false).unwrap();
        let first = std::fs::read(&output).unwrap();
        assert_eq!(first, to_bytes(&model).unwrap());
        let cases = [
            (input.clone(), true, "would overwrite the input"),
            (folder.path().join("./in.onnx"), true, "would overwrite the input"),
            (output.clone(), false, "--force replaces it"),
            (folder.path().join("missing/out.onnx"), false, "does not exist"),
            (folder.path().to_path_buf(), true, "folder"),
        ];
        for (path, force, wanted) in cases {
            let message = save(&model, &path, force).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message} should say {wanted}");
        }
        save(&model, &output, true).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }
}

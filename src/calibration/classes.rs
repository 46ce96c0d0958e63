//! Folders whose folders are classes.

use std::fs;
use std::path::{Path, PathBuf};

use super::pictures::list_pictures;
use super::write::SET_FILE;

/// The folders in `folder` that hold pictures, by name, where it holds neither pictures nor a set of its own; none elsewhere.
pub fn class_folders(folder: &Path) -> Vec<PathBuf> {
    let holds = |folder: &Path| list_pictures(folder).is_ok();
    if folder.join(SET_FILE).exists() || holds(folder) {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir() && holds(path)).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_folders_of_a_folder_without_pictures() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for class in ["dog", "cat", "empty"] {
            fs::create_dir(at(class)).unwrap();
        }
        assert!(class_folders(place.path()).is_empty());
        fs::write(at("dog/1.png"), "").unwrap();
        fs::write(at("cat/1.JPEG"), "").unwrap();
        assert_eq!(class_folders(place.path()), [at("cat"), at("dog")]);
        assert!(class_folders(&at("cat")).is_empty());
        assert!(class_folders(&at("nowhere")).is_empty());
        fs::write(at("loose.jpg"), "").unwrap();
        assert!(class_folders(place.path()).is_empty());
    }
}

//! All that a container has on disk, and its removal.

use std::path::{Path, PathBuf};

use super::dependents::{self, Place};
use super::remove::remove_directory_except;
use super::{backend, remove};
use crate::error::Result;
use crate::lock::{Partial, Record, begin_creation, take_over};
use crate::plan::{Storage, StorageKind};
use crate::{Error, lock};

/// Snapshots of a container are removed one by one, never with it.
pub const SNAPSHOTS: &str = "snaps";

/// Whether storage lies in a directory, and goes with it.
pub fn is_within(storage: &Storage, directory: &Path) -> bool {
    match storage {
        Storage::Dir(path) | Storage::Btrfs(path) | Storage::Loop(path) => path.starts_with(directory),
        Storage::Overlay { upper, work, .. } => upper.starts_with(directory) && work.starts_with(directory),
        Storage::Nbd { image, .. } => image.starts_with(directory),
        Storage::Lvm(_) | Storage::Rbd(_) | Storage::Zfs(_) => false,
    }
}

/// A container that is being removed: it is marked as incomplete, and nobody's clone any more.
#[derive(Debug)]
pub struct Removal {
    directory: PathBuf,
    storage: Option<Storage>,
    /// What was there before the container was.
    keeps: Vec<String>,
    _mark: Option<Partial>,
}

impl Removal {
    /// Begins to remove a container that is complete. A kill leaves an incomplete one.
    ///
    /// # Errors
    /// Something is mounted in it, or it cannot be marked: it is as it was.
    pub fn of(place: &Place, storage: Option<&Storage>) -> Result<Removal> {
        let directory = place.0.join(&place.1);
        for path in [Some(&*directory), storage.and_then(Storage::directory)].into_iter().flatten() {
            if path.is_dir() && path != Path::new("/") {
                remove::refuse_mounts(path)?;
            }
        }
        let mark = if directory.is_dir() {
            let mut mark = begin_creation(&directory)?;
            // What lies in the directory goes with it, and need not be written down: the disk may be full.
            let outside = storage.filter(|s| !is_within(s, &directory));
            if let Err(e) = outside.map_or(Ok(()), |s| mark.record(Record::of(s))) {
                mark.complete()?;
                return Err(e);
            }
            strike(place);
            Some(mark)
        } else {
            None
        };
        Ok(Removal { directory, storage: storage.cloned(), keeps: Vec::new(), _mark: mark })
    }

    /// Begins to remove what a creation, copy or removal has left that was interrupted; `mark` is its `partial` file.
    ///
    /// # Errors
    /// What the mark says is nothing.
    pub fn of_remains(place: &Place, mark: Partial) -> Result<Removal> {
        let directory = place.0.join(&place.1);
        let record = mark.recorded().clone();
        let storage = record.storage.as_deref().map(recorded).transpose()?;
        strike(place);
        Ok(Removal { directory, storage, keeps: record.keeps, _mark: Some(mark) })
    }

    /// The same where nobody holds the mark.
    ///
    /// # Errors
    /// Somebody does.
    pub fn of_incomplete(place: &Place) -> Result<Removal> {
        Removal::of_remains(place, take_over(&place.0.join(&place.1))?)
    }

    /// Removes the files, by whoever may.
    ///
    /// # Errors
    /// What could not be removed; the rest is marked as incomplete.
    pub fn run(&self) -> Result<()> {
        if let Some(storage) = self.storage.as_ref().filter(|s| !is_within(s, &self.directory)) {
            backend(storage.kind()).destroy(storage)?;
        }
        let mut keeps: Vec<&str> = self.keeps.iter().map(String::as_str).collect();
        keeps.extend([SNAPSHOTS, lock::PARTIAL]);
        remove_directory_except(&self.directory, true, &keeps)?;
        // The mark goes last.
        keeps.pop();
        remove_directory_except(&self.directory, true, &keeps)
    }
}

/// Whoever is entered and is not there is passed over: where this cannot be written, on a disk that is full, the container
/// goes all the same.
fn strike(place: &Place) {
    if let Err(e) = dependents::strike(place) {
        log::warn!("{e}");
    }
}

fn recorded(text: &str) -> Result<Storage> {
    let bad = || Error::invalid(format!("{}: {text}: no storage", lock::PARTIAL));
    let (kind, path) = text.split_once(':').ok_or_else(bad)?;
    Storage::new(StorageKind::from_name(kind).ok_or_else(bad)?, path)
}

//! All that a container has on disk, and its removal.

use std::path::Path;

use super::dependents::{self, Place};
use super::remove::remove_directory_except;
use super::{backend, remove};
use crate::error::Result;
use crate::lock::{Partial, Record, begin_creation, take_over};
use crate::plan::Storage;
use crate::{Error, lock};

/// Snapshots of a container are removed one by one, never with it.
pub const SNAPSHOTS: &str = "snaps";

/// Whether storage lies in a directory, and goes with it.
fn is_within(storage: &Storage, directory: &Path) -> bool {
    match storage {
        Storage::Dir(path) | Storage::Btrfs(path) | Storage::Loop(path) => path.starts_with(directory),
        Storage::Overlay { upper, work, .. } => upper.starts_with(directory) && work.starts_with(directory),
        Storage::Nbd { image, .. } => image.starts_with(directory),
        Storage::Lvm(_) | Storage::Rbd(_) | Storage::Zfs(_) => false,
    }
}

/// Removes a container that is complete: its storage, its entries at those that it builds on, its directory. A kill
/// leaves an incomplete container.
///
/// # Errors
/// What could not be removed; what is left is marked as incomplete.
pub fn remove(place: &Place, storage: Option<&Storage>) -> Result<()> {
    let directory = place.0.join(&place.1);
    for path in [Some(&*directory), storage.and_then(Storage::directory)].into_iter().flatten() {
        if path.is_dir() && path != Path::new("/") {
            remove::refuse_mounts(path)?;
        }
    }
    if !directory.is_dir() {
        return storage.map_or(Ok(()), |s| backend(s.kind()).destroy(s));
    }
    let partial = begin_creation(&directory)?;
    partial.record(&storage.map(Record::of).unwrap_or_default())?;
    finish(place, storage, &partial, &[])
}

/// Removes what a killed creation, copy or removal has left; `mark` is its locked `partial` file.
///
/// # Errors
/// What could not be removed.
pub fn remove_remains(place: &Place, mark: &Partial) -> Result<()> {
    let record = Record::read(&place.0.join(&place.1));
    let storage = match &record.storage {
        Some(text) => Some(recorded(text)?),
        None => None,
    };
    let keep: &[&str] = if record.keeps_rootfs { &["rootfs"] } else { &[] };
    finish(place, storage.as_ref(), mark, keep)
}

/// The same where nobody holds the mark.
///
/// # Errors
/// Somebody does, or what could not be removed.
pub fn remove_incomplete(place: &Place) -> Result<()> {
    let mark = take_over(&place.0.join(&place.1))?;
    remove_remains(place, &mark)
}

fn recorded(text: &str) -> Result<Storage> {
    let bad = || Error::invalid(format!("{}: {text}: no storage", lock::PARTIAL));
    let (kind, path) = text.split_once(':').ok_or_else(bad)?;
    Storage::new(crate::plan::StorageKind::from_name(kind).ok_or_else(bad)?, path)
}

fn finish(place: &Place, storage: Option<&Storage>, _mark: &Partial, keep: &[&str]) -> Result<()> {
    let directory = place.0.join(&place.1);
    dependents::strike(place)?;
    if let Some(storage) = storage.filter(|s| !is_within(s, &directory)) {
        backend(storage.kind()).destroy(storage)?;
    }
    // The mark goes last.
    remove_directory_except(&directory, true, &[&[SNAPSHOTS, lock::PARTIAL], keep].concat())?;
    remove_directory_except(&directory, true, &[&[SNAPSHOTS], keep].concat())
}

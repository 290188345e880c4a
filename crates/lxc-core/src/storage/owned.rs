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

/// Files and directories that are removed with storage; those of volumes are not among them.
fn places(storage: &Storage) -> Vec<PathBuf> {
    let paths: Vec<&Path> = match storage {
        Storage::Dir(path) | Storage::Btrfs(path) | Storage::Loop(path) => vec![path],
        Storage::Nbd { image, .. } => vec![image],
        Storage::Overlay { upper, work, .. } => vec![upper, work],
        Storage::Lvm(_) | Storage::Rbd(_) | Storage::Zfs(_) => Vec::new(),
    };
    paths.into_iter().map(place_of).collect()
}

/// Where something is, by whatever links its directory is reached. What is there may be a link itself.
pub fn place_of(path: &Path) -> PathBuf {
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    parent.zip(path.file_name()).map_or_else(|| path.to_path_buf(), |(parent, name)| parent.join(name))
}

/// Whether storage lies in a directory, and goes with it.
pub fn is_within(storage: &Storage, directory: &Path) -> bool {
    let directory = place_of(directory);
    let places = places(storage);
    !places.is_empty() && places.iter().all(|place| place.starts_with(&directory))
}

/// Whether two are the same files, by whatever paths.
pub fn is_same(one: &Storage, other: &Storage) -> bool {
    one == other || (!places(one).is_empty() && places(one) == places(other))
}

/// Refuses storage that is not a container's alone: what lies in another container, or has containers in it, and what
/// is a link, which may lead anywhere.
///
/// # Errors
/// It is such storage.
pub fn refuse_foreign(place: &Place, storage: &Storage) -> Result<()> {
    let own = place_of(&place.0.join(&place.1));
    for path in places(storage).into_iter().filter(|path| !path.starts_with(&own) || *path == own) {
        let refuse = |why: String| {
            Error::invalid(format!("{storage} is not removed: {} {why}; nothing was removed", path.display()))
                .with_hint(WITHOUT)
        };
        if path.is_symlink() {
            return Err(refuse("is a symbolic link".into()));
        }
        if own.starts_with(&path) {
            return Err(refuse(format!("has {} in it", own.display())));
        }
        if let Some(other) = path.ancestors().find(|other| is_container(other)) {
            return Err(refuse(format!("is of container {}", other.display())));
        }
    }
    Ok(())
}

/// What is left to do where storage stays, or is gone for good.
const WITHOUT: &str = "with lxc.rootfs.path left out of its configuration the container goes without it";

/// Whether a directory is that of a container: of the files that are called so it has the one that LXC reads.
fn is_container(directory: &Path) -> bool {
    let text = crate::files::read_text(directory.join("config")).unwrap_or_default();
    text.lines().any(|line| line.trim_start().starts_with("lxc."))
}

/// Whether a container with its storage can be removed, as far as can be told before.
///
/// # Errors
/// It is a link, its storage is not its own or not to be had, or something is mounted where files are to be removed.
pub fn check_removable(place: &Place, storage: Option<&Storage>) -> Result<()> {
    let directory = place.0.join(&place.1);
    if directory.is_symlink() {
        let what = format!("{} is a symbolic link; nothing was removed", directory.display());
        return Err(Error::invalid(what)
            .with_hint("what it leads to may be somebody else's: put the directory itself in its place"));
    }
    storage.map_or(Ok(()), |storage| refuse_foreign(place, storage))?;
    for path in storage.into_iter().flat_map(places).chain([place_of(&directory)]) {
        if path.is_dir() {
            remove::refuse_mounts(&path, true)?;
        }
    }
    // Whoever has it may not answer.
    storage
        .map_or(Ok(false), |storage| backend(storage.kind()).exists(storage))
        .map(drop)
        .map_err(|e| e.with_hint(WITHOUT))
}

/// Refuses a container that others build on.
///
/// # Errors
/// There are some.
pub fn refuse_clones((lxcpath, name): &Place) -> Result<()> {
    let directory = lxcpath.join(name);
    let refused = Error::invalid(format!("Destroying {name} failed: {name} has clones"));
    match dependents::builders(&directory)? {
        Some(clones) if clones.is_empty() => Ok(()),
        Some(clones) => {
            let all: Vec<String> =
                clones.iter().map(|(path, name)| path.join(name).display().to_string()).collect();
            Err(refused.with_hint(format!(
                "they are {}; one that is gone for good is to be taken out of {}",
                all.join(", "),
                directory.join(dependents::DEPENDENTS).display()
            )))
        }
        None => Err(refused.with_hint("an old version of LXC has counted them, not named")),
    }
}

/// A container that is being removed: it is marked as incomplete.
#[derive(Debug)]
pub struct Removal {
    place: Place,
    directory: PathBuf,
    storage: Option<Storage>,
    /// What was there before the container was.
    keeps: Vec<String>,
    /// With it the container was complete: the mark may be taken back while all is there.
    was_complete: bool,
    mark: Option<Partial>,
}

impl Removal {
    /// Begins to remove a container that is complete. A kill leaves an incomplete one.
    ///
    /// # Errors
    /// Something is mounted in it, its storage is not its own, or it cannot be marked: it is as it was.
    pub fn of(place: &Place, storage: Option<&Storage>) -> Result<Removal> {
        let directory = place.0.join(&place.1);
        check_removable(place, storage)?;
        refuse_clones(place)?;
        let mark = if directory.is_dir() {
            // What lies in the directory goes with it, and need not be written down: the disk may be full.
            let outside = storage.filter(|s| !is_within(s, &directory));
            Some(begin_creation(&directory, outside.map_or_else(Record::default, Record::of))?)
        } else {
            None
        };
        let storage = storage.cloned();
        Ok(Removal { place: place.clone(), directory, storage, keeps: Vec::new(), was_complete: true, mark })
    }

    /// Begins to remove what a creation, copy or removal has left that was interrupted; `mark` is its `partial` file.
    ///
    /// # Errors
    /// What the mark says is nothing.
    pub fn of_remains(place: &Place, mark: Partial) -> Result<Removal> {
        let directory = place.0.join(&place.1);
        let record = mark.recorded().clone();
        let storage = record.storage.as_deref().map(recorded).transpose()?;
        let place = place.clone();
        Ok(Removal { place, directory, storage, keeps: record.keeps, was_complete: false, mark: Some(mark) })
    }

    /// The same where nobody holds the mark.
    ///
    /// # Errors
    /// Somebody does.
    pub fn of_incomplete(place: &Place) -> Result<Removal> {
        Removal::of_remains(place, take_over(&place.0.join(&place.1))?)
    }

    /// Removes the files, by whoever may. The container is nobody's clone any more.
    ///
    /// # Errors
    /// What could not be removed; the rest is marked as incomplete. Of volumes and images nothing is gone then, and the
    /// container is as it was.
    pub fn run(&self) -> Result<()> {
        if let Some(storage) = self.storage.as_ref().filter(|s| !is_within(s, &self.directory)) {
            let backend = backend(storage.kind());
            let remains = || {
                let mark = self.directory.join(lock::PARTIAL);
                format!("if it is gone for good, take its line out of {}", mark.display())
            };
            let hint = |e: Error| if self.was_complete { e } else { e.with_hint(remains()) };
            backend.destroy(storage).map_err(hint).inspect_err(|_| {
                let is_whole = storage.needs_mounting() && !matches!(backend.exists(storage), Ok(false));
                if let Some(mark) = self.mark.as_ref().filter(|_| self.was_complete && is_whole)
                    && let Err(e) = mark.complete()
                {
                    log::warn!("{e}");
                }
            })?;
        }
        strike(&self.place);
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

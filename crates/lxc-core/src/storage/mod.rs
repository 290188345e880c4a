//! Storage of root file systems: one file for each kind, behind one trait (spec: storage, section 3).
//!
//! Where new storage will be is decided before anything is made, so that it can be written down first: what a killed
//! process leaves is found by that.

mod block;
mod btrfs;
pub mod compare;
pub mod copy;
pub mod dependents;
mod dir;
mod loop_image;
mod lvm;
mod nbd;
pub mod overlay;
pub mod owned;
mod rbd;
pub mod remove;
mod zfs;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub use btrfs::can_hold_snapshot;
pub use dir::CLONE_ALL;
pub use nbd::Connection;
pub use remove::remove_directory;

use crate::error::{Error, Kind, Result};
use crate::plan::{Storage, StorageKind};

/// Where a new container's storage belongs, and what the caller wants of it.
#[derive(Debug)]
pub struct Target<'a> {
    /// Name of the container; of a snapshot, one that no other has.
    pub name: &'a str,
    /// The container's directory.
    pub directory: &'a Path,
    /// What the caller wants.
    pub options: &'a Options,
    /// What it is made of may be in use.
    pub live: bool,
}

impl Target<'_> {
    /// The directory of the root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.options.dir.clone().unwrap_or_else(|| self.directory.join("rootfs"))
    }
}

/// What the caller wants of new storage; what is not said is as in lxc.conf(5).
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Directory of the root file system, for storage of type dir.
    pub dir: Option<PathBuf>,
    /// File system to make in block storage.
    pub fstype: Option<String>,
    /// Size of block storage, in bytes.
    pub size: Option<u64>,
    /// Name of the logical volume.
    pub lv: Option<String>,
    /// Volume group.
    pub vg: Option<String>,
    /// Thin pool of the volume group.
    pub thin_pool: Option<String>,
    /// Parent dataset of ZFS.
    pub zfs_root: Option<String>,
    /// Name of the image of Ceph's.
    pub rbd_image: Option<String>,
    /// Its pool.
    pub rbd_pool: Option<String>,
    /// The user of Ceph's who owns it.
    pub rbd_user: Option<String>,
}

/// Size of block storage that nobody gave one, in bytes.
pub const DEFAULT_SIZE: u64 = 1 << 30;
/// File system of block storage that nobody gave one.
pub const DEFAULT_FSTYPE: &str = "ext4";

/// What a kind of storage can do. All of it works with what the host has; nothing is asked of the container.
pub trait Backend: Sync {
    /// Where new storage of this kind is.
    ///
    /// # Errors
    /// This kind makes none.
    fn place(&self, target: &Target<'_>) -> Result<Storage>;

    /// Whether something is there already, which belongs to somebody.
    ///
    /// # Errors
    /// Whoever knows cannot be asked.
    fn exists(&self, storage: &Storage) -> Result<bool> {
        Ok(storage.directory().is_some_and(Path::exists))
    }

    /// Makes it, empty.
    ///
    /// # Errors
    /// Why not; nothing is left of it.
    fn create(&self, storage: &Storage, target: &Target<'_>) -> Result<()>;

    /// Its root directory as a mount that is attached nowhere. `data`: options of the file system's own.
    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted>;

    /// The same to read from: nothing in it is changed, not even by mounting.
    fn mount_read_only(&self, storage: &Storage) -> Result<Mounted> {
        self.mount(storage, "")
    }

    /// Removes it; what is gone already is no error.
    fn destroy(&self, storage: &Storage) -> Result<()>;

    /// Makes `new` with the contents of `source`, sharing what does not change.
    ///
    /// # Errors
    /// This kind or these two cannot.
    fn snapshot(&self, source: &Storage, new: &Storage, target: &Target<'_>) -> Result<()> {
        let _ = (new, target);
        Err(Error::unsupported(match source.kind() {
            StorageKind::Dir => "Directories cannot be snapshotted".to_string(),
            kind => format!("The {kind} storage driver does not support snapshots"),
        }))
    }

    /// Size and file system that a copy of it gets unless the caller wants others.
    fn like(&self, storage: &Storage) -> Options {
        let _ = storage;
        Options::default()
    }
}

/// A root file system, mounted nowhere.
#[derive(Debug)]
pub struct Mounted {
    /// Its root directory.
    pub tree: OwnedFd,
    /// What must live as long as it is used.
    pub connection: Option<Connection>,
}

impl From<OwnedFd> for Mounted {
    fn from(tree: OwnedFd) -> Mounted {
        Mounted { tree, connection: None }
    }
}

/// What is behind a kind.
pub fn backend(kind: StorageKind) -> &'static dyn Backend {
    match kind {
        StorageKind::Dir => &dir::Dir,
        StorageKind::Overlay => &overlay::Overlay,
        StorageKind::Btrfs => &btrfs::Btrfs,
        StorageKind::Lvm => &lvm::Lvm,
        StorageKind::Zfs => &zfs::Zfs,
        StorageKind::Loop => &loop_image::Loop,
        StorageKind::Nbd => &nbd::Nbd,
        StorageKind::Rbd => &rbd::Rbd,
    }
}

/// Kinds in the order in which `best` tries them.
pub const BEST: [StorageKind; 5] =
    [StorageKind::Btrfs, StorageKind::Zfs, StorageKind::Lvm, StorageKind::Dir, StorageKind::Rbd];

/// Whether snapshots of it are copies that share what does not change.
pub fn can_snapshot(storage: &Storage) -> bool {
    can_snapshot_kind(storage.kind())
}

/// The same of a kind.
pub fn can_snapshot_kind(kind: StorageKind) -> bool {
    !matches!(kind, StorageKind::Dir | StorageKind::Loop | StorageKind::Rbd)
}

/// Whether `lxc-snapshot` takes snapshots of it.
pub fn can_back_up(storage: &Storage) -> bool {
    !matches!(storage.kind(), StorageKind::Lvm | StorageKind::Nbd | StorageKind::Rbd)
}

/// What an answer says where these words in one line of it mean that nothing is there. Not to be able to look is
/// something else.
fn is_there(answer: Result<String>, nothing: &[&str]) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        // A line ends where the next one is joined to it.
        Err(e) if e.to_string().split("; ").any(|line| nothing.iter().all(|w| line.contains(w))) => Ok(false),
        Err(e) => Err(e),
    }
}

/// For what storage of another kind is handed to a backend.
fn wrong_kind(storage: &Storage) -> Error {
    Error::new(Kind::Failed, format!("{storage}: storage of another kind was expected"))
}

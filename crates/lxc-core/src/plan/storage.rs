//! What `lxc.rootfs.path` names (spec: storage, section 2).

use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lxc_config::Values;

use crate::error::{Doing, Error, Result};

/// A kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageKind {
    /// A directory.
    Dir,
    /// Layers of directories.
    Overlay,
    /// A subvolume of btrfs.
    Btrfs,
    /// A logical volume.
    Lvm,
    /// A dataset of ZFS.
    Zfs,
    /// A file with a file system in it.
    Loop,
    /// The same in a format of QEMU's.
    Nbd,
    /// An image of Ceph's.
    Rbd,
}

impl StorageKind {
    /// All of them.
    pub const ALL: [StorageKind; 8] = [
        StorageKind::Dir,
        StorageKind::Zfs,
        StorageKind::Lvm,
        StorageKind::Rbd,
        StorageKind::Btrfs,
        StorageKind::Overlay,
        StorageKind::Loop,
        StorageKind::Nbd,
    ];

    /// As it is written in front of a path.
    pub fn name(self) -> &'static str {
        match self {
            StorageKind::Dir => "dir",
            StorageKind::Overlay => "overlay",
            StorageKind::Btrfs => "btrfs",
            StorageKind::Lvm => "lvm",
            StorageKind::Zfs => "zfs",
            StorageKind::Loop => "loop",
            StorageKind::Nbd => "nbd",
            StorageKind::Rbd => "rbd",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<StorageKind> {
        let name = if name == "overlayfs" { "overlay" } else { name };
        StorageKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for StorageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a root file system is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A directory.
    Dir(PathBuf),
    /// A subvolume of btrfs, which is used like a directory.
    Btrfs(PathBuf),
    /// Layers.
    Overlay {
        /// Read-only layers, topmost first.
        lower: Vec<PathBuf>,
        /// Receives changes.
        upper: PathBuf,
        /// Empty directory beside it, for the kernel.
        work: PathBuf,
    },
    /// A file with a file system in it.
    Loop(PathBuf),
    /// A disk image in a format that qemu-nbd(8) reads.
    Nbd {
        /// The file.
        image: PathBuf,
        /// Number of the partition; `None`: the file system begins with the disk.
        partition: Option<u8>,
    },
    /// The block device of a logical volume, or any other with a file system.
    Lvm(PathBuf),
    /// The mapped block device of an image of Ceph's.
    Rbd(PathBuf),
    /// Name of a dataset.
    Zfs(String),
}

impl Storage {
    /// Reads the type and the path of a configuration; `None` without a path. Without a type it is found out by looking.
    ///
    /// # Errors
    /// The type is unknown, the path is none of its kind, or nothing is there to look at.
    pub fn of(values: &Values) -> Result<Option<Storage>> {
        let Some(path) = &values.rootfs.path else { return Ok(None) };
        let what = |text: &str| format!("lxc.rootfs.path = {path}: {text}");
        let kind = match values.rootfs.kind.as_deref() {
            Some(name) => StorageKind::from_name(name).ok_or_else(|| {
                Error::invalid(what(&format!("unknown storage type {name:?}")))
                    .with_hint("known types: dir overlay btrfs zfs lvm loop nbd rbd")
            })?,
            None => detect(path).map_err(|e| e.during(format!("lxc.rootfs.path = {path}")))?,
        };
        Storage::new(kind, path).map(Some)
    }

    /// Storage of a kind by the path that is written after it.
    ///
    /// # Errors
    /// The path of an overlay or nbd is none.
    pub fn new(kind: StorageKind, path: &str) -> Result<Storage> {
        Ok(match kind {
            StorageKind::Dir => Storage::Dir(path.into()),
            StorageKind::Btrfs => Storage::Btrfs(path.into()),
            StorageKind::Overlay => overlay(path)?,
            StorageKind::Loop => Storage::Loop(path.into()),
            StorageKind::Lvm => Storage::Lvm(path.into()),
            StorageKind::Rbd => Storage::Rbd(path.into()),
            StorageKind::Zfs => Storage::Zfs(path.into()),
            StorageKind::Nbd => match path.rsplit_once(':') {
                Some((image, number)) => {
                    let partition = number.parse().ok().filter(|n| (1..=9).contains(n));
                    let bad = || {
                        Error::invalid(format!("lxc.rootfs.path = nbd:{path}: {number:?} is no partition"))
                            .with_hint("write nbd:/IMAGE or nbd:/IMAGE:1 up to :9")
                    };
                    Storage::Nbd { image: image.into(), partition: Some(partition.ok_or_else(bad)?) }
                }
                None => Storage::Nbd { image: path.into(), partition: None },
            },
        })
    }

    /// Its kind.
    pub fn kind(&self) -> StorageKind {
        match self {
            Storage::Dir(_) => StorageKind::Dir,
            Storage::Btrfs(_) => StorageKind::Btrfs,
            Storage::Overlay { .. } => StorageKind::Overlay,
            Storage::Loop(_) => StorageKind::Loop,
            Storage::Nbd { .. } => StorageKind::Nbd,
            Storage::Lvm(_) => StorageKind::Lvm,
            Storage::Rbd(_) => StorageKind::Rbd,
            Storage::Zfs(_) => StorageKind::Zfs,
        }
    }

    /// The same when a directory that parts of it are in has got another name.
    pub fn moved(&self, from: &Path, to: &Path) -> Storage {
        let path =
            |path: &PathBuf| path.strip_prefix(from).map_or_else(|_| path.clone(), |below| to.join(below));
        match self {
            Storage::Dir(p) => Storage::Dir(path(p)),
            Storage::Btrfs(p) => Storage::Btrfs(path(p)),
            Storage::Loop(p) => Storage::Loop(path(p)),
            Storage::Nbd { image, partition } => Storage::Nbd { image: path(image), partition: *partition },
            Storage::Overlay { lower, upper, work } => Storage::Overlay {
                lower: lower.iter().map(path).collect(),
                upper: path(upper),
                work: path(work),
            },
            Storage::Lvm(_) | Storage::Rbd(_) | Storage::Zfs(_) => self.clone(),
        }
    }

    /// Whether it is a file system of its own, which only root mounts.
    pub fn needs_mounting(&self) -> bool {
        !matches!(self, Storage::Dir(_) | Storage::Btrfs(_) | Storage::Overlay { .. })
    }

    /// The image or block device that is mounted.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Storage::Loop(path) | Storage::Lvm(path) | Storage::Rbd(path) => Some(path),
            Storage::Nbd { image, .. } => Some(image),
            _ => None,
        }
    }

    /// The directory that is used as it is.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Storage::Dir(path) | Storage::Btrfs(path) => Some(path),
            _ => None,
        }
    }
}

/// As `lxc.rootfs.path` says it: `TYPE:PATH`.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind())?;
        match self {
            Storage::Dir(path)
            | Storage::Btrfs(path)
            | Storage::Loop(path)
            | Storage::Lvm(path)
            | Storage::Rbd(path) => write!(f, "{}", path.display()),
            Storage::Zfs(dataset) => f.write_str(dataset),
            Storage::Overlay { lower, upper, .. } => {
                lower.iter().try_for_each(|l| write!(f, "{}:", l.display()))?;
                write!(f, "{}", upper.display())
            }
            Storage::Nbd { image, partition } => {
                write!(f, "{}", image.display())?;
                partition.map_or(Ok(()), |number| write!(f, ":{number}"))
            }
        }
    }
}

/// `/lower[:/lower2…]:/upper`; the work directory is beside the upper one.
fn overlay(path: &str) -> Result<Storage> {
    let bad = || {
        Error::invalid(format!("lxc.rootfs.path = overlay:{path}: expected overlay:/LOWER[:/LOWER…]:/UPPER"))
    };
    let (lower, upper) = path.rsplit_once(":/").ok_or_else(bad)?;
    let upper = PathBuf::from(format!("/{upper}"));
    let lower: Vec<PathBuf> = lower
        .split(":/")
        .enumerate()
        .map(|(i, l)| PathBuf::from(if i == 0 { l.to_string() } else { format!("/{l}") }))
        .collect();
    if lower.iter().any(|l| !l.is_absolute()) {
        return Err(bad());
    }
    let work = upper.parent().ok_or_else(bad)?.join("work");
    Ok(Storage::Overlay { lower, upper, work })
}

/// What a path without a type is.
fn detect(path: &str) -> Result<StorageKind> {
    if !path.starts_with('/') {
        // A dataset has a name, not a path.
        let said = crate::program::run("zfs", &["get", "-H", "-o", "name", "type", path]);
        return match said {
            Ok(name) if name.trim() == path => Ok(StorageKind::Zfs),
            _ => Err(Error::invalid("neither an absolute path nor the name of a dataset of ZFS")),
        };
    }
    let meta = std::fs::metadata(path).doing(|| "look at the root file system")?;
    let kind = meta.file_type();
    if kind.is_dir() {
        return Ok(StorageKind::Dir);
    }
    if path.starts_with("/dev/rbd/") {
        return Ok(StorageKind::Rbd);
    }
    if kind.is_block_device() {
        let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        let uuid = format!("/sys/dev/block/{major}:{minor}/dm/uuid");
        let is_volume = crate::files::read_text(&uuid).is_ok_and(|text| text.starts_with("LVM-"));
        return if is_volume {
            Ok(StorageKind::Lvm)
        } else {
            Err(Error::invalid("a block device of no known kind").with_hint(format!(
                "write lvm:{path} to have its file system mounted, whatever kind of device it is"
            )))
        };
    }
    if kind.is_file() { Ok(StorageKind::Loop) } else { Err(Error::invalid("neither a directory nor a file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in [
            "dir:/a/b",
            "btrfs:/a",
            "overlay:/a:/b:/c/delta",
            "loop:/a/rootdev",
            "nbd:/a/image",
            "nbd:/a/image:3",
            "lvm:/dev/vg/lv",
            "zfs:pool/a",
            "rbd:/dev/rbd/rbd/a",
        ] {
            let (kind, path) = text.split_once(':').expect("a type");
            let kind = StorageKind::from_name(kind).expect("known");
            let storage = Storage::new(kind, path).expect("a path");
            assert_eq!(storage.to_string(), text);
            assert_eq!(storage.kind(), kind);
        }
        let Ok(Storage::Overlay { lower, work, .. }) = Storage::new(StorageKind::Overlay, "/a:/b:/c/delta")
        else {
            panic!("an overlay")
        };
        assert_eq!((lower.len(), work.as_path()), (2, Path::new("/c/work")));
        for bad in ["/a", "rel:/b", "/a:b"] {
            assert!(Storage::new(StorageKind::Overlay, bad).is_err(), "{bad}");
        }
        assert!(Storage::new(StorageKind::Nbd, "/a:x").is_err());
        assert!(Storage::new(StorageKind::Nbd, "/a:0").is_err());
    }
}

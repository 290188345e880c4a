//! File systems on block devices and in images.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use lxc_sys::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::{DEFAULT_FSTYPE, Options};
use crate::error::{Doing, Error, Result};
use crate::program;

/// Where the superblocks of file systems have their signs.
const SIGNS: &[(&str, usize, &[u8])] = &[
    ("ext4", 1024 + 56, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 65536 + 64, b"_BHRfS_M"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
];

/// Makes a file system, with the program of its name.
pub(super) fn make_file_system(place: &Path, options: &Options) -> Result<()> {
    let fstype = options.fstype.as_deref().unwrap_or(DEFAULT_FSTYPE);
    if !fstype.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-') {
        return Err(Error::invalid(format!("{fstype}: not the name of a file system")));
    }
    let program = format!("mkfs.{fstype}");
    let place = place.display().to_string();
    program::run(&program, &[&place]).map(drop).map_err(|e| match e.errno() {
        Some(Errno::NOENT) => e.with_hint(format!("install the program {program}")),
        _ => e,
    })
}

/// The file system that a device or image has, as far as its sign is known.
pub(super) fn file_system(place: &Path) -> Option<&'static str> {
    let file = std::fs::File::open(place).ok()?;
    SIGNS.iter().find_map(|(name, at, sign)| {
        let mut found = vec![0; sign.len()];
        file.read_exact_at(&mut found, *at as u64).ok()?;
        (found == *sign).then_some(*name)
    })
}

/// What a copy of an image is like: as large, and with the same file system. One that is packed, and never written to,
/// becomes one of the usual kind and size.
pub(super) fn like(image: &Path) -> Options {
    match file_system(image) {
        Some("squashfs" | "erofs") => Options::default(),
        fstype => Options {
            size: std::fs::metadata(image).ok().map(|m| m.len()),
            fstype: fstype.map(String::from),
            ..Options::default()
        },
    }
}

/// Mounts the file system of a block device nowhere. One that is not known by its sign is mounted by whatever the kernel
/// has that takes it.
pub(super) fn mount(device: &Path, data: &str, read_only: bool) -> Result<OwnedFd> {
    if let Some(known) = file_system(device) {
        return mount_as(known, device, data, read_only);
    }
    let mut last = Error::invalid(format!("{}: no file system that this kernel knows", device.display()));
    for kind in kinds() {
        match mount_as(&kind, device, data, read_only) {
            Ok(tree) => return Ok(tree),
            Err(e) if e.errno() == Some(Errno::INVAL) => {}
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// File systems with a device, in the order of filesystems(5).
fn kinds() -> Vec<String> {
    let texts =
        ["/etc/filesystems", "/proc/filesystems"].map(|f| crate::files::read_text(f).unwrap_or_default());
    let mut kinds: Vec<String> = Vec::new();
    for line in texts.iter().flat_map(|t| t.lines()).filter(|l| !l.starts_with("nodev")) {
        let kind = line.trim();
        if !kind.is_empty() && kind != "*" && !kind.starts_with('#') && !kinds.iter().any(|k| k == kind) {
            kinds.push(kind.to_string());
        }
    }
    kinds
}

fn mount_as(kind: &str, device: &Path, data: &str, read_only: bool) -> Result<OwnedFd> {
    let what = || format!("mount {kind} of {}", device.display());
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).doing(what)?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), "source", device).doing(what)?;
    if read_only {
        rustix::mount::fsconfig_set_flag(fs.as_fd(), "ro").doing(what)?;
    }
    set_options(&fs, data).map_err(|e| e.during(what()))?;
    rustix::mount::fsconfig_create(fs.as_fd()).doing(what)?;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).doing(what)
}

/// Options of a file system's own, separated by commas.
pub(super) fn set_options(fs: &OwnedFd, data: &str) -> Result<()> {
    for option in data.split(',').filter(|o| !o.is_empty()) {
        match option.split_once('=') {
            Some((key, value)) => rustix::mount::fsconfig_set_string(fs.as_fd(), key, value),
            None => rustix::mount::fsconfig_set_flag(fs.as_fd(), option),
        }
        .doing(|| format!("option {option}"))?;
    }
    Ok(())
}

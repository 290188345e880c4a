//! Layers (kernel: Documentation/filesystems/overlayfs.rst).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use lxc_sys::Errno;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::{Backend, Mounted, Target, copy, dir, remove, wrong_kind};
use crate::error::{Doing, Error, Result};
use crate::plan::Storage;

pub(super) struct Overlay;

impl Backend for Overlay {
    /// A new one is filled in its lower layer.
    fn place(&self, target: &Target<'_>) -> Result<Storage> {
        Ok(layers(vec![target.rootfs()], target.directory))
    }

    fn create(&self, storage: &Storage, _: &Target<'_>) -> Result<()> {
        let Storage::Overlay { lower, upper, work } = storage else { return Err(wrong_kind(storage)) };
        lower.first().map_or(Ok(()), |l| dir::make_rootfs(l))?;
        [upper, work].into_iter().try_for_each(|path| dir::make_rootfs(path))
    }

    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted> {
        let Storage::Overlay { lower, upper, work } = storage else { return Err(wrong_kind(storage)) };
        // What is copied from need not have been mounted before.
        for path in [upper, work] {
            std::fs::create_dir_all(path).doing(|| format!("create {}", path.display()))?;
        }
        mount(lower, upper, work, data).map(Mounted::from)
    }

    /// All layers below: the kernel writes to none of them, and needs no directory of its own.
    fn mount_read_only(&self, storage: &Storage) -> Result<Mounted> {
        let Storage::Overlay { lower, upper, .. } = storage else { return Err(wrong_kind(storage)) };
        let mut layers = lower.clone();
        if upper.exists() {
            layers.insert(0, upper.clone());
        }
        // The kernel wants two.
        if layers.len() < 2 {
            return dir::clone_tree(&layers[0]).map(Mounted::from);
        }
        mount_layers(&layers, None, "").map(Mounted::from)
    }

    /// The layers below are others'.
    fn destroy(&self, storage: &Storage) -> Result<()> {
        let Storage::Overlay { upper, work, .. } = storage else { return Err(wrong_kind(storage)) };
        remove::remove_directory(upper, true)?;
        // What the kernel has made in it. It lies beside the upper layer, where others may have put something.
        for own in ["work", "index", "incompat"] {
            remove::remove_directory(&work.join(own), true)?;
        }
        match rustix::fs::rmdir(work) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(e) => Err(e).doing(|| format!("remove {}", work.display())),
        }
    }

    /// A directory becomes the lower layer; of an overlay the layer of changes is copied.
    fn snapshot(&self, source: &Storage, new: &Storage, target: &Target<'_>) -> Result<()> {
        let Storage::Overlay { upper, work, .. } = new else { return Err(wrong_kind(new)) };
        [upper, work].into_iter().try_for_each(|path| dir::make_rootfs(path))?;
        let open = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).doing(|| format!("open {}", path.display()))
        };
        match source {
            Storage::Dir(lower) => {
                // It is the root directory that the container sees.
                let (from, to) = (open(lower)?, open(upper)?);
                copy::copy_attributes(from.as_fd(), to.as_fd()).doing(|| format!("own {}", upper.display()))
            }
            Storage::Overlay { upper: changes, .. } if changes.exists() => {
                let (from, to) = (open(changes)?, open(upper)?);
                let done = copy::copy_tree(from.as_fd(), to.as_fd(), target.live, None);
                done.map_err(|e| e.during(format!("copy {}", changes.display())))?;
                copy::write_out(to.as_fd())
            }
            Storage::Overlay { .. } => Ok(()),
            other => Err(Error::unsupported(format!(
                "overlay clone of {} container is not yet supported",
                other.kind()
            ))),
        }
    }
}

/// Layers with a container's own on top.
pub fn layers(lower: Vec<PathBuf>, directory: &Path) -> Storage {
    let own = directory.join("overlay");
    Storage::Overlay { lower, upper: own.join("delta"), work: own.join("work") }
}

/// The lower layers of an overlay alone, to read from.
pub fn lower_only(lower: &[PathBuf]) -> Storage {
    match lower {
        [one] => Storage::Dir(one.clone()),
        [first, rest @ ..] => {
            // Read-only mounts take the upper layer for one more lower one.
            let work = PathBuf::new();
            Storage::Overlay { lower: rest.to_vec(), upper: first.clone(), work }
        }
        [] => Storage::Dir(PathBuf::new()),
    }
}

/// Longest string that fsconfig(2) takes.
const MAX_STRING: usize = 255;

/// Whether this process is in a user namespace that is not the host's (user_namespaces(7)).
fn in_user_namespace() -> bool {
    let map = crate::files::read_text("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Overlay layers are separated by colons.
fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:")
}

/// An overlay mount, attached nowhere. `data`: its own options.
pub fn mount(lower: &[PathBuf], upper: &Path, work: &Path, data: &str) -> Result<OwnedFd> {
    mount_layers(lower, Some((upper, work)), data)
}

fn mount_layers(lower: &[PathBuf], own: Option<(&Path, &Path)>, data: &str) -> Result<OwnedFd> {
    let what = || match own {
        Some((upper, _)) => {
            format!("mount overlay of {} with upper {}", lower[0].display(), upper.display())
        }
        None => format!("mount overlay of {}", lower[0].display()),
    };
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).doing(what)?;
    let set = |key: &str, value: &str| {
        rustix::mount::fsconfig_set_string(fs.as_fd(), key, value)
            .doing(|| format!("{}: option {key}={value}", what()))
    };
    // Paths that are too long for a string are named by descriptors.
    let mut held: Vec<OwnedFd> = Vec::new();
    let mut short = |path: &Path| -> Result<String> {
        let text = escape(path);
        if text.len() <= MAX_STRING {
            return Ok(text);
        }
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("open {}", path.display()))?;
        let text = crate::files::fd_path(fd.as_fd());
        held.push(fd);
        Ok(text)
    };
    let layers = lower.iter().map(|l| short(l)).collect::<Result<Vec<_>>>()?;
    let own = own.map(|(upper, work)| Ok::<_, Error>((short(upper)?, short(work)?))).transpose()?;
    set("source", "overlay")?;
    let joined = layers.join(":");
    if joined.len() <= MAX_STRING {
        set("lowerdir", &joined)?;
    } else {
        // One by one: kernel 6.8.
        layers.iter().try_for_each(|l| set("lowerdir+", l))?;
    }
    if let Some((upper, work)) = &own {
        set("upperdir", upper)?;
        set("workdir", work)?;
    }
    if in_user_namespace() {
        // Marks of removed directories where an ordinary user may write them. Kernels before 5.11 do not know it.
        let _ = rustix::mount::fsconfig_set_flag(fs.as_fd(), "userxattr");
    }
    super::block::set_options(&fs, data).map_err(|e| e.during(what()))?;
    rustix::mount::fsconfig_create(fs.as_fd()).doing(what)?;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).doing(what)
}

//! A file with a file system in it, by a loop device.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use lxc_sys::Errno;

use super::{Backend, DEFAULT_SIZE, Mounted, Options, Target, block, wrong_kind};
use crate::error::{Doing, Error, Result};
use crate::plan::Storage;

pub(super) struct Loop;

impl Backend for Loop {
    fn place(&self, target: &Target<'_>) -> Result<Storage> {
        Ok(Storage::Loop(target.directory.join("rootdev")))
    }

    fn exists(&self, storage: &Storage) -> Result<bool> {
        Ok(matches!(storage, Storage::Loop(image) if image.exists()))
    }

    fn create(&self, storage: &Storage, target: &Target<'_>) -> Result<()> {
        let Storage::Loop(image) = storage else { return Err(wrong_kind(storage)) };
        make_image(image, target.options.size.unwrap_or(DEFAULT_SIZE))?;
        block::make_file_system(image, target.options).inspect_err(|_| drop(std::fs::remove_file(image)))
    }

    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted> {
        let Storage::Loop(image) = storage else { return Err(wrong_kind(storage)) };
        mount_image(image, data, true)
    }

    fn mount_read_only(&self, storage: &Storage) -> Result<Mounted> {
        let Storage::Loop(image) = storage else { return Err(wrong_kind(storage)) };
        match mount_image(image, "", false) {
            // Its journal has to be written back first, by a mount like any other.
            Err(e) if matches!(e.errno(), Some(Errno::ROFS | Errno::ACCESS)) => {
                refuse_in_use(image)?;
                mount_image(image, "", true)
            }
            mounted => mounted,
        }
    }

    fn destroy(&self, storage: &Storage) -> Result<()> {
        let Storage::Loop(image) = storage else { return Err(wrong_kind(storage)) };
        crate::files::remove(image)
    }

    fn like(&self, storage: &Storage) -> Options {
        let Storage::Loop(image) = storage else { return Options::default() };
        block::like(image)
    }
}

fn mount_image(image: &Path, data: &str, writable: bool) -> Result<Mounted> {
    let what = || format!("open {}", image.display());
    let opened = File::options().read(true).write(writable).open(image);
    let (file, read_only) = match opened {
        Err(e) if [Errno::ROFS, Errno::ACCESS].iter().any(|n| e.raw_os_error() == Some(n.raw_os_error())) => {
            (File::open(image).doing(what)?, true)
        }
        opened => (opened.doing(what)?, !writable),
    };
    // Open until the mount holds it.
    let (_device, path) = lxc_sys::loop_device::attach(file.as_fd(), read_only)
        .doing(|| format!("find a loop device for {}", image.display()))?;
    block::mount(&path, data, read_only).map(Mounted::from).map_err(|e| e.during(image.display().to_string()))
}

/// Refuses an image that a loop device may write to: the journal that is read back, a second time, is that of a file
/// system that somebody has mounted.
fn refuse_in_use(image: &Path) -> Result<()> {
    let id = |path: &Path| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    let is_writer = |device: &Path| {
        let text = |name: &str| crate::files::read_text(device.join(name)).unwrap_or_default();
        let file = text("loop/backing_file");
        text("ro").trim() == "0" && !file.is_empty() && id(Path::new(file.trim_end())) == id(image)
    };
    let devices = std::fs::read_dir("/sys/block").doing(|| "list /sys/block")?;
    match devices.flatten().find(|d| is_writer(&d.path())) {
        None => Ok(()),
        Some(device) => {
            let device = device.file_name();
            let what = || format!("mount {}, which {} has", image.display(), device.to_string_lossy());
            Err(Error::os(what(), Errno::BUSY).with_hint("stop the container that uses it first"))
        }
    }
}

/// A file of some size without contents. One of that name is not touched.
fn make_image(path: &Path, size: u64) -> Result<()> {
    let what = || format!("create {}", path.display());
    let file = File::options().write(true).create_new(true).mode(0o600).open(path).doing(what)?;
    file.set_len(size).doing(what)
}

//! Images of Ceph's, by its program (rbd(8)).

use std::path::{Path, PathBuf};

use super::{Backend, DEFAULT_SIZE, Mounted, Options, Target, block, wrong_kind};
use crate::error::{Error, Result};
use crate::plan::Storage;
use crate::{global, program};

pub(super) struct Rbd;

/// A device that is /dev/rbd/POOL/IMAGE.
fn names(device: &Path) -> Result<(String, String)> {
    let below = device.strip_prefix("/dev/rbd").ok();
    let words: Vec<String> =
        below.into_iter().flatten().map(|part| part.to_string_lossy().into_owned()).collect();
    match &*words {
        [pool, image] => Ok((pool.clone(), image.clone())),
        _ => Err(Error::invalid(format!("rbd:{}: expected rbd:/dev/rbd/POOL/IMAGE", device.display()))),
    }
}

fn rbd(user: Option<&str>, verb: &str, words: &[&str]) -> Result<String> {
    let user: Vec<&str> = user.into_iter().flat_map(|user| ["--id", user]).collect();
    program::run_with("rbd", &[&[verb], &*user, words].concat(), program::PLAIN)
}

/// What it says of an image that it does not know.
const NOTHING: &[&str] = &["error opening image", "(2) No such file or directory"];

/// Whether there is such an image: one that is not mapped has no device.
fn is_there(device: &Path, user: Option<&str>) -> Result<bool> {
    let (pool, image) = names(device)?;
    Ok(device.exists() || super::is_there(rbd(user, "info", &[&format!("{pool}/{image}")]), NOTHING)?)
}

impl Backend for Rbd {
    fn place(&self, target: &Target<'_>) -> Result<Storage> {
        let global = global::load();
        let configured = || global.get("lxc.bdev.rbd.rbdpool").flatten().unwrap_or("lxc").to_string();
        let pool = target.options.rbd_pool.clone().unwrap_or_else(configured);
        let image = target.options.rbd_image.as_deref().unwrap_or(target.name);
        Ok(Storage::Rbd(PathBuf::from("/dev/rbd").join(pool).join(image)))
    }

    fn exists(&self, storage: &Storage) -> Result<bool> {
        let Storage::Rbd(device) = storage else { return Err(wrong_kind(storage)) };
        is_there(device, user(&Options::default()).as_deref())
    }

    fn create(&self, storage: &Storage, target: &Target<'_>) -> Result<()> {
        let Storage::Rbd(device) = storage else { return Err(wrong_kind(storage)) };
        let (pool, image) = names(device)?;
        let user = user(target.options);
        // Whole mebibytes, which is what the program counts in.
        let size = target.options.size.unwrap_or(DEFAULT_SIZE).div_ceil(1 << 20).to_string();
        rbd(user.as_deref(), "create", &["--pool", &pool, &image, "--size", &size])?;
        rbd(user.as_deref(), "map", &["--pool", &pool, &image])
            .and_then(|_| block::make_file_system(device, target.options))
            .inspect_err(|_| drop(remove(device, user.as_deref())))
    }

    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted> {
        let Storage::Rbd(device) = storage else { return Err(wrong_kind(storage)) };
        if !device.exists() {
            let (pool, image) = names(device)?;
            return Err(Error::invalid(format!("Block device {} is not mapped.", device.display()))
                .with_hint(format!("rbd map --pool {pool} {image} maps it")));
        }
        block::mount(device, data, false).map(Mounted::from)
    }

    fn destroy(&self, storage: &Storage) -> Result<()> {
        let Storage::Rbd(device) = storage else { return Err(wrong_kind(storage)) };
        let user = user(&Options::default());
        if is_there(device, user.as_deref())? { remove(device, user.as_deref()) } else { Ok(()) }
    }

    fn like(&self, storage: &Storage) -> Options {
        let Storage::Rbd(device) = storage else { return Options::default() };
        Options { fstype: block::file_system(device).map(String::from), ..Options::default() }
    }
}

fn user(options: &Options) -> Option<String> {
    let global = global::load();
    let configured =
        || global.get("lxc.bdev.rbd.rbduser").flatten().filter(|u| !u.is_empty()).map(String::from);
    options.rbd_user.clone().or_else(configured)
}

fn remove(device: &Path, user: Option<&str>) -> Result<()> {
    let (pool, image) = names(device)?;
    if device.exists() {
        rbd(user, "unmap", &[&device.display().to_string()])?;
    }
    rbd(user, "rm", &[&format!("{pool}/{image}")]).map(drop)
}

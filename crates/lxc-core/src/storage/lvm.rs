//! Logical volumes, by the programs of LVM (lvm(8)).

use std::path::{Path, PathBuf};

use super::{Backend, DEFAULT_SIZE, Mounted, Options, Target, block, wrong_kind};
use crate::error::{Error, Result};
use crate::global;
use crate::plan::Storage;
use crate::program::{self, Setting};

pub(super) struct Lvm;

/// LVM complains of descriptors that it has not opened; what it says is looked at.
const SILENT: Setting<'_> = &[("LVM_SUPPRESS_FD_WARNINGS", "1"), ("LC_ALL", "C")];

/// What it says of a volume that it does not know, in a group that it does.
const NOTHING: &[&str] = &["Failed to find logical volume"];

fn lvm(program: &str, words: &[&str]) -> Result<String> {
    program::run_with(program, words, SILENT)
}

/// A device that is /dev/VG/LV.
fn names(device: &Path) -> Result<(String, String)> {
    let words: Vec<String> =
        device.iter().rev().take(2).map(|part| part.to_string_lossy().into_owned()).collect();
    match &*words {
        [lv, vg] if device.starts_with("/dev") && vg != "mapper" => Ok((vg.clone(), lv.clone())),
        _ => Err(Error::invalid(format!("lvm:{}: expected lvm:/dev/VG/LV", device.display()))),
    }
}

/// The first letter of a volume's attributes (lvs(8)); `None` where there is no such volume.
fn kind_of(volume: &str) -> Option<char> {
    let said = lvm("lvs", &["--unbuffered", "--noheadings", "-o", "lv_attr", volume]).ok()?;
    said.trim().chars().next()
}

impl Backend for Lvm {
    fn place(&self, target: &Target<'_>) -> Result<Storage> {
        let global = global::load();
        let configured = || global.get("lxc.bdev.lvm.vg").flatten().unwrap_or("lxc").to_string();
        let vg = target.options.vg.clone().unwrap_or_else(configured);
        let lv = target.options.lv.as_deref().unwrap_or(target.name);
        Ok(Storage::Lvm(PathBuf::from("/dev").join(vg).join(lv)))
    }

    /// One that is not active has no device.
    fn exists(&self, storage: &Storage) -> Result<bool> {
        let Storage::Lvm(device) = storage else { return Err(wrong_kind(storage)) };
        if device.exists() {
            return Ok(true);
        }
        let (vg, lv) = names(device)?;
        super::is_there(lvm("lvs", &["--noheadings", "-o", "lv_name", &format!("{vg}/{lv}")]), NOTHING)
    }

    fn create(&self, storage: &Storage, target: &Target<'_>) -> Result<()> {
        let Storage::Lvm(device) = storage else { return Err(wrong_kind(storage)) };
        let (vg, lv) = names(device)?;
        let global = global::load();
        let configured = || global.get("lxc.bdev.lvm.thin_pool").flatten().unwrap_or("lxc").to_string();
        let pool = format!("/dev/{vg}/{}", target.options.thin_pool.clone().unwrap_or_else(configured));
        let size = format!("{}b", target.options.size.unwrap_or(DEFAULT_SIZE));
        let is_thin = kind_of(&pool) == Some('t');
        if target.options.thin_pool.is_some() && !is_thin {
            return Err(Error::invalid(format!("{pool} is no thin pool")));
        }
        let place: &[&str] = if is_thin { &["--thinpool", &pool, "-V", &size] } else { &["-L", &size] };
        lvm("lvcreate", &[&["-Wy", "--yes"], place, &[&vg, "-n", &lv]].concat())?;
        block::make_file_system(device, target.options).inspect_err(|_| drop(remove(device)))
    }

    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted> {
        let Storage::Lvm(device) = storage else { return Err(wrong_kind(storage)) };
        block::mount(device, data, false).map(Mounted::from)
    }

    fn mount_read_only(&self, storage: &Storage) -> Result<Mounted> {
        let Storage::Lvm(device) = storage else { return Err(wrong_kind(storage)) };
        block::mount(device, "", true).map(Mounted::from)
    }

    fn destroy(&self, storage: &Storage) -> Result<()> {
        let Storage::Lvm(device) = storage else { return Err(wrong_kind(storage)) };
        names(device)?;
        if self.exists(storage)? { remove(device) } else { Ok(()) }
    }

    fn snapshot(&self, source: &Storage, new: &Storage, target: &Target<'_>) -> Result<()> {
        let (Storage::Lvm(from), Storage::Lvm(to)) = (source, new) else { return Err(wrong_kind(new)) };
        let ((vg, _), (new_vg, lv)) = (names(from)?, names(to)?);
        if vg != new_vg {
            return Err(Error::invalid(format!(
                "{source}: a snapshot is in the volume group of its source, not in {new_vg}"
            )));
        }
        let source = from.display().to_string();
        if kind_of(&source) == Some('V') {
            // Without -kn nobody could use it before it is activated by hand.
            lvm("lvcreate", &["-s", "-kn", "-n", &lv, &source])?;
        } else {
            let size = target.options.size.or_else(|| size_of(from)).unwrap_or(DEFAULT_SIZE);
            lvm("lvcreate", &["-s", "-n", &lv, "-L", &format!("{size}b"), &source])?;
        }
        renew_uuid(to).inspect_err(|_| drop(remove(to)))
    }

    fn like(&self, storage: &Storage) -> Options {
        let Storage::Lvm(device) = storage else { return Options::default() };
        Options {
            size: size_of(device),
            fstype: block::file_system(device).map(String::from),
            vg: names(device).ok().map(|(vg, _)| vg),
            ..Options::default()
        }
    }
}

fn remove(device: &Path) -> Result<()> {
    lvm("lvremove", &["-f", &device.display().to_string()]).map(drop)
}

/// Size of a block device in bytes.
fn size_of(device: &Path) -> Option<u64> {
    use std::io::Seek;
    std::fs::File::open(device).ok()?.seek(std::io::SeekFrom::End(0)).ok()
}

/// Two file systems with one UUID cannot be mounted together.
fn renew_uuid(device: &Path) -> Result<()> {
    let path = device.display().to_string();
    match block::file_system(device) {
        Some("xfs") => program::run("xfs_admin", &["-U", "generate", &path]).map(drop),
        Some("btrfs") => program::run("btrfstune", &["-f", "-u", &path]).map(drop),
        _ => Ok(()),
    }
}

//! The root file system and what is mounted in it.

use std::path::{Path, PathBuf};

use lxc_config::Values;
use lxc_config::mount_entry::{IdMapSource, MountEntry, MountOptions};

use super::storage::Storage;
use crate::error::{Doing, Error, Kind, Result};
use crate::paths;

/// The container's root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootfsPlan {
    /// What it is.
    pub storage: Storage,
    /// Where it is mounted, in the container's mount namespace only.
    pub mount: PathBuf,
    /// Mount options.
    pub options: MountOptions,
    /// Ids on disk are those of a user namespace, the container's for the most part: mounted with its id map.
    pub idmap: Option<IdMapSource>,
}

impl RootfsPlan {
    /// Reads `lxc.rootfs.*`; `None` without a path.
    pub fn resolve(values: &Values) -> Result<Option<RootfsPlan>> {
        let keys = &values.rootfs;
        let Some(storage) = Storage::of(values)? else { return Ok(None) };
        let what = || format!("lxc.rootfs.path = {storage}");
        let directories: Vec<&Path> = match &storage {
            Storage::Dir(dir) | Storage::Btrfs(dir) => vec![dir],
            Storage::Overlay { lower, .. } => lower.iter().map(PathBuf::as_path).collect(),
            _ => Vec::new(),
        };
        for dir in directories {
            let meta = std::fs::metadata(dir).doing(|| what() + ": look at the root file system")?;
            if !meta.is_dir() {
                return Err(Error::os(what() + ": open the root file system", lxc_sys::Errno::NOTDIR));
            }
        }
        if let Some(file) = storage.file() {
            std::fs::metadata(file).doing(|| what() + ": look at the root file system")?;
        }
        if matches!(storage, Storage::Zfs(_)) && !super::host::knows_file_system("zfs") {
            return Err(Error::unsupported(what() + ": this kernel has no ZFS"));
        }
        if storage.needs_mounting() && !rustix::process::geteuid().is_root() {
            return Err(Error::new(
                Kind::Denied,
                format!("{}: only root mounts storage of type {}", what(), storage.kind()),
            ));
        }
        let options = MountOptions::parse(keys.options.as_deref().unwrap_or(""))
            .map_err(|e| Error::invalid(format!("lxc.rootfs.options: {e}")))?;
        let idmap = options.idmap.clone();
        check_idmap(idmap.as_ref(), values).map_err(|e| {
            e.during(format!("lxc.rootfs.options = {}", keys.options.as_deref().unwrap_or("")))
        })?;
        if matches!((&idmap, &storage), (Some(IdMapSource::File(_)), Storage::Overlay { .. })) {
            return Err(Error::unsupported(
                "lxc.rootfs.options: the layers of an overlay take idmap=container only",
            ));
        }
        if storage.directory().is_some() && !options.data.is_empty() {
            return Err(Error::invalid(format!(
                "lxc.rootfs.options: {} is no option of a directory's mount",
                options.data
            )));
        }
        let mount = keys.mount.clone().unwrap_or_else(paths::default_rootfs_mount);
        Ok(Some(RootfsPlan { storage, mount, options, idmap }))
    }
}

/// `idmap=` needs a user namespace to take the map from.
fn check_idmap(idmap: Option<&IdMapSource>, values: &Values) -> Result<()> {
    match idmap {
        Some(IdMapSource::Container) if values.idmap.is_empty() => {
            Err(Error::invalid("idmap=container needs lxc.idmap"))
        }
        Some(IdMapSource::File(file)) => std::fs::metadata(file)
            .doing(|| format!("idmap={}: look at the user namespace", file.display()))
            .map(drop),
        _ => Ok(()),
    }
}

/// One mount of fstab or `lxc.mount.entry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPlan {
    /// The line as written, for messages.
    pub text: String,
    /// What is mounted.
    pub source: String,
    /// Below the root file system; an absolute path of the host where there is none.
    pub target: PathBuf,
    /// File system type.
    pub fstype: String,
    /// Flags, propagation, creation and data.
    pub options: MountOptions,
}

impl MountPlan {
    /// Whether something that exists is shown at another place.
    pub fn is_bind(&self) -> bool {
        self.options.is_bind()
    }
}

/// Instances of proc and sysfs that nothing is mounted over: with them in sight the kernel lets an inner
/// container mount its own (mount_too_revealing in fs/namespace.c).
const FOR_NESTING: &[&str] =
    &["proc dev/.lxc/proc proc create=dir,optional 0 0", "sys dev/.lxc/sys sysfs create=dir,optional 0 0"];

/// Reads `lxc.mount.fstab` and `lxc.mount.entry`, in this order.
pub fn resolve(
    values: &Values,
    lxcpath: &Path,
    name: &str,
    rootfs: Option<&RootfsPlan>,
) -> Result<Vec<MountPlan>> {
    let mut out = Vec::new();
    if let Some(fstab) = &values.mount_fstab {
        let text = std::fs::read_to_string(fstab)
            .doing(|| format!("lxc.mount.fstab = {}: read it", fstab.display()))?;
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", fstab.display(), number + 1);
            let entry = MountEntry::parse(line).map_err(|e| Error::invalid(format!("{}: {e}", place())))?;
            let Some(entry) = entry else { continue };
            out.extend(place_entry(entry, line.trim(), values, lxcpath, name, rootfs).doing(place)?);
        }
    }
    let nested = if values.apparmor.allow_nesting && rootfs.is_some() { FOR_NESTING } else { &[] };
    for line in values.mount_entries.iter().map(String::as_str).chain(nested.iter().copied()) {
        let what = || format!("lxc.mount.entry = {line}");
        let entry = MountEntry::parse(line).map_err(|e| Error::invalid(format!("{}: {e}", what())))?;
        let Some(entry) = entry else { continue };
        out.extend(place_entry(entry, line, values, lxcpath, name, rootfs).doing(what)?);
    }
    if let Some((host, inside)) = &values.mount_auto.shmounts {
        let line = format!("{} {} none bind,create=dir 0 0", host.display(), inside.display());
        let entry = MountEntry {
            source: host.display().to_string(),
            target: inside.display().to_string().trim_start_matches('/').to_string(),
            fstype: "none".to_string(),
            options: MountOptions::parse("bind,create=dir").map_err(|e| Error::invalid(e.to_string()))?,
        };
        out.extend(place_entry(entry, &line, values, lxcpath, name, rootfs)?);
    }
    Ok(out)
}

/// Resolves the target. `None`: an absolute one outside the root file system, which upstream skips.
fn place_entry(
    entry: MountEntry,
    text: &str,
    values: &Values,
    lxcpath: &Path,
    name: &str,
    rootfs: Option<&RootfsPlan>,
) -> Result<Option<MountPlan>> {
    check_idmap(entry.options.idmap.as_ref(), values)?;
    if entry.options.idmap.is_some() && (entry.options.relative || !entry.options.is_bind()) {
        return Err(Error::invalid("idmap= needs a bind mount of a directory or file of the host"));
    }
    let target = match (rootfs, entry.target.starts_with('/')) {
        (None, true) => PathBuf::from(&entry.target),
        (None, false) => Path::new("/").join(&entry.target),
        (Some(_), false) => PathBuf::from(&entry.target),
        (Some(_), true) => {
            let default = lxcpath.join(name).join("rootfs");
            let prefixes = [default.display().to_string(), values.rootfs.path.clone().unwrap_or_default()];
            let below = prefixes.iter().filter(|p| !p.is_empty()).find_map(|p| {
                Some(entry.target.split_once(p.as_str())?.1.trim_start_matches('/').to_string())
            });
            match below {
                Some(below) => PathBuf::from(below),
                None => {
                    log::warn!("mount entry {text:?} is ignored: its target is outside the root file system");
                    return Ok(None);
                }
            }
        }
    };
    if entry.options.is_bind() && !entry.options.relative && !entry.options.optional {
        std::fs::symlink_metadata(&entry.source).doing(|| format!("look at the source {}", entry.source))?;
    }
    Ok(Some(MountPlan {
        text: text.to_string(),
        source: entry.source,
        target,
        fstype: entry.fstype,
        options: entry.options,
    }))
}

//! Destroying.

use std::path::Path;

use lxc_config::HookType;

use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::hooks::HookContext;
use crate::lock;
use crate::plan::Identity;
use crate::spawn::isolated::with_ids_of;
use crate::state::State;
use crate::storage::remove::{refuse_mounts, remove_directory_except};

impl Container {
    /// Removes the container with its storage. It must not run, nor have snapshots or clones.
    pub fn destroy(&self) -> Result<()> {
        let creation = lock::creation(&self.directory())?;
        if creation == lock::Creation::Ongoing {
            return Err(Error::invalid(format!("{} is being created", self.name())));
        }
        if !self.is_defined() && creation == lock::Creation::Complete {
            // All that a creation had done when it was killed at once.
            if std::fs::remove_dir(self.directory()).is_ok() {
                return Ok(());
            }
            return Err(Error::new(Kind::NotDefined, "Container is not defined"));
        }
        if self.state()? != State::Stopped {
            return Err(Error::new(Kind::AlreadyRunning, format!("{} is running", self.name())));
        }
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        let directory = self.directory();
        if self.has_clones(&directory) {
            return Err(Error::invalid(format!("Destroying {0} failed: {0} has clones", self.name())));
        }
        if has_entries(&directory.join("snaps")) {
            return Err(Error::invalid(format!("Destroying {0} failed: {0} has snapshots", self.name())));
        }
        let values = &self.config.values;
        if !values.rootfs.managed {
            return Ok(());
        }
        self.run_destroy_hooks()?;
        let rootfs = values.rootfs.path.as_deref().map(Path::new);
        for path in
            [Some(&*directory), rootfs].into_iter().flatten().filter(|p| p.is_dir() && *p != Path::new("/"))
        {
            refuse_mounts(path)?;
        }
        // Where the map is not to be used the files have those ids all the same that the user may map.
        let identity =
            Identity::resolve(values).ok().filter(Identity::is_mapped).unwrap_or_else(Identity::of_caller);
        with_ids_of(&identity, || self.remove_files(&directory, creation))
    }

    fn remove_files(&self, directory: &Path, creation: lock::Creation) -> Result<()> {
        // From here on a kill leaves something that is known to be remains.
        let mark = match creation {
            lock::Creation::Complete if directory.is_dir() => Some(lock::begin_creation(directory)?),
            _ => None,
        };
        self.remove_rootfs(directory)?;
        remove_directory_except(directory, true, &["snaps", lock::PARTIAL])?;
        drop(mark);
        remove_directory_except(directory, true, &["snaps"])
    }

    /// Removes all snapshots.
    pub fn destroy_snapshots(&self) -> Result<()> {
        let snaps = self.directory().join("snaps");
        let entries = match std::fs::read_dir(&snaps) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e).doing(|| format!("read {}", snaps.display())),
        };
        for entry in entries {
            let entry = entry.doing(|| format!("read {}", snaps.display()))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            Container::open(&name, &snaps)?.destroy().doing(|| format!("destroy snapshot {name}"))?;
        }
        std::fs::remove_dir(&snaps).doing(|| format!("remove {}", snaps.display()))
    }

    fn has_clones(&self, directory: &Path) -> bool {
        std::fs::read_to_string(directory.join("lxc_snapshots")).is_ok_and(|t| !matches!(t.trim(), "" | "0"))
    }

    fn run_destroy_hooks(&self) -> Result<()> {
        let lines = self.config.values.hooks.get(&HookType::Destroy).map_or(&[][..], Vec::as_slice);
        if lines.is_empty() {
            return Ok(());
        }
        let values = &self.config.values;
        let mount = values.rootfs.mount.clone().unwrap_or_else(crate::paths::default_rootfs_mount);
        let mount = values.rootfs.path.is_some().then_some(mount.as_path());
        HookContext::of(self.name(), self.config.file(), mount, values)
            .run(HookType::Destroy, lines, &[])
            .doing(|| "destroy hooks")
    }

    /// A directory elsewhere, made for this container.
    fn remove_rootfs(&self, directory: &Path) -> Result<()> {
        let rootfs = &self.config.values.rootfs;
        match (rootfs.kind.as_deref(), rootfs.path.as_deref()) {
            (_, None) => Ok(()),
            (None | Some("dir"), Some(path)) if Path::new(path).starts_with(directory) => Ok(()),
            (None | Some("dir"), Some(path)) if path != "/" && Path::new(path).is_dir() => {
                crate::storage::remove_directory(Path::new(path), true)
            }
            // Layers below are others'; what is the container's own is in its directory.
            (Some("overlay" | "overlayfs"), _) => Ok(()),
            (Some(kind @ ("btrfs" | "zfs" | "lvm" | "loop" | "nbd" | "rbd")), Some(path)) => {
                Err(Error::unsupported(format!(
                    "lxc.rootfs.path = {kind}:{path}: storage of type {kind} is not supported by this version"
                ))
                .with_hint("set lxc.rootfs.managed = 0 and remove the storage yourself"))
            }
            _ => Ok(()),
        }
    }
}

fn has_entries(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some())
}

//! Destroying.

use std::path::Path;

use lxc_config::HookType;
use lxc_sys::Errno;

use super::making::identity_of;
use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::hooks::HookContext;
use crate::lock;
use crate::plan::Storage;
use crate::spawn::isolated::with_ids_of;
use crate::state::State;
use crate::storage::owned::{self, Removal};

impl Container {
    /// Removes the container with its storage. It must not run, nor have snapshots or clones.
    pub fn destroy(&self) -> Result<()> {
        let directory = self.directory();
        let creation = lock::creation(&directory)?;
        if creation == lock::Creation::Ongoing {
            return Err(Error::invalid(format!("{} is being created", self.name())));
        }
        if !self.is_defined() && creation == lock::Creation::Complete {
            // All that a creation had done when it was killed at once.
            if std::fs::remove_dir(&directory).is_ok() {
                return Ok(());
            }
            return Err(Error::new(Kind::NotDefined, "Container is not defined"));
        }
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        self.refuse_running()?;
        let values = &self.config.values;
        let identity = identity_of(self);
        let place = self.place();
        if creation == lock::Creation::Incomplete {
            let removal = Removal::of_incomplete(&place)?;
            return with_ids_of(&identity, || removal.run());
        }
        // What a restore has left holds the record of clones, and the snapshots.
        self.finish_restore()?;
        owned::refuse_clones(&place)?;
        self.sweep_snapshots()?;
        if !self.snapshots()?.is_empty() || has_entries(&directory.join(owned::SNAPSHOTS)) {
            return Err(Error::invalid(format!("Destroying {0} failed: {0} has snapshots", self.name())));
        }
        if !values.rootfs.managed {
            return Ok(());
        }
        let storage = self.storage_to_remove()?;
        // Before a hook takes something away.
        owned::check_removable(&place, storage.as_ref())?;
        self.run_destroy_hooks()?;
        // The lock and the hooks may have taken a while.
        self.refuse_running()?;
        let removal = Removal::of(&place, storage.as_ref())?;
        with_ids_of(&identity, || removal.run())
    }

    /// Whether nobody uses its files.
    pub(super) fn refuse_running(&self) -> Result<()> {
        match self.state()? {
            State::Stopped => Ok(()),
            _ => Err(Error::new(Kind::AlreadyRunning, format!("{} is running", self.name()))),
        }
    }

    /// Removes what an interrupted creation has left; a container that is complete by now stays.
    ///
    /// # Errors
    /// Somebody is at it, or what could not be removed.
    pub fn remove_incomplete(&self) -> Result<()> {
        if lock::creation(&self.directory())? != lock::Creation::Incomplete {
            return Ok(());
        }
        let removal = Removal::of_incomplete(&self.place())?;
        with_ids_of(&identity_of(self), || removal.run())
    }

    /// Storage that goes with the container. Of a path without type nothing is left where it cannot be told what it is.
    fn storage_to_remove(&self) -> Result<Option<Storage>> {
        let values = &self.config.values;
        match Storage::of(values) {
            Err(e) if e.errno() == Some(Errno::NOENT) && values.rootfs.kind.is_none() => Ok(None),
            Ok(Some(Storage::Dir(path))) if path == Path::new("/") => Ok(None),
            found => found,
        }
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
}

fn has_entries(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some())
}

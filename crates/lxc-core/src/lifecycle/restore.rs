//! Restoring a snapshot (spec: storage, section 6).
//!
//! In place the new state is made in a directory beside, and both change places in one call. What a snapshot does not hold,
//! and lies in the container's directory, is then moved from the old state to the new one; the rest of the old one is
//! removed. A mark in the new state tells on which side of the exchange a kill was.

use std::path::{Path, PathBuf};

use lxc_sys::Errno;
use rustix::fs::{CWD, RenameFlags};

use super::copy::CopyOptions;
use super::making::{RESTORED, UNNAMED, identity_of};
use super::rewrite::is_beside;
use crate::container::Container;
use crate::error::{Doing, Error, Result};
use crate::files;
use crate::lock;
use crate::plan::{Storage, StorageKind};
use crate::source::Files;
use crate::spawn::isolated::with_ids_of;
use crate::storage::copy::Progress;
use crate::storage::owned::{self, Removal};
use crate::storage::{self, dependents};

/// The file that the new state has in it.
const NEW: &str = ".restored";

impl Container {
    /// Makes a container of a snapshot; under its own name the container becomes what it was, and keeps its snapshots, and
    /// what lies beside its root file system.
    ///
    /// # Errors
    /// Why not; the container is as it was.
    pub fn restore(&self, snapshot: &str, name: Option<&str>, progress: Option<Progress<'_>>) -> Result<()> {
        let name = name.unwrap_or(self.name());
        let source = self.open_snapshot(snapshot)?;
        let in_place = name == self.name();
        let storage =
            Storage::of(&self.config.values)?.ok_or_else(|| Error::invalid("No rootfs specified"))?;
        if in_place {
            self.check_source(false)?;
            self.check_replaceable(&storage)?;
        }
        let kind = storage.kind();
        let options = CopyOptions {
            name: Some(name.to_string()),
            lxcpath: Some(self.lxcpath().to_path_buf()),
            snapshot: storage::can_snapshot_kind(kind),
            kind: Some(kind),
            keep_addresses: in_place,
            storage: storage::backend(kind).like(&storage),
            progress,
            ..CopyOptions::default()
        };
        if !in_place {
            return source.copy(&options).map(drop);
        }
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        self.finish_restore()?;
        self.replace_by(&source, &options, &storage)
    }

    /// Whether the container can change places with what it was.
    fn check_replaceable(&self, storage: &Storage) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let elsewhere = |e: Error| e.with_hint("restore it under another name");
        owned::check_removable(&self.place(), Some(storage)).map_err(elsewhere)?;
        // What builds on layers builds on the lower ones, which stay.
        let changes = !matches!(storage, Storage::Overlay { .. });
        if changes && dependents::builders(&self.directory())?.is_none_or(|clones| !clones.is_empty()) {
            return Err(Error::invalid(format!("{} has clones: they build on what it is now", self.name())));
        }
        if storage.kind() == StorageKind::Zfs {
            return Err(elsewhere(Error::unsupported(format!(
                "{storage}: its snapshots build on it; it cannot be replaced by one of them"
            ))));
        }
        // A subvolume is one too, without being a mount.
        let device =
            |path: &Path| path.metadata().map(|m| m.dev()).doing(|| format!("look at {}", path.display()));
        if device(&self.directory())? != device(&self.place().0)? {
            return Err(elsewhere(Error::os(
                format!("{}: it is a file system of its own", self.directory().display()),
                Errno::XDEV,
            )));
        }
        Ok(())
    }

    /// Where the new state of a container is made that is restored in place, and the old one is afterwards.
    pub(super) fn staging(&self) -> PathBuf {
        self.place().0.join(format!(".{}{RESTORED}", self.name()))
    }

    fn replace_by(&self, source: &Container, options: &CopyOptions<'_>, storage: &Storage) -> Result<()> {
        let (staging, directory) = (self.staging(), self.directory());
        let staged_name = staging.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let staged = CopyOptions { name: Some(staged_name), ..options.clone() };
        // One that a kill has left would make the old state the new one.
        files::remove(&directory.join(NEW))?;
        source.copy_as(&staged, self.name(), &|copy: &mut Container| {
            let mark = copy.directory().join(NEW);
            std::fs::write(&mark, "").doing(|| format!("write {}", mark.display()))
        })?;
        // The copy may have taken a while.
        let exchanged = self.refuse_running().and_then(|()| self.check_replaceable(storage)).and_then(|()| {
            rustix::fs::renameat_with(CWD, &staging, CWD, &directory, RenameFlags::EXCHANGE)
                .doing(|| format!("exchange {} and {}", staging.display(), directory.display()))
                .map_err(|e| match e.errno() {
                    Some(Errno::INVAL) => {
                        e.with_hint("this file system cannot: restore it under another name")
                    }
                    _ => e,
                })
        });
        match exchanged {
            Ok(()) => files::sync(self.lxcpath()).and_then(|()| self.finish_restore()),
            Err(e) => self.finish_restore().and(Err(e)),
        }
    }

    /// Ends what a restore that was killed has left. On this side of the exchange that is the new state, on the other one
    /// the old state.
    pub(super) fn finish_restore(&self) -> Result<()> {
        let (staging, directory) = (self.staging(), self.directory());
        if !staging.exists() {
            return Ok(());
        }
        let staged_name = staging.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let identity = identity_of(self);
        if lock::creation(&staging)? == lock::Creation::Incomplete {
            let removal = Removal::of_incomplete(&(self.place().0, staged_name))?;
            return with_ids_of(&identity, || removal.run());
        }
        if !staging.join(NEW).exists() {
            files::remove(&directory.join(NEW))?;
            let wanted = |below: &Path| {
                let own = [owned::SNAPSHOTS, dependents::DEPENDENTS].map(Path::new);
                is_beside(below) || own.contains(&below)
            };
            with_ids_of(&identity, || carry_over(&staging, &directory, &wanted))?;
            self.carry_over_lower(&staging)?;
        }
        self.remove_elsewhere(&staging)?;
        self.set_aside(&staging)
    }

    /// Gives what is to be removed a name by which nobody looks for a state of the container any more, and removes it.
    fn set_aside(&self, staging: &Path) -> Result<()> {
        // What could not be removed before may be there.
        let names = (0u32..).map(|n| format!(".{}{RESTORED}.{n}{UNNAMED}", self.name()));
        let free = names.map(|name| self.place().0.join(name)).find(|path| path.symlink_metadata().is_err());
        let aside = free.unwrap_or_else(|| staging.to_path_buf());
        std::fs::rename(staging, &aside)
            .doing(|| format!("rename {} to {}", staging.display(), aside.display()))?;
        if let Err(e) = with_ids_of(&identity_of(self), || storage::remove_directory(&aside, true)) {
            // The container is what it is to be, and is used.
            log::warn!(
                "what {} was made of is left: {e}: lxc gc removes it when that is mended",
                self.name()
            );
        }
        Ok(())
    }

    /// The lowest layer may be the container's own: a restore does not change it. That of the new state is empty.
    fn carry_over_lower(&self, staging: &Path) -> Result<()> {
        let (from, to) = (staging.join("rootfs"), self.directory().join("rootfs"));
        let now = Storage::of(&Container::open(self.name(), self.lxcpath())?.config.values)?;
        let is_lower = matches!(&now, Some(Storage::Overlay { lower, .. })
            if lower.iter().any(|layer| owned::place_of(layer) == owned::place_of(&to)));
        if !is_lower || !from.is_dir() {
            return Ok(());
        }
        match rustix::fs::rename(&from, &to) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(e) => Err(e).doing(|| format!("move {} to {}", from.display(), to.display())),
        }
    }

    /// Removes storage of the other state that is in neither directory.
    fn remove_elsewhere(&self, staging: &Path) -> Result<()> {
        // Its configuration names the paths of the container, which are those of what is there now: only what is
        // elsewhere goes by it.
        let mut other = Container::without_config(self.name(), self.lxcpath())?;
        if other.config.load(&staging.join("config"), &Files).is_err() || !other.config.values.rootfs.managed
        {
            return Ok(());
        }
        let now = Storage::of(&Container::open(self.name(), self.lxcpath())?.config.values)?;
        let is_now = |s: &Storage| now.as_ref().is_some_and(|now| owned::is_same(now, s));
        let before = Storage::of(&other.config.values).ok().flatten();
        let elsewhere = before.filter(|s| !owned::is_within(s, &self.directory()) && !is_now(s));
        if let Some(before) = elsewhere {
            let removed = owned::refuse_foreign(&self.place(), &before).and_then(|()| {
                with_ids_of(&identity_of(self), || storage::backend(before.kind()).destroy(&before))
            });
            removed.unwrap_or_else(|e| log::warn!("what {} was made of is left: {e}", self.name()));
        }
        Ok(())
    }
}

/// Moves what a choice says from one directory to another, where it is not there. `wanted` is asked for paths below the
/// directory; of directories that are on both sides what is in them is moved.
fn carry_over(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<()> {
    let what = || format!("read {}", from.display());
    for entry in std::fs::read_dir(from).doing(what)? {
        let entry = entry.doing(what)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if !wanted(Path::new(&entry.file_name())) {
            continue;
        }
        if target.symlink_metadata().is_err() {
            std::fs::rename(&source, &target)
                .doing(|| format!("move {} to {}", source.display(), target.display()))?;
        } else if entry.file_type().doing(what)?.is_dir() && target.is_dir() && !target.is_symlink() {
            carry_over(&source, &target, &|_| true)?;
        }
    }
    Ok(())
}

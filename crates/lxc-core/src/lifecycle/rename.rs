//! Renaming: the directory gets another name, and nothing is copied.
//!
//! The new configuration waits in the directory before it is renamed. From the instant of that on the container is the
//! new one: a kill leaves a directory whose configuration names paths of the old one, and whoever opens it reads the
//! one that waits (see [`Container::open`]); the next operation puts it in its place.

use std::path::Path;

use super::copy::{Told, open_root, run_clone_hooks, set_hostname};
use super::making::{identity_of, refuse_reserved};
use super::rewrite::{self, Change};
use crate::container::{Container, WAITING};
use crate::error::{Doing, Error, Kind, Result};
use crate::lock;
use crate::plan::Storage;
use crate::source::Moved;
use crate::spawn::isolated::with_ids_of;
use crate::storage::dependents;

impl Container {
    /// Gives the container another name. It keeps its hardware addresses; its host name is the new one.
    ///
    /// # Errors
    /// Why not; it is still called as before.
    pub fn rename(&self, name: &str) -> Result<Container> {
        self.check_source(false)?;
        let new = Container::without_config(name, self.lxcpath())?;
        refuse_reserved(name)?;
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        self.finish_restore()?;
        self.refuse_running()?;
        if !self.snapshots()?.is_empty() {
            return Err(Error::invalid("Renaming a container with snapshots is not supported"));
        }
        if dependents::builders(&self.directory())?.is_none_or(|clones| !clones.is_empty()) {
            return Err(Error::invalid("Renaming a container with clones is not supported"));
        }
        if new.directory().exists() {
            return Err(Error::new(
                Kind::AlreadyRunning,
                format!("error: clone: {} exists", new.directory().display()),
            ));
        }
        let _new_lock = lock::lock_container(self.lxcpath(), name)?;
        let text = self.renamed_text(&new)?;
        let waiting = self.directory().join(WAITING);
        crate::files::replace(&waiting, &text, 0o640)?;
        let (from, to) = (self.directory(), new.directory());
        let rename = |from: &Path, to: &Path| {
            crate::files::rename_new(from, to)
                .doing(|| format!("rename {} to {}", from.display(), to.display()))
        };
        // At any instant those that it builds on know one of its names.
        let on = dependents::built_on(&from)?;
        let (old_place, new_place) = (self.place(), new.place());
        let undo = || {
            let _ = std::fs::remove_file(&waiting);
            if let Err(e) = dependents::strike_renamed(&new_place, &on) {
                log::warn!("{e}");
            }
        };
        dependents::enter_renamed(&new_place, &on)
            .and_then(|()| rename(&from, &to))
            .inspect_err(|_| undo())?;
        let settled = Container::open(name, self.lxcpath()).and_then(|new| new.settle(Some(self.name())));
        match settled {
            Ok(()) => {
                // One entry too many protects for a while what nobody builds on; one too few does not protect.
                crate::files::sync(self.lxcpath())
                    .and_then(|()| dependents::strike_renamed(&old_place, &on))
                    .unwrap_or_else(|e| log::warn!("{e}"));
                Container::open(name, self.lxcpath())
            }
            Err(e) => {
                rename(&to, &from).map_err(|again| e.clone().with_hint(again.to_string()))?;
                undo();
                if let Ok(Some(storage)) = Storage::of(&self.config.values) {
                    let _ = with_ids_of(&identity_of(self), || {
                        set_hostname(&open_root(&storage)?.0, self.name())
                    });
                }
                Err(e)
            }
        }
    }

    fn renamed_text(&self, new: &Container) -> Result<Vec<u8>> {
        let (from, to) = (self.directory(), new.directory());
        let change = Change { from: &from, to: &to, copy_to: None, keep_addresses: true };
        let text = rewrite::configuration(&self.config, &change)?;
        let there = Moved { named: &to, there: &from };
        let mut renamed = Container::without_config(new.name(), new.lxcpath())?;
        renamed.config.load_text(&text, &new.config_path(), &there).map_err(Error::from)?;
        if let Some(storage) = Storage::of(&self.config.values)? {
            renamed.set("lxc.rootfs.path", &storage.moved(&from, &to).to_string())?;
        }
        renamed.set("lxc.uts.name", new.name())?;
        Ok(renamed.config.text())
    }

    /// Ends what a rename that was killed has left.
    pub(super) fn finish_rename(&self) -> Result<()> {
        if !self.directory().join(WAITING).exists() {
            return Ok(());
        }
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        Container::open(self.name(), self.lxcpath())?.settle(None)
    }

    /// What is left to do when the directory has its new name. All of it can be done again.
    fn settle(&self, old: Option<&str>) -> Result<()> {
        let waiting = self.directory().join(WAITING);
        if !waiting.exists() {
            return Ok(());
        }
        if !self.has_waited() {
            // It had not come to the renaming.
            return std::fs::remove_file(&waiting).doing(|| format!("remove {}", waiting.display()));
        }
        let storage = Storage::of(&self.config.values)?;
        let identity = identity_of(self);
        let hooks = self.config.values.hooks.get(&lxc_config::HookType::Clone).is_some_and(|h| !h.is_empty());
        match (&storage, old) {
            (Some(storage), Some(old)) if hooks => {
                let told = Told { name: self.name(), source: old, arguments: &[] };
                run_clone_hooks(self, storage, &identity, &told, true)?;
            }
            (Some(storage), _) => {
                with_ids_of(&identity, || set_hostname(&open_root(storage)?.0, self.name()))?;
            }
            (None, _) => {}
        }
        let config = self.config_path();
        std::fs::rename(&waiting, &config)
            .doing(|| format!("rename {} to {}", waiting.display(), config.display()))
    }
}

//! A container in the making: its directory, and the mark in it that says so.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use lxc_sys::Errno;

use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::files;
use crate::lock::{self, Creation, Partial, Record};
use crate::paths;
use crate::plan::{Identity, Storage, Subordinate};
use crate::spawn::isolated::with_ids_of;
use crate::storage::dependents::Place;
use crate::storage::owned::Removal;
use crate::storage::{backend, remove_directory};

/// Until it is completed everything in it is removed again, whatever happens: by [`Making::undo`], or by the next
/// command that finds the mark without its lock.
pub(super) struct Making {
    pub(super) place: Place,
    pub(super) directory: PathBuf,
    pub(super) identity: Identity,
    partial: Partial,
    /// The directory of containers was made for it.
    made_lxcpath: bool,
}

impl Making {
    /// Makes the directory, after it has removed what is left of one that was interrupted.
    pub(super) fn begin(lxcpath: &Path, name: &str, identity: Identity) -> Result<Making> {
        let lxcpath = &paths::absolute(lxcpath);
        let place = (lxcpath.clone(), name.to_string());
        let directory = lxcpath.join(name);
        let made_lxcpath = !lxcpath.exists();
        std::fs::create_dir_all(lxcpath).doing(|| format!("create {}", lxcpath.display()))?;
        match lock::creation(&directory)? {
            Creation::Ongoing => {
                return Err(Error::invalid(format!("{name} is being created by another process")));
            }
            Creation::Incomplete => Removal::of_incomplete(&place)
                .and_then(|removal| with_ids_of(&identity, || removal.run()))
                .doing(|| "remove the remains of an interrupted creation")?,
            Creation::Complete => {}
        }
        let had = names_in(&directory)?;
        let partial = make_directory(&directory, Record::keeping(had))?;
        if directory.join("config").exists() {
            // It was completed since the caller has looked.
            partial.complete()?;
            return Err(Error::new(Kind::AlreadyRunning, "Container already exists"));
        }
        Ok(Making { place, directory, identity, partial, made_lxcpath })
    }

    /// Writes down what storage is going to be made. What is there already stays, whatever becomes of the container.
    pub(super) fn record(&mut self, storage: &Storage) -> Result<()> {
        if backend(storage.kind()).exists(storage)? {
            return match storage {
                // It is filled.
                Storage::Dir(_) => Ok(()),
                _ => Err(Error::os(format!("create {storage}"), Errno::EXIST)),
            };
        }
        self.partial.record_storage(Some(&storage.to_string()))
    }

    /// That storage was not made after all, and nothing of it is left: what has its name is somebody else's.
    pub(super) fn not_made(&mut self, error: Error) -> Error {
        match self.partial.record_storage(None) {
            Ok(()) => error,
            Err(e) => error.with_hint(e.to_string()),
        }
    }

    /// The container is complete, also after power has failed.
    pub(super) fn complete(self) -> Result<()> {
        // All the rest is, by whoever has made it.
        let config = self.directory.join("config");
        if config.exists() {
            files::sync(&config)?;
        }
        files::sync(&self.directory)?;
        files::sync(&self.place.0)?;
        self.partial.complete()?;
        // Without the mark, too.
        files::sync(&self.directory)
    }

    /// Removes everything that was made.
    pub(super) fn undo(self) {
        let removed = Removal::of_remains(&self.place, self.partial)
            .and_then(|removal| with_ids_of(&self.identity, || removal.run()));
        if let Err(e) = removed {
            log::warn!("{e}");
        }
        if self.made_lxcpath {
            // Unless another one is in it by now.
            let _ = std::fs::remove_dir(&self.place.0);
        }
    }
}

/// Refuses a name for a new container that a directory has which is about to become one, and is removed when nobody is
/// at it.
pub(super) fn refuse_reserved(name: &str) -> Result<()> {
    if name.starts_with('.') && [UNNAMED, RESTORED].iter().any(|end| name.ends_with(end)) {
        return Err(Error::invalid(format!("{name}: names like this are those of containers in the making")));
    }
    Ok(())
}

/// How directories end in which a container is made that takes the place of another.
pub(super) const RESTORED: &str = ".restore";

/// What is in a directory that may not be there.
fn names_in(directory: &Path) -> Result<Vec<String>> {
    let what = || format!("read {}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).doing(what),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.doing(what)?.file_name().into_string().ok().filter(|n| !n.contains('\n'));
        names.push(
            name.ok_or_else(|| Error::invalid(format!("{}: a file with an odd name is in it", what())))?,
        );
    }
    Ok(names)
}

/// Whose files a container's are.
///
/// # Errors
/// The caller is an ordinary user, and may not have what is mapped.
pub(super) fn identity_for_files(values: &lxc_config::Values) -> Result<Identity> {
    let identity = Identity::resolve(values)?;
    if !rustix::process::geteuid().is_root() {
        let given = Subordinate::of_caller();
        if !identity.is_mapped() {
            return Err(given.nothing_mapped());
        }
        given.check(&identity)?;
    }
    Ok(identity)
}

/// With whose ids a container's files are read and removed. Where its map is not to be used they have those ids all the
/// same that the caller may map.
pub(super) fn identity_of(container: &Container) -> Identity {
    let found = Identity::resolve(&container.config.values).ok();
    found.filter(Identity::is_mapped).unwrap_or_else(Identity::of_caller)
}

/// The container's directory, with the mark in it: its group may write, others have no business there. It gets its name
/// when the mark is there; a kill leaves nothing that is not known for what it is.
fn make_directory(directory: &Path, record: Record) -> Result<Partial> {
    if directory.is_dir() {
        return lock::begin_creation(directory, record);
    }
    let what = || format!("create {}", directory.display());
    let new = unnamed(directory);
    match std::fs::DirBuilder::new().mode(0o770).create(&new) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            if lock::creation(&new)? == Creation::Ongoing {
                return Err(Error::invalid(format!(
                    "{} is being created by another process",
                    directory.display()
                )));
            }
            remove_directory(&new, true)?;
            std::fs::DirBuilder::new().mode(0o770).create(&new).doing(what)?;
        }
        made => made.doing(what)?,
    }
    // Whatever the caller's mask says.
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o770)).doing(what)?;
    let partial = lock::begin_creation(&new, record)?;
    files::rename_new(&new, directory).doing(what).inspect_err(|_| drop(remove_directory(&new, true)))?;
    Ok(partial.moved_to(directory))
}

/// What a directory is called until the mark is in it.
fn unnamed(directory: &Path) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!(".{name}{UNNAMED}"))
}

/// How directories end that never got their name.
pub(crate) const UNNAMED: &str = ".new";

/// Gives a path to the container's root, so that it can be reached from its user namespace. An ordinary user's files
/// can be, by whoever is root where the user's own ids are mapped as well.
pub(super) fn own(path: &Path, identity: &Identity) -> Result<()> {
    if !identity.is_mapped() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = identity.host_owner();
    lchown(path, Some(uid), Some(gid)).doing(|| format!("own {}", path.display()))
}

/// After the template: whoever has the container's ids must not be able to change its configuration,
/// which names programs that the host's root runs.
pub(super) fn take_back(directory: &Path, config: &Path, identity: &Identity) -> Result<()> {
    if !identity.is_mapped() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (_, gid) = identity.host_owner();
    let_pass(directory, Some(0), gid)?;
    lchown(config, Some(0), Some(0)).doing(|| format!("own {}", config.display()))
}

/// The container's root may pass through the directory, and nobody else: a program in it that runs with its owner's
/// rights is out of reach.
pub(super) fn let_pass(directory: &Path, uid: Option<u32>, gid: u32) -> Result<()> {
    lchown(directory, uid, Some(gid)).doing(|| format!("own {}", directory.display()))?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o710))
        .doing(|| format!("set the mode of {}", directory.display()))
}

/// What only root can make.
pub(super) fn check_rights(storage: &Storage) -> Result<()> {
    if rustix::process::geteuid().is_root() || !storage.needs_mounting() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Denied,
        format!(
            "{storage}: Unprivileged users can only create btrfs and directory-backed containers: nobody else may \
             mount it"
        ),
    ))
}

//! Copying a container (spec: storage, sections 4 and 5).

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lxc_config::HookType;
use lxc_sys::Errno;

use super::making::{Making, check_rights, identity_for_files, own, refuse_reserved, take_back};
use super::rewrite::{self, Change};
use crate::container::{Container, normalize_lxcpath};
use crate::error::{Doing, Error, Kind, Result};
use crate::hooks::HookContext;
use crate::lock;
use crate::mount::tree;
use crate::plan::{Identity, Storage, StorageKind};
use crate::rootfs::Root;
use crate::source::Files;
use crate::spawn::isolated::{isolated, with_ids_of};
use crate::state::State;
use crate::storage::compare::{Look, compare};
use crate::storage::copy::{Progress, copy_tree, write_out};
use crate::storage::dependents::{self, Place};
use crate::storage::{self, Backend, Connection, Mounted, Target};

/// How a container is copied.
#[derive(Clone, Default)]
pub struct CopyOptions<'a> {
    /// Name of the copy; that of the source where only the directory of containers is another.
    pub name: Option<String>,
    /// Directory of containers that it goes to; that of the source.
    pub lxcpath: Option<PathBuf>,
    /// Share what does not change, where the storage can (LXC_CLONE_SNAPSHOT).
    pub snapshot: bool,
    /// Copy it where it cannot (LXC_CLONE_MAYBE_SNAPSHOT).
    pub maybe_snapshot: bool,
    /// Do not make an overlay of a directory for the sake of a snapshot (LXC_CLONE_KEEPBDEVTYPE).
    pub keep_kind: bool,
    /// Keep the host name (LXC_CLONE_KEEPNAME).
    pub keep_name: bool,
    /// Keep the hardware addresses (LXC_CLONE_KEEPMACADDR).
    pub keep_addresses: bool,
    /// The source may run (LXC_CLONE_ALLOW_RUNNING).
    pub allow_running: bool,
    /// Kind of storage of the copy.
    pub kind: Option<StorageKind>,
    /// What the storage is to be like; what is not said is as in the source.
    pub storage: storage::Options,
    /// Arguments for the clone hooks.
    pub hook_arguments: Vec<String>,
    /// Read the copy from disk when it is there, and compare it with the source. What is shared is not compared.
    pub verify: bool,
    /// Hears how far it is.
    pub progress: Option<Progress<'a>>,
}

/// What is done with a copy before it is complete; its configuration is not written yet.
pub(super) type Extra<'a> = &'a dyn Fn(&mut Container) -> Result<()>;

/// How the storage of a copy comes from that of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    kind: StorageKind,
    snapshot: bool,
}

impl Container {
    /// Copies the container. The source stays as it is, but for the record of who builds on it.
    ///
    /// # Errors
    /// Why not; nothing is left of the copy.
    pub fn copy(&self, options: &CopyOptions<'_>) -> Result<Container> {
        let name = options.name.as_deref().unwrap_or(self.name()).to_string();
        self.copy_as(options, &name, &|_: &mut Container| Ok(()))
    }

    /// The same into a directory of another name, for a container that will be called `shown`; `extra` puts more into
    /// it before it is complete.
    pub(super) fn copy_as(
        &self,
        options: &CopyOptions<'_>,
        shown: &str,
        extra: Extra<'_>,
    ) -> Result<Container> {
        let name = options.name.as_deref().unwrap_or(self.name());
        let lxcpath = options.lxcpath.as_deref().map_or(self.lxcpath().to_path_buf(), normalize_lxcpath);
        let new = Container::without_config(name, &lxcpath)?;
        refuse_reserved(shown)?;
        self.check_source(options.allow_running)?;
        if options.verify && options.allow_running {
            return Err(Error::invalid("what may change while it is copied cannot be verified"));
        }
        if new.config_path().exists() && lock::creation(&new.directory())? == lock::Creation::Complete {
            let path = new.config_path();
            return Err(Error::new(Kind::AlreadyRunning, format!("error: clone: {} exists", path.display())));
        }
        let source =
            Storage::of(&self.config.values)?.ok_or_else(|| Error::invalid("No rootfs specified"))?;
        let identity = identity_for_files(&self.config.values)?;
        let inode = self.inode()?;
        let mut making = Making::begin(&lxcpath, name, identity)?;
        let filled = self
            .fill_copy(&mut making, &source, options, shown, extra)
            .and_then(|()| self.check_unchanged(inode, options.allow_running));
        match filled {
            Ok(()) => making.complete()?,
            Err(e) => {
                making.undo();
                return Err(e);
            }
        }
        Container::open(name, &lxcpath)
    }

    /// Device and number of its directory.
    fn inode(&self) -> Result<(u64, u64)> {
        let directory = self.directory();
        let meta = directory.metadata().doing(|| format!("look at {}", directory.display()))?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Whether it is still there what it was when the copy began: nobody who removes, replaces or starts it waits for
    /// copies.
    fn check_unchanged(&self, inode: (u64, u64), allow_running: bool) -> Result<()> {
        let gone = |e: Error| e.during("while it was copied");
        if self.inode().map_err(gone)? != inode {
            return Err(Error::invalid(format!("{} was replaced while it was copied", self.name())));
        }
        self.check_source(allow_running).map_err(gone)
    }

    /// Whether this can be copied at all.
    pub(super) fn check_source(&self, allow_running: bool) -> Result<()> {
        if !self.is_defined() {
            return Err(Error::new(Kind::NotDefined, format!("Container {} is not defined", self.name())));
        }
        if lock::creation(&self.directory())? != lock::Creation::Complete {
            return Err(Error::invalid(format!(
                "{} is not complete: it is being created or removed",
                self.name()
            )));
        }
        if self.is_unfinished() {
            self.recover()?;
        }
        if !allow_running && self.state()? != State::Stopped {
            return Err(Error::new(
                Kind::AlreadyRunning,
                format!("error: Original container ({}) is running", self.name()),
            )
            .with_hint("stop or freeze it first, or allow it: files that change meanwhile are copied as they are found"));
        }
        Ok(())
    }

    fn fill_copy(
        &self,
        making: &mut Making,
        source: &Storage,
        options: &CopyOptions<'_>,
        shown: &str,
        extra: Extra<'_>,
    ) -> Result<()> {
        let way = self.way(source, making, options)?;
        let new = copy_storage(making, source, way, options)?;
        let mut container = self.configuration_of_copy(making, &new, options, shown)?;
        extra(&mut container)?;
        container.write_new()?;
        let place = (making.place.0.clone(), shown.to_string());
        self.enter_dependents(source, (&making.directory, &place), way)?;
        own(&making.directory, &making.identity)?;
        self.personalize(&container, &new, making, options, shown)?;
        take_back(&making.directory, &container.config_path(), &making.identity)
    }

    /// The configuration of a copy that will be called `shown`.
    fn configuration_of_copy(
        &self,
        making: &Making,
        new: &Storage,
        options: &CopyOptions<'_>,
        shown: &str,
    ) -> Result<Container> {
        let directory = making.place.0.join(shown);
        let change = Change {
            from: &self.directory(),
            to: &directory,
            copy_to: Some(&making.directory),
            keep_addresses: options.keep_addresses,
        };
        let text = rewrite::configuration(&self.config, &change)?;
        let mut container = Container::without_config(&making.place.1, &making.place.0)?;
        let path = container.config_path();
        container.config.load_text(&text, &path, &Files).map_err(Error::from)?;
        container.set("lxc.rootfs.path", &new.moved(&making.directory, &directory).to_string())?;
        if !options.keep_name {
            container.set("lxc.uts.name", shown)?;
        }
        Ok(container)
    }

    /// Who builds on whom from now on. A snapshot among the container's own snapshots goes with the container.
    fn enter_dependents(&self, source: &Storage, new: (&Path, &Place), way: Way) -> Result<()> {
        if way.kind != StorageKind::Overlay
            && !(way.snapshot && matches!(way.kind, StorageKind::Lvm | StorageKind::Nbd | StorageKind::Zfs))
        {
            return Ok(());
        }
        let own = self.place();
        let on = match source {
            // The layer of changes was copied: it builds on what the source builds on, which may be its own.
            Storage::Overlay { lower, .. } => {
                let mut on = dependents::built_on(&self.directory())?;
                if lower.iter().any(|l| l.starts_with(self.directory())) {
                    on.push(own.clone());
                }
                on
            }
            _ => vec![own.clone()],
        };
        let (directory, place) = new;
        // What is restored in place builds on itself no more than before.
        let on: Vec<Place> = on.into_iter().filter(|other| other != place).collect();
        let restored = place.0.join(&place.1);
        let within = place.0.starts_with(self.directory())
            || place.0 == self.snapshots_path()
            || self.directory().starts_with(restored);
        dependents::enter(directory, place, &on, within)
    }

    /// Which kind of storage the copy gets, and how.
    fn way(&self, source: &Storage, making: &Making, options: &CopyOptions<'_>) -> Result<Way> {
        let same_place = making.place.0 == self.place().0;
        let mut snapshot = options.snapshot;
        if options.kind.is_none_or(|k| k == StorageKind::Btrfs)
            && let Storage::Btrfs(path) = source
            && storage::can_hold_snapshot(&making.directory, path)
        {
            snapshot = true;
        }
        if options.maybe_snapshot
            && options.keep_kind
            && options.kind.is_none()
            && !storage::can_snapshot(source)
        {
            snapshot = false;
        }
        let kind = match (options.kind, source.kind()) {
            (Some(kind), _) => kind,
            (None, StorageKind::Dir) if snapshot && !options.keep_kind => StorageKind::Overlay,
            (None, _) if !snapshot && !same_place => StorageKind::Dir,
            (None, kind) => kind,
        };
        // Copying layers that stay below the same ones is what sharing them means.
        let layers = kind == StorageKind::Overlay && source.kind() == StorageKind::Overlay;
        let snapshot = snapshot || layers;
        if kind == StorageKind::Overlay && !snapshot {
            return Err(Error::unsupported("The overlay storage driver can only be used for snapshots"));
        }
        if snapshot && kind != source.kind() && kind != StorageKind::Overlay {
            // The words of the kind that cannot.
            let message = match kind {
                StorageKind::Dir => "Directories cannot be snapshotted".to_string(),
                kind if !storage::can_snapshot_kind(kind) => {
                    format!("The {kind} storage driver does not support snapshots")
                }
                kind => format!("a snapshot of storage of type {} cannot be of type {kind}", source.kind()),
            };
            return Err(Error::unsupported(message));
        }
        Ok(Way { kind, snapshot })
    }

    /// Host name and clone hooks.
    fn personalize(
        &self,
        container: &Container,
        new: &Storage,
        making: &Making,
        options: &CopyOptions<'_>,
        name: &str,
    ) -> Result<()> {
        let hooks = container.config.values.hooks.get(&HookType::Clone).map_or(&[][..], Vec::as_slice);
        if hooks.is_empty() && options.keep_name {
            return Ok(());
        }
        if hooks.is_empty() {
            return with_ids_of(&making.identity, || set_hostname(&open_root(new)?.0, name));
        }
        let told = Told { name, source: self.name(), arguments: &options.hook_arguments };
        run_clone_hooks(container, new, &making.identity, &told, !options.keep_name)
    }
}

/// What clone hooks are told.
pub(super) struct Told<'a> {
    pub(super) name: &'a str,
    pub(super) source: &'a str,
    pub(super) arguments: &'a [String],
}

/// Runs clone hooks where the root file system is mounted, and sets the host name.
pub(super) fn run_clone_hooks(
    container: &Container,
    storage: &Storage,
    identity: &Identity,
    told: &Told<'_>,
    hostname: bool,
) -> Result<()> {
    let values = &container.config.values;
    let hooks = values.hooks.get(&HookType::Clone).map_or(&[][..], Vec::as_slice);
    let mount = values.rootfs.mount.clone().unwrap_or_else(crate::paths::default_rootfs_mount);
    let ordinary = !rustix::process::geteuid().is_root();
    let within = ordinary.then(|| identity.with_caller());
    isolated(within.as_ref(), || {
        std::fs::create_dir_all(&mount).doing(|| format!("create {}", mount.display()))?;
        let mounted = storage::backend(storage.kind()).mount(storage, "")?;
        tree::attach(mounted.tree.as_fd(), &mount)?;
        let mut context = HookContext::of(told.name, Some(&container.config_path()), Some(&mount), values);
        context.set("LXC_SRC_NAME", told.source);
        context.set("LXC_ROOTFS_PATH", storage.to_string());
        context.run(HookType::Clone, hooks, told.arguments).doing(|| "clone hooks")?;
        if hostname { set_hostname(&Root::open(&mount)?, told.name) } else { Ok(()) }
    })
}

/// Makes the storage of a copy, with all that is in the source's.
fn copy_storage(
    making: &mut Making,
    source: &Storage,
    way: Way,
    options: &CopyOptions<'_>,
) -> Result<Storage> {
    let wanted = merged(&options.storage, storage::backend(source.kind()).like(source));
    let unique = unique_name(&making.place);
    let directory = making.directory.clone();
    let target =
        Target { name: &unique, directory: &directory, options: &wanted, live: options.allow_running };
    let backend = storage::backend(way.kind);
    let new = match (source, way.kind) {
        // The layers below stay the same.
        (Storage::Overlay { lower, .. }, StorageKind::Overlay) => {
            storage::overlay::layers(lower.clone(), &directory)
        }
        (Storage::Dir(lower) | Storage::Btrfs(lower), StorageKind::Overlay) => {
            storage::overlay::layers(vec![lower.clone()], &directory)
        }
        _ => backend.place(&target)?,
    };
    check_rights(source).and_then(|()| check_rights(&new))?;
    making.record(&new)?;
    let what = |e: Error| e.during("Error copying storage");
    let make = || {
        if way.snapshot { backend.snapshot(source, &new, &target) } else { backend.create(&new, &target) }
    };
    if let Err(e) = with_ids_of(&making.identity, make) {
        return Err(what(making.not_made(e)));
    }
    if !way.snapshot {
        with_ids_of(&making.identity, || copy_contents(source, &new, options)).map_err(what)?;
    }
    if new.directory().is_none() {
        // What other tools expect beside a configuration.
        let rootfs = directory.join("rootfs");
        match std::fs::create_dir(&rootfs) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(e).doing(|| format!("create {}", rootfs.display()));
            }
            _ => own(&rootfs, &making.identity)?,
        }
    }
    Ok(new)
}

/// The wishes of the caller, and what is as in the source where there are none.
fn merged(wanted: &storage::Options, like: storage::Options) -> storage::Options {
    let mut all = wanted.clone();
    all.size = all.size.or(like.size);
    all.fstype = all.fstype.or(like.fstype);
    all.vg = all.vg.or(like.vg);
    all.zfs_root = all.zfs_root.or(like.zfs_root);
    all
}

/// Volumes and datasets of all containers are in one place: a snapshot's has the name of its container in front.
fn unique_name((lxcpath, name): &Place) -> String {
    match lxcpath.parent().and_then(Path::file_name) {
        Some(container) if lxcpath.ends_with(storage::owned::SNAPSHOTS) => {
            format!("{}_{name}", container.to_string_lossy())
        }
        _ => name.clone(),
    }
}

/// The root directory of storage, in this mount namespace or nowhere.
pub(super) fn open_root(storage: &Storage) -> Result<(Root, Option<Connection>)> {
    open_mounted(storage, |backend| backend.mount(storage, ""))
}

/// The same to read from.
pub(super) fn open_to_read(storage: &Storage) -> Result<(Root, Option<Connection>)> {
    open_mounted(storage, |backend| backend.mount_read_only(storage))
}

fn open_mounted(
    storage: &Storage,
    mount: impl FnOnce(&dyn Backend) -> Result<Mounted>,
) -> Result<(Root, Option<Connection>)> {
    match storage.directory() {
        Some(path) => Ok((Root::open(path)?, None)),
        None => {
            let mounted = mount(storage::backend(storage.kind()))?;
            Ok((Root::of(mounted.tree, storage.to_string()), mounted.connection))
        }
    }
}

/// Copies all files from one root file system to another, which is empty.
fn copy_contents(source: &Storage, new: &Storage, options: &CopyOptions<'_>) -> Result<()> {
    let (from, _from_connection) = open_to_read(source)?;
    let (to, _to_connection) = open_root(new)?;
    remove_lost_and_found(&to);
    copy_tree(from.fd(), to.fd(), options.allow_running, options.progress)
        .map_err(|e| explain_full(e.during(format!("copy {source} to {new}"))))?;
    write_out(to.fd())?;
    if options.verify { verify(&from, &to) } else { Ok(()) }
}

/// Reads the copy again, and compares it with the source.
fn verify(from: &Root, to: &Root) -> Result<()> {
    let found = compare(from.fd(), to.fd(), Look::Everything).map_err(|e| e.during("verify the copy"))?;
    let Some((_, path)) = found.first() else { return Ok(()) };
    let many = found.len();
    Err(Error::new(Kind::Failed, format!("the copy is not like the source: {}, 1 of {many}", path.display()))
        .with_hint("the disk of the copy may be bad, or the source was changed meanwhile"))
}

/// A new file system of ext4 is not quite empty; the source may have one of its own.
fn remove_lost_and_found(root: &Root) {
    let _ = rustix::fs::unlinkat(root.fd(), "lost+found", rustix::fs::AtFlags::REMOVEDIR);
}

fn explain_full(error: Error) -> Error {
    match error.errno() {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            error.with_hint("the copy has no room: make some, or give it more with --fssize")
        }
        _ => error,
    }
}

/// Replaces what is in /etc/hostname, if it is a file.
pub(super) fn set_hostname(root: &Root, name: &str) -> Result<()> {
    if root.is_file("etc/hostname") {
        root.write_file("etc/hostname", 0o644, name.as_bytes())
    } else {
        Ok(())
    }
}

/// Makes the storage and the configuration of a container that comes from elsewhere; its text is already what it shall
/// be, but for the storage and, with `renamed`, the host name.
pub(super) fn finish_new(
    making: &mut Making,
    text: &[u8],
    name: &str,
    kind: Option<StorageKind>,
    wanted: &storage::Options,
    renamed: bool,
) -> Result<Storage> {
    let backend = storage::backend(kind.unwrap_or(StorageKind::Dir));
    let directory = making.directory.clone();
    let target = Target { name, directory: &directory, options: wanted, live: false };
    let storage = backend.place(&target)?;
    check_rights(&storage)?;
    making.record(&storage)?;
    if let Err(e) = with_ids_of(&making.identity, || backend.create(&storage, &target)) {
        return Err(making.not_made(e));
    }
    let mut container = Container::without_config(name, &making.place.0)?;
    let path = container.config_path();
    container.config.load_text(text, &path, &Files).map_err(Error::from)?;
    container.set("lxc.rootfs.path", &storage.to_string())?;
    if renamed {
        container.set("lxc.uts.name", name)?;
    }
    container.write_new()?;
    own_root(&storage, &making.identity)?;
    own(&making.directory, &making.identity)?;
    take_back(&making.directory, &path, &making.identity)?;
    Ok(storage)
}

/// Gives the root directory of storage to the container's root.
fn own_root(storage: &Storage, identity: &Identity) -> Result<()> {
    if !identity.is_mapped() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return with_ids_of(identity, || {
            let path = storage.directory().unwrap_or(Path::new("/"));
            std::os::unix::fs::lchown(path, Some(identity.setup_uid), Some(identity.setup_gid))
                .doing(|| format!("own {}", path.display()))
        });
    }
    let (root, _held) = open_root(storage)?;
    let (uid, gid) = identity.host_owner();
    std::os::unix::fs::chown(crate::files::fd_path(root.fd()), Some(uid), Some(gid))
        .doing(|| format!("own {storage}"))
}

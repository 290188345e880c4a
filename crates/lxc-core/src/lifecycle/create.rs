//! Creating: all or nothing. A directory that holds a `partial` file without a lock is what a
//! killed creation leaves; lxc-destroy removes it.

use std::os::fd::AsFd;
use std::os::unix::fs::{chown, lchown};
use std::path::{Path, PathBuf};

use lxc_config::IdKind;

use super::making::{Making, check_rights, identity_for_files, let_pass, own, refuse_reserved, take_back};
use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::lock;
use crate::mount::tree;
use crate::plan::{Identity, Storage, StorageKind};
use crate::rootfs::Root;
use crate::spawn::isolated::isolated;
use crate::storage::copy::write_out;
use crate::storage::{self, Mounted, Target};
use crate::template::{Dialog, Prepared, Request, Template};

/// What is created.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions<'a> {
    /// `None` makes a container without a root file system.
    pub template: Option<Template>,
    /// The user's options for the template.
    pub arguments: Vec<String>,
    /// Kinds of storage for the root file system: the first of them that can be had. None: a directory.
    pub kinds: Vec<StorageKind>,
    /// What the storage is to be like.
    pub storage: storage::Options,
    /// stdio of template programs is /dev/null.
    pub quiet: bool,
    /// Whoever has asked for the container.
    pub dialog: Option<&'a dyn Dialog>,
}

impl Container {
    /// Creates the container from the configuration loaded into this handle. `false`: the template was only asked to
    /// show something.
    ///
    /// # Errors
    /// Why not; nothing of it is left.
    pub fn create(&mut self, options: &CreateOptions<'_>) -> Result<bool> {
        refuse_reserved(self.name())?;
        let creation = lock::creation(&self.directory())?;
        let identity = identity_for_files(&self.config.values)?;
        if options.template == Some(Template::Host) && !rustix::process::geteuid().is_root() {
            return Err(Error::new(
                Kind::Denied,
                "the template host needs root: it shows the host's files through an id-mapped overlay",
            ));
        }
        if self.config_path().exists() && creation == lock::Creation::Complete {
            return Err(Error::new(Kind::AlreadyRunning, "Container already exists"));
        }
        let prepared = match &options.template {
            Some(template) => template
                .prepare(&self.request(options, &self.directory(), &options.arguments))
                .map_err(|e| e.during("Failed to create container from template"))?,
            None => Prepared::Nothing,
        };
        if matches!(prepared, Prepared::Shown) {
            return Ok(false);
        }
        let mut making = Making::begin(self.lxcpath(), self.name(), identity)?;
        match self.fill(&mut making, options, &prepared) {
            Ok(()) => making.complete().map(|()| true),
            Err(e) => {
                making.undo();
                Err(e)
            }
        }
    }

    /// What a template is told; where there is no root file system yet, of it only the directory of the container.
    fn request<'a>(
        &'a self,
        options: &CreateOptions<'a>,
        rootfs: &'a Path,
        arguments: &'a [String],
    ) -> Request<'a> {
        Request {
            name: self.name(),
            path: rootfs,
            rootfs,
            arguments,
            quiet: options.quiet,
            mapped: !self.config.values.idmap.is_empty(),
            dialog: options.dialog,
        }
    }

    fn fill(&mut self, making: &mut Making, options: &CreateOptions<'_>, prepared: &Prepared) -> Result<()> {
        let (directory, identity) = (&making.directory.clone(), &making.identity.clone());
        if let Some(template) = &options.template {
            if template.fills_rootfs() {
                self.make_storage(making, options)?;
            }
            own(directory, identity)?;
        }
        self.save()?;
        own(&self.config_path(), identity)?;
        if let Some(template) = &options.template {
            self.run_template(template, options, prepared, directory, identity)?;
            self.finish_config(template, &options.arguments)?;
            take_back(directory, &self.config_path(), identity)?;
        }
        Ok(())
    }

    /// Makes storage of the first kind that can be had.
    fn make_storage(&mut self, making: &mut Making, options: &CreateOptions<'_>) -> Result<()> {
        let kinds: &[StorageKind] =
            if options.kinds.is_empty() { &[StorageKind::Dir] } else { &options.kinds };
        let directory = making.directory.clone();
        let target =
            Target { name: self.name(), directory: &directory, options: &options.storage, live: false };
        let mut failed = None;
        for kind in kinds {
            let backend = storage::backend(*kind);
            let made = backend.place(&target).and_then(|storage| {
                check_rights(&storage)?;
                making.record(&storage)?;
                match backend.create(&storage, &target) {
                    Ok(()) => Ok(storage),
                    Err(e) => Err(making.not_made(e)),
                }
            });
            match made {
                Ok(storage) => {
                    own_storage(&storage, &making.identity)?;
                    return self.set("lxc.rootfs.path", &storage.to_string());
                }
                Err(e) => {
                    let e = e.during(format!("Failed to create {kind} storage for {}", making.place.1));
                    if kinds.len() > 1 {
                        log::info!("{e}");
                    }
                    failed = Some(e);
                }
            }
        }
        Err(failed.unwrap_or_else(|| Error::invalid("no kind of storage")))
    }

    /// The template works in a mount namespace of its own; with an id map in a user namespace, as
    /// the container's root.
    fn run_template(
        &self,
        template: &Template,
        options: &CreateOptions<'_>,
        prepared: &Prepared,
        directory: &Path,
        identity: &Identity,
    ) -> Result<()> {
        let (rootfs, mounted) = self.place_to_fill(directory, identity)?;
        let ordinary = !rustix::process::geteuid().is_root();
        let within = if ordinary { identity.with_caller() } else { identity.clone() };
        let mut arguments = options.arguments.clone();
        if let (true, Template::Program(_)) = (identity.is_mapped(), template) {
            // Ids for what is not the container's: an ordinary user's own.
            let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let inside = within.inside_id(IdKind::Uid, own.0).zip(within.inside_id(IdKind::Gid, own.1));
            let (uid, gid) = inside.filter(|_| ordinary).unwrap_or((identity.setup_uid, identity.setup_gid));
            arguments.extend([
                "--mapped-uid".into(),
                uid.to_string(),
                "--mapped-gid".into(),
                gid.to_string(),
            ]);
        }
        let request = Request { path: directory, ..self.request(options, &rootfs, &arguments) };
        let config = self.config_path();
        let work = || -> Result<()> {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
            if let Some(mounted) = &mounted {
                tree::attach(mounted.tree.as_fd(), &rootfs)?;
            }
            if ordinary && template.fills_rootfs() {
                lchown(&rootfs, Some(identity.setup_uid), Some(identity.setup_gid))
                    .doing(|| format!("own {}", rootfs.display()))?;
            }
            if let Some(lines) = template.run(&request, prepared)? {
                // In place: in a user namespace the directory is not for it to write.
                let own = std::fs::read_to_string(&config).doing(|| format!("read {}", config.display()))?;
                std::fs::write(&config, lines.around(&own))
                    .doing(|| format!("write {}", config.display()))?;
            }
            if template.fills_rootfs() {
                write_out(Root::open(&rootfs)?.fd())?;
            }
            if ordinary { let_pass(directory, None, identity.setup_gid) } else { Ok(()) }
        };
        // A layered root file system is mapped as a whole when it is mounted.
        let mapped = identity.is_mapped() && (template.fills_rootfs() || ordinary);
        isolated(mapped.then_some(&within), work)
            .map_err(|e| e.during("Failed to create container from template"))
    }

    /// The directory that the template fills. A file system of its own is mounted for that, in the template's mount
    /// namespace; of an overlay the lower layer is filled.
    fn place_to_fill(&self, directory: &Path, identity: &Identity) -> Result<(PathBuf, Option<Mounted>)> {
        let Some(storage) = Storage::of(&self.config.values)? else {
            return Ok((directory.join("rootfs"), None));
        };
        match &storage {
            Storage::Dir(path) | Storage::Btrfs(path) => Ok((path.clone(), None)),
            Storage::Overlay { lower, .. } => Ok((lower.first().cloned().unwrap_or_default(), None)),
            _ => {
                let mounted = storage::backend(storage.kind()).mount(&storage, "")?;
                if identity.is_mapped() {
                    let (uid, gid) = identity.host_owner();
                    let path = crate::files::fd_path(mounted.tree.as_fd());
                    chown(path, Some(uid), Some(gid)).doing(|| format!("own {storage}"))?;
                }
                let place = self.config.values.rootfs.mount.clone();
                let place = place.unwrap_or_else(crate::paths::default_rootfs_mount);
                std::fs::create_dir_all(&place).doing(|| format!("create {}", place.display()))?;
                Ok((place, Some(mounted)))
            }
        }
    }

    /// Puts the header in front, and reads the configuration as it is now.
    fn finish_config(&mut self, template: &Template, arguments: &[String]) -> Result<()> {
        let path = self.config_path();
        let text = std::fs::read(&path).doing(|| format!("read {}", path.display()))?;
        let header = format!(
            "# Template used to create this container: {}\n# Parameters passed to the template:{}{}\n\
             # For additional config options, please look at lxc.container.conf(5)\n\n\
             # Uncomment the following line to support nesting containers:\n\
             #lxc.include = {}/config/nesting.conf\n\
             # (Be aware this has security implications)\n\n",
            template.label(),
            if arguments.is_empty() { "" } else { " " },
            shown(arguments),
            crate::paths::share_dir().display(),
        );
        crate::files::replace(&path, &[header.as_bytes(), &text].concat(), 0o640)?;
        *self = Container::open(self.name(), self.lxcpath())?;
        Ok(())
    }
}

/// Arguments of a template on one line, without what only the caller should know.
fn shown(arguments: &[String]) -> String {
    let mut is_secret = false;
    let mut words = Vec::new();
    for word in arguments {
        let text = if is_secret {
            "***"
        } else if word.starts_with("--password=") {
            "--password=***"
        } else {
            word
        };
        is_secret = word == "--password";
        let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        words.push(text.chars().map(plain).collect::<String>());
    }
    words.join(" ")
}

/// Gives new storage to the container's root.
fn own_storage(storage: &Storage, identity: &Identity) -> Result<()> {
    match storage {
        Storage::Dir(path) | Storage::Btrfs(path) => own(path, identity),
        Storage::Overlay { lower, upper, .. } => {
            lower.iter().chain([upper]).try_for_each(|path| own(path, identity))
        }
        // When it is mounted to be filled.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_in_the_header() {
        let words = |words: &[&str]| shown(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            words(&["-d", "debian", "a\nlxc.hook.pre-start = /x"]),
            "-d debian a\\nlxc.hook.pre-start = /x"
        );
        assert_eq!(words(&["--password", "x", "--password=y", "z"]), "--password *** --password=*** z");
    }
}

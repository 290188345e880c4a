//! Creating: all or nothing. A directory that holds a `partial` file without a lock is what a
//! killed creation leaves; lxc-destroy removes it.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use lxc_config::IdKind;

use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::lock;
use crate::plan::{Identity, Subordinate};
use crate::spawn::isolated::{isolated, with_ids_of};
use crate::storage::remove::{remove_directory, remove_directory_except};
use crate::template::{Request, Template};

/// What is created.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// `None` makes a container without a root file system.
    pub template: Option<Template>,
    /// The user's options for the template.
    pub arguments: Vec<String>,
    /// Root file system elsewhere than in the container's directory.
    pub rootfs: Option<PathBuf>,
    /// stdio of template programs is /dev/null.
    pub quiet: bool,
}

impl Container {
    /// Creates the container from the configuration loaded into this handle.
    ///
    /// # Errors
    /// Why not; nothing of it is left.
    pub fn create(&mut self, options: &CreateOptions) -> Result<()> {
        let directory = self.directory();
        let creation = lock::creation(&directory)?;
        let identity = self.identity_for_files()?;
        if options.template == Some(Template::Host) && !rustix::process::geteuid().is_root() {
            return Err(Error::new(
                Kind::Denied,
                "the template host needs root: it shows the host's files through an id-mapped overlay",
            ));
        }
        if self.config_path().exists() && creation == lock::Creation::Complete {
            return Err(Error::new(Kind::AlreadyRunning, "Container already exists"));
        }
        std::fs::create_dir_all(self.lxcpath()).doing(|| format!("create {}", self.lxcpath().display()))?;
        let existed = directory.exists();
        if creation == lock::Creation::Ongoing {
            return Err(Error::invalid(format!("{} is being created by another process", self.name())));
        }
        if creation == lock::Creation::Incomplete {
            with_ids_of(&identity, || remove_directory(&directory, true))
                .doing(|| "remove the remains of an interrupted creation")?;
        }
        make_directory(&directory)?;
        let result = self.fill(&directory, options, &identity);
        if result.is_err() {
            // What was there before this call is the user's.
            let keep: &[&str] = if existed { &["rootfs"] } else { &[] };
            if let Err(e) = with_ids_of(&identity, || remove_directory_except(&directory, true, keep)) {
                log::warn!("{e}");
            }
        }
        result
    }

    /// Whose files the container's are.
    ///
    /// # Errors
    /// The caller is an ordinary user, and may not have what is mapped.
    fn identity_for_files(&self) -> Result<Identity> {
        let identity = Identity::resolve(&self.config.values)?;
        if !rustix::process::geteuid().is_root() {
            let given = Subordinate::of_caller();
            if !identity.is_mapped() {
                return Err(given.nothing_mapped());
            }
            given.check(&identity)?;
        }
        Ok(identity)
    }

    fn fill(&mut self, directory: &Path, options: &CreateOptions, identity: &Identity) -> Result<()> {
        let partial = lock::begin_creation(directory)?;
        if let Some(template) = &options.template {
            if template.fills_rootfs() {
                let rootfs = options.rootfs.clone().unwrap_or_else(|| directory.join("rootfs"));
                make_rootfs(&rootfs)?;
                self.set("lxc.rootfs.path", &format!("dir:{}", rootfs.display()))?;
                own(&rootfs, identity)?;
            }
            own(directory, identity)?;
        }
        self.save()?;
        own(&self.config_path(), identity)?;
        if let Some(template) = &options.template {
            self.run_template(template, options, directory, identity)?;
            self.finish_config(template, &options.arguments)?;
            take_back(directory, &self.config_path(), identity)?;
        }
        lock::end_creation(directory, partial)
    }

    /// The template works in a mount namespace of its own; with an id map in a user namespace, as
    /// the container's root.
    fn run_template(
        &self,
        template: &Template,
        options: &CreateOptions,
        directory: &Path,
        identity: &Identity,
    ) -> Result<()> {
        let rootfs = match &self.config.values.rootfs.path {
            Some(path) => PathBuf::from(path),
            None => directory.join("rootfs"),
        };
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
        let request = Request {
            name: self.name(),
            path: directory,
            rootfs: &rootfs,
            arguments: &arguments,
            quiet: options.quiet,
        };
        let config = self.config_path();
        let work = || -> Result<()> {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
            if ordinary && template.fills_rootfs() {
                lchown(&rootfs, Some(identity.setup_uid), Some(identity.setup_gid))
                    .doing(|| format!("own {}", rootfs.display()))?;
            }
            if let Some(lines) = template.run(&request)? {
                use std::io::Write;
                let mut file = std::fs::File::options()
                    .append(true)
                    .open(&config)
                    .doing(|| format!("append to {}", config.display()))?;
                file.write_all(lines.as_bytes()).doing(|| format!("append to {}", config.display()))?;
            }
            if ordinary { let_pass(directory, None, identity.setup_gid) } else { Ok(()) }
        };
        // A layered root file system is mapped as a whole when it is mounted.
        let mapped = identity.is_mapped() && (template.fills_rootfs() || ordinary);
        isolated(mapped.then_some(&within), work)
            .map_err(|e| e.during("Failed to create container from template"))
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
            arguments.join(" "),
            crate::paths::share_dir().display(),
        );
        crate::files::replace(&path, &[header.as_bytes(), &text].concat(), 0o640)?;
        *self = Container::open(self.name(), self.lxcpath())?;
        Ok(())
    }
}

/// The container's directory: its group may write, others have no business there.
fn make_directory(directory: &Path) -> Result<()> {
    match std::fs::DirBuilder::new().mode(0o770).create(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        result => result.doing(|| format!("create {}", directory.display())),
    }
}

/// The root directory of a container, which all in it may read, whatever the caller's mask says.
fn make_rootfs(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).doing(|| format!("create {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .doing(|| format!("set the mode of {}", path.display()))
}

/// Gives a path to the container's root, so that it can be reached from its user namespace. An ordinary user's files
/// can be, by whoever is root where the user's own ids are mapped as well.
fn own(path: &Path, identity: &Identity) -> Result<()> {
    if !identity.is_mapped() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = identity.host_owner();
    lchown(path, Some(uid), Some(gid)).doing(|| format!("own {}", path.display()))
}

/// After the template: whoever has the container's ids must not be able to change its configuration,
/// which names programs that the host's root runs.
fn take_back(directory: &Path, config: &Path, identity: &Identity) -> Result<()> {
    if !identity.is_mapped() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (_, gid) = identity.host_owner();
    let_pass(directory, Some(0), gid)?;
    lchown(config, Some(0), Some(0)).doing(|| format!("own {}", config.display()))
}

/// The container's root may pass through the directory, and nobody else: a program in it that runs with its owner's
/// rights is out of reach.
fn let_pass(directory: &Path, uid: Option<u32>, gid: u32) -> Result<()> {
    lchown(directory, uid, Some(gid)).doing(|| format!("own {}", directory.display()))?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o710))
        .doing(|| format!("set the mode of {}", directory.display()))
}

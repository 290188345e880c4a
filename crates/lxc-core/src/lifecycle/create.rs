//! Creating: all or nothing. A directory that holds a `partial` file without a lock is what a
//! killed creation leaves; lxc-destroy removes it.

use std::path::{Path, PathBuf};

use lxc_sys::clone::{Cloned, SingleThreaded, clone3, exit_now};
use rustix::process::{WaitId, WaitIdOptions};

use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::lock;
use crate::mount::pivot;
use crate::plan::Identity;
use crate::spawn::channel::{self, Message};
use crate::spawn::finish;
use crate::spawn::id_maps::write_maps_of;
use crate::storage::remove_directory;
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
        if self.config_path().exists() && creation == lock::Creation::Complete {
            return Err(Error::new(Kind::AlreadyRunning, "Container already exists"));
        }
        std::fs::create_dir_all(self.lxcpath()).doing(|| format!("create {}", self.lxcpath().display()))?;
        let existed = directory.exists();
        if creation == lock::Creation::Ongoing {
            return Err(Error::invalid(format!("{} is being created by another process", self.name())));
        }
        if creation == lock::Creation::Incomplete {
            remove_directory(&directory, true).doing(|| "remove the remains of an interrupted creation")?;
        }
        make_directory(&directory)?;
        let result = self.fill(&directory, options);
        if result.is_err() {
            // What was there before this call is the user's.
            let keep: &[&str] = if existed { &["rootfs"] } else { &[] };
            if let Err(e) = crate::storage::remove::remove_directory_except(&directory, true, keep) {
                log::warn!("{e}");
            }
        }
        result
    }

    fn fill(&mut self, directory: &Path, options: &CreateOptions) -> Result<()> {
        let partial = lock::begin_creation(directory)?;
        let identity = Identity::resolve(&self.config.values)?;
        if let Some(template) = &options.template {
            if template.fills_rootfs() {
                let rootfs = options.rootfs.clone().unwrap_or_else(|| directory.join("rootfs"));
                std::fs::create_dir_all(&rootfs).doing(|| format!("create {}", rootfs.display()))?;
                self.set("lxc.rootfs.path", &format!("dir:{}", rootfs.display()))?;
                own(&rootfs, &identity)?;
            }
            own(directory, &identity)?;
        }
        self.save()?;
        own(&self.config_path(), &identity)?;
        if let Some(template) = &options.template {
            self.run_template(template, options, directory, &identity)?;
            self.finish_config(template, &options.arguments)?;
            take_back(directory, &self.config_path(), &identity)?;
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
        let mut arguments = options.arguments.clone();
        if let (true, Template::Program(_)) = (identity.is_mapped(), template) {
            let (uid, gid) = (identity.setup_uid, identity.setup_gid);
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
            if let Some(lines) = template.run(&request)? {
                use std::io::Write;
                let mut file = std::fs::File::options()
                    .append(true)
                    .open(&config)
                    .doing(|| format!("append to {}", config.display()))?;
                file.write_all(lines.as_bytes()).doing(|| format!("append to {}", config.display()))?;
            }
            Ok(())
        };
        // A layered root file system is mapped as a whole when it is mounted.
        let mapped = identity.is_mapped() && template.fills_rootfs();
        isolated(mapped.then_some(identity), work)
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
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o770).create(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        result => result.doing(|| format!("create {}", directory.display())),
    }
}

/// Gives a path to the container's root, so that it can be reached from its user namespace.
fn own(path: &Path, identity: &Identity) -> Result<()> {
    if !identity.is_mapped() {
        return Ok(());
    }
    let (uid, gid) = identity.host_owner();
    // An ordinary user keeps its own directory and gives access by the group.
    let uid = rustix::process::geteuid().is_root().then_some(uid);
    std::os::unix::fs::lchown(path, uid, Some(gid)).doing(|| format!("own {}", path.display()))
}

/// After the template: whoever has the container's ids must not be able to change its configuration,
/// which names programs that the host's root runs. The container's root may pass through the directory.
fn take_back(directory: &Path, config: &Path, identity: &Identity) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !identity.is_mapped() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (_, gid) = identity.host_owner();
    std::os::unix::fs::chown(directory, Some(0), Some(gid))
        .doing(|| format!("own {}", directory.display()))?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o710))
        .doing(|| format!("set the mode of {}", directory.display()))?;
    std::os::unix::fs::lchown(config, Some(0), Some(0)).doing(|| format!("own {}", config.display()))
}

/// Runs `work` in a child process with a mount namespace of its own; with `identity` in a user
/// namespace too, as its root.
fn isolated(identity: Option<&Identity>, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (ours, theirs) = channel::pair()?;
    let mut flags = libc::CLONE_NEWNS as u64;
    if identity.is_some() {
        flags |= libc::CLONE_NEWUSER as u64;
    }
    let cloned = SingleThreaded::check()
        .and_then(|alone| clone3(alone, flags, None))
        .doing(|| "make a process for the template")?;
    let (pid, pidfd) = match cloned {
        Cloned::Child(_) => {
            drop(ours);
            let run = || -> Result<()> {
                if let Some(identity) = identity {
                    theirs.receive()?;
                    finish::set_ids(identity.setup_uid, identity.setup_gid, Some(&[]))?;
                }
                pivot::isolate()?;
                work()
            };
            exit_now(match run() {
                Ok(()) => 0,
                Err(e) => {
                    let _ = theirs.send(&Message::Failed(e));
                    1
                }
            })
        }
        Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(theirs);
    let mapped = match identity {
        Some(identity) => write_maps_of(pid, identity).and_then(|()| ours.send(&Message::Go(0))),
        None => Ok(()),
    };
    let said = match mapped {
        Ok(()) => ours.receive(),
        Err(e) => {
            let _ = lxc_sys::signal::send(pid, libc::SIGKILL);
            Err(e)
        }
    };
    let status =
        rustix::process::waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd)), WaitIdOptions::EXITED)
            .doing(|| "wait for the template")?;
    match said? {
        Some(Message::Failed(e)) => Err(e),
        _ if status.as_ref().and_then(|s| s.exit_status()) == Some(0) => Ok(()),
        _ => Err(Error::new(Kind::Failed, "the process of the template died")),
    }
}

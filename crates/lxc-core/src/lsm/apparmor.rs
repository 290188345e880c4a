//! AppArmor: changing the label of a process, and profiles made for one container.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use lxc_sys::Errno;
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::profile::{self, Features};
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::label::{GeneratedProfile, LabelPlan};
use crate::plan::{Plan, host};
use crate::{files, paths};

/// The module's own file, and the one of kernels before 5.8, which the first module in line owns.
pub(super) const FILES: &[&str] = &["attr/apparmor/current", "attr/current"];
/// Policy namespaces of the host.
const NAMESPACES: &str = "/sys/kernel/security/apparmor/policy/namespaces";

/// The label of a process, without its mode. `None` where the kernel has no labels.
pub fn label_of(pid: i32) -> Option<String> {
    FILES.iter().find_map(|file| host::read_label(&format!("/proc/{pid}/{file}")))
}

/// Changes this process's label, whose file is given, at once.
///
/// # Errors
/// The profile is not loaded, or the present one does not allow the change.
pub(super) fn change(own: &OwnedFd, label: &str) -> Result<()> {
    let text = format!("changeprofile {label}");
    rustix::io::write(own, text.as_bytes()).map(drop).map_err(|errno| {
        let error = Error::os(format!("change to the AppArmor profile {label}"), errno);
        match errno {
            Errno::NOENT => error.with_hint(
                "it is not loaded: load it with apparmor_parser -r, or set lxc.apparmor.profile to another, \
                 generated or unconfined",
            ),
            Errno::ACCESS | Errno::PERM => {
                error.with_hint("the profile that this process is confined by does not allow the change")
            }
            _ => error,
        }
    })
}

/// A profile that was made and loaded for a container.
#[derive(Debug)]
pub struct Loaded {
    profile: GeneratedProfile,
    directory: PathBuf,
    /// This process made the policy namespace.
    made_namespace: bool,
    /// Tells others that the file, and so the profile, is in use.
    lock: Option<OwnedFd>,
}

impl Loaded {
    /// Writes and loads the profile of a plan, if it has one of its own.
    ///
    /// # Errors
    /// apparmor_parser(8) is missing or refuses it; nothing is left of it.
    pub fn load(plan: &Plan) -> Result<Option<Loaded>> {
        let LabelPlan::Generated(profile) = &plan.label else { return Ok(None) };
        let mut loaded = Loaded {
            profile: profile.clone(),
            directory: plan.directory().join("apparmor"),
            made_namespace: false,
            lock: None,
        };
        match loaded.make(plan) {
            Ok(()) => Ok(Some(loaded)),
            Err(e) => {
                loaded.forget();
                Err(e.during("lxc.apparmor.profile = generated"))
            }
        }
    }

    fn make(&mut self, plan: &Plan) -> Result<()> {
        if self.profile.stacked {
            let namespace = self.namespace();
            match rustix::fs::mkdir(&namespace, Mode::from_raw_mode(0o755)) {
                Ok(()) => self.made_namespace = true,
                // Left by a monitor that was killed.
                Err(Errno::EXIST) => self.made_namespace = true,
                Err(e) => return Err(Error::os(format!("create {}", namespace.display()), e)),
            }
        }
        let features = Features {
            cgroup_namespaces: host::has_cgroup_namespaces(),
            user_namespaces: files::read_text("/sys/kernel/security/apparmor/features/namespaces/mask")
                .is_ok_and(|mask| mask.contains("userns_create"))
                && Path::new("/etc/apparmor.d/abi/4.0").exists(),
            unprivileged: plan.identity.is_mapped() || !rustix::process::geteuid().is_root(),
        };
        let text = profile::text(&self.profile, &plan.values.apparmor, &features);
        for directory in [&self.directory, &cache()] {
            std::fs::create_dir_all(directory).doing(|| format!("create {}", directory.display()))?;
        }
        let file = self.file();
        // The parser takes its cached result for a file that was not touched.
        if std::fs::read(&file).is_ok_and(|old| old == text.as_bytes()) {
            log::debug!("{} is as it must be", file.display());
        } else {
            files::replace(&file, text.as_bytes(), 0o600)?;
        }
        self.lock = lock(&file).ok();
        parser("-rWL", &file)
    }

    /// Unloads the profile and removes its file.
    pub fn remove(self) {
        if let Err(e) = parser("-RWL", &self.file()) {
            log::warn!("{e}");
        }
        self.forget();
    }

    fn forget(&self) {
        let namespace = self.namespace();
        if self.made_namespace
            && let Err(e) = rustix::fs::rmdir(&namespace)
        {
            log::warn!("remove {}: {e}", namespace.display());
        }
        let _ = std::fs::remove_file(self.file());
        let _ = std::fs::remove_dir(&self.directory);
    }

    fn file(&self) -> PathBuf {
        self.directory.join(&self.profile.file)
    }

    fn namespace(&self) -> PathBuf {
        Path::new(NAMESPACES).join(&self.profile.file)
    }
}

/// Files of profiles that were made for the container of this directory.
pub fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory.join("apparmor")).into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with("lxc-")).map(|e| e.path()).collect()
}

/// Locks a profile's file, unless somebody else has it locked.
fn lock(file: &Path) -> lxc_sys::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(file, flags, Mode::empty())?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    Ok(fd)
}

/// Whether no monitor of ours holds the profile of this file, and no process is under it: without its profile it would
/// go on unconfined.
pub fn is_unused(file: &Path) -> bool {
    lock(file).is_ok() && !confines_somebody(file)
}

fn confines_somebody(file: &Path) -> bool {
    let Some(name) = file.file_name().and_then(|n| n.to_str()) else { return true };
    let Ok(entries) = std::fs::read_dir("/proc") else { return true };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let label = |pid: u32| {
        let read = |file: &str| files::read_text(format!("/proc/{pid}/{file}")).ok();
        FILES.iter().find_map(|file| read(file)).unwrap_or_default()
    };
    // The file is called like the profile, but for slashes.
    pids.map(label).any(|label| label.replace('/', "-").contains(name))
}

/// Unloads a profile by its file and removes that, for a monitor that was killed. One that is in use stays.
pub fn unload(file: &Path) -> Result<()> {
    let Ok(_lock) = lock(file) else { return Ok(()) };
    if confines_somebody(file) {
        return Ok(());
    }
    let unloaded = parser("-RWL", file);
    let namespace = Path::new(NAMESPACES).join(file.file_name().unwrap_or_default());
    match rustix::fs::rmdir(&namespace) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(Error::os(format!("remove {}", namespace.display()), e)),
    }
    std::fs::remove_file(file).doing(|| format!("remove {}", file.display()))?;
    if let Some(directory) = file.parent() {
        let _ = std::fs::remove_dir(directory);
    }
    unloaded
}

/// Compiled profiles.
fn cache() -> PathBuf {
    Path::new(paths::LOCALSTATEDIR).join("cache/lxc/apparmor")
}

/// Compiling a profile is apparmor_parser's alone: the binary form is no interface.
fn parser(action: &str, file: &Path) -> Result<()> {
    let output = Command::new("apparmor_parser").arg(action).arg(cache()).arg(file).output();
    let output = output
        .doing(|| "run apparmor_parser")
        .map_err(|e| e.with_hint("install AppArmor's parser (package apparmor), or name a loaded profile"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(Error::new(Kind::Failed, format!("apparmor_parser {action} {}: {said}", file.display())));
    }
    Ok(())
}

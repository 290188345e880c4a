//! Putting a process into a running container's cgroups (spec: cgroups, section 11).

use std::os::fd::{AsFd, OwnedFd};

use lxc_sys::Errno;
use rustix::fs::{Mode, OFlags};

use super::layout::{CGROUP2_SUPER_MAGIC, write_at};
use crate::error::{Doing, Error, Result};

/// Where an attached process goes: v1 cgroups that it joins itself, and one that it is born in.
#[derive(Debug, Default)]
pub struct AttachGroups {
    /// Open `tasks` files.
    pub tasks: Vec<OwnedFd>,
    /// v2 directory for CLONE_INTO_CGROUP.
    pub unified: Option<OwnedFd>,
}

impl AttachGroups {
    /// Sorts the directories that a monitor sent.
    ///
    /// On v2 the process goes to a leaf `.lxc` of the container's cgroup: that cgroup itself may
    /// have handed controllers to its children and then holds no processes.
    pub fn from_directories(directories: Vec<OwnedFd>) -> Result<AttachGroups> {
        let mut out = AttachGroups::default();
        for dir in directories {
            let fs = rustix::fs::fstatfs(&dir).doing(|| "stat a cgroup of the container")?;
            if fs.f_type == CGROUP2_SUPER_MAGIC {
                out.unified = Some(leaf(dir)?);
            } else {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let tasks = rustix::fs::openat(&dir, "tasks", flags, Mode::empty())
                    .doing(|| "open tasks of the container's cgroup")?;
                out.tasks.push(tasks);
            }
        }
        Ok(out)
    }

    /// Moves a process that was not born in the v2 cgroup.
    pub fn migrate(&self, pid: rustix::process::Pid) -> Result<()> {
        if let Some(dir) = &self.unified {
            write_at(dir.as_fd(), "cgroup.procs", &pid.as_raw_pid().to_string())
                .doing(|| "move the process to the container's cgroup")?;
        }
        Ok(())
    }
}

/// `.lxc`, or `.lxc-N` where that cannot take processes; the cgroup itself where none can be made.
fn leaf(dir: OwnedFd) -> Result<OwnedFd> {
    let open = |name: &str| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&dir, name, flags, Mode::empty())
    };
    for n in 0..1000 {
        let name = if n == 0 { ".lxc".to_string() } else { format!(".lxc-{n}") };
        match rustix::fs::mkdirat(&dir, &*name, Mode::from_raw_mode(0o755)) {
            Ok(()) => return open(&name).doing(|| format!("open cgroup {name}")),
            Err(Errno::EXIST) => {
                let leaf = open(&name).doing(|| format!("open cgroup {name}"))?;
                // A leaf whose controllers were handed on takes no processes.
                let control =
                    super::layout::read_at(leaf.as_fd(), "cgroup.subtree_control").unwrap_or_default();
                if control.trim().is_empty() {
                    return Ok(leaf);
                }
            }
            Err(e) => {
                log::info!("create cgroup {name}: {e}; using the container's own");
                return Ok(dir);
            }
        }
    }
    Err(Error::os("find a leaf cgroup for the process", Errno::BUSY))
}

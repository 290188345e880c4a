//! The terminals of a container, and where its /dev shows them (spec: attach and console, section 7).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;

use crate::error::{Doing, Result};
use crate::mount::dev;
use crate::plan::Plan;
use crate::rootfs::Root;
use crate::terminal::pty::Pty;

/// The terminals of a container.
#[derive(Debug, Default)]
pub struct Terminals {
    /// Root directory of the container's devpts, where it has one.
    pub devpts: Option<OwnedFd>,
    /// The console, where there is one.
    pub console: Option<Pty>,
    /// ttys, `lxc.tty.max` of them.
    pub ttys: Vec<Pty>,
}

impl Terminals {
    /// Opens those that the plan takes from the container's own devpts.
    pub fn open(plan: &Plan, devpts: OwnedFd) -> Result<Terminals> {
        let own = plan.console && !plan.console_is_hosts();
        let console = own.then(|| Pty::open_in(devpts.as_fd())).transpose()?;
        let ttys =
            (0..plan.values.tty_max).map(|_| Pty::open_in(devpts.as_fd())).collect::<Result<Vec<_>>>()?;
        Ok(Terminals { devpts: Some(devpts), console, ttys })
    }

    /// Shows them in /dev; ttys only to an init of the container's own.
    pub fn bind(&self, plan: &Plan, dev: &Root) -> Result<()> {
        if let Some(console) = &self.console {
            dev::bind_console(dev, console, plan.console_is_hosts(), plan.tty_dir())?;
        }
        if plan.boots() {
            for (i, tty) in self.ttys.iter().enumerate() {
                dev::bind_tty(dev, tty, self.devpts.is_none(), i + 1, plan.tty_dir())?;
            }
        }
        Ok(())
    }

    /// Opens all of the devpts once more, in a copy of /dev that stays when the one they are of is gone: a terminal
    /// has the name of where it was opened.
    pub fn reopen_in(&mut self, dev: &Root) -> Result<()> {
        let open = |path: &str, flags| dev.open_at(path, flags).doing(|| format!("open /dev/{path}"));
        self.devpts = Some(open("pts", OFlags::RDONLY | OFlags::DIRECTORY)?);
        for pair in self.console.iter_mut().chain(&mut self.ttys) {
            pair.pty = open(&format!("pts/{}", pair.number()?), OFlags::RDWR | OFlags::NOCTTY)?;
        }
        Ok(())
    }
}

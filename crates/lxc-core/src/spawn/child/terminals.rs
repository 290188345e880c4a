//! Terminals: made in the container, and handed to the monitor.

use std::os::fd::AsFd;

use super::Child;
use crate::error::Result;
use crate::mount::dev;
use crate::spawn::channel::Role;
use crate::terminal::pty::Pty;

/// devpts, console, ttys and the links of /dev (spec: attach and console, section 7).
pub fn set_up_terminals(child: &mut Child<'_>) -> Result<()> {
    let plan = child.plan;
    let values = &plan.values;
    let root = child.root()?;
    // Without a root file system of its own the container sees the host's /dev, which stays as it is.
    let dev = match &plan.rootfs {
        Some(_) if values.pty_max > 0 || root.exists("dev") => Some(root.below("dev")?),
        _ => None,
    };
    let devpts = match &dev {
        Some(dev) if values.pty_max > 0 => Some(dev::mount_devpts(dev, plan.devpts_max())?),
        _ => None,
    };
    let console_is_hosts = plan.console_is_hosts();
    let console = match (&devpts, console_is_hosts) {
        _ if !plan.console => None,
        (Some(devpts), false) => Some(Pty::open_in(devpts.as_fd())?),
        _ => child.inputs.console.take(),
    };
    let ttys = match &devpts {
        Some(devpts) => {
            (0..values.tty_max).map(|_| Pty::open_in(devpts.as_fd())).collect::<Result<Vec<_>>>()?
        }
        None => std::mem::take(&mut child.inputs.ttys),
    };
    if let Some(dev) = &dev {
        let tty_dir = values.tty_dir.as_deref().filter(|d| !d.is_empty());
        if let Some(console) = &console {
            dev::bind_console(dev, console, console_is_hosts, tty_dir)?;
        }
        for (i, tty) in ttys.iter().enumerate().filter(|_| plan.boots()) {
            dev::bind_tty(dev, tty, devpts.is_none(), i + 1, tty_dir)?;
        }
        dev::make_links(dev)?;
    }
    child.devpts = devpts;
    child.console = console;
    child.console_is_hosts = console_is_hosts;
    child.ttys = ttys;
    Ok(())
}

/// Hands the monitor copies of what it keeps for as long as the container runs. Nothing but init is left to come.
pub fn hand_over(child: &mut Child<'_>) -> Result<()> {
    let namespaces = std::mem::take(&mut child.late_namespaces);
    let devpts = child.devpts.take();
    let mut list: Vec<_> = namespaces.iter().map(|(role, fd)| (*role, fd.as_fd())).collect();
    list.extend(devpts.iter().map(|fd| (Role::Devpts, fd.as_fd())));
    for (pty, ptx_role, pty_role) in child
        .console
        .iter()
        .map(|c| (c, Role::ConsolePtx, Role::ConsolePty))
        .chain(child.ttys.iter().map(|t| (t, Role::TtyPtx, Role::TtyPty)))
    {
        list.extend([(ptx_role, pty.ptx.as_fd()), (pty_role, pty.pty.as_fd())]);
    }
    child.channel.done(&list)
}

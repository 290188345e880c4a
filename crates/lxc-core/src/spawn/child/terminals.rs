//! Terminals: made in the container, and handed to the monitor.

use std::os::fd::AsFd;

use super::Child;
use crate::error::Result;
use crate::mount::dev;
use crate::spawn::channel::{Role, of_terminals};
use crate::spawn::terminals::Terminals;

/// devpts, console, ttys and the links of /dev, as far as nobody has made them ahead.
pub fn set_up_terminals(child: &mut Child<'_>) -> Result<()> {
    if child.dev_is_made {
        return Ok(());
    }
    let plan = child.plan;
    let root = child.root()?;
    // Without a root file system of its own the container sees the host's /dev, which stays as it is.
    let dev = match &plan.rootfs {
        Some(_) if plan.values.pty_max > 0 || root.exists("dev") => Some(root.below("dev")?),
        _ => None,
    };
    let mut terminals = match &dev {
        Some(dev) if plan.values.pty_max > 0 => {
            Terminals::open(plan, dev::mount_devpts(dev, plan.devpts_max())?)?
        }
        _ => Terminals { ttys: std::mem::take(&mut child.inputs.ttys), ..Terminals::default() },
    };
    if plan.console_is_hosts() {
        terminals.console = child.inputs.console.take();
    }
    if let Some(dev) = &dev {
        terminals.bind(plan, dev)?;
        dev::make_links(dev)?;
    }
    child.terminals = terminals;
    Ok(())
}

/// Hands the monitor copies of what it keeps for as long as the container runs.
pub fn send_descriptors(child: &mut Child<'_>) -> Result<()> {
    let namespaces = std::mem::take(&mut child.late_namespaces);
    let devpts = child.terminals.devpts.take();
    let mut list: Vec<_> = namespaces.iter().map(|(role, fd)| (*role, fd.as_fd())).collect();
    list.extend(devpts.iter().map(|fd| (Role::Devpts, fd.as_fd())));
    list.extend(of_terminals(child.terminals.console.as_ref(), &child.terminals.ttys));
    child.channel.send_descriptors(&list)
}

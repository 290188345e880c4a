//! lxc-device

use std::path::Path;

use lxc_core::lifecycle::devices::host_has_interface;
use lxc_core::{Container, Result, State};

use crate::context::Context;
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "device",
    about: "Give a running container a device, or take it away",
    usage: "NAME add|del DEVICE [NAME-INSIDE]",
    options: &[],
    takes_name: Name::Required,
    linked: true,
    details: "With add, DEVICE is a network interface of the host, which moves into the container, or the path of a \
              device node of the host, which the container gets and may use. With del, an interface of the container \
              moves to the host, or a node is removed and may not be used any longer. The last argument is the name \
              or path on the other side, where it differs.\n\n\
              An interface that was moved is down. What is given in this way lasts until the container stops; the \
              configuration does it for good (lxc.net, lxc.mount.entry, lxc.cgroup2.devices.allow).",
    run,
};

fn run(context: &Context) -> anyhow::Result<i32> {
    if !rustix::process::geteuid().is_root() {
        context.error("Only root gives and takes devices");
        return Ok(1);
    }
    let Some(container) = context.open() else { return Ok(1) };
    if container.state()? == State::Stopped {
        context.error(format!("Container {} is not running", context.name));
        return Ok(1);
    }
    let (verb, device, other) = match context.words() {
        [verb, device] => (verb, device, None),
        [verb, device, other] => (verb, device, Some(other.as_str())),
        _ => {
            context.error("Error: no command given (Please see --help output)");
            return Ok(1);
        }
    };
    let is = |word: &str| !verb.is_empty() && word.starts_with(verb.as_str());
    let (result, doing) = if is("add") {
        (add(&container, device, other), format!("add {device} to"))
    } else if is("del") {
        (del(&container, device, other), format!("del {device} from"))
    } else {
        context.error("Error: Please use add or del (Please see --help output)");
        return Ok(1);
    };
    match result {
        Ok(()) => Ok(0),
        Err(e) => {
            context.report(&e);
            context.error(format!("Failed to {doing} {}", context.name));
            Ok(1)
        }
    }
}

fn add(container: &Container, device: &str, inside: Option<&str>) -> Result<()> {
    if host_has_interface(device) {
        return container.attach_interface(device, inside);
    }
    container.add_device_node(Path::new(device), inside.map(Path::new))
}

fn del(container: &Container, device: &str, outside: Option<&str>) -> Result<()> {
    if !device.contains('/') && container.has_interface(device)? {
        return container.detach_interface(device, outside);
    }
    container.remove_device_node(Path::new(device), outside.map(Path::new))
}

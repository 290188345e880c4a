//! lxc-cgroup

use std::io::Write;

use crate::context::{Context, refuse};
use crate::table::{Command, Name};
use lxc_core::State;

/// The command.
pub static COMMAND: Command = Command {
    name: "cgroup",
    about: "Read or change a limit of a running container",
    usage: "NAME FILE [VALUE]",
    options: &[],
    takes_name: Name::Required,
    linked: true,
    details: "Prints a file of the container's cgroup, such as memory.max or cpuset.cpus, or writes VALUE to it. On \
              hosts with cgroup v2 alone, devices.allow and devices.deny add a rule to the device filter.",
    run,
};

fn run(context: &Context) -> anyhow::Result<i32> {
    let Some(item) = context.words().first() else {
        return Err(refuse("the name of a cgroup file is missing"));
    };
    let Some(container) = context.open() else { return Ok(1) };
    if !container.may_control() {
        context.error(format!("Insufficent privileges to control {}", context.full_name()));
        return Ok(1);
    }
    if container.state()? == State::Stopped {
        context.error(format!("'{}' is not running", context.full_name()));
        return Ok(1);
    }
    match context.words().get(1) {
        Some(value) => {
            if let Err(e) = container.set_cgroup_item(item, value) {
                context.report(&e);
                context.error(format!("Failed to assign '{value}' value to '{item}' for '{}'", context.name));
                return Ok(1);
            }
        }
        None => match container.cgroup_item(item) {
            // One more newline, as upstream prints it.
            Ok(text) => writeln!(std::io::stdout(), "{text}")?,
            Err(e) => {
                context.report(&e);
                context.error(format!("Failed to retrieve value of '{item}' for '{}'", context.full_name()));
                return Ok(1);
            }
        },
    }
    Ok(0)
}

//! lxc-freeze and lxc-unfreeze

use lxc_core::Kind;

use crate::context::Context;
use crate::table::{Command, Name};

/// lxc-freeze.
pub static COMMAND: Command = Command {
    name: "freeze",
    about: "Freeze all processes of a container",
    usage: "NAME [OPTION…]",
    options: &[],
    takes_name: Name::Required,
    linked: true,
    details: "Stops all processes of the container where they are, until lxc-unfreeze.",
    run: |context| change(context, true),
};

/// lxc-unfreeze.
pub static UNFREEZE: Command = Command {
    name: "unfreeze",
    about: "Thaw all processes of a container",
    usage: "NAME [OPTION…]",
    options: &[],
    takes_name: Name::Required,
    linked: true,
    details: "Lets the processes that lxc-freeze stopped go on.",
    run: |context| change(context, false),
};

fn change(context: &Context, freeze: bool) -> anyhow::Result<i32> {
    let Some(container) = context.open() else { return Ok(1) };
    if !container.may_control() {
        context.error(format!("Insufficent privileges to control {}", context.full_name()));
        return Ok(1);
    }
    let result = if freeze { container.freeze() } else { container.unfreeze() };
    match result {
        Ok(()) => Ok(0),
        // Nothing is frozen in a container that does not run.
        Err(e) if !freeze && e.kind() == Kind::NotRunning && container.is_defined() => Ok(0),
        Err(e) => {
            let verb = if freeze { "freeze" } else { "unfreeze" };
            context.report(&e);
            context.error(format!("Failed to {verb} {}", context.full_name()));
            Ok(1)
        }
    }
}

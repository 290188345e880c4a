//! lxc-destroy

use lxc_core::{Kind, State};

use crate::context::Context;
use crate::getopt::{Arg, Opt, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "destroy",
    about: "Remove a container with its storage",
    usage: "NAME [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Removes the container. One that runs, has snapshots or clones is refused unless the options say \
              otherwise. Nothing outside the container's storage is touched.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('f', "force", Arg::No, "Kill the container first if it runs"),
    opt('s', "snapshots", Arg::No, "Destroy its snapshots and clones too"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let Some(container) = context.open_controllable() else { return Ok(1) };
    // A directory without a configuration is what a creation or removal left that was killed.
    if !container.is_defined() && !container.directory().exists() {
        context.error("Container is not defined");
        return Ok(1);
    }
    if container.state()? != State::Stopped {
        if !context.has("force") {
            context.error(format!("{} is running", context.name));
            return Ok(1);
        }
        if let Err(e) = container.stop() {
            return Ok(context.fail(&e));
        }
        // An ephemeral container is gone with its end.
        if container.config.values.ephemeral && !container.directory().exists() {
            return Ok(0);
        }
    }
    if context.has("snapshots") {
        let clones = container.destroy_clones();
        let snapshots =
            || if container.snapshots_path().is_dir() { container.destroy_snapshots() } else { Ok(()) };
        if let Err(e) = clones.and_then(|()| snapshots()) {
            return Ok(context.fail(&e));
        }
    }
    match container.destroy() {
        Ok(()) => Ok(0),
        Err(e) if e.kind() == Kind::Invalid => {
            context.report(&e);
            Ok(1)
        }
        Err(e) => {
            context.report(&e);
            context.error(format!("Destroying {} failed", context.name));
            Ok(1)
        }
    }
}

//! lxc-create

use std::path::{Path, PathBuf};

use lxc_core::lifecycle::create::CreateOptions;
use lxc_core::source::Files;
use lxc_core::template::Template;
use lxc_core::{Container, global};

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "create",
    about: "Create a container from a template",
    usage: "NAME -t TEMPLATE [OPTION…] [-- TEMPLATE-OPTION…]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Makes the container's directory, its configuration from the default one or FILE, and its root file \
              system by TEMPLATE: busybox and host are built in, none makes none, any other is a program lxc-NAME in \
              share/lxc/templates or an absolute path. What is after -- is for the template.\n\n\
              A creation that fails leaves nothing.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('t', "template", Arg::Required("TEMPLATE"), "What to fill the root file system with"),
    opt('f', "config", Arg::Required("FILE"), "Initial configuration"),
    opt('B', "bdev", Arg::Required("TYPE"), "Kind of storage: dir (the default), best"),
    long("dir", Arg::Required("DIR"), "Directory of the root file system, for storage of type dir"),
    opt('0', "lvname", Arg::Required("NAME"), "Logical volume, for storage of type lvm"),
    opt('1', "vgname", Arg::Required("NAME"), "Volume group, for storage of type lvm"),
    opt('2', "thinpool", Arg::Required("NAME"), "Thin pool, for storage of type lvm"),
    opt('3', "fstype", Arg::Required("TYPE"), "File system to make, for block storage"),
    opt('4', "fssize", Arg::Required("SIZE"), "Size of the file system, for block storage"),
    opt('5', "zfsroot", Arg::Required("DATASET"), "Parent dataset, for storage of type zfs"),
    opt('7', "rbdname", Arg::Required("NAME"), "Image, for storage of type rbd"),
    opt('8', "rbdpool", Arg::Required("POOL"), "Pool, for storage of type rbd"),
    opt('9', "rbduser", Arg::Required("USER"), "User, for storage of type rbd"),
];

/// Options that only make sense with some kinds of storage.
const STORAGE_OPTIONS: &[(&[&str], &[&str], &str)] = &[
    (
        &["lvname", "vgname", "thinpool"],
        &["lvm", "best"],
        "--lvname, --vgname and --thinpool are only valid with -B lvm",
    ),
    (&["rbdname", "rbdpool", "rbduser"], &["rbd"], "--rbdname and --rbdpool are only valid with -B rbd"),
    (&["zfsroot"], &["zfs"], "zfsroot is only valid with -B zfs"),
    (
        &["fstype", "fssize"],
        &["lvm", "loop", "rbd", "best"],
        "Filesystem type and size are only valid with block devices",
    ),
];

fn check_storage(context: &Context) -> anyhow::Result<Option<PathBuf>> {
    let kind = context.get("bdev").unwrap_or("dir");
    for (options, kinds, message) in STORAGE_OPTIONS {
        if options.iter().any(|o| context.has(o)) && !kinds.contains(&kind) {
            return Err(lxc_core::Error::invalid(*message).into());
        }
    }
    match kind {
        "dir" | "none" | "best" => {}
        "btrfs" | "loop" | "lvm" | "nbd" | "overlay" | "overlayfs" | "rbd" | "zfs" => {
            return Err(lxc_core::Error::unsupported(format!(
                "-B {kind}: creating storage of type {kind} is not supported by this version"
            ))
            .into());
        }
        other => {
            return Err(
                lxc_core::Error::invalid(format!("{other} is not a valid backing storage type")).into()
            );
        }
    }
    match context.get("dir") {
        Some(dir) if !Path::new(dir).is_absolute() => {
            Err(lxc_core::Error::invalid("--dir should use absolute path").into())
        }
        dir => Ok(dir.map(PathBuf::from)),
    }
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let Some(template) = context.get("template") else {
        context.error("A template must be specified");
        context.error("Use \"none\" if you really want a container without a rootfs");
        return Ok(1);
    };
    let rootfs = check_storage(context)?;
    let template = match template {
        "" => return Err(refuse("--template needs a name")),
        name if "none".starts_with(name) => None,
        name => match Template::find(name) {
            Ok(template) => Some(template),
            Err(e) => {
                context.report(&e);
                context.error(format!("Failed to create container {}", context.name));
                return Ok(1);
            }
        },
    };
    let mut container = Container::without_config(&context.name, &context.lxcpath)?;
    match context.get("config") {
        Some(file) => container.config.load(Path::new(file), &Files).map_err(lxc_core::Error::from)?,
        None => {
            let default = PathBuf::from(global::load().default_config());
            if default.exists() {
                container.config.load(&default, &Files).map_err(lxc_core::Error::from)?;
            }
        }
    }
    let options =
        CreateOptions { template, arguments: context.words().to_vec(), rootfs, quiet: context.quiet };
    match container.create(&options) {
        Ok(()) => Ok(0),
        Err(e) if e.kind() == lxc_core::Kind::AlreadyRunning => Ok(context.fail(&e)),
        Err(e) => {
            context.report(&e);
            context.error(format!("Failed to create container {}", context.name));
            Ok(1)
        }
    }
}

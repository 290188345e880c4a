//! lxc-create

use std::path::{Path, PathBuf};

use lxc_core::lifecycle::create::CreateOptions;
use lxc_core::plan::StorageKind;
use lxc_core::source::Files;
use lxc_core::template::{Dialog, Template};
use lxc_core::{Container, global, storage};

use crate::context::{Context, refuse};
use crate::dialog::Terminal;
use crate::getopt::{Arg, Opt, long, opt};
use crate::size;
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
              system by TEMPLATE: busybox, download, host, local and oci are built in, none makes none, any other is a program lxc-NAME in \
              share/lxc/templates or an absolute path. What is after -- is for the template.\n\n\
              A creation that fails leaves nothing.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('t', "template", Arg::Required("TEMPLATE"), "What to fill the root file system with"),
    opt('f', "config", Arg::Required("FILE"), "Initial configuration"),
    opt(
        'B',
        "bdev",
        Arg::Required("TYPE"),
        "Kind of storage: dir (the default), btrfs, loop, lvm, nbd, overlay, rbd, zfs, best",
    ),
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
        &["lvm", "loop", "nbd", "rbd", "best"],
        "Filesystem type and size are only valid with block devices",
    ),
];

/// The kinds of storage to try, in order.
fn kinds(context: &Context) -> anyhow::Result<Vec<StorageKind>> {
    let name = context.get("bdev").unwrap_or("dir");
    for (options, kinds, message) in STORAGE_OPTIONS {
        if options.iter().any(|o| context.has(o)) && !kinds.contains(&name) {
            return Err(lxc_core::Error::invalid(*message).into());
        }
    }
    match (name, StorageKind::from_name(name)) {
        ("none", _) => Ok(vec![StorageKind::Dir]),
        ("best", _) => Ok(storage::BEST.to_vec()),
        (_, Some(kind)) => Ok(vec![kind]),
        (other, None) => {
            Err(lxc_core::Error::invalid(format!("{other} is not a valid backing storage type")).into())
        }
    }
}

fn storage_options(context: &Context) -> anyhow::Result<storage::Options> {
    let text = |name: &str| context.get(name).map(String::from);
    let dir = context.get("dir").map(PathBuf::from);
    if dir.as_ref().is_some_and(|d| !d.is_absolute()) {
        return Err(lxc_core::Error::invalid("--dir should use absolute path").into());
    }
    Ok(storage::Options {
        dir,
        fstype: text("fstype"),
        size: context.get("fssize").map(|s| size::parse(s).map_err(refuse)).transpose()?,
        lv: text("lvname"),
        vg: text("vgname"),
        thin_pool: text("thinpool"),
        zfs_root: text("zfsroot"),
        rbd_image: text("rbdname"),
        rbd_pool: text("rbdpool"),
        rbd_user: text("rbduser"),
    })
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let Some(template) = context.get("template") else {
        context.error("A template must be specified");
        context.error("Use \"none\" if you really want a container without a rootfs");
        return Ok(1);
    };
    let kinds = kinds(context)?;
    let storage = storage_options(context)?;
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
    let arguments = context.words().to_vec();
    let terminal = Terminal::new();
    let dialog = Some(&terminal as &dyn Dialog);
    let options = CreateOptions { template, arguments, kinds, storage, quiet: context.quiet, dialog };
    match container.create(&options) {
        Ok(_) => Ok(0),
        Err(e) if e.kind() == lxc_core::Kind::AlreadyRunning => Ok(context.fail(&e)),
        Err(e) => {
            context.report(&e);
            context.error(format!("Failed to create container {}", context.name));
            Ok(1)
        }
    }
}

//! lxc import

use std::fs::File;

use lxc_core::error::Doing;
use lxc_core::lifecycle::archive::{ImportOptions, import};
use lxc_core::plan::StorageKind;
use lxc_core::storage;

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long, opt};
use crate::size;
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "import",
    about: "Make a container of a file that lxc export has written",
    usage: "FILE [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: false,
    details: "Makes a container of an archive. It is called as it was, unless -n names it; owners are shifted by its id \
              map on the way. The configuration is the one of the archive: its hooks are programs that run on this \
              host, so import only what you trust.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('B', "bdev", Arg::Required("TYPE"), "Kind of storage (default: dir)"),
    long("fssize", Arg::Required("SIZE"), "Size of the file system, for block storage"),
    opt('M', "keepmac", Arg::No, "Keep the hardware addresses"),
    long("devices", Arg::No, "Make device nodes of the host's disks, and attributes that only root gives"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let [path] = context.words() else {
        context.error("One FILE is wanted");
        return Ok(1);
    };
    let kind = context.get("bdev").map(|name| {
        StorageKind::from_name(name)
            .ok_or_else(|| refuse(format!("{name} is not a valid backing storage type")))
    });
    let size = context.get("fssize").map(|text| size::parse(text).map_err(refuse)).transpose()?;
    let options = ImportOptions {
        name: context.get("name").map(String::from),
        kind: kind.transpose()?,
        storage: storage::Options { size, ..storage::Options::default() },
        keep_addresses: context.has("keepmac"),
        trusted: context.has("devices"),
    };
    let file = File::open(path).doing(|| format!("open {path}"))?;
    match import(&file, &context.lxcpath, &options) {
        Ok(name) => {
            if !context.quiet {
                println!("{name}");
            }
            Ok(0)
        }
        Err(e) => {
            context.report(&e);
            context.error(format!("Failed to import {path}"));
            Ok(1)
        }
    }
}

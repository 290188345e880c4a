//! lxc export

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lxc_core::error::Doing;
use lxc_core::lifecycle::archive::Compression;

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "export",
    about: "Write a container to a file",
    usage: "NAME [OPTION…] [FILE]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: false,
    details: "Writes a compressed tar archive with the configuration, the hooks and the fstab beside it, and the root file \
              system with owners as the container sees them, attributes, ACLs and capabilities. FILE is NAME.tar.zst \
              unless it is given; - is standard output. The container must not run. lxc import makes a container of \
              it, on this host or another.",
    run,
};

const OPTIONS: &[Opt] = &[
    long("compress", Arg::Required("HOW"), "zstd (the default), gzip, xz or none"),
    opt('f', "force", Arg::No, "Replace a file that is there"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    if context.words().len() > 1 {
        context.error("Too many arguments");
        return Ok(1);
    }
    let how = context.get("compress").unwrap_or("zstd");
    let compression = Compression::from_name(how)
        .ok_or_else(|| refuse(format!("--compress {how}: zstd, gzip, xz or none")))?;
    let Some(container) = context.open_controllable() else { return Ok(1) };
    let suffix = match compression {
        Compression::None => "tar",
        Compression::Gzip => "tar.gz",
        Compression::Xz => "tar.xz",
        Compression::Zstd => "tar.zst",
    };
    let path = context
        .words()
        .first()
        .map_or_else(|| PathBuf::from(format!("{}.{suffix}", context.name)), PathBuf::from);
    if path == Path::new("-") {
        let out = rustix::io::dup(rustix::stdio::stdout()).map_err(std::io::Error::from)?;
        container.export(&File::from(out), compression)?;
        return Ok(0);
    }
    if path.exists() && !context.has("force") {
        context.error(format!("{} exists: --force replaces it", path.display()));
        return Ok(1);
    }
    // Under another name until it is complete.
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let file = file.doing(|| format!("write {}", part.display()))?;
    let done = container
        .export(&file, compression)
        .and_then(|()| std::fs::rename(&part, &path).doing(|| format!("rename {}", part.display())));
    if let Err(e) = done {
        let _ = std::fs::remove_file(&part);
        return Ok(context.fail(&e));
    }
    Ok(0)
}

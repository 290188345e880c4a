//! A container over the host's own root file system: an overlay whose changes stay in the
//! container's directory. Nothing is downloaded and nothing needs to be installed.

use std::path::Path;

use super::Request;
use crate::error::{Doing, Error, Result};

/// Options of this template.
pub const HELP: &str = "Template options of host:
  --lower=DIR  the root file system below (default: /)
";

/// Ids of a container: as many as a distribution uses.
const RANGE: u32 = 65536;
/// Where ranges for containers may be taken from, besides what /etc/subuid gives to people:
/// uids from 524288 to 1879048191, as systemd-nspawn does.
const FIRST: u64 = 524_288;
const RANGES: u64 = (1_879_048_192 - FIRST) / RANGE as u64;

/// The first host id of a container's range: the same for the same directory at any time.
pub fn id_base(directory: &Path) -> u32 {
    use std::os::unix::ffi::OsStrExt;
    let hash = crate::protocol::address::fnv1a64(directory.as_os_str().as_bytes());
    (FIRST + hash % RANGES * u64::from(RANGE)) as u32
}

/// Makes the layers; returns configuration lines.
pub fn run(request: &Request<'_>) -> Result<String> {
    let mut lower = "/".to_string();
    let mut words = request.arguments.iter();
    while let Some(word) = words.next() {
        lower = match word.strip_prefix("--lower=") {
            Some(dir) => dir.to_string(),
            None if word == "--lower" => words.next().cloned().unwrap_or_default(),
            None => {
                return Err(Error::invalid(format!("template host: unknown option {word}")).with_hint(HELP));
            }
        };
    }
    if !Path::new(&lower).is_absolute() || !Path::new(&lower).is_dir() {
        return Err(Error::invalid(format!(
            "template host: {lower:?} is not the absolute path of a directory"
        )));
    }
    let delta = request.path.join("overlay/delta");
    std::fs::create_dir_all(&delta).doing(|| format!("create {}", delta.display()))?;
    Ok(format!(
        "{}lxc.init.cmd = /bin/sh -c 'trap \"exit 0\" TERM INT; while :; do sleep 3600 & wait; done'
lxc.signal.halt = SIGTERM
",
        base_config(request.name, request.path, &format!("{lower}:{}", delta.display()), true)
    ))
}

/// The configuration of a container over an overlay of a root file system, in namespaces of its own;
/// `mapped`: with a user namespace too.
pub fn base_config(name: &str, directory: &Path, layers: &str, mapped: bool) -> String {
    let base = id_base(directory);
    let ids = if mapped {
        format!(
            "lxc.rootfs.options = idmap=container
lxc.idmap = u 0 {base} {RANGE}
lxc.idmap = g 0 {base} {RANGE}
"
        )
    } else {
        String::new()
    };
    format!(
        "lxc.rootfs.path = overlay:{layers}
{ids}lxc.uts.name = {name}
lxc.autodev = 1
lxc.pty.max = 1024
lxc.tty.max = 0
lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
lxc.mount.entry = tmpfs run tmpfs nosuid,nodev,mode=0755,create=dir 0 0
lxc.mount.entry = tmpfs tmp tmpfs nosuid,nodev,mode=1777,create=dir 0 0
lxc.mount.entry = shm dev/shm tmpfs nosuid,nodev,mode=1777,create=dir 0 0
"
    )
}

//! Which containers there are.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Doing, Result};
use crate::protocol::Client;

/// Names of containers that have a configuration, sorted. An lxcpath that does not exist has none.
///
/// # Errors
/// The directory cannot be read.
pub fn defined(lxcpath: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(lxcpath) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).doing(|| format!("read {}", lxcpath.display())),
    };
    let mut names = Vec::new();
    let dir = rustix::fs::open(
        lxcpath,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .doing(|| format!("open {}", lxcpath.display()))?;
    for entry in entries {
        let Ok(name) = entry.doing(|| format!("read {}", lxcpath.display()))?.file_name().into_string()
        else {
            continue;
        };
        let config = format!("{name}/config");
        let exists = |path: &str| {
            rustix::fs::accessat(&dir, path, rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty())
        };
        if !name.starts_with('.') && exists(&config).is_ok() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Names of containers whose monitor listens, sorted: from the table of Unix sockets of the
/// caller's network namespace.
pub fn active(lxcpath: &Path) -> Result<Vec<String>> {
    let table = crate::files::read_small(Path::new("/proc/net/unix")).doing(|| "read /proc/net/unix")?;
    let base = lxcpath.as_os_str().as_bytes();
    let mut names = BTreeSet::new();
    let mut hashed = BTreeSet::new();
    for line in table.split(|&b| b == b'\n') {
        let Some(at) = line.windows(2).position(|w| w == b" @") else { continue };
        let Some(socket) = line[at + 2..].strip_suffix(b"/command") else { continue };
        if let Some(rest) = socket.strip_prefix(base).and_then(|r| r.strip_prefix(b"/")) {
            let name = rest.strip_prefix(b"/").unwrap_or(rest);
            if !name.is_empty() && !name.contains(&b'/') {
                names.insert(String::from_utf8_lossy(name).into_owned());
            }
        } else if socket.starts_with(b"lxc/") {
            hashed.insert([socket, b"/command"].concat());
        }
    }
    for address in hashed {
        let client = Client::at(&address);
        // A monitor that just ended, or one of another user, is none of ours.
        if client.lxcpath().is_ok_and(|p| p.as_bytes() == base) {
            names.extend(client.name());
        }
    }
    Ok(names.into_iter().collect())
}

/// Defined or active, sorted.
pub fn all(lxcpath: &Path) -> Result<Vec<String>> {
    let mut names: BTreeSet<String> = defined(lxcpath)?.into_iter().collect();
    names.extend(active(lxcpath)?);
    Ok(names.into_iter().collect())
}

//! Which containers there are.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::container::Container;
use crate::error::{Doing, Result};
use crate::protocol::Client;

/// Names of containers that have a configuration, sorted. An lxcpath that does not exist has none.
///
/// # Errors
/// The directory cannot be read.
pub fn defined(lxcpath: &Path) -> Result<Vec<String>> {
    let mut names = candidates(lxcpath)?;
    let exists = |name: &String| {
        let config = lxcpath.join(name).join("config");
        rustix::fs::access(&config, rustix::fs::Access::EXISTS).is_ok()
    };
    names.retain(exists);
    Ok(names)
}

/// Names in an lxcpath that may be containers, sorted: whether they have a configuration shows when
/// it is opened.
///
/// # Errors
/// The directory cannot be read.
pub fn candidates(lxcpath: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(lxcpath) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).doing(|| format!("read {}", lxcpath.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.doing(|| format!("read {}", lxcpath.display()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A link may lead to a directory.
        let plain_file = entry.file_type().is_ok_and(|t| t.is_file());
        if !name.starts_with('.') && !plain_file {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Names of containers whose monitor listens, sorted: from the table of Unix sockets of the
/// caller's network namespace.
pub fn active(lxcpath: &Path) -> Result<Vec<String>> {
    let base = lxcpath.as_os_str().as_bytes();
    let mut names = BTreeSet::new();
    for socket in command_sockets()? {
        if let Some(rest) = socket.strip_prefix(base).and_then(|r| r.strip_prefix(b"/")) {
            let name = rest.strip_prefix(b"/").unwrap_or(rest);
            if !name.is_empty() && !name.contains(&b'/') {
                names.insert(String::from_utf8_lossy(name).into_owned());
            }
        } else if socket.starts_with(b"lxc/") {
            let client = Client::at(&[&socket, &b"/command"[..]].concat());
            // A monitor that just ended, or one of another user, is none of ours.
            if client.lxcpath().is_ok_and(|p| p.as_bytes() == base) {
                names.extend(client.name());
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// Names of containers of whatever lxcpath whose monitor listens.
pub fn active_anywhere() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for socket in command_sockets()? {
        if socket.starts_with(b"lxc/") {
            names.extend(Client::at(&[&socket, &b"/command"[..]].concat()).name());
        } else if let Some(name) = socket.rsplit(|&b| b == b'/').next() {
            names.insert(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

/// Names of the command sockets of all monitors, without the `/command` at their end.
fn command_sockets() -> Result<BTreeSet<Vec<u8>>> {
    let table = crate::files::read_small(Path::new("/proc/net/unix")).doing(|| "read /proc/net/unix")?;
    let socket = |line: &[u8]| {
        let at = line.windows(2).position(|w| w == b" @")?;
        line[at + 2..].strip_suffix(b"/command").map(<[u8]>::to_vec)
    };
    Ok(table.split(|&b| b == b'\n').filter_map(socket).collect())
}

/// Opens many containers at once, on as many threads as there are processors: most of the time goes
/// into reading their configurations. `keep` says what is wanted of each, so that the rest need not
/// stay in memory. The answers are in the order of the names.
pub fn open_many<T: Send>(
    names: &[String],
    lxcpath: &Path,
    keep: impl Fn(Result<Container>) -> T + Sync,
) -> Vec<T> {
    /// Fewer are not worth a thread.
    const SHARE: usize = 32;
    let open = |names: &[String]| -> Vec<T> {
        names.iter().map(|name| keep(Container::open(name, lxcpath))).collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(names.len() / SHARE).max(1);
    if threads == 1 {
        return open(names);
    }
    let share = names.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let (own, rest) = names.split_at(share);
        let open = &open;
        let others: Vec<_> = rest.chunks(share).map(|chunk| scope.spawn(move || open(chunk))).collect();
        let mut out = open(own);
        for thread in others {
            // A panic of theirs is one of ours.
            out.extend(thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        }
        out
    })
}

/// Defined or active, sorted.
pub fn all(lxcpath: &Path) -> Result<Vec<String>> {
    let mut names: BTreeSet<String> = defined(lxcpath)?.into_iter().collect();
    names.extend(active(lxcpath)?);
    Ok(names.into_iter().collect())
}

//! Limits: `lxc.cgroup.*` and `lxc.cgroup2.*` at start, and the same files of a running container.

use std::os::fd::{AsFd, BorrowedFd};

use lxc_sys::Errno;

use super::group::GroupSet;
use super::layout::{Layout, Version, read_at, write_at};
use crate::error::{Doing, Error, Result};

/// How an ordinary user comes to one.
const NO_CGROUP: &str = "an ordinary user gets one from systemd, in a session (pam_systemd) or with \
                         `loginctl enable-linger`; the log says why not";

/// The controller of a file: the text before its first dot.
pub fn controller_of(item: &str) -> &str {
    item.split('.').next().unwrap_or(item)
}

/// Writes v1 limits to the cgroups that carry them. `devices` selects the device rules, which come
/// late, or all others.
pub fn apply_v1(layout: &Layout, set: &GroupSet, items: &[(String, String)], devices: bool) -> Result<()> {
    if layout.is_unified() {
        if !items.is_empty() && !devices {
            log::warn!("lxc.cgroup.* has no effect: this host has cgroup v2 alone; use lxc.cgroup2.*");
        }
        return Ok(());
    }
    // The limit of memory and swap can only be set when that of memory is.
    let is_last = |item: &str| item == "memory.memsw.limit_in_bytes";
    let ordered = items.iter().filter(|(i, _)| !is_last(i)).chain(items.iter().filter(|(i, _)| is_last(i)));
    for (item, value) in ordered.filter(|(i, _)| i.starts_with("devices.") == devices) {
        let controller = controller_of(item);
        let has = |index: usize| layout.hierarchies[index].controllers.iter().any(|c| c == controller);
        let group =
            set.groups.iter().find(|g| g.version == Version::V1 && has(g.hierarchy)).ok_or_else(|| {
                Error::unsupported(format!(
                    "lxc.cgroup.{item}: this host has no cgroup v1 hierarchy with the controller {controller}"
                ))
            })?;
        let value = if devices { device_value(value)? } else { value.clone() };
        let what = || format!("lxc.cgroup.{item} = {value}: write to cgroup {}", group.path);
        match write_at(group.limit_dir.as_fd(), item, &value) {
            Err(e @ (Errno::ACCESS | Errno::PERM)) if devices => log::warn!("{}", Error::os(what(), e)),
            result => result.doing(what)?,
        }
        if controller == "cpuset"
            && let Some(inner) = &group.inner_dir
        {
            write_at(inner.as_fd(), item, &value).doing(what)?;
        }
    }
    Ok(())
}

/// Writes v2 limits, device rules excepted.
pub fn apply_v2(layout: &Layout, set: &GroupSet, items: &[(String, String)]) -> Result<()> {
    if !layout.is_unified() {
        if !items.is_empty() {
            log::warn!("lxc.cgroup2.* has no effect: this host does not have cgroup v2 alone");
        }
        return Ok(());
    }
    for (item, value) in items.iter().filter(|(i, _)| !i.starts_with("devices.")) {
        if set.groups.is_empty() {
            return Err(Error::unsupported(format!(
                "lxc.cgroup2.{item} = {value}: the container has no cgroup"
            ))
            .with_hint(NO_CGROUP));
        }
        for group in &set.groups {
            let hierarchy = &layout.hierarchies[group.hierarchy];
            let hint = || {
                format!(
                    "the base cgroup {}/{} has the controllers {}, which it hands on while no process is in it",
                    hierarchy.mount.display(),
                    hierarchy.base,
                    hierarchy.controllers.join(" ")
                )
            };
            write_at(group.limit_dir.as_fd(), item, value)
                .doing(|| format!("lxc.cgroup2.{item} = {value}: write to cgroup {}", group.path))
                .map_err(|e| if e.errno() == Some(Errno::NOENT) { e.with_hint(hint()) } else { e })?;
        }
    }
    Ok(())
}

/// A device rule as the kernel's v1 files want it: `/dev/zero rw` becomes `c 1:5 rw`.
pub fn device_value(value: &str) -> Result<String> {
    if !value.starts_with('/') {
        return Ok(value.to_string());
    }
    let (path, access) = value.split_once([' ', '\t']).unwrap_or((value, "rwm"));
    let stat = rustix::fs::stat(path).doing(|| format!("device rule {value}: stat {path}"))?;
    let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::BlockDevice => 'b',
        rustix::fs::FileType::CharacterDevice => 'c',
        _ => return Err(Error::invalid(format!("device rule {value}: {path} is not a device"))),
    };
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let access = access.split_ascii_whitespace().next().unwrap_or("rwm");
    Ok(format!("{kind} {major}:{minor} {access}"))
}

/// A file name that stays in the cgroup's own directory.
pub fn check_item_name(item: &str) -> Result<()> {
    if item.is_empty() || item.contains('/') || item.starts_with('.') {
        return Err(Error::invalid(format!("{item:?} is not the name of a cgroup file")));
    }
    Ok(())
}

/// Reads a file of a running container's cgroup.
pub fn read(dir: BorrowedFd<'_>, item: &str) -> Result<String> {
    check_item_name(item)?;
    read_at(dir, item).doing(|| format!("read {item}"))
}

/// Writes a file of a running container's cgroup.
pub fn write(dir: BorrowedFd<'_>, item: &str, value: &str) -> Result<()> {
    check_item_name(item)?;
    write_at(dir, item, value).doing(|| format!("write {value:?} to {item}"))
}

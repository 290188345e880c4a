//! /proc/PID/uid_map and gid_map: directly where the caller may, else by newuidmap(1) and newgidmap(1).

use std::path::Path;
use std::process::Command;

use lxc_config::IdKind;
use rustix::process::Pid;

use super::child::write_proc;
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::Identity;

/// The maps of a process that is in a new user namespace.
pub fn write_maps_of(pid: Pid, identity: &Identity) -> Result<()> {
    let pid = pid.as_raw_pid();
    for (kind, file, program) in
        [(IdKind::Uid, "uid_map", "newuidmap"), (IdKind::Gid, "gid_map", "newgidmap")]
    {
        let text = identity.map_text(kind);
        if text.is_empty() {
            continue;
        }
        let path = format!("/proc/{pid}/{file}");
        if rustix::process::geteuid().is_root() || is_own_id(identity, kind) {
            if kind == IdKind::Gid && !rustix::process::geteuid().is_root() {
                // The kernel's condition for an ordinary user (user_namespaces(7)).
                write_proc(Path::new(&format!("/proc/{pid}/setgroups")), "deny", "setgroups")?;
            }
            write_proc(Path::new(&path), &text, &format!("lxc.idmap = {}", text.trim().replace('\n', ", ")))?;
            continue;
        }
        let output = Command::new(program)
            .arg(pid.to_string())
            .args(text.split_ascii_whitespace())
            .output()
            .doing(|| format!("run {program}"))
            .map_err(|e| e.with_hint("install the package uidmap (shadow-utils)"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(Error::new(Kind::Denied, format!("{program}: {said}"))
                .with_hint("give yourself the ids in /etc/subuid and /etc/subgid (usermod --add-subuids)"));
        }
    }
    Ok(())
}

/// Whether all that is mapped is the caller's own id, for which nobody needs a privilege.
fn is_own_id(identity: &Identity, kind: IdKind) -> bool {
    let own = match kind {
        IdKind::Uid => rustix::process::geteuid().as_raw(),
        IdKind::Gid => rustix::process::getegid().as_raw(),
    };
    let mut lines = identity.map.iter().filter(|m| m.kind == kind);
    lines.next().is_some_and(|m| m.host_id == u64::from(own) && m.count == 1) && lines.next().is_none()
}

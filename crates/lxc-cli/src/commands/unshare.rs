//! lxc-unshare

use std::ffi::CString;

use lxc_config::{IdKind, IdMap, NamespaceKind};
use lxc_core::plan::namespaces::flag;
use lxc_core::unshare::Unshare;

use super::attach::parse_namespaces;
use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "unshare",
    about: "Run a command in new namespaces",
    usage: "-s NAMESPACES [OPTION…] [--] COMMAND [ARG…]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: true,
    details: "Runs COMMAND in namespaces of its own: MOUNT, PID, UTSNAME, IPC, USER, NETWORK, CGROUP or TIME, joined by |. \
              In a new user namespace without -u all ids are those of nobody.\n\n\
              The exit status is 0 when the command's was, else 1; with --exit-status it is the command's, and 128+n when \
              it was killed by signal n.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('s', "namespaces", Arg::Required("NAMESPACES"), "New namespaces, joined by |"),
    opt('u', "user", Arg::Required("USER"), "Become this user, by name or number"),
    opt('H', "hostname", Arg::Required("NAME"), "Set the host name (needs UTSNAME)"),
    opt('i', "ifname", Arg::Required("DEVICE"), "Move a network interface there (needs NETWORK)"),
    opt('d', "daemon", Arg::No, "Do not wait for the command"),
    opt('M', "remount", Arg::No, "Mount /proc, /dev/shm and /dev/mqueue anew (needs MOUNT)"),
    long("exit-status", Arg::No, "Exit with the command's status"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let needs = |text: &str| {
        context.error(text);
        Ok(1)
    };
    let namespaces = context.get("namespaces").map(parse_namespaces).transpose()?;
    let uid = context.get("user").map(user).transpose()?;
    if context.words().is_empty() {
        return needs("A command to execute in the new namespace is required");
    }
    let Some(namespaces) = namespaces else {
        return needs("A namespace to execute command is required");
    };
    let new = |kind| namespaces & flag(kind) != 0;
    if context.has("hostname") && !new(NamespaceKind::Uts) {
        return needs("-H <hostname> needs -s UTSNAME option");
    }
    if context.has("ifname") && !new(NamespaceKind::Net) {
        return needs("-i <interfacename> needs -s NETWORK option");
    }
    if context.has("remount") && !new(NamespaceKind::Mnt) {
        return needs("-M needs -s MOUNT option");
    }
    let mut map = Vec::new();
    if let (Some(uid), true) = (uid, new(NamespaceKind::User)) {
        let own = rustix::process::geteuid().as_raw();
        map.push(IdMap { kind: IdKind::Uid, ns_id: uid.into(), host_id: own.into(), count: 1 });
    }
    let unshare = Unshare {
        namespaces,
        map,
        uid,
        gid: None,
        hostname: context.get("hostname").map(String::from),
        interfaces: context.matches.all("ifname").map(String::from).collect(),
        remount: context.has("remount"),
        command: c_strings(context.words())?,
        environment: environment(),
    };
    let started = unshare.start()?;
    if context.has("daemon") {
        return Ok(0);
    }
    let pid = started.pid.as_raw_pid();
    let status = started.wait()?.code();
    if context.has("exit-status") || status == 0 {
        return Ok(status);
    }
    context.error(format!("the command, process {pid}, ended with status {status}"));
    Ok(1)
}

/// A number, or the name of somebody in /etc/passwd.
fn user(text: &str) -> anyhow::Result<u32> {
    let named = || {
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        let line = users.lines().find(|l| l.split(':').next() == Some(text))?;
        line.split(':').nth(2)?.parse().ok()
    };
    text.parse().ok().or_else(named).ok_or_else(|| refuse(format!("-u {text}: there is no such user")))
}

/// The words of a command.
pub fn c_strings(words: &[String]) -> anyhow::Result<Vec<CString>> {
    words
        .iter()
        .map(|word| CString::new(word.as_str()).map_err(|e| refuse(format!("{word:?}: {e}"))))
        .collect()
}

/// The environment of this process.
pub fn environment() -> Vec<CString> {
    use std::os::unix::ffi::OsStrExt;
    let line = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(line).collect()
}

//! lxc-usernsexec

use lxc_config::{IdKind, IdMap, NamespaceKind};
use lxc_core::plan::Subordinate;
use lxc_core::plan::identity::first_free;
use lxc_core::plan::namespaces::flag;
use lxc_core::unshare::{Unshare, parse_map};

use super::unshare::{c_strings, environment};
use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "usernsexec",
    about: "Run a command as root of a new user namespace",
    usage: "[-m MAP]… [OPTION…] [--] [COMMAND [ARG…]]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: true,
    details: "Runs COMMAND, else /bin/sh, in a new user and mount namespace as user and group 0 there, without \
              supplementary groups. MAP is u:INSIDE:OUTSIDE:COUNT for users, g: for groups, b: for both. Without any, \
              the first ranges of the caller in /etc/subuid and /etc/subgid are mapped at 0.\n\n\
              The exit status is the command's, and 128+n when it was killed by signal n; 1 when it could not be executed.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('m', "map", Arg::Required("MAP"), "Map ids: u, g or b, then :INSIDE:OUTSIDE:COUNT"),
    opt('s', "self", Arg::No, "Map the caller's own ids as well, at the first that are free"),
    opt('u', "uid", Arg::Required("UID"), "Become this user (0)"),
    opt('g', "gid", Arg::Required("GID"), "Become this group (0)"),
    opt('h', "help", Arg::No, "Show this help"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let mut map = Vec::new();
    for text in context.matches.all("map") {
        map.extend(
            parse_map(text)
                .ok_or_else(|| refuse(format!("-m {text}: not u, g or b, :INSIDE:OUTSIDE:COUNT")))?,
        );
    }
    if map.is_empty() {
        let given = Subordinate::of_caller();
        for kind in [IdKind::Uid, IdKind::Gid] {
            let Some(range) = given.first(kind) else {
                context.error("Failed to find subuid or subgid allocation");
                eprintln!("lxc-usernsexec: hint: give ids by -m, or usermod --add-subuids and --add-subgids");
                return Ok(1);
            };
            map.push(range);
        }
    }
    if context.has("self") {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        for (kind, own) in [(IdKind::Uid, uid), (IdKind::Gid, gid)] {
            let ns_id = first_free(&map, kind);
            map.push(IdMap { kind, ns_id, host_id: own.into(), count: 1 });
        }
    }
    let words = context.words();
    let shell = ["/bin/sh".to_string()];
    let unshare = Unshare {
        namespaces: flag(NamespaceKind::User) | flag(NamespaceKind::Mnt),
        map,
        uid: Some(context.number("uid")?.unwrap_or(0)),
        gid: Some(context.number("gid")?.unwrap_or(0)),
        command: c_strings(if words.is_empty() { &shell } else { words })?,
        environment: environment(),
        ..Unshare::default()
    };
    Ok(unshare.start()?.wait()?.code())
}

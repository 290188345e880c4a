//! A cgroup of one's own from the user's systemd (org.freedesktop.systemd1(5), spec: cgroups, section 12): a transient
//! scope that is delegated, below which an ordinary user may make cgroups with limits.

mod bus;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lxc_sys::Errno;
use rustix::fs::{CWD, Mode};
use rustix::process::{Pid, geteuid, getpid};

use self::bus::{Body, Bus, Failure, Target, addresses};
use crate::error::{Doing, Error, Kind, Result};

/// How long one address may take to say who it is: a start does not wait for one that hangs.
const GREETING: Duration = Duration::from_secs(2);

/// How long all that is asked then may take: systemd answers in some milliseconds, unless it has much to do.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most scopes of containers with one name.
const MAX_NUMBER: u32 = 99;

/// The cgroup in a scope for processes that are in none of a container's.
const LEAF: &str = "init";

const MANAGER: Target<'static> = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

const BROKER: Target<'static> = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// A scope that this process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Name of the unit.
    pub unit: String,
    /// Its cgroup, relative to the mount point of cgroup v2, without leading slash.
    pub cgroup: String,
}

/// Whether a scope is worth asking for: an ordinary user, on a host with cgroup v2 alone that systemd runs.
pub fn is_wanted() -> bool {
    !geteuid().is_root()
        && Path::new("/run/systemd/system").is_dir()
        && own_cgroup().is_ok_and(|path| path.is_some())
}

/// Moves the calling, single-threaded process into a scope of its own for a container, and there into a leaf.
///
/// # Errors
/// There is no systemd of the user's, or it refuses or does not answer.
pub fn enter(container: &str) -> Result<Scope> {
    let mut manager = Manager::connect()?;
    let unit = manager.start_scope(container)?;
    manager.wait_for(&unit)?;
    let cgroup = own_cgroup()?.unwrap_or_default();
    if !cgroup.ends_with(&unit) {
        return Err(Error::new(
            Kind::Failed,
            format!("systemd made {unit}, but this process is in /{cgroup}"),
        ));
    }
    // A cgroup that hands controllers on has no processes in it.
    let leaf = PathBuf::from("/sys/fs/cgroup").join(&cgroup).join(LEAF);
    rustix::fs::mkdirat(CWD, &leaf, Mode::from_raw_mode(0o755))
        .doing(|| format!("create {}", leaf.display()))?;
    let procs = leaf.join("cgroup.procs");
    std::fs::write(&procs, "0").doing(|| format!("write {}", procs.display()))?;
    Ok(Scope { unit, cgroup })
}

/// Moves a process of the user's, from whatever session, into the leaf of a scope.
///
/// # Errors
/// As [`enter`], and that there is no such scope.
pub fn attach(unit: &str, pid: Pid) -> Result<()> {
    Manager::connect()?
        .call("AttachProcessesToUnit", "ssau", |body| {
            body.string(unit).string(&format!("/{LEAF}"));
            body.array(4, |pids| {
                pids.number(pid.as_raw_pid().unsigned_abs());
            });
        })
        .map(drop)
        .map_err(|e| Error::from(e).during(format!("move a process to {unit}")))
}

/// The calling process's cgroup without leading slash, on a host that has v2 alone.
fn own_cgroup() -> Result<Option<String>> {
    const FILE: &str = "/proc/self/cgroup";
    let text = crate::files::read_text(FILE).doing(|| format!("read {FILE}"))?;
    let mut lines = text.lines();
    let only = lines.next().filter(|_| lines.next().is_none());
    Ok(only.and_then(|line| line.strip_prefix("0::/")).map(String::from))
}

/// The name of a container as part of a unit's name (systemd.unit(5), "String escaping").
fn escape(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":_.".contains(&b) || b == b'-';
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("\\x{b:02x}") };
    name.bytes().map(one).collect()
}

/// The user's systemd.
struct Manager {
    bus: Bus,
    /// Through a bus, not directly.
    brokered: bool,
}

impl Manager {
    fn connect() -> Result<Manager> {
        let places = places().into_iter().flat_map(|(list, brokered)| {
            addresses(&list).into_iter().map(move |address| (address, brokered))
        });
        let mut tried = Vec::new();
        let mut first = None;
        for (address, brokered) in places {
            if tried.contains(&address) {
                continue;
            }
            match Bus::connect(&address, Instant::now() + GREETING) {
                Ok(mut bus) => {
                    bus.wait_until(Instant::now() + PATIENCE);
                    let mut manager = Manager { bus, brokered };
                    manager.hello()?;
                    return Ok(manager);
                }
                // One that is not there says less than one that hangs or refuses.
                Err(e) if e.errno() == Some(Errno::NOENT) => drop(first.get_or_insert(e)),
                Err(e) => first = first.filter(|f: &Error| f.errno() != Some(Errno::NOENT)).or(Some(e)),
            }
            tried.push(address);
        }
        Err(first.unwrap_or_else(|| Error::os("find the user's systemd", Errno::NOENT)))
    }

    fn hello(&mut self) -> Result<()> {
        if self.brokered {
            self.bus.call(&BROKER, "Hello", "", |_| {})?;
        }
        Ok(())
    }

    fn call(
        &mut self,
        member: &str,
        signature: &str,
        fill: impl FnOnce(&mut Body),
    ) -> std::result::Result<bus::Message, Failure> {
        let destination = if self.brokered { MANAGER.destination } else { "" };
        self.bus.call(&Target { destination, ..MANAGER }, member, signature, fill)
    }

    /// Starts a scope with the calling process in it; its name is the first that is free.
    fn start_scope(&mut self, container: &str) -> Result<String> {
        if self.brokered {
            let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
            self.bus.call(&BROKER, "AddMatch", "s", |body| {
                body.string(rule);
            })?;
        }
        self.call("Subscribe", "", |_| {})?;
        let own = getpid().as_raw_pid().unsigned_abs();
        for number in 0..MAX_NUMBER {
            let unit = format!("lxc-{}-{number}.scope", escape(container));
            let asked = self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", |body| {
                body.string(&unit).string("fail");
                body.array(8, |properties| {
                    let text = format!("Container {container}");
                    properties.align(8).string("Description").signature("s").string(&text);
                    properties.align(8).string("PIDs").signature("au");
                    properties.array(4, |pids| {
                        pids.number(own);
                    });
                    properties.align(8).string("Delegate").signature("b").number(1);
                    properties.align(8).string("CollectMode").signature("s").string("inactive-or-failed");
                });
                body.array(8, |_| {});
            });
            match asked {
                Ok(_) => return Ok(unit),
                Err(Failure::Refused(name, _)) if name.ends_with(".UnitExists") => {}
                Err(e) => return Err(Error::from(e).during(format!("start {unit}"))),
            }
        }
        Err(Error::os(format!("find a free name for a scope of {container}"), Errno::EXIST))
    }

    /// Waits until the job that starts a unit is done.
    fn wait_for(&mut self, unit: &str) -> Result<()> {
        loop {
            let signal = self.bus.signal().map_err(|e| e.during(format!("start {unit}")))?;
            if signal.member != "JobRemoved" {
                continue;
            }
            // The job's number and path, then the unit and how it went.
            if let [_, name, result, ..] = &*signal.strings(1)
                && name == unit
            {
                return match &**result {
                    "done" => Ok(()),
                    other => Err(Error::new(Kind::Failed, format!("start {unit}: systemd says {other}"))),
                };
            }
        }
    }
}

/// Where the user's systemd can be spoken to, and whether through a bus.
fn places() -> Vec<(String, bool)> {
    let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let run = set("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{}", geteuid().as_raw()));
    let bus = set("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    vec![
        (bus, true),
        (format!("unix:path={run}/bus"), true),
        (format!("unix:path={run}/systemd/private"), false),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units() {
        assert_eq!(escape("web-1.a"), "web-1.a");
        assert_eq!(escape("a b@ü"), "a\\x20b\\x40\\xc3\\xbc");
    }
}

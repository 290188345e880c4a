//! lxc-user-nic: the one setuid program. It makes a pair of virtual Ethernet devices between a bridge of the host and
//! a network namespace of the caller's, as often as /etc/lxc/lxc-usernet lets the caller (spec: networks, section 7).
//!
//! What it does with which rights: the network namespace is opened by the caller's own, so nothing is reached, or found
//! out, that the caller could not reach without; everything else is done as root, with nothing of the caller's but two
//! checked words.

#![forbid(unsafe_code)]

mod bridge;
pub mod registry;
mod rights;
mod target;
pub mod usernet;

use std::ffi::OsString;
use std::path::Path;

use lxc_netlink::{Netlink, VethPair, is_device_name, random_device_name};
use lxc_sys::Errno;

use bridge::Bridge;
use registry::{Entry, Registry};
use rights::User;
use target::Target;
use usernet::{Caller, allowances};

/// Directory of lxc-usernet.
const SYSCONFDIR: &str = match option_env!("LXC_SYSCONFDIR") {
    Some(dir) => dir,
    None => "/etc",
};

const REGISTRY: &str = "/run/lxc/nics";

const USAGE: &str = "Usage: lxc-user-nic create LXCPATH NAME PID veth BRIDGE [INTERFACE]
       lxc-user-nic delete LXCPATH NAME NETNS veth BRIDGE DEVICE
Makes or removes a network device of an ordinary user's container. BRIDGE may be none.
";

/// What went wrong, for the caller to read.
type Result<T> = std::result::Result<T, String>;

/// Runs the program; returns its exit status.
pub fn run(arguments: Vec<OsString>) -> i32 {
    use std::io::Write;
    let words: Option<Vec<String>> = arguments.into_iter().skip(1).map(|a| a.into_string().ok()).collect();
    let words = words.unwrap_or_default();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match *words.as_slice() {
        ["create", _, _, pid, kind, bridge] => create(pid, kind, bridge, None),
        ["create", _, _, pid, kind, bridge, interface] => create(pid, kind, bridge, Some(interface)),
        ["delete", _, _, namespace, kind, bridge, device] => delete(namespace, kind, bridge, device),
        _ => {
            // Nothing depends on it.
            let _ = std::io::stderr().write_all(USAGE.as_bytes());
            return 1;
        }
    };
    match done {
        Ok(()) => 0,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "lxc-user-nic: {message}");
            1
        }
    }
}

/// The two words of the caller's that reach the kernel.
fn check(kind: &str, bridge: &str) -> Result<()> {
    if kind != "veth" {
        return Err(format!("{kind}: only devices of type veth are made"));
    }
    if is_device_name(bridge) { Ok(()) } else { Err(format!("{bridge}: not a name for a bridge")) }
}

/// What /etc/lxc/lxc-usernet says; where there is none, nobody may have anything.
fn usernet() -> Result<String> {
    let path = Path::new(SYSCONFDIR).join("lxc/lxc-usernet");
    let bytes = std::fs::read(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn create(pid: &str, kind: &str, bridge: &str, interface: Option<&str>) -> Result<()> {
    check(kind, bridge)?;
    if let Some(name) = interface.filter(|n| !is_device_name(n)) {
        return Err(format!("{name}: not a name for an interface"));
    }
    let user = User::take_rights()?;
    let target = Target::of_process(&user, pid)?;
    let caller = user.names()?;
    let mut registry = Registry::open(Path::new(REGISTRY)).map_err(|e| format!("lock {REGISTRY}: {e}"))?;
    let mut netlink = Netlink::open().map_err(|e| format!("open a netlink socket: {e}"))?;
    registry.entries.retain(|e| !caller.is(&e.owner) || netlink.index_of(&e.device) != Err(Errno::NODEV));
    let owner = charge(&registry, &caller, kind, bridge)?;
    let port = Bridge::find(&mut netlink, bridge)?;
    let mut last = Errno::EXIST;
    for _ in 0..100 {
        let device = random_name(user.uid.as_raw());
        // Written down first: what a helper that is killed leaves behind is counted, and forgotten when it is gone.
        let entry = Entry { owner: owner.clone(), kind: kind.into(), bridge: bridge.into(), device };
        registry.entries.push(entry.clone());
        registry.save().map_err(|e| format!("write {REGISTRY}: {e}"))?;
        let pair = VethPair {
            host: &entry.device,
            peer: interface.unwrap_or("eth%d"),
            namespace: target.fd(),
            peer_address: None,
            mtu: port.mtu(),
            queues: (None, None),
        };
        match netlink.create_veth(&pair) {
            Ok(()) => {
                let line = match finish(&mut netlink, &port, &entry.device, &target) {
                    Ok(line) => line,
                    Err(e) => {
                        remove(&mut netlink, &port, &mut registry, &entry);
                        return Err(e);
                    }
                };
                // The caller may not read it, and others wait for the lock.
                drop(registry);
                return answer(&line).inspect_err(|_| {
                    let again = Registry::open(Path::new(REGISTRY));
                    if let Some(mut again) = again.ok().filter(|r| r.entries.contains(&entry)) {
                        remove(&mut netlink, &port, &mut again, &entry);
                    }
                });
            }
            Err(e) => {
                // Nothing was made: what has the name is somebody else's.
                forget(&mut registry, &entry);
                last = e;
                if e != Errno::EXIST || target.has(interface) {
                    break;
                }
            }
        }
    }
    Err(format!("make a pair of devices with {}: {last}", interface.unwrap_or("eth%d")))
}

/// The line of lxc-usernet that has room for one more device.
fn charge(registry: &Registry, caller: &Caller, kind: &str, bridge: &str) -> Result<String> {
    let lines = allowances(&usernet()?, caller, kind, bridge);
    if lines.iter().all(|l| l.count == 0) {
        return Err(format!(
            "{} may have no device of type {kind} on {bridge}: {SYSCONFDIR}/lxc/lxc-usernet has no line \
             `{} {kind} {bridge} COUNT`",
            caller.login, caller.login
        ));
    }
    let used = |owner: &str| {
        let counted = registry.entries.iter().filter(|e| e.counts_for(owner, kind, bridge)).count();
        u64::try_from(counted).unwrap_or(u64::MAX)
    };
    let free = lines.iter().find(|l| used(&l.owner) < l.count);
    free.map(|l| l.owner.clone()).ok_or_else(|| {
        let all: Vec<String> =
            lines.iter().map(|l| format!("{} has {} of {}", l.owner, used(&l.owner), l.count)).collect();
        format!("Quota reached on {bridge}: {}", all.join(", "))
    })
}

/// Connects the host's end. Returns what is known of both: `INTERFACE:INDEX:DEVICE:INDEX`.
fn finish(netlink: &mut Netlink, port: &Bridge, name: &str, target: &Target) -> Result<String> {
    let device = netlink.device(name).map_err(|e| format!("look at {name}: {e}"))?;
    port.connect(netlink, &device)?;
    let inside = device.lower.ok_or_else(|| format!("{name} has no other end"))?;
    let interface = target.name_of(inside)?;
    Ok(format!("{interface}:{inside}:{name}:{}\n", device.index))
}

/// Tells the caller what was made.
fn answer(line: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("write: {e}"))
}

/// Takes a record out. The first error is what the caller hears of.
fn forget(registry: &mut Registry, entry: &Entry) {
    registry.entries.retain(|e| e != entry);
    let _ = registry.save();
}

/// Takes back what was made, and forgets it. The first error is what the caller hears of.
fn remove(netlink: &mut Netlink, port: &Bridge, registry: &mut Registry, entry: &Entry) {
    port.disconnect(&entry.device);
    let gone = match netlink.index_of(&entry.device) {
        Ok(index) => matches!(netlink.delete(index), Ok(()) | Err(Errno::NODEV)),
        Err(e) => e == Errno::NODEV,
    };
    if gone {
        forget(registry, entry);
    }
}

fn delete(namespace: &str, kind: &str, bridge: &str, device: &str) -> Result<()> {
    check(kind, bridge)?;
    if !is_device_name(device) {
        return Err(format!("{device}: not a name for a device"));
    }
    let user = User::take_rights()?;
    let target = Target::of_path(&user, namespace)?;
    let caller = user.names()?;
    let mut registry = Registry::open(Path::new(REGISTRY)).map_err(|e| format!("lock {REGISTRY}: {e}"))?;
    let entry =
        Entry { owner: String::new(), kind: kind.into(), bridge: bridge.into(), device: device.into() };
    let own = |e: &&Entry| caller.is(&e.owner) && Entry { owner: String::new(), ..(*e).clone() } == entry;
    let Some(entry) = registry.entries.iter().find(own).cloned() else {
        return Err(format!("{device} on {bridge} was not made for {}", caller.login));
    };
    let mut netlink = Netlink::open().map_err(|e| format!("open a netlink socket: {e}"))?;
    // What a group may have is not each member's: only the other end says whose it is (CVE-2026-39402).
    let is_there = |netlink: &mut Netlink| match netlink.device(&entry.device) {
        Ok(device) => {
            device.lower_namespace.is_some() && netlink.id_of(target.fd()) == Ok(device.lower_namespace)
        }
        Err(e) => e == Errno::NODEV,
    };
    if entry.owner != caller.login && !is_there(&mut netlink) {
        return Err(format!("{device} on {bridge} has no end in that network namespace"));
    }
    // It may be gone by now; the device goes all the same.
    let port = Bridge::find(&mut netlink, bridge).unwrap_or(Bridge::None);
    remove(&mut netlink, &port, &mut registry, &entry);
    if registry.entries.contains(&entry) {
        Err(format!("remove {device}: it is still there"))
    } else {
        Ok(())
    }
}

/// `vethUID_XXXX`, where it fits, else `vethXXXXXX`.
fn random_name(uid: u32) -> String {
    if (1..=65536).contains(&uid) {
        random_device_name(&format!("veth{uid}_"), 4)
    } else {
        random_device_name("veth", 6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        for uid in [0, 1, 1000, 65536, 65537, u32::MAX] {
            assert!(is_device_name(&random_name(uid)), "{uid}");
        }
    }
}

//! The bridge for containers that have no other: lxcbr0, with addresses by DHCP and the way out. A service of the
//! host's, which is on or off as a whole.

mod others;
mod rules;
mod settings;

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lxc_sys::Errno;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

pub use settings::Settings;

use crate::error::{Doing, Error, Kind, Result};
use lxc_netlink::Netlink;

const DIRECTORY: &str = "/run/lxc";
/// It exists while the service is on.
const MARK: &str = "/run/lxc/network_up";
const PID_FILE: &str = "/run/lxc/dnsmasq.pid";

/// Whether the service is on.
pub fn is_up() -> bool {
    Path::new(MARK).exists()
}

/// The bridge of the service that is on. Upstream's record does not name it.
fn recorded_bridge() -> Option<String> {
    std::fs::read_to_string(MARK).ok().map(|name| name.trim().to_string()).filter(|name| !name.is_empty())
}

/// Whether the service is on by its record, but somebody has removed its bridge.
pub fn has_lost_its_bridge() -> bool {
    recorded_bridge().is_some_and(|bridge| {
        Netlink::open().is_ok_and(|mut netlink| netlink.index_of(&bridge) == Err(Errno::NODEV))
    })
}

/// Ends the service if it has lost its bridge.
pub fn stop_without_bridge() -> Result<()> {
    let _lock = lock()?;
    if has_lost_its_bridge() {
        tidy_up(&recorded(&Settings::read()?));
    }
    Ok(())
}

/// The settings may have changed since the start.
fn recorded(settings: &Settings) -> Settings {
    let bridge = recorded_bridge().unwrap_or_else(|| settings.bridge.clone());
    Settings { bridge, ..settings.clone() }
}

/// Makes the bridge and all that belongs to it. A bridge that is there already is made anew, unless it has ports.
///
/// # Errors
/// It is on; or a step fails, and all before it is undone.
pub fn start(settings: &Settings) -> Result<()> {
    let _lock = lock()?;
    if is_up() {
        return Err(Error::new(Kind::AlreadyRunning, "lxc-net is already running"));
    }
    // What an interrupted start has left.
    tidy_up(settings);
    let done = set_up(settings);
    if done.is_err() {
        tidy_up(settings);
    }
    done
}

/// Removes the bridge and all that belongs to it. A bridge that still has ports stays.
pub fn stop(settings: &Settings) -> Result<()> {
    let _lock = lock()?;
    if !is_up() {
        return Err(Error::new(Kind::NotRunning, "lxc-net isn't running"));
    }
    tidy_up(&recorded(settings));
    Ok(())
}

/// One at a time: the lock is on the directory, and goes with the descriptor.
fn lock() -> Result<OwnedFd> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(DIRECTORY)
        .doing(|| format!("create {DIRECTORY}"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(DIRECTORY, flags, Mode::empty()).doing(|| format!("open {DIRECTORY}"))?;
    rustix::fs::flock(&directory, FlockOperation::LockExclusive).doing(|| format!("lock {DIRECTORY}"))?;
    Ok(directory)
}

fn set_up(settings: &Settings) -> Result<()> {
    let bridge = &settings.bridge;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(DIRECTORY)
        .doing(|| format!("create {DIRECTORY}"))?;
    let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
    match netlink.create_bridge(bridge, settings.address) {
        // It has ports: containers that run.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(Error::os(format!("create bridge {bridge}"), e)),
    }
    let index = netlink.index_of(bridge).doing(|| format!("bridge {bridge}"))?;
    sysctl("net/ipv4/ip_forward", "1")?;
    // An address is usable at once; there is no one else on the bridge who could have it.
    optional_sysctl(&format!("net/ipv6/conf/{bridge}/accept_dad"), "0")?;
    let (address, prefix) = settings.ipv4;
    add_address(&mut netlink, index, address.into(), prefix)?;
    netlink.set_up(index, None, None).doing(|| format!("bring {bridge} up"))?;
    let ipv6 = settings.ipv6.filter(|_| !is_ipv6_off(bridge));
    if let Some((address, prefix)) = ipv6 {
        sysctl("net/ipv6/conf/all/forwarding", "1")?;
        sysctl(&format!("net/ipv6/conf/{bridge}/autoconf"), "0")?;
        add_address(&mut netlink, index, address.into(), prefix)?;
    }
    rules::add(&Settings { ipv6, ..settings.clone() })?;
    serve_addresses(settings, ipv6.map(|(address, _)| address))?;
    std::fs::write(MARK, format!("{bridge}\n")).doing(|| format!("create {MARK}"))
}

fn add_address(netlink: &mut Netlink, index: u32, address: IpAddr, prefix: u8) -> Result<()> {
    let broadcast = match address {
        IpAddr::V4(a) => super::setup::broadcast(a, prefix),
        IpAddr::V6(_) => None,
    };
    match netlink.add_address(index, address, prefix, broadcast) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(Error::os(format!("add {address}/{prefix}"), e)),
    }
}

fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    std::fs::write(&path, value).doing(|| format!("write {value} to {path}"))
}

/// A setting that the kernel need not have.
fn optional_sysctl(name: &str, value: &str) -> Result<()> {
    if Path::new("/proc/sys").join(name).exists() { sysctl(name, value) } else { Ok(()) }
}

fn is_ipv6_off(bridge: &str) -> bool {
    let off = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"));
        text.map_or(true, |t| t.trim() != "0")
    };
    off("all") || off(bridge)
}

/// Starts dnsmasq(8), which becomes a daemon when it is ready.
fn serve_addresses(settings: &Settings, ipv6: Option<std::net::Ipv6Addr>) -> Result<()> {
    let bridge = &settings.bridge;
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let has = |user: &&str| users.lines().any(|l| l.split(':').next() == Some(*user));
    let user = ["lxc-dnsmasq", "dnsmasq", "nobody"].into_iter().find(has).unwrap_or("root");
    let mut command = Command::new("dnsmasq");
    command.arg(format!("--conf-file={}", settings.dhcp_config.display()));
    if !settings.domain.is_empty() {
        command.args(["-s", &settings.domain, "-S", &format!("/{}/", settings.domain)]);
    }
    command.args(["-u", user, "--strict-order", "--bind-interfaces"]);
    command.arg(format!("--pid-file={PID_FILE}"));
    command.args(["--listen-address", &settings.ipv4.0.to_string(), "--dhcp-range", &settings.dhcp_range]);
    command.arg(format!("--dhcp-lease-max={}", settings.dhcp_max));
    if !settings.dhcp_ping {
        command.arg("--no-ping");
    }
    command.args(["--dhcp-no-override", "--except-interface=lo", &format!("--interface={bridge}")]);
    command.arg(format!("--dhcp-leasefile=/var/lib/misc/dnsmasq.{bridge}.leases"));
    command.arg("--dhcp-authoritative");
    if let Some(address) = ipv6 {
        command.arg(format!("--dhcp-range={address},ra-only"));
        command.args(["--listen-address", &address.to_string()]);
    }
    let output =
        command.stdin(Stdio::null()).output().doing(|| "run dnsmasq").map_err(|e| {
            e.with_hint("it gives containers their addresses: install dnsmasq-base, or dnsmasq")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(Error::new(Kind::Failed, format!("dnsmasq: {said}")))
}

/// Undoes all steps, whatever of them was done; failures are logged.
fn tidy_up(settings: &Settings) {
    let bridge = &settings.bridge;
    let log = |result: Result<()>| {
        if let Err(e) = result {
            log::warn!("{e}");
        }
    };
    log(end_dnsmasq());
    log(rules::remove(settings));
    log(remove_bridge(bridge));
    log(match std::fs::remove_file(MARK) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).doing(|| format!("remove {MARK}")),
        _ => Ok(()),
    });
}

fn end_dnsmasq() -> Result<()> {
    let Ok(text) = std::fs::read_to_string(PID_FILE) else { return Ok(()) };
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        && is_dnsmasq(pid)
    {
        let what = || format!("end dnsmasq, process {}", pid.as_raw_pid());
        rustix::process::pidfd_send_signal(&process, Signal::TERM).doing(what)?;
        let end = Instant::now() + Duration::from_secs(2);
        // A daemon is nobody's child here: gone is when it cannot be signalled any more.
        while is_dnsmasq(pid) {
            if Instant::now() > end {
                rustix::process::pidfd_send_signal(&process, Signal::KILL).doing(what)?;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let _ = std::fs::remove_file(PID_FILE);
    Ok(())
}

/// The number in the file may be another process's by now.
fn is_dnsmasq(pid: Pid) -> bool {
    let directory = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
    let name = std::fs::read_to_string(directory.join("comm")).unwrap_or_default();
    let arguments = std::fs::read(directory.join("cmdline")).unwrap_or_default();
    name.trim() == "dnsmasq" && arguments.windows(PID_FILE.len()).any(|w| w == PID_FILE.as_bytes())
}

fn remove_bridge(bridge: &str) -> Result<()> {
    let ports = Path::new("/sys/class/net").join(bridge).join("brif");
    let Ok(mut ports) = std::fs::read_dir(&ports) else { return Ok(()) };
    if ports.next().is_some() {
        log::info!("{bridge} has ports: it stays");
        return Ok(());
    }
    let what = || format!("remove bridge {bridge}");
    let mut netlink = Netlink::open().doing(what)?;
    let index = netlink.index_of(bridge).doing(what)?;
    netlink.delete(index).doing(what)
}

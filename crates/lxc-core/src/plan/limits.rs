//! Resource limits, sysctl and /proc values.

use lxc_config::Values;
use rustix::process::Resource;

use crate::error::{Error, Result};

/// One limit of init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLimit {
    /// Name as written.
    pub name: String,
    /// Soft limit; `None` is unlimited.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

/// Names of `lxc.prlimit.*`, numbered as RLIMIT_*.
const NAMES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

impl ResourceLimit {
    /// The kernel's resource.
    pub fn resource(&self) -> Option<Resource> {
        let number = self.name.parse().ok().or_else(|| NAMES.iter().position(|n| *n == self.name))?;
        Some(match number {
            0 => Resource::Cpu,
            1 => Resource::Fsize,
            2 => Resource::Data,
            3 => Resource::Stack,
            4 => Resource::Core,
            5 => Resource::Rss,
            6 => Resource::Nproc,
            7 => Resource::Nofile,
            8 => Resource::Memlock,
            9 => Resource::As,
            10 => Resource::Locks,
            11 => Resource::Sigpending,
            12 => Resource::Msgqueue,
            13 => Resource::Nice,
            14 => Resource::Rtprio,
            15 => Resource::Rttime,
            _ => return None,
        })
    }
}

/// Checks the names.
pub fn resolve(values: &Values) -> Result<Vec<ResourceLimit>> {
    values
        .prlimits
        .iter()
        .map(|(name, limit)| {
            let limit = ResourceLimit { name: name.clone(), soft: limit.soft, hard: limit.hard };
            match limit.resource() {
                Some(_) => Ok(limit),
                None => Err(Error::invalid(format!("lxc.prlimit.{name}: no such resource limit"))
                    .with_hint(format!("known limits: {}", NAMES.join(" ")))),
            }
        })
        .collect()
}

/// The path of a dotted name: `net.ipv4.ip_forward` is `net/ipv4/ip_forward`. A slash in the name
/// stands for a dot of the file name, as in sysctl(8).
pub fn dotted_path(name: &str) -> Result<String> {
    let path: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    let bad = |c: &str| c.is_empty() || c == "." || c == "..";
    if path.split('/').any(bad) {
        return Err(Error::invalid(format!("{name:?} is not a name below /proc")));
    }
    Ok(path)
}

//! What a running container uses.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lxc_config::NetType;
use rustix::fs::{Access, AtFlags};

use crate::cgroup::layout::{CGROUP2_SUPER_MAGIC, read_at};
use crate::container::Container;
use crate::error::{Doing, Error, Result};
use crate::protocol::{Client, Pending};

/// Use of resources; `None` where the host does not account for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Bytes read and written on block devices.
    pub block_io: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Kernel memory in bytes.
    pub kernel_memory: Option<u64>,
}

/// Traffic of one device, from the container's point of view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// The host's end.
    pub link: String,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

fn number(text: lxc_sys::Result<String>) -> Option<u64> {
    text.ok()?.trim().parse().ok()
}

/// The value of a line `KEY VALUE`.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Sums one kind of bytes in io.stat (`8:0 rbytes=1 wbytes=2 …`) or blkio.throttle.io_service_bytes
/// (`8:0 Read 1`, then `Total 3`).
fn block_io(text: &str, v2: bool) -> Option<u64> {
    if v2 {
        let value = |w: &str| w.strip_prefix("rbytes=").or(w.strip_prefix("wbytes="))?.parse::<u64>().ok();
        return Some(text.split_ascii_whitespace().filter_map(value).sum());
    }
    text.lines().find_map(|l| l.strip_prefix("Total ")?.trim().parse().ok())
}

impl Container {
    /// What its cgroups account for.
    pub fn usage(&self) -> Usage {
        let client = self.client();
        self.usage_from(&client, client.begin_cgroup_ctx())
    }

    /// The same from a question that was asked before.
    pub fn usage_from(&self, client: &Client, asked: Pending) -> Usage {
        let split = self.config.values.cgroup.dir_container_inner.is_some();
        usage(&Directories::from_answer(client, asked, split))
    }

    /// Traffic of its devices, in the order of the configuration, up to the first without a name.
    pub fn traffic(&self) -> Result<Vec<Traffic>> {
        let client = self.client();
        let mut out = Vec::new();
        for (number, network) in &self.config.values.networks {
            let key = match network.kind {
                Some(NetType::Veth) => "veth.pair",
                // Nothing on the host belongs to it.
                None | Some(NetType::Empty | NetType::None) => break,
                Some(_) => "link",
            };
            let Some(link) = client.config_item(&format!("lxc.net.{number}.{key}"))? else { break };
            let dir = Path::new("/sys/class/net").join(&link).join("statistics");
            let read = |file: &str| -> u64 {
                std::fs::read_to_string(dir.join(file)).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
            };
            // What the host's end receives, the container sent.
            out.push(Traffic { sent: read("rx_bytes"), received: read("tx_bytes"), link });
        }
        Ok(out)
    }
}

/// The cgroups that account for a container.
enum Directories<'a> {
    /// All of them, from one request.
    All(Vec<(OwnedFd, bool)>),
    /// To be asked for one by one: limits and processes are in different cgroups.
    Each(&'a Client),
}

impl Directories<'_> {
    fn from_answer(client: &Client, asked: Pending, split: bool) -> Directories<'_> {
        let is_v2 = |dir: &OwnedFd| rustix::fs::fstatfs(dir).is_ok_and(|s| s.f_type == CGROUP2_SUPER_MAGIC);
        match asked.directories() {
            Ok(all) if !split => {
                Directories::All(all.into_iter().map(|d| (is_v2(&d), d)).map(|(v, d)| (d, v)).collect())
            }
            _ => Directories::Each(client),
        }
    }

    /// The directory of a controller, which has a certain file, and whether it is cgroup v2.
    fn limit_cgroup_fd(&self, controller: &str) -> Result<(OwnedFd, bool)> {
        let all = match self {
            Directories::Each(client) => return client.limit_cgroup_fd(controller),
            Directories::All(all) => all,
        };
        let (v1_file, v2_file) = match controller {
            "memory" => ("memory.usage_in_bytes", "memory.stat"),
            "cpuacct" | "cpu" => ("cpuacct.usage", "cpu.stat"),
            _ => ("blkio.throttle.io_service_bytes", "io.stat"),
        };
        let unified = all.iter().all(|(_, v2)| *v2);
        let has = |dir: &OwnedFd, v2: bool| {
            let file = if v2 { v2_file } else { v1_file };
            v2 == unified && rustix::fs::accessat(dir, file, Access::EXISTS, AtFlags::empty()).is_ok()
        };
        let (dir, v2) = all
            .iter()
            .find(|(dir, v2)| has(dir, *v2))
            .ok_or_else(|| Error::unsupported(format!("no cgroup has {v1_file}")))?;
        let copy = rustix::io::fcntl_dupfd_cloexec(dir, 3).doing(|| "copy a descriptor")?;
        Ok((copy, *v2))
    }
}

fn usage(client: &Directories<'_>) -> Usage {
    let mut usage = Usage::default();
    if let Ok((dir, v2)) = client.limit_cgroup_fd("memory") {
        let dir = dir.as_fd();
        if v2 {
            if let Ok(stat) = read_at(dir, "memory.stat") {
                let sum = |keys: &[&str]| keys.iter().filter_map(|k| field(&stat, k)).sum();
                usage.memory = Some(sum(&["anon", "file"]));
                usage.kernel_memory = Some(sum(&["kernel_stack", "pagetables", "sock", "slab"]));
            }
        } else {
            usage.memory = number(read_at(dir, "memory.usage_in_bytes"));
            usage.kernel_memory = number(read_at(dir, "memory.kmem.usage_in_bytes"));
        }
    }
    if let Ok((dir, false)) = client.limit_cgroup_fd("cpuacct") {
        usage.cpu_ns = number(read_at(dir.as_fd(), "cpuacct.usage"));
    } else if let Ok((dir, true)) = client.limit_cgroup_fd("cpu") {
        let stat = read_at(dir.as_fd(), "cpu.stat").unwrap_or_default();
        usage.cpu_ns = field(&stat, "usage_usec").map(|us| us * 1000);
    }
    if let Ok((dir, false)) = client.limit_cgroup_fd("blkio") {
        usage.block_io =
            read_at(dir.as_fd(), "blkio.throttle.io_service_bytes").ok().and_then(|t| block_io(&t, false));
    } else if let Ok((dir, true)) = client.limit_cgroup_fd("io") {
        usage.block_io = read_at(dir.as_fd(), "io.stat").ok().and_then(|t| block_io(&t, true));
    }
    usage
}

/// Memory and swap of a container, in bytes: the columns of lxc-ls.
pub fn memory_and_swap(client: &Client) -> (u64, u64) {
    let Ok((dir, v2)) = client.limit_cgroup_fd("memory") else { return (0, 0) };
    let dir = dir.as_fd();
    if v2 {
        let read = |file| number(read_at(dir, file)).unwrap_or(0);
        (read("memory.current"), read("memory.swap.current"))
    } else {
        let memory = number(read_at(dir, "memory.usage_in_bytes")).unwrap_or(0);
        let swap = read_at(dir, "memory.stat").ok().and_then(|t| field(&t, "swap")).unwrap_or(0);
        (memory, swap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters() {
        assert_eq!(block_io("8:0 rbytes=10 wbytes=5 rios=1\n8:16 rbytes=1\n", true), Some(16));
        assert_eq!(block_io("8:0 Read 1\n8:0 Total 3\nTotal 7\n", false), Some(7));
        assert_eq!(field("usage_usec 12\nuser_usec 3\n", "usage_usec"), Some(12));
    }
}

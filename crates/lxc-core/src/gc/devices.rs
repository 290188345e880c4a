//! Pairs of virtual Ethernet devices that a start has made on the host and did not get to move into a container. Ours
//! are made with one end inside; upstream's are not.

use std::fmt;

use crate::error::{Doing, Result};
use crate::network::is_random_name;
use lxc_netlink::{Device, Netlink};

/// A pair, by index and name of its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Veth {
    ends: [(u32, String); 2],
}

impl fmt::Display for Veth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.ends[0].1, self.ends[1].1)
    }
}

impl Veth {
    /// Removes the pair, if it is still there and connected to nothing.
    pub(super) fn remove(&self) -> Result<()> {
        if !unconnected_pairs()?.contains(self) {
            return Ok(());
        }
        let what = || format!("remove {self}");
        Netlink::open().doing(what)?.delete(self.ends[0].0).doing(what)
    }
}

/// Pairs with both ends here, both with names that LXC makes, and neither of them in use.
pub(super) fn unconnected_pairs() -> Result<Vec<Veth>> {
    let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
    let mut candidates = netlink.devices().doing(|| "list devices")?;
    let idle = |d: &Device| {
        is_random_name(&d.name) && d.controller.is_none() && !d.up && d.lower_namespace.is_none()
    };
    candidates.retain(idle);
    let mut out = Vec::new();
    for first in &candidates {
        let second = candidates.iter().find(|d| first.lower == Some(d.index) && d.lower == Some(first.index));
        if let Some(second) = second.filter(|s| s.index > first.index) {
            out.push(Veth { ends: [first, second].map(|d| (d.index, d.name.clone())) });
        }
    }
    if out.is_empty() {
        return Ok(out);
    }
    let addresses = netlink.addresses().doing(|| "list addresses")?;
    out.retain(|veth| !addresses.iter().any(|a| veth.ends.iter().any(|(index, _)| *index == a.index)));
    Ok(out)
}

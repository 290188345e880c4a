//! What the host's end of a pair becomes a port of.

use lxc_netlink::{Device, Netlink};

use crate::Result;
use crate::rights::run;

/// A bridge.
#[derive(Debug)]
pub enum Bridge {
    /// None: the host's end is an interface of the host.
    None,
    /// Of the kernel's own.
    Linux(Device),
    /// Of Open vSwitch, which has a record of its ports.
    OpenVSwitch(Device),
}

impl Bridge {
    /// Finds a bridge by name.
    pub fn find(netlink: &mut Netlink, name: &str) -> Result<Bridge> {
        if name == "none" {
            return Ok(Bridge::None);
        }
        let device = netlink.device(name).map_err(|e| format!("the bridge {name}: {e}"))?;
        if device.kind == "bridge" {
            return Ok(Bridge::Linux(device));
        }
        if ovs(&["br-exists", &device.name]) {
            return Ok(Bridge::OpenVSwitch(device));
        }
        Err(format!("{name} is neither a Linux bridge nor one of Open vSwitch"))
    }

    fn device(&self) -> Option<&Device> {
        match self {
            Bridge::None => None,
            Bridge::Linux(device) | Bridge::OpenVSwitch(device) => Some(device),
        }
    }

    /// The longest packet of it, in bytes.
    pub fn mtu(&self) -> Option<u32> {
        self.device().map(|d| d.mtu)
    }

    /// Makes a device a port, and brings it up.
    pub fn connect(&self, netlink: &mut Netlink, device: &Device) -> Result<()> {
        let name = &device.name;
        let controller = match self {
            Bridge::Linux(bridge) => Some(bridge.index),
            _ => None,
        };
        netlink
            .bring_up_host_end(device, self.device().is_some(), controller)
            .map_err(|e| format!("bring {name} up: {e}"))?;
        match self {
            Bridge::OpenVSwitch(bridge) if !ovs(&["--may-exist", "add-port", &bridge.name, name]) => {
                Err(format!("make {name} a port of {}: Open vSwitch refuses", bridge.name))
            }
            _ => Ok(()),
        }
    }

    /// Takes a device out of the records of Open vSwitch.
    pub fn disconnect(&self, name: &str) {
        if let Bridge::OpenVSwitch(bridge) = self {
            ovs(&["--if-exists", "del-port", &bridge.name, name]);
        }
    }
}

/// Asks the program of Open vSwitch; its daemon may not run, and nobody waits for that.
fn ovs(words: &[&str]) -> bool {
    run("ovs-vsctl", &[&["--timeout=10"], words].concat()).is_some()
}

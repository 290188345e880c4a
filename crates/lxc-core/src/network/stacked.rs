//! Devices on top of one of the host's: macvlan, ipvlan and vlan. They are made in the container's namespace and go
//! with it.

use std::time::Duration;

use lxc_config::{IpvlanIsolation, IpvlanMode, MacvlanMode, NetType, Network};
use lxc_sys::Errno;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVlan, IpVlanFlags, IpVlanMode, MacVlanMode,
};

use super::link;
use super::setup::Inside;
use crate::error::{Doing, Error, Result};
use crate::plan::network::{hardware_address, mtu};
use lxc_netlink::{Netlink, Stacked};

/// Makes the device of a network; nothing for types that have none of this kind.
pub(super) fn create(
    netlink: &mut Netlink,
    number: u32,
    network: &Network,
    inside: &Inside<'_>,
) -> Result<()> {
    let Some(kind) = kind(network) else { return Ok(()) };
    let link = link::device_of(netlink, number, network)?;
    let device = Stacked {
        parent: link.index,
        name: &inside.name,
        namespace: inside.namespace,
        kind,
        address: network.hwaddr.as_deref().and_then(hardware_address),
        mtu: mtu(number, network)?,
    };
    let type_name = network.kind.map_or("", NetType::name);
    let what = || format!("lxc.net.{number}.type = {type_name}: create {} on {}", inside.name, link.name);
    // The kernel takes its time to remove the devices of a namespace that has ended: the VLAN, or the whole
    // device for passthru, may still be that of the container's last run.
    for _ in 0..100 {
        match netlink.create_stacked(&device) {
            Err(Errno::EXIST | Errno::BUSY) => std::thread::sleep(Duration::from_millis(10)),
            Err(Errno::INVAL) if network.macvlan_mode == MacvlanMode::Passthru => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(e @ Errno::OPNOTSUPP) => {
                let hint = format!(
                    "the kernel has no {type_name} devices; modprobe {type_name}, or its configuration, tells"
                );
                return Err(Error::os(what(), e).with_hint(hint));
            }
            result => return result.doing(what),
        }
    }
    netlink.create_stacked(&device).doing(what)
}

fn kind(network: &Network) -> Option<(InfoKind, InfoData)> {
    Some(match network.kind? {
        NetType::Macvlan => {
            let mode = match network.macvlan_mode {
                MacvlanMode::Private => MacVlanMode::Private,
                MacvlanMode::Vepa => MacVlanMode::Vepa,
                MacvlanMode::Bridge => MacVlanMode::Bridge,
                MacvlanMode::Passthru => MacVlanMode::Passthrough,
            };
            (InfoKind::MacVlan, InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]))
        }
        NetType::Ipvlan => {
            let mode = match network.ipvlan_mode {
                IpvlanMode::L3 => IpVlanMode::L3,
                IpvlanMode::L3s => IpVlanMode::L3S,
                IpvlanMode::L2 => IpVlanMode::L2,
            };
            let flags = match network.ipvlan_isolation {
                IpvlanIsolation::Bridge => IpVlanFlags::empty(),
                IpvlanIsolation::Private => IpVlanFlags::Private,
                IpvlanIsolation::Vepa => IpVlanFlags::Vepa,
            };
            (InfoKind::IpVlan, InfoData::IpVlan(vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(flags)]))
        }
        // The plan has checked that it is below 4095.
        NetType::Vlan => (InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(network.vlan_id as u16)])),
        NetType::None | NetType::Empty | NetType::Veth | NetType::Phys => return None,
    })
}

//! Devices of the host that a container has while it runs. They come back as they were: name, MTU, hardware address,
//! addresses, and whether they are up.

use std::os::fd::AsFd;
use std::path::Path;

use lxc_config::Network;
use lxc_sys::Errno;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkAttribute;

use super::setup::Inside;
use super::{open_in, own_namespace};
use crate::error::{Doing, Error, Kind, Result};
use crate::netlink::{Netlink, is_link_local};
use crate::plan::network::{hardware_address, mtu};

/// A device that is in a container. The socket keeps the container's namespace, and so the device, until it is back.
#[derive(Debug)]
pub(super) struct Moved {
    inside: Netlink,
    /// Its index in the container.
    index: u32,
    name: String,
    mtu: u32,
    hardware_address: Vec<u8>,
    up: bool,
    addresses: Vec<AddressMessage>,
}

/// Moves the link of a network into the container's namespace.
pub(super) fn take(
    netlink: &mut Netlink,
    number: u32,
    network: &Network,
    inside: &Inside<'_>,
) -> Result<Moved> {
    let link = network.link.as_deref().unwrap_or_default();
    let what = || format!("lxc.net.{number}.link = {link}");
    let found = netlink.device(link).doing(what)?;
    if found.controller.is_some() {
        return Err(Error::invalid(format!("{}: it is a port of another device", what()))
            .with_hint(format!("ip link set {link} nomaster takes it out")));
    }
    if Path::new("/sys/class/net").join(link).join("phy80211").exists() {
        return Err(Error::unsupported(format!(
            "{}: moving a wireless device is not supported by this version",
            what()
        )));
    }
    let index = found.index;
    let mut addresses = netlink.address_messages().doing(what)?;
    addresses.retain(|a| a.header.index == index && !is_link_local(a));
    let mut socket = open_in(inside.namespace).doing(|| "open a netlink socket in the container")?;
    let moving = || format!("{}: move it into the container as {}", what(), inside.name);
    netlink.move_to(index, (&mut socket, inside.namespace), &inside.name).doing(moving)?;
    let index = socket.index_of(&inside.name).doing(moving)?;
    let moved = Moved {
        inside: socket,
        index,
        name: link.to_string(),
        mtu: found.mtu,
        hardware_address: found.hardware_address,
        up: found.up,
        addresses,
    };
    moved.adapt(number, network)
}

impl Moved {
    /// What the configuration wants of the device. When that fails it goes back.
    fn adapt(mut self, number: u32, network: &Network) -> Result<Moved> {
        let mut wanted: Vec<_> = mtu(number, network)?.map(LinkAttribute::Mtu).into_iter().collect();
        let address = network.hwaddr.as_deref().and_then(hardware_address);
        wanted.extend(address.map(|a| LinkAttribute::Address(a.to_vec())));
        if !wanted.is_empty()
            && let Err(e) = self.inside.change(self.index, false, wanted)
        {
            let error = Error::os(format!("lxc.net.{number}: MTU and hardware address of {}", self.name), e);
            self.give_back();
            return Err(error);
        }
        Ok(self)
    }

    /// Moves the device back to the calling process's namespace; failures are logged.
    pub(super) fn give_back(mut self) {
        if let Err(e) = self.move_back() {
            log::warn!("give {} back to the host: {e}", self.name);
        }
    }

    fn move_back(&mut self) -> Result<()> {
        let host = own_namespace()?;
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        match self.inside.move_to(self.index, (&mut netlink, host.as_fd()), &self.name) {
            // Somebody has made another device of that name.
            Err(Errno::EXIST) => {
                self.inside
                    .move_to(self.index, (&mut netlink, host.as_fd()), "phys%d")
                    .doing(|| "move it under another name")?;
                return Err(Error::new(Kind::Failed, "its name is taken: it is called physN now"));
            }
            result => result.doing(|| "move it")?,
        }
        let now = netlink.device(&self.name).doing(|| "find it")?;
        let index = now.index;
        let mut old = Vec::new();
        if now.mtu != self.mtu {
            old.push(LinkAttribute::Mtu(self.mtu));
        }
        if now.hardware_address != self.hardware_address {
            old.push(LinkAttribute::Address(std::mem::take(&mut self.hardware_address)));
        }
        if !old.is_empty() {
            netlink.change(index, false, old).doing(|| "its MTU and hardware address")?;
        }
        for address in &self.addresses {
            netlink.add_address_again(index, address).doing(|| "its addresses")?;
        }
        if self.up {
            netlink.change(index, true, Vec::new()).doing(|| "bring it up")?;
        }
        Ok(())
    }
}

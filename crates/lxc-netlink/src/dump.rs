//! Lists of devices and addresses. Of each message only what is wanted is decoded: the kernel says fifty things of a
//! device, and a listing asks hundreds of containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use lxc_sys::Errno;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NlasIterator};
use netlink_packet_route::address::{AddressMessage, AddressMessageBuffer};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkMessageBuffer};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage, NsidMessageBuffer};

use super::{Netlink, Request};

/// IFLA_ADDRESS and so on (linux/if_link.h).
const HARDWARE_ADDRESS: u16 = 1;
const NAME: u16 = 3;
const MTU: u16 = 4;
const LOWER: u16 = 5;
const CONTROLLER: u16 = 10;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const STATISTICS: u16 = 23;
const LOWER_NAMESPACE: u16 = 37;
/// IFA_ADDRESS and IFA_LOCAL (linux/if_addr.h).
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// NETNSA_NSID (linux/net_namespace.h).
const NAMESPACE_ID: u16 = 1;
/// RT_SCOPE_LINK (linux/rtnetlink.h).
const SCOPE_LINK: u8 = 253;

/// A device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Index in its network namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// What makes it, such as `bridge`; empty for hardware.
    pub kind: String,
    /// Whether it is up.
    pub up: bool,
    /// Whether it is the loopback device.
    pub loopback: bool,
    /// Longest packet, in bytes.
    pub mtu: u32,
    /// Hardware address: six bytes of an Ethernet device.
    pub hardware_address: Vec<u8>,
    /// Index of the bridge or the like that it is a port of.
    pub controller: Option<u32>,
    /// Index of what it is on top of; of the other end of a pair.
    pub lower: Option<u32>,
    /// That is in another network namespace: its id here (ip-netns(8)).
    pub lower_namespace: Option<i32>,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// One address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAddress {
    /// Index of the device.
    pub index: u32,
    /// Address.
    pub address: IpAddr,
    /// Length of the network's part in bits.
    pub prefix: u8,
    /// Valid on the link only.
    pub link_local: bool,
}

impl Netlink {
    /// All devices.
    pub fn devices(&mut self) -> lxc_sys::Result<Vec<Device>> {
        undisturbed(|| self.ask_devices(LinkMessage::default(), NLM_F_DUMP))
    }

    /// A device, by name.
    pub fn device(&mut self, name: &str) -> lxc_sys::Result<Device> {
        let mut wanted = LinkMessage::default();
        wanted.attributes.push(LinkAttribute::IfName(name.to_string()));
        self.ask_devices(wanted, NLM_F_ACK)?.pop().ok_or(Errno::NODEV)
    }

    fn ask_devices(&mut self, message: LinkMessage, flags: u16) -> lxc_sys::Result<Vec<Device>> {
        let mut out = Vec::new();
        self.exchange(Request::new(libc::RTM_GETLINK, message), flags, |bytes| {
            out.push(device(bytes).ok_or(Errno::BADMSG)?);
            Ok(())
        })?;
        Ok(out)
    }

    /// What this network namespace calls another one; `None` where it has no devices in common with it.
    pub fn id_of(&mut self, namespace: BorrowedFd<'_>) -> lxc_sys::Result<Option<i32>> {
        let mut wanted = NsidMessage::default();
        wanted
            .attributes
            .push(NsidAttribute::Fd(u32::try_from(namespace.as_raw_fd()).map_err(|_| Errno::BADF)?));
        let mut found = None;
        self.exchange(Request::new(libc::RTM_GETNSID, wanted), NLM_F_ACK, |bytes| {
            let message = NsidMessageBuffer::new_checked(bytes).map_err(|_| Errno::BADMSG)?;
            for attribute in message.attributes() {
                let attribute = attribute.map_err(|_| Errno::BADMSG)?;
                if attribute.kind() == NAMESPACE_ID {
                    found = attribute.value().try_into().ok().map(i32::from_ne_bytes);
                }
            }
            Ok(())
        })?;
        Ok(found.filter(|id| *id >= 0))
    }

    /// All addresses of all devices.
    pub fn addresses(&mut self) -> lxc_sys::Result<Vec<DeviceAddress>> {
        undisturbed(|| self.ask_addresses())
    }

    fn ask_addresses(&mut self) -> lxc_sys::Result<Vec<DeviceAddress>> {
        let mut out = Vec::new();
        let ask = Request::new(libc::RTM_GETADDR, AddressMessage::default());
        self.exchange(ask, NLM_F_DUMP, |bytes| {
            let message = AddressMessageBuffer::new_checked(bytes).map_err(|_| Errno::BADMSG)?;
            // IFA_LOCAL is the own address where both are given (point-to-point).
            let (mut address, mut local) = (None, None);
            for attribute in message.attributes() {
                let attribute = attribute.map_err(|_| Errno::BADMSG)?;
                match attribute.kind() {
                    ADDRESS => address = ip(attribute.value()),
                    LOCAL => local = ip(attribute.value()),
                    _ => {}
                }
            }
            out.extend(local.or(address).map(|address| DeviceAddress {
                index: message.index(),
                address,
                prefix: message.prefix_len(),
                link_local: address.is_ipv6() && message.scope() == SCOPE_LINK,
            }));
            Ok(())
        })?;
        Ok(out)
    }
}

/// A list is asked for again when something changed while it was made, but not for ever.
pub(super) fn undisturbed<T>(mut ask: impl FnMut() -> lxc_sys::Result<T>) -> lxc_sys::Result<T> {
    const ROUNDS: usize = 10;
    for _ in 1..ROUNDS {
        match ask() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
    ask()
}

/// What a message RTM_NEWLINK says; nothing when it is no such message.
fn device(bytes: &[u8]) -> Option<Device> {
    let link = LinkMessageBuffer::new_checked(bytes).ok()?;
    let flags = LinkFlags::from_bits_retain(link.flags());
    let mut device = Device {
        index: link.link_index(),
        up: flags.contains(LinkFlags::Up),
        loopback: flags.contains(LinkFlags::Loopback),
        ..Device::default()
    };
    for attribute in link.attributes() {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        let number = || value.try_into().ok().map(u32::from_ne_bytes);
        // rx_packets, tx_packets, rx_bytes, tx_bytes and more.
        let counter = |n: usize| value.get(n * 8..n * 8 + 8)?.try_into().ok().map(u64::from_ne_bytes);
        match attribute.kind() {
            HARDWARE_ADDRESS => device.hardware_address = value.to_vec(),
            NAME => device.name = text(value),
            LINK_INFO => {
                let kind = NlasIterator::new(value).flatten().find(|nested| nested.kind() == INFO_KIND);
                device.kind = kind.map(|nested| text(nested.value())).unwrap_or_default();
            }
            MTU => device.mtu = number()?,
            LOWER => device.lower = number(),
            LOWER_NAMESPACE => device.lower_namespace = value.try_into().ok().map(i32::from_ne_bytes),
            CONTROLLER => device.controller = number(),
            STATISTICS => {
                device.received = counter(2)?;
                device.sent = counter(3)?;
            }
            _ => {}
        }
    }
    Some(device)
}

/// What is before the NUL.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&b| b == 0).next().unwrap_or_default()).into_owned()
}

/// An address of four or sixteen bytes.
fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| Ipv4Addr::from(b).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| Ipv6Addr::from(b).into())).ok()
}

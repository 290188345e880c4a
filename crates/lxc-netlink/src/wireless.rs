//! Wireless devices move with their radio, which nl80211 alone does (linux/nl80211.h), by generic netlink
//! (linux/genetlink.h).

use std::os::fd::{AsRawFd, BorrowedFd};

use lxc_sys::Errno;
use netlink_packet_core::{DefaultNla, Emitable, NLM_F_ACK, NlasIterator};
use rustix::net::netlink::GENERIC;

use super::{Netlink, Request};

/// GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID and CTRL_ATTR_FAMILY_NAME.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// NL80211_CMD_GET_INTERFACE, NL80211_CMD_SET_WIPHY_NETNS, NL80211_ATTR_WIPHY and so on.
const GET_INTERFACE: u8 = 5;
const SET_WIPHY_NETNS: u8 = 49;
const WIPHY: u16 = 1;
const IFINDEX: u16 = 3;
const NETNS_FD: u16 = 219;

/// A message of generic netlink: its header, and attributes.
struct Generic {
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl Emitable for Generic {
    fn buffer_len(&self) -> usize {
        4 + self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..4].copy_from_slice(&[self.command, 1, 0, 0]);
        self.attributes.as_slice().emit(&mut buffer[4..]);
    }
}

/// A socket of a network namespace, for its radios.
#[derive(Debug)]
pub struct Radios {
    socket: Netlink,
    family: u16,
}

impl Radios {
    /// Opens a socket in the caller's network namespace. ENOENT where the kernel has nothing for wireless devices.
    pub fn open() -> lxc_sys::Result<Radios> {
        let mut socket = Netlink::open_protocol(Some(GENERIC))?;
        let name = DefaultNla::new(FAMILY_NAME, b"nl80211\0".to_vec());
        let ask = Generic { command: GET_FAMILY, attributes: vec![name] };
        let mut family = None;
        socket.exchange(Request::new(CONTROLLER, ask), NLM_F_ACK, |bytes| {
            family = attribute(bytes, FAMILY_ID).map(u16::from_ne_bytes);
            Ok(())
        })?;
        Ok(Radios { socket, family: family.ok_or(Errno::NOENT)? })
    }

    /// The number of the radio of a device, by its index. Nothing for one that is not wireless.
    pub fn of_device(&mut self, index: u32) -> Option<u32> {
        let index = DefaultNla::new(IFINDEX, index.to_ne_bytes().to_vec());
        let ask = Generic { command: GET_INTERFACE, attributes: vec![index] };
        let mut radio = None;
        let asked = self.socket.exchange(Request::new(self.family, ask), NLM_F_ACK, |bytes| {
            radio = attribute(bytes, WIPHY).map(u32::from_ne_bytes);
            Ok(())
        });
        radio.filter(|_| asked.is_ok())
    }

    /// Moves a radio, by its number, to another network namespace, with all its devices: they are down there, and keep
    /// their names where those are free.
    pub fn move_to(&mut self, radio: u32, namespace: BorrowedFd<'_>) -> lxc_sys::Result<()> {
        let attributes = vec![
            DefaultNla::new(WIPHY, radio.to_ne_bytes().to_vec()),
            DefaultNla::new(NETNS_FD, namespace.as_raw_fd().to_ne_bytes().to_vec()),
        ];
        let message = Generic { command: SET_WIPHY_NETNS, attributes };
        self.socket.exchange(Request::new(self.family, message), NLM_F_ACK, |_| Ok(()))
    }
}

/// The value of an attribute of a message.
fn attribute<const N: usize>(message: &[u8], kind: u16) -> Option<[u8; N]> {
    let mut all = NlasIterator::new(message.get(4..)?).flatten();
    all.find(|a| a.kind() == kind)?.value().try_into().ok()
}

//! Devices of the host that a container has while it runs. They come back as they were: name, MTU, hardware address,
//! addresses, and whether they are up.
//!
//! A process of its own, the keeper, takes a device and gives it back when its line to the monitor is cut. That is so
//! at the end of the container and when the monitor is killed alike; nothing else would know by then how the device
//! was.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use lxc_config::Network;
use lxc_sys::clone::{Fork, exit_now, fork};
use lxc_sys::{Errno, process, socket, title};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkAttribute;
use rustix::net::{RecvFlags, SocketType};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::radio::move_device;
use super::setup::Inside;
use super::{link, own_namespace};
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::network::{hardware_address, mtu};
use lxc_netlink::{Netlink, Radios, is_link_local};

/// A device that is in a container.
#[derive(Debug)]
pub(super) struct Moved {
    keeper: Pid,
    line: OwnedFd,
}

/// Moves the link of a network into the container's namespace.
pub(super) fn take(number: u32, network: &Network, inside: &Inside<'_>) -> Result<Moved> {
    let what = || format!("lxc.net.{number}: make a process that keeps a device");
    let (ours, theirs) = socket::pair(SocketType::SEQPACKET).doing(what)?;
    let keeper = match fork().doing(what)? {
        Fork::Child(_) => exit_now(keep(number, network, inside, &theirs)),
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let mut answer = [0; 4096];
    let received = socket::receive(ours.as_fd(), &mut answer, RecvFlags::empty()).map(|m| m.len);
    let moved = Moved { keeper, line: ours };
    match received.doing(what) {
        Ok(1) => Ok(moved),
        Ok(length) => {
            moved.end();
            Err(Error::from_bytes(&answer[..length]))
        }
        Err(e) => {
            moved.end();
            Err(e)
        }
    }
}

impl Moved {
    /// Moves the device back; returns when that is done.
    pub(super) fn give_back(self) {
        if self.end() != Some(0) {
            log::warn!("the keeper of a device did not end well: the device may be lost");
        }
    }

    /// Cuts the line, and waits for the keeper: its exit status.
    fn end(self) -> Option<i32> {
        drop(self.line);
        let ended = rustix::io::retry_on_intr(|| waitpid(Some(self.keeper), WaitOptions::empty()));
        ended.ok()?.and_then(|(_, status)| status.exit_status())
    }
}

/// The keeper's life, with the signals blocked that the monitor has blocked.
fn keep(number: u32, network: &Network, inside: &Inside<'_>, line: &OwnedFd) -> i32 {
    // Above all the command socket: its name must be free when the monitor is dead.
    let mut wanted = vec![line.as_raw_fd(), inside.namespace.as_raw_fd()];
    wanted.extend(crate::log::descriptors());
    let name = network.link.as_deref().unwrap_or_default();
    // What is sent to the monitor's process group, from a terminal or by a shell, is not for it.
    let _ = rustix::process::setsid();
    let kept = process::close_all_but(wanted, 2).doing(|| "close descriptors").and_then(|()| {
        if let Err(e) = title::set(&format!("[lxc device] {name}")) {
            log::debug!("title: {e}");
        }
        Kept::take(number, network, inside)
    });
    match kept {
        Ok(kept) => {
            let _ = socket::send(line.as_fd(), b"T", &[], false);
            // Nothing is ever sent: this is the end of the line.
            let _ = socket::receive(line.as_fd(), &mut [0; 1], RecvFlags::empty());
            kept.give_back();
            0
        }
        Err(e) => {
            // A single byte would mean success.
            let _ = socket::send(line.as_fd(), &e.to_bytes(), &[], false);
            1
        }
    }
}

/// What is known of a device that is in a container. The socket keeps the container's namespace, and so the device,
/// until it is back.
struct Kept {
    inside: Netlink,
    /// A socket in the container for radios.
    radios: Option<Radios>,
    /// Its index in the container.
    index: u32,
    name: String,
    mtu: u32,
    hardware_address: Vec<u8>,
    up: bool,
    addresses: Vec<AddressMessage>,
    /// When it was taken: lifetimes of addresses go on.
    since: Instant,
}

impl Kept {
    fn take(number: u32, network: &Network, inside: &Inside<'_>) -> Result<Kept> {
        let name = network.link.as_deref().unwrap_or_default();
        let what = || format!("lxc.net.{number}.link = {name}");
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        let found = link::phys(&mut netlink, number, network)?;
        let index = found.index;
        let mut addresses = netlink.address_messages().doing(what)?;
        addresses.retain(|a| a.header.index == index && !is_link_local(a));
        let mut socket =
            Netlink::open_in(inside.namespace).doing(|| "open a netlink socket in the container")?;
        let moving = || format!("{}: move it into the container as {}", what(), inside.name);
        let before = socket.devices().doing(moving)?;
        // Where the kernel has nothing for them there are none.
        let mut radios = Radios::open().ok();
        let mut kept = Kept {
            inside: socket,
            radios: lxc_netlink::there(inside.namespace, Radios::open).ok(),
            index: 0,
            name: name.to_string(),
            mtu: found.mtu,
            hardware_address: found.hardware_address.clone(),
            up: found.up,
            addresses,
            since: Instant::now(),
        };
        let from = (&mut netlink, radios.as_mut());
        match move_device(&found, from, (&mut kept.inside, inside.namespace), &inside.name) {
            Ok(index) => kept.index = index,
            Err(e) => {
                // It may have moved before something failed.
                let now = kept.inside.devices().unwrap_or_default();
                if let Some(new) = now.iter().find(|d| !before.iter().any(|b| b.index == d.index)) {
                    kept.index = new.index;
                    kept.give_back();
                }
                return Err(e).doing(moving);
            }
        }
        kept.adapt(number, network)
    }

    /// What the configuration wants of the device. When that fails it goes back.
    fn adapt(mut self, number: u32, network: &Network) -> Result<Kept> {
        let mut wanted: Vec<_> = mtu(number, network)?.map(LinkAttribute::Mtu).into_iter().collect();
        let address = network.hwaddr.as_deref().and_then(hardware_address);
        wanted.extend(address.map(|a| LinkAttribute::Address(a.to_vec())));
        if !wanted.is_empty()
            && let Err(e) = self.inside.change(self.index, None, wanted)
        {
            let error = Error::os(format!("lxc.net.{number}: MTU and hardware address of {}", self.name), e);
            self.give_back();
            return Err(error);
        }
        Ok(self)
    }

    /// Moves the device back to the calling process's namespace; failures are logged.
    fn give_back(mut self) {
        if let Err(e) = self.move_back() {
            log::warn!("give {} back to the host: {e}", self.name);
        }
    }

    fn move_back(&mut self) -> Result<()> {
        let host = own_namespace()?;
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        let what = || "find it in the container";
        let mut all = self.inside.devices().doing(what)?.into_iter();
        let device = all.find(|d| d.index == self.index).ok_or(Errno::NODEV).doing(what)?;
        let mut give = |name: &str| {
            let from = (&mut self.inside, self.radios.as_mut());
            move_device(&device, from, (&mut netlink, host.as_fd()), name)
        };
        match give(&self.name) {
            // Somebody has made another device of that name.
            Err(Errno::EXIST) => {
                give("phys%d").doing(|| "move it under another name")?;
                return Err(Error::new(Kind::Failed, "its name is taken: it is called physN now"));
            }
            result => result.map(drop).doing(|| "move it")?,
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
            netlink.change(index, None, old).doing(|| "its MTU and hardware address")?;
        }
        for address in &self.addresses {
            match netlink.add_address_again(index, address, self.since.elapsed()) {
                // Somebody was quicker.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => log::warn!("give an address back to {}: {e}", self.name),
            }
        }
        if self.up {
            netlink.change(index, Some(true), Vec::new()).doing(|| "bring it up")?;
        }
        Ok(())
    }
}

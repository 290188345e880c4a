//! A synchronous rtnetlink(7) socket.

#![forbid(unsafe_code)]

mod dump;
mod host_end;
mod wireless;

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use lxc_sys::Errno;
use lxc_sys::process::setns;
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable, Parseable,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressMessageBuffer, AddressScope,
};
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rustix::buffer::spare_capacity;
use rustix::io::retry_on_intr;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily as Family, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

pub use dump::{Device, DeviceAddress};
pub use host_end::random_device_name;
pub use wireless::Radios;

/// A connected socket in the caller's network namespace; the protocol is rtnetlink unless it is given. It allocates
/// nothing: processes that have just been forked may call it.
fn connect(protocol: Option<Protocol>) -> lxc_sys::Result<OwnedFd> {
    let kind = SocketType::DGRAM;
    let socket = rustix::net::socket_with(Family::NETLINK, kind, SocketFlags::CLOEXEC, protocol)?;
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// What is opened in another network namespace: a thread goes there.
pub fn there<T: Send>(
    namespace: BorrowedFd<'_>,
    open: impl FnOnce() -> lxc_sys::Result<T> + Send,
) -> lxc_sys::Result<T> {
    let go = || setns(namespace, libc::CLONE_NEWNET as u64).and_then(|()| open());
    std::thread::scope(|scope| scope.spawn(go).join().unwrap_or(Err(Errno::IO)))
}

/// A socket of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A pair of virtual Ethernet devices to make.
#[derive(Debug)]
pub struct VethPair<'a> {
    /// Name of the host's end.
    pub host: &'a str,
    /// Name of the container's end, made directly in its namespace.
    pub peer: &'a str,
    /// The container's network namespace.
    pub namespace: BorrowedFd<'a>,
    /// Hardware address of the container's end.
    pub peer_address: Option<[u8; 6]>,
    /// MTU of both ends.
    pub mtu: Option<u32>,
    /// Receive and transmit queues of the container's end; the host's has them the other way round.
    pub queues: (Option<u32>, Option<u32>),
}

/// A device on top of one of the host's, to make: macvlan, ipvlan or vlan.
#[derive(Debug)]
pub struct Stacked<'a> {
    /// Index of the host's device.
    pub parent: u32,
    /// Name of the device, made directly in its namespace.
    pub name: &'a str,
    /// The container's network namespace.
    pub namespace: BorrowedFd<'a>,
    /// What it is, and how.
    pub kind: (InfoKind, InfoData),
    /// Hardware address.
    pub address: Option<[u8; 6]>,
    /// MTU.
    pub mtu: Option<u32>,
}

/// A message and its type (RTM_*). The library's own enumeration of all of them would bring the code of those that
/// are never sent into the program.
#[derive(Debug)]
struct Request<M> {
    kind: u16,
    message: M,
}

impl<M: Emitable> Request<M> {
    fn new(kind: u16, message: M) -> Request<M> {
        Request { kind, message }
    }
}

impl<M: Emitable> NetlinkSerializable for Request<M> {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.message.buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        self.message.emit(buffer);
    }
}

impl Netlink {
    /// Opens a socket in the caller's network namespace.
    pub fn open() -> lxc_sys::Result<Netlink> {
        Netlink::open_protocol(None)
    }

    /// Opens a socket in another network namespace.
    pub fn open_in(namespace: BorrowedFd<'_>) -> lxc_sys::Result<Netlink> {
        there(namespace, Netlink::open)
    }

    /// A socket for [`Netlink::of_socket`], made in the caller's network namespace, in a process that may not allocate.
    pub fn raw_socket() -> lxc_sys::Result<OwnedFd> {
        connect(None)
    }

    /// With a socket that another process has made in its network namespace.
    pub fn of_socket(socket: OwnedFd) -> Netlink {
        Netlink { socket, sequence: 0 }
    }

    fn open_protocol(protocol: Option<Protocol>) -> lxc_sys::Result<Netlink> {
        connect(protocol).map(Netlink::of_socket)
    }

    /// Sends a request and hands on the payload of each message that comes until the kernel says that
    /// it is done.
    fn exchange(
        &mut self,
        message: Request<impl Emitable>,
        flags: u16,
        mut take: impl FnMut(&[u8]) -> lxc_sys::Result<()>,
    ) -> lxc_sys::Result<()> {
        self.sequence += 1;
        let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
        packet.header.flags = NLM_F_REQUEST | flags;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        retry_on_intr(|| rustix::net::send(&self.socket, &bytes, SendFlags::empty()))?;
        // The kernel fills at most half of it at a time.
        let mut datagram = Vec::with_capacity(64 * 1024);
        let mut interrupted = false;
        loop {
            datagram.clear();
            let room = || rustix::net::recv(&self.socket, spare_capacity(&mut datagram), RecvFlags::empty());
            retry_on_intr(room)?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let reply = NetlinkBuffer::new_checked(rest).map_err(|_| Errno::BADMSG)?;
                if reply.sequence_number() == self.sequence {
                    interrupted |= reply.flags() & NLM_F_DUMP_INTR != 0;
                    match reply.message_type() {
                        // Of a dump: what it has come to, and whether something changed meanwhile.
                        NLMSG_DONE => {
                            let code = reply.payload().first_chunk().map_or(0, |c| i32::from_ne_bytes(*c));
                            return match code {
                                0 if interrupted => Err(Errno::INTR),
                                0 => Ok(()),
                                code => Err(lxc_sys::errno_from(-code)),
                            };
                        }
                        NLMSG_ERROR => {
                            let code = reply.payload().first_chunk().map_or(0, |c| i32::from_ne_bytes(*c));
                            return if code == 0 { Ok(()) } else { Err(lxc_sys::errno_from(-code)) };
                        }
                        NLMSG_NOOP | NLMSG_OVERRUN => {}
                        _ => take(reply.payload())?,
                    }
                }
                rest = rest.get((reply.length() as usize).next_multiple_of(4)..).unwrap_or(&[]);
            }
        }
    }

    fn acknowledged(&mut self, message: Request<impl Emitable>, flags: u16) -> lxc_sys::Result<()> {
        self.exchange(message, NLM_F_ACK | flags, |_| Ok(()))
    }

    /// Index of a device, by name.
    pub fn index_of(&mut self, name: &str) -> lxc_sys::Result<u32> {
        Ok(self.device(name)?.index)
    }

    /// Makes a pair. EEXIST when the host's name is taken.
    pub fn create_veth(&mut self, pair: &VethPair<'_>) -> lxc_sys::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes.push(LinkAttribute::IfName(pair.peer.to_string()));
        peer.attributes.push(LinkAttribute::NetNsFd(pair.namespace.as_raw_fd()));
        peer.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
        peer.attributes.extend(pair.peer_address.map(|a| LinkAttribute::Address(a.to_vec())));
        let (rx, tx) = pair.queues;
        peer.attributes.extend(rx.map(LinkAttribute::NumRxQueues));
        peer.attributes.extend(tx.map(LinkAttribute::NumTxQueues));
        let mut host = LinkMessage::default();
        host.attributes.push(LinkAttribute::IfName(pair.host.to_string()));
        host.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
        host.attributes.extend(tx.map(LinkAttribute::NumRxQueues));
        host.attributes.extend(rx.map(LinkAttribute::NumTxQueues));
        host.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.acknowledged(Request::new(libc::RTM_NEWLINK, host), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a bridge. EEXIST when the name is taken.
    pub fn create_bridge(&mut self, name: &str, address: [u8; 6]) -> lxc_sys::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_string()));
        link.attributes.push(LinkAttribute::Address(address.to_vec()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.acknowledged(Request::new(libc::RTM_NEWLINK, link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a device on top of another.
    pub fn create_stacked(&mut self, device: &Stacked<'_>) -> lxc_sys::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(device.name.to_string()));
        link.attributes.push(LinkAttribute::NetNsFd(device.namespace.as_raw_fd()));
        link.attributes.push(LinkAttribute::Link(device.parent));
        link.attributes.extend(device.mtu.map(LinkAttribute::Mtu));
        link.attributes.extend(device.address.map(|a| LinkAttribute::Address(a.to_vec())));
        let (kind, data) = device.kind.clone();
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
        self.acknowledged(Request::new(libc::RTM_NEWLINK, link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a bridge's port a member of a VLAN. `untagged`: what comes in without a tag belongs to it, and it
    /// goes out without.
    pub fn join_vlan(&mut self, port: u32, vid: u16, untagged: bool) -> lxc_sys::Result<()> {
        let own = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
        let flags = if untagged { own } else { BridgeVlanInfoFlags::empty() };
        let message = vlan_message(port, BridgeVlanInfo { flags, vid });
        self.acknowledged(Request::new(libc::RTM_SETLINK, message), 0)
    }

    /// Takes a bridge's port out of a VLAN.
    pub fn leave_vlan(&mut self, port: u32, vid: u16) -> lxc_sys::Result<()> {
        let message = vlan_message(port, BridgeVlanInfo { flags: BridgeVlanInfoFlags::empty(), vid });
        self.acknowledged(Request::new(libc::RTM_DELLINK, message), 0)
    }

    /// The host answers questions for an address (ARP, neighbour discovery) on a device.
    pub fn add_proxy(&mut self, index: u32, address: IpAddr) -> lxc_sys::Result<()> {
        let message = Request::new(libc::RTM_NEWNEIGH, proxy_message(index, address));
        self.acknowledged(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// The host no longer answers for an address.
    pub fn remove_proxy(&mut self, index: u32, address: IpAddr) -> lxc_sys::Result<()> {
        self.acknowledged(Request::new(libc::RTM_DELNEIGH, proxy_message(index, address)), 0)
    }

    /// Changes attributes of a device, and brings it up or down.
    pub fn change(
        &mut self,
        index: u32,
        up: Option<bool>,
        attributes: Vec<LinkAttribute>,
    ) -> lxc_sys::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        if let Some(up) = up {
            link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
            link.header.change_mask = LinkFlags::Up;
        }
        link.attributes = attributes;
        self.acknowledged(Request::new(libc::RTM_SETLINK, link), 0)
    }

    /// Brings a device up, optionally as a port of a bridge and with another hardware address.
    pub fn set_up(
        &mut self,
        index: u32,
        bridge: Option<u32>,
        address: Option<[u8; 6]>,
    ) -> lxc_sys::Result<()> {
        let mut attributes = Vec::new();
        attributes.extend(address.map(|a| LinkAttribute::Address(a.to_vec())));
        attributes.extend(bridge.map(LinkAttribute::Controller));
        self.change(index, Some(true), attributes)
    }

    /// Moves a device to another network namespace, given with a socket of it, where it is down and has `name`.
    /// EEXIST when that is taken: the kernel would move the device, and fail then.
    pub fn move_to(
        &mut self,
        index: u32,
        to: (&mut Netlink, BorrowedFd<'_>),
        name: &str,
    ) -> lxc_sys::Result<()> {
        let (there, namespace) = to;
        if there.index_of(name).is_ok() {
            return Err(Errno::EXIST);
        }
        let to = [LinkAttribute::NetNsFd(namespace.as_raw_fd()), LinkAttribute::IfName(name.to_string())];
        self.change(index, None, to.to_vec())
    }

    /// Gives a device that is down another name. EEXIST when that is taken.
    pub fn rename(&mut self, index: u32, name: &str) -> lxc_sys::Result<()> {
        self.change(index, None, vec![LinkAttribute::IfName(name.to_string())])
    }

    /// Removes a device.
    pub fn delete(&mut self, index: u32) -> lxc_sys::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.acknowledged(Request::new(libc::RTM_DELLINK, link), 0)
    }

    /// Adds an address to a device.
    pub fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        broadcast: Option<std::net::Ipv4Addr>,
    ) -> lxc_sys::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes.push(AddressAttribute::Local(address));
        message.attributes.push(AddressAttribute::Address(address));
        message.attributes.extend(broadcast.map(AddressAttribute::Broadcast));
        self.acknowledged(Request::new(libc::RTM_NEWADDR, message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds a route through a device: to `destination` (`None`: the default route), by `gateway`
    /// (`None`: directly).
    pub fn add_route(
        &mut self,
        index: u32,
        destination: Option<(IpAddr, u8)>,
        gateway: Option<IpAddr>,
        v6: bool,
    ) -> lxc_sys::Result<()> {
        let message = route_message(index, destination, gateway, v6);
        self.acknowledged(Request::new(libc::RTM_NEWROUTE, message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes a route that goes directly through a device.
    pub fn remove_route(&mut self, index: u32, destination: (IpAddr, u8)) -> lxc_sys::Result<()> {
        let message = route_message(index, Some(destination), None, destination.0.is_ipv6());
        self.acknowledged(Request::new(libc::RTM_DELROUTE, message), 0)
    }

    /// Everything about all addresses of all devices.
    pub fn address_messages(&mut self) -> lxc_sys::Result<Vec<AddressMessage>> {
        dump::undisturbed(|| self.ask_address_messages())
    }

    fn ask_address_messages(&mut self) -> lxc_sys::Result<Vec<AddressMessage>> {
        let mut out = Vec::new();
        let ask = Request::new(libc::RTM_GETADDR, AddressMessage::default());
        self.exchange(ask, NLM_F_DUMP, |bytes| {
            let bytes = AddressMessageBuffer::new_checked(&bytes).map_err(|_| Errno::BADMSG)?;
            out.push(AddressMessage::parse(&bytes).map_err(|_| Errno::BADMSG)?);
            Ok(())
        })?;
        Ok(out)
    }

    /// Gives a device an address that it had `ago`, if it still had it: lifetimes went on meanwhile. What the kernel
    /// has found out by itself (SLAAC), it finds out again.
    pub fn add_address_again(
        &mut self,
        index: u32,
        of: &AddressMessage,
        ago: Duration,
    ) -> lxc_sys::Result<()> {
        let ago = u32::try_from(ago.as_secs()).unwrap_or(u32::MAX);
        let permanent = of.header.flags.contains(AddressHeaderFlags::Permanent);
        let mut message = AddressMessage::default();
        message.header = of.header.clone();
        message.header.index = index;
        message.header.flags = Default::default();
        for attribute in &of.attributes {
            match attribute {
                AddressAttribute::Local(_)
                | AddressAttribute::Address(_)
                | AddressAttribute::Broadcast(_) => {
                    message.attributes.push(attribute.clone());
                }
                AddressAttribute::CacheInfo(info) if !permanent => {
                    let mut info = *info;
                    info.ifa_valid = info.ifa_valid.saturating_sub(ago);
                    info.ifa_preferred = info.ifa_preferred.saturating_sub(ago);
                    if info.ifa_valid == 0 || of.header.family == AddressFamily::Inet6 {
                        return Ok(());
                    }
                    message.attributes.push(AddressAttribute::CacheInfo(info));
                }
                _ => {}
            }
        }
        self.acknowledged(Request::new(libc::RTM_NEWADDR, message), NLM_F_CREATE | NLM_F_EXCL)
    }
}

fn route_message(
    index: u32,
    destination: Option<(IpAddr, u8)>,
    gateway: Option<IpAddr>,
    v6: bool,
) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = if gateway.is_some() || v6 { RouteScope::Universe } else { RouteScope::Link };
    message.header.kind = RouteType::Unicast;
    if let Some((address, prefix)) = destination {
        message.header.destination_prefix_length = prefix;
        message.attributes.push(RouteAttribute::Destination(route_address(address)));
    }
    message.attributes.extend(gateway.map(|g| RouteAttribute::Gateway(route_address(g))));
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

fn proxy_message(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Proxy;
    let address = match address {
        IpAddr::V4(a) => NeighbourAddress::Inet(a),
        IpAddr::V6(a) => NeighbourAddress::Inet6(a),
    };
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}

/// Whether the kernel takes it as the name of a device (linux: net/core/dev.c, dev_valid_name).
pub fn is_device_name(name: &str) -> bool {
    let blank = |c: char| c.is_ascii_whitespace() || c == '\u{b}' || c == '/' || c == ':';
    !name.is_empty() && name.len() < 16 && name != "." && name != ".." && !name.contains(blank)
}

/// What the kernel gives every device that is up, by itself.
pub fn is_link_local(address: &AddressMessage) -> bool {
    matches!(address.header.scope, AddressScope::Link) && address.header.family == AddressFamily::Inet6
}

fn vlan_message(port: u32, info: BridgeVlanInfo) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = port;
    message.attributes.push(LinkAttribute::AfSpecBridge(vec![AfSpecBridge::VlanInfo(info)]));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(a) => RouteAddress::Inet(a),
        IpAddr::V6(a) => RouteAddress::Inet6(a),
    }
}

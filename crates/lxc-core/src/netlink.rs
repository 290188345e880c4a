//! A synchronous rtnetlink(7) socket.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use lxc_sys::Errno;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
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
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::errno_of;

/// A socket of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
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

/// One address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAddress {
    /// Index of the device.
    pub index: u32,
    /// Address.
    pub address: IpAddr,
    /// Valid on the link only.
    pub link_local: bool,
}

impl Netlink {
    /// Opens a socket in the caller's network namespace.
    pub fn open() -> lxc_sys::Result<Netlink> {
        let io = |e: std::io::Error| errno_of(&e);
        let socket = Socket::new(NETLINK_ROUTE).map_err(io)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(io)?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Sends a request and collects what comes until the kernel says that it is done.
    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> lxc_sys::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST | flags;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(|e| errno_of(&e))?;
        let mut out = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(|e| errno_of(&e))?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let reply =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(|_| Errno::BADMSG)?;
                let length = reply.header.length as usize;
                if reply.header.sequence_number == self.sequence {
                    match reply.payload {
                        NetlinkPayload::Done(_) => return Ok(out),
                        NetlinkPayload::Error(e) => {
                            return match e.code {
                                None => Ok(out),
                                Some(code) => Err(Errno::from_raw_os_error(-code.get())),
                            };
                        }
                        NetlinkPayload::InnerMessage(m) => out.push(m),
                        _ => {}
                    }
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
                if length == 0 {
                    break;
                }
            }
        }
    }

    fn acknowledged(&mut self, message: RouteNetlinkMessage, flags: u16) -> lxc_sys::Result<()> {
        self.request(message, NLM_F_ACK | flags).map(drop)
    }

    /// Index of a device, by name.
    pub fn index_of(&mut self, name: &str) -> lxc_sys::Result<u32> {
        Ok(self.link(name)?.header.index)
    }

    /// Everything about a device, by name.
    pub fn link(&mut self, name: &str) -> lxc_sys::Result<LinkMessage> {
        let mut wanted = LinkMessage::default();
        wanted.attributes.push(LinkAttribute::IfName(name.to_string()));
        let answers = self.request(RouteNetlinkMessage::GetLink(wanted), NLM_F_ACK)?;
        answers
            .into_iter()
            .find_map(|m| if let RouteNetlinkMessage::NewLink(l) = m { Some(l) } else { None })
            .ok_or(Errno::NODEV)
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
        self.acknowledged(RouteNetlinkMessage::NewLink(host), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a bridge. EEXIST when the name is taken.
    pub fn create_bridge(&mut self, name: &str, address: [u8; 6]) -> lxc_sys::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_string()));
        link.attributes.push(LinkAttribute::Address(address.to_vec()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.acknowledged(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
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
        self.acknowledged(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a bridge's port a member of a VLAN. `untagged`: what comes in without a tag belongs to it, and it
    /// goes out without.
    pub fn join_vlan(&mut self, port: u32, vid: u16, untagged: bool) -> lxc_sys::Result<()> {
        let own = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
        let flags = if untagged { own } else { BridgeVlanInfoFlags::empty() };
        let message = vlan_message(port, BridgeVlanInfo { flags, vid });
        self.acknowledged(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Takes a bridge's port out of a VLAN.
    pub fn leave_vlan(&mut self, port: u32, vid: u16) -> lxc_sys::Result<()> {
        let message = vlan_message(port, BridgeVlanInfo { flags: BridgeVlanInfoFlags::empty(), vid });
        self.acknowledged(RouteNetlinkMessage::DelLink(message), 0)
    }

    /// The host answers questions for an address (ARP, neighbour discovery) on a device.
    pub fn add_proxy(&mut self, index: u32, address: IpAddr) -> lxc_sys::Result<()> {
        let message = RouteNetlinkMessage::NewNeighbour(proxy_message(index, address));
        self.acknowledged(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// The host no longer answers for an address.
    pub fn remove_proxy(&mut self, index: u32, address: IpAddr) -> lxc_sys::Result<()> {
        self.acknowledged(RouteNetlinkMessage::DelNeighbour(proxy_message(index, address)), 0)
    }

    /// Changes attributes of a device, and brings it up.
    pub(crate) fn change(
        &mut self,
        index: u32,
        up: bool,
        attributes: Vec<LinkAttribute>,
    ) -> lxc_sys::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        if up {
            link.header.flags = LinkFlags::Up;
            link.header.change_mask = LinkFlags::Up;
        }
        link.attributes = attributes;
        self.acknowledged(RouteNetlinkMessage::SetLink(link), 0)
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
        self.change(index, true, attributes)
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
        self.change(index, false, to.to_vec())
    }

    /// Removes a device.
    pub fn delete(&mut self, index: u32) -> lxc_sys::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.acknowledged(RouteNetlinkMessage::DelLink(link), 0)
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
        self.acknowledged(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
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
        self.acknowledged(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes a route that goes directly through a device.
    pub fn remove_route(&mut self, index: u32, destination: (IpAddr, u8)) -> lxc_sys::Result<()> {
        let message = route_message(index, Some(destination), None, destination.0.is_ipv6());
        self.acknowledged(RouteNetlinkMessage::DelRoute(message), 0)
    }

    /// All devices: index and name.
    pub fn links(&mut self) -> lxc_sys::Result<Vec<(u32, String)>> {
        let answers = self.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        let mut out = Vec::new();
        for message in answers {
            let RouteNetlinkMessage::NewLink(link) = message else { continue };
            let name = link.attributes.iter().find_map(|a| match a {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            out.extend(name.map(|n| (link.header.index, n)));
        }
        Ok(out)
    }

    /// Everything about all addresses of all devices.
    pub(crate) fn address_messages(&mut self) -> lxc_sys::Result<Vec<AddressMessage>> {
        let answers = self.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
        let own = |m| if let RouteNetlinkMessage::NewAddress(a) = m { Some(a) } else { None };
        Ok(answers.into_iter().filter_map(own).collect())
    }

    /// Gives a device an address that another, or itself, had.
    pub(crate) fn add_address_again(&mut self, index: u32, of: &AddressMessage) -> lxc_sys::Result<()> {
        let mut message = AddressMessage::default();
        message.header = of.header.clone();
        message.header.index = index;
        message.header.flags = Default::default();
        let kept = |a: &&AddressAttribute| {
            matches!(
                a,
                AddressAttribute::Local(_) | AddressAttribute::Address(_) | AddressAttribute::Broadcast(_)
            )
        };
        message.attributes = of.attributes.iter().filter(kept).cloned().collect();
        self.acknowledged(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// All addresses of all devices.
    pub fn addresses(&mut self) -> lxc_sys::Result<Vec<DeviceAddress>> {
        let mut out = Vec::new();
        for address in self.address_messages()? {
            let link_local = is_link_local(&address);
            // IFA_LOCAL is the own address where both are given (point-to-point).
            let mut found = None;
            for attribute in &address.attributes {
                match attribute {
                    AddressAttribute::Local(a) => found = Some(*a),
                    AddressAttribute::Address(a) => {
                        found.get_or_insert(*a);
                    }
                    _ => {}
                }
            }
            out.extend(found.map(|a| DeviceAddress { index: address.header.index, address: a, link_local }));
        }
        Ok(out)
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

/// What the kernel gives every device that is up, by itself.
pub(crate) fn is_link_local(address: &AddressMessage) -> bool {
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

/// The MTU of a device.
pub fn mtu_of(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|a| if let LinkAttribute::Mtu(m) = a { Some(*m) } else { None })
}

//! What a configuration says of network devices.

/// Types of `lxc.net.<n>.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetType {
    /// The host's network.
    None,
    /// Loopback only.
    Empty,
    /// A pair of virtual Ethernet devices.
    Veth,
    /// macvlan on a host device.
    Macvlan,
    /// ipvlan on a host device.
    Ipvlan,
    /// 802.1Q on a host device.
    Vlan,
    /// A host device moved in.
    Phys,
}

impl NetType {
    /// Whether the container gets a device.
    pub fn has_device(self) -> bool {
        !matches!(self, NetType::None | NetType::Empty)
    }

    /// The word of the file.
    pub fn name(self) -> &'static str {
        match self {
            NetType::None => "none",
            NetType::Empty => "empty",
            NetType::Veth => "veth",
            NetType::Macvlan => "macvlan",
            NetType::Ipvlan => "ipvlan",
            NetType::Vlan => "vlan",
            NetType::Phys => "phys",
        }
    }
}

/// `lxc.net.<n>.*`. Every key that was not given is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// `None` for a network whose type was never given or was cleared.
    pub kind: Option<NetType>,
    /// `flags`: up.
    pub up: bool,
    /// `link`
    pub link: Option<String>,
    /// `name`
    pub name: Option<String>,
    /// `mtu` as written.
    pub mtu: Option<String>,
    /// `hwaddr` after replacement of x.
    pub hwaddr: Option<String>,
    /// `l2proxy`
    pub l2proxy: bool,
    /// `script.up`
    pub script_up: Option<String>,
    /// `script.down`
    pub script_down: Option<String>,
    /// `ipv4.address`
    pub ipv4_addresses: Vec<Ipv4Net>,
    /// `ipv4.gateway`
    pub ipv4_gateway: Option<Gateway<std::net::Ipv4Addr>>,
    /// `ipv6.address`
    pub ipv6_addresses: Vec<(std::net::Ipv6Addr, u8)>,
    /// `ipv6.gateway`
    pub ipv6_gateway: Option<Gateway<std::net::Ipv6Addr>>,
    /// `veth.mode` is router instead of bridge.
    pub veth_router: bool,
    /// `veth.pair`
    pub veth_pair: Option<String>,
    /// `veth.ipv4.route`
    pub veth_ipv4_routes: Vec<(std::net::Ipv4Addr, u8)>,
    /// `veth.ipv6.route`
    pub veth_ipv6_routes: Vec<(std::net::Ipv6Addr, u8)>,
    /// `veth.vlan.id`
    pub veth_vlan_id: Option<VlanId>,
    /// `veth.vlan.tagged.id`
    pub veth_vlan_tagged: Vec<u16>,
    /// `veth.n_rxqueues`
    pub veth_rxqueues: Option<i32>,
    /// `veth.n_txqueues`
    pub veth_txqueues: Option<i32>,
    /// `macvlan.mode`
    pub macvlan_mode: MacvlanMode,
    /// `ipvlan.mode`
    pub ipvlan_mode: IpvlanMode,
    /// `ipvlan.isolation`
    pub ipvlan_isolation: IpvlanIsolation,
    /// `vlan.id`
    pub vlan_id: u32,
}

/// `ipv4.address`: address, prefix length, broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv4Net {
    /// Address.
    pub address: std::net::Ipv4Addr,
    /// 0 to 32.
    pub prefix: u8,
    /// Broadcast address where one was written.
    pub broadcast: Option<std::net::Ipv4Addr>,
}

/// `ipv4.gateway`, `ipv6.gateway`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway<A> {
    /// A router's address.
    Address(A),
    /// The link's own address.
    Auto,
    /// Default route to the device itself.
    Dev,
}

/// `veth.vlan.id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VlanId {
    /// Remove the port's default VLAN.
    None,
    /// 0 to 4094.
    Id(u16),
}

/// `macvlan.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// No traffic between the devices of one parent.
    #[default]
    Private,
    /// All through the external switch.
    Vepa,
    /// Directly between each other.
    Bridge,
    /// One device owns the parent.
    Passthru,
}

/// `ipvlan.mode`; l2 is what upstream really uses when nothing is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// Layer 3.
    L3,
    /// Layer 3 with netfilter of the parent.
    L3s,
    /// Layer 2.
    #[default]
    L2,
}

/// `ipvlan.isolation`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpvlanIsolation {
    /// Traffic between devices.
    #[default]
    Bridge,
    /// None between devices.
    Private,
    /// Through the switch.
    Vepa,
}

//! Networks that a running container gets besides those of its configuration, until it stops.

use std::os::fd::AsFd;

use lxc_config::{NetType, Network, Values};
use lxc_sys::Errno;
use lxc_sys::process::setns;

use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::network::link::{self, Bridge};
use crate::network::query::{self, Interface};
use crate::network::setup::{Devices, configure_inside, container_name};
use crate::plan::network as plan;
use lxc_netlink::Netlink;

impl Container {
    /// The devices of the running container with their addresses and counters, in the kernel's order.
    pub fn interfaces(&self) -> Result<Vec<Interface>> {
        self.require_running()?;
        query::interfaces(self.client().init_pid()?)
    }

    /// The first number after those of its networks: messages name what is added by it.
    pub fn next_network(&self) -> u32 {
        let networks = &self.config.values.networks;
        let last = networks.keys().last().copied();
        last.map_or(Some(0), |n| n.checked_add(1))
            .unwrap_or_else(|| (0..).find(|n| !networks.contains_key(n)).unwrap_or_default())
    }

    /// Makes a device for the running container as one of its configuration would be made, with its addresses and
    /// routes, and returns its name inside. Without a name it is the first `ethN` that is free.
    ///
    /// # Errors
    /// What cannot be had; then nothing has changed. What would outlive the container is refused: devices of the
    /// host, ports of Open vSwitch, proxies and scripts.
    pub fn add_network(&self, network: &Network) -> Result<String> {
        let namespace = self.network_namespace()?;
        let mut inside =
            Netlink::open_in(namespace.as_fd()).doing(|| "open a netlink socket in the container")?;
        let mut network = network.clone();
        let number = self.next_network();
        let name = match network.name.take().filter(|n| !n.is_empty() && n != "eth%d") {
            Some(name) => name,
            None => {
                let taken: Vec<String> =
                    inside.devices().doing(|| "list devices")?.into_iter().map(|d| d.name).collect();
                let mut free = (0..).map(|n| format!("eth{n}")).filter(|n| !taken.contains(n));
                free.next().unwrap_or_default()
            }
        };
        let what = || format!("lxc.net.{number}.name = {name}: in {}", self.name());
        if inside.index_of(&name).is_ok() {
            return Err(Error::os(what(), Errno::EXIST));
        }
        network.name = Some(name.clone());
        let mut values = Values::default();
        values.networks.insert(number, network);
        let values = checked(values, number)?;
        let devices = Devices::create_one(&values, number, (namespace.as_fd(), self.client().init_pid()?))?;
        // A thread goes there, and ends there.
        let configured = std::thread::scope(|scope| {
            let configure = || {
                setns(namespace.as_fd(), libc::CLONE_NEWNET as u64)
                    .doing(|| "enter the container's network")?;
                configure_inside(&values, false)
            };
            scope
                .spawn(configure)
                .join()
                .unwrap_or_else(|_| Err(Error::new(Kind::Failed, "a thread ended early")))
        });
        if let Err(e) = configured {
            // What is not a pair is there alone.
            if let Ok(index) = inside.index_of(&name) {
                let _ = inside.delete(index);
            }
            return Err(e);
        }
        devices.leave();
        Ok(name)
    }

    /// Removes a device of the running container, a pair with the host's end. One of the host that its configuration
    /// names is refused; hardware is, too, by the kernel. Another that somebody has moved there is removed like any.
    pub fn remove_network(&self, name: &str) -> Result<()> {
        let namespace = self.network_namespace()?;
        let mut inside =
            Netlink::open_in(namespace.as_fd()).doing(|| "open a netlink socket in the container")?;
        let what = || format!("device {name} of {}", self.name());
        let device = inside.device(name).doing(what)?;
        if device.loopback {
            return Err(Error::invalid(format!("{}: it belongs to the network namespace", what())));
        }
        let values = &self.config.values;
        let of_host = values.networks.iter().filter(|(_, n)| n.kind == Some(NetType::Phys));
        let give_back = "lxc-device del gives a device of the host back";
        if of_host.filter_map(|(&number, _)| container_name(values, number)).any(|n| n == name) {
            return Err(Error::invalid(format!("{}: it is the host's", what())).with_hint(give_back));
        }
        inside.delete(device.index).doing(|| format!("remove {}", what())).map_err(|e| match e.errno() {
            Some(Errno::OPNOTSUPP) => e.with_hint(give_back),
            _ => e,
        })
    }
}

/// The network as the plan of a start would have it.
fn checked(mut values: Values, number: u32) -> Result<Values> {
    if let Some(network) = values.networks.get(&number) {
        let refuse = |key: &str, why: &str| Err(Error::unsupported(format!("lxc.net.{number}.{key}: {why}")));
        match network.kind {
            Some(NetType::Veth | NetType::Macvlan | NetType::Ipvlan | NetType::Vlan) => {}
            Some(NetType::Phys) => return refuse("type", "lxc-device add gives a device of the host"),
            _ => return refuse("type", "veth, macvlan, ipvlan and vlan can be added"),
        }
        if network.script_up.is_some() || network.script_down.is_some() {
            return refuse("script.up", "scripts are for networks of the configuration");
        }
        if network.l2proxy {
            return refuse("l2proxy", "proxies are for networks of the configuration");
        }
    }
    plan::check(&values)?;
    link::check(&values)?;
    if let Some(network) = values.networks.get(&number).filter(|n| n.kind == Some(NetType::Veth)) {
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        if let Some(Bridge::OpenVSwitch(bridge)) = link::bridge_of(&mut netlink, number, network)? {
            let text = format!(
                "lxc.net.{number}.link = {}: a port of Open vSwitch would outlive the container",
                bridge.name
            );
            return Err(Error::unsupported(text));
        }
    }
    plan::resolve_gateways(&mut values)?;
    Ok(values)
}

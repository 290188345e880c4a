//! lxc-net: the bridge for containers, and networks of running ones.

mod devices;

use std::io::Write;

use lxc_core::Kind;
use lxc_core::network::service::{self, Settings};

use crate::context::Context;
use crate::getopt::{Arg, Opt, long};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "net",
    about: "Switch the bridge for containers on or off, and change networks of running ones",
    usage: "start|stop|restart|reload|force-reload|status | -n NAME add|del|list [DEVICE] [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: false,
    details: "Makes the bridge lxcbr0 with its addresses, lets the host forward and hide what comes from it, and \
              starts dnsmasq, which gives containers addresses and names; or removes all of that. The rules are \
              in nftables' tables inet lxc, ip lxc and ip6 lxc, or in iptables where that alone is there. Where Docker, \
              ufw or firewalld drop what they do not know, the bridge is admitted there too. A bridge that has ports \
              stays.\n\n\
              /etc/default/lxc and /etc/default/lxc-net set USE_LXC_BRIDGE, LXC_BRIDGE, LXC_BRIDGE_MAC, LXC_ADDR, \
              LXC_NETMASK, LXC_NETWORK, LXC_DHCP_RANGE, LXC_DHCP_MAX, LXC_DHCP_CONFILE, LXC_DHCP_PING, LXC_DOMAIN, \
              LXC_USE_NFT, LXC_IPV6_ENABLE, LXC_IPV6_ADDR, LXC_IPV6_MASK, LXC_IPV6_NETWORK and LXC_IPV6_NAT.\n\n\
              status exits with 0 when the bridge is on and with 3 when it is off; other words exit with 2.\n\n\
              add makes a device for a running container, as a network of its configuration would be made, and prints \
              its name; del removes one; list shows all with their addresses and counters. What is added lasts until \
              the container stops; the configuration (lxc.net) does it for good. lxc-device gives a container a device \
              of the host.",
    run,
};

const OPTIONS: &[Opt] = &[
    long("type", Arg::Required("TYPE"), "add: veth (the default), macvlan, ipvlan or vlan"),
    long("link", Arg::Required("DEVICE"), "add: the bridge or device of the host that it is connected to"),
    long("device", Arg::Required("DEVICE"), "add: its name inside, else the first ethN that is free"),
    long("hwaddr", Arg::Required("ADDRESS"), "add: its hardware address"),
    long("mtu", Arg::Required("BYTES"), "add: its MTU"),
    long("address", Arg::Required("ADDRESS/BITS"), "add: an address, as often as wanted"),
    long("gateway", Arg::Required("ADDRESS"), "add: the router, or auto"),
    long("set", Arg::Required("KEY=VALUE"), "add: any other key of lxc.net.N, such as veth.vlan.id=7"),
    long("json", Arg::No, "list: JSON"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    match context.words().first().map(String::as_str) {
        Some("add") => return devices::add(context),
        Some("del") => return devices::del(context),
        Some("list") => return devices::list(context),
        _ => {}
    }
    let [verb] = context.words() else { return Ok(usage(context)) };
    let done = match verb.as_str() {
        "status" => return status(),
        "start" => with(|settings| if settings.wanted { service::start(settings) } else { Ok(()) }),
        "stop" => with(service::stop),
        "restart" | "reload" | "force-reload" => with(|settings| {
            match service::stop(settings) {
                Err(e) if e.kind() != Kind::NotRunning => return Err(e),
                _ => {}
            }
            if settings.wanted { service::start(settings) } else { Ok(()) }
        }),
        _ => return Ok(usage(context)),
    };
    match done {
        Ok(()) => Ok(0),
        Err(e) => {
            context.report(&e);
            Ok(1)
        }
    }
}

fn with(act: impl Fn(&Settings) -> lxc_core::Result<()>) -> lxc_core::Result<()> {
    act(&Settings::read()?)
}

fn usage(context: &Context) -> i32 {
    context.error("Usage: lxc-net {start|stop|restart|reload|force-reload|status|add|del|list}");
    2
}

fn status() -> anyhow::Result<i32> {
    let settings = Settings::read()?;
    let mut out = std::io::stdout();
    if !service::is_up() {
        writeln!(out, "{} is off", settings.bridge)?;
        return Ok(3);
    }
    let (address, prefix) = settings.ipv4;
    writeln!(out, "{} is on: {address}/{prefix}", settings.bridge)?;
    Ok(0)
}

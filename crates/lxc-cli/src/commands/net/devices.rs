//! `lxc net add`, `del` and `list`: networks of a running container.

use std::io::Write;

use lxc_config::{Config, Network};
use lxc_core::Container;
use lxc_core::network::query::Interface;

use super::super::ls::table::printable;
use crate::context::{Context, refuse};

/// Options that stand for a key of the network.
const KEYS: [(&str, &str); 6] = [
    ("type", "type"),
    ("link", "link"),
    ("device", "name"),
    ("hwaddr", "hwaddr"),
    ("mtu", "mtu"),
    ("gateway", "gateway"),
];

pub fn add(context: &Context) -> anyhow::Result<i32> {
    let [_] = context.words() else { return Err(refuse("add takes options only")) };
    let container = container(context)?;
    let name = container.add_network(&network(context, container.next_network())?)?;
    writeln!(std::io::stdout(), "{name}")?;
    Ok(0)
}

/// The network that the options describe, by the keys of the configuration.
fn network(context: &Context, number: u32) -> anyhow::Result<Network> {
    let mut config = Config::new();
    let mut set = |key: &str, value: &str| {
        let key = format!("lxc.net.{number}.{key}");
        config.set(&key, value, &lxc_core::source::Files).map_err(|e| anyhow::anyhow!("{e}"))
    };
    set("type", context.get("type").unwrap_or("veth"))?;
    set("flags", "up")?;
    let family = |address: &str| if address.contains(':') { "ipv6" } else { "ipv4" };
    for (option, key) in &KEYS[1..] {
        let Some(value) = context.get(option) else { continue };
        match *key {
            "gateway" => set(&format!("{}.gateway", family(value)), value)?,
            key => set(key, value)?,
        }
    }
    for address in context.matches.all("address") {
        set(&format!("{}.address", family(address)), address)?;
    }
    for item in context.matches.all("set") {
        let Some((key, value)) = item.split_once('=') else {
            return Err(refuse(format!("--set {item}: not KEY=VALUE")));
        };
        set(key.trim(), value.trim())?;
    }
    let network = config.values.networks.remove(&number);
    Ok(network.unwrap_or_default())
}

pub fn del(context: &Context) -> anyhow::Result<i32> {
    let [_, device] = context.words() else { return Err(refuse("del takes -n NAME and a DEVICE")) };
    container(context)?.remove_network(device)?;
    Ok(0)
}

pub fn list(context: &Context) -> anyhow::Result<i32> {
    let [_] = context.words() else { return Err(refuse("list takes no words")) };
    let interfaces = container(context)?.interfaces()?;
    let mut out = std::io::stdout();
    if context.has("json") {
        let all: Vec<_> = interfaces.iter().map(json).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(0);
    }
    let mut rows = vec![["DEVICE", "STATE", "MTU", "HWADDR", "RX", "TX", "ADDRESSES"].map(String::from)];
    rows.extend(interfaces.iter().map(cells));
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    for row in &rows {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(0)
}

fn state(interface: &Interface) -> &'static str {
    if interface.device.up { "up" } else { "down" }
}

fn hardware_address(interface: &Interface) -> String {
    let bytes: Vec<String> = interface.device.hardware_address.iter().map(|b| format!("{b:02x}")).collect();
    bytes.join(":")
}

fn addresses(interface: &Interface) -> Vec<String> {
    interface.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix)).collect()
}

fn cells(interface: &Interface) -> [String; 7] {
    let device = &interface.device;
    let list = addresses(interface).join(", ");
    [
        printable(&device.name),
        state(interface).into(),
        device.mtu.to_string(),
        hardware_address(interface),
        super::super::info::human(device.received),
        super::super::info::human(device.sent),
        if list.is_empty() { "-".into() } else { list },
    ]
}

fn json(interface: &Interface) -> serde_json::Value {
    let device = &interface.device;
    serde_json::json!({
        "name": device.name,
        "index": device.index,
        "state": state(interface),
        "mtu": device.mtu,
        "hwaddr": hardware_address(interface),
        "rx_bytes": device.received,
        "tx_bytes": device.sent,
        "addresses": addresses(interface),
    })
}

fn container(context: &Context) -> anyhow::Result<Container> {
    let name = context.get("name").ok_or_else(|| refuse("-n NAME is missing"))?;
    let container = Container::open(name, &context.lxcpath)?;
    container.require_running()?;
    Ok(container)
}

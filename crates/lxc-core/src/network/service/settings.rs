//! What the administrator sets: /etc/default/lxc, a shell script, which reads lxc-net beside it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Doing, Error, Kind, Result};
use lxc_netlink::is_device_name;

/// Files of distributions, the first that exists counts.
const FILES: [&str; 2] = ["/etc/default/lxc", "/etc/sysconfig/lxc"];

/// The variables and what they are by themselves (spec: networks, section 8).
const VARIABLES: [(&str, &str); 17] = [
    ("USE_LXC_BRIDGE", "true"),
    ("LXC_BRIDGE", "lxcbr0"),
    ("LXC_BRIDGE_MAC", "10:66:6a:00:00:00"),
    ("LXC_ADDR", "10.0.3.1"),
    ("LXC_NETMASK", "255.255.255.0"),
    ("LXC_NETWORK", "10.0.3.0/24"),
    ("LXC_DHCP_RANGE", "10.0.3.2,10.0.3.254"),
    ("LXC_DHCP_MAX", "253"),
    ("LXC_DHCP_CONFILE", ""),
    ("LXC_DOMAIN", ""),
    ("LXC_DHCP_PING", "true"),
    ("LXC_USE_NFT", "true"),
    ("LXC_IPV6_ENABLE", "true"),
    ("LXC_IPV6_ADDR", "fc42:5009:ba4b:5ab0::1"),
    ("LXC_IPV6_MASK", "64"),
    ("LXC_IPV6_NETWORK", "fc42:5009:ba4b:5ab0::/64"),
    ("LXC_IPV6_NAT", "true"),
];

/// The settings of the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `USE_LXC_BRIDGE`
    pub wanted: bool,
    /// `LXC_BRIDGE`
    pub bridge: String,
    /// `LXC_BRIDGE_MAC`
    pub address: [u8; 6],
    /// `LXC_ADDR` and the prefix length of `LXC_NETMASK`.
    pub ipv4: (Ipv4Addr, u8),
    /// `LXC_NETWORK`
    pub ipv4_network: String,
    /// `LXC_DHCP_RANGE`
    pub dhcp_range: String,
    /// `LXC_DHCP_MAX`
    pub dhcp_max: String,
    /// `LXC_DHCP_CONFILE`
    pub dhcp_config: PathBuf,
    /// `LXC_DOMAIN`
    pub domain: String,
    /// `LXC_DHCP_PING`
    pub dhcp_ping: bool,
    /// `LXC_USE_NFT`
    pub use_nft: bool,
    /// `LXC_IPV6_ADDR` and `LXC_IPV6_MASK`, unless IPv6 is switched off.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// `LXC_IPV6_NETWORK`
    pub ipv6_network: String,
    /// `LXC_IPV6_NAT`
    pub ipv6_nat: bool,
}

impl Settings {
    /// The settings of this host.
    ///
    /// # Errors
    /// The file cannot be run, or a value is none.
    pub fn read() -> Result<Settings> {
        let file = FILES.iter().map(Path::new).find(|f| f.exists());
        let set = file.map(variables_of).transpose()?.unwrap_or_default();
        Settings::from_variables(&set).map_err(|e| match file {
            Some(file) => e.during(file.display().to_string()),
            None => e,
        })
    }

    fn from_variables(set: &BTreeMap<String, String>) -> Result<Settings> {
        let get = |name: &str| {
            let own = || VARIABLES.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v);
            set.get(name).map_or_else(own, String::as_str).trim()
        };
        let bad =
            |name: &str, what: &str| Error::new(Kind::Invalid, format!("{name} = {}: {what}", get(name)));
        let is_true = |name: &str| get(name) == "true";
        let bridge = get("LXC_BRIDGE").to_string();
        // It is written into rules.
        if !is_device_name(&bridge)
            || bridge.contains(|c: char| !c.is_ascii_graphic() || "\"';{}".contains(c))
        {
            return Err(bad("LXC_BRIDGE", "not a name for an interface"));
        }
        let ipv6 = match get("LXC_IPV6_ADDR") {
            "" => None,
            _ if !is_true("LXC_IPV6_ENABLE") => None,
            text => {
                let address = text.parse().map_err(|_| bad("LXC_IPV6_ADDR", "not an IPv6 address"))?;
                let mask = get("LXC_IPV6_MASK").parse().ok().filter(|m| *m <= 128);
                Some((address, mask.ok_or_else(|| bad("LXC_IPV6_MASK", "not a number from 0 to 128"))?))
            }
        };
        let ipv4_network = get("LXC_NETWORK").to_string();
        if !is_network(&ipv4_network, 32) {
            return Err(bad("LXC_NETWORK", "not an IPv4 network"));
        }
        let ipv6_network = get("LXC_IPV6_NETWORK").to_string();
        if ipv6.is_some() && is_true("LXC_IPV6_NAT") && !is_network(&ipv6_network, 128) {
            return Err(bad("LXC_IPV6_NETWORK", "not an IPv6 network"));
        }
        let address = crate::plan::network::hardware_address(get("LXC_BRIDGE_MAC"));
        Ok(Settings {
            wanted: is_true("USE_LXC_BRIDGE"),
            bridge,
            address: address.ok_or_else(|| bad("LXC_BRIDGE_MAC", "not an Ethernet address"))?,
            ipv4: (
                get("LXC_ADDR").parse().map_err(|_| bad("LXC_ADDR", "not an IPv4 address"))?,
                prefix(get("LXC_NETMASK")).ok_or_else(|| bad("LXC_NETMASK", "not a netmask"))?,
            ),
            ipv4_network,
            dhcp_range: get("LXC_DHCP_RANGE").to_string(),
            dhcp_max: get("LXC_DHCP_MAX").to_string(),
            dhcp_config: PathBuf::from(match get("LXC_DHCP_CONFILE") {
                "" => "/dev/null",
                file => file,
            }),
            domain: get("LXC_DOMAIN").to_string(),
            dhcp_ping: get("LXC_DHCP_PING") != "false",
            use_nft: is_true("LXC_USE_NFT"),
            ipv6,
            ipv6_network,
            ipv6_nat: is_true("LXC_IPV6_NAT"),
        })
    }
}

/// Runs the file, as a shell does, and takes the variables that it leaves.
fn variables_of(file: &Path) -> Result<BTreeMap<String, String>> {
    let names: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
    let defaults: String = VARIABLES.iter().map(|(n, v)| format!("{n}=\"{v}\"\n")).collect();
    let script = format!(
        "{defaults}. \"$1\"\nfor v in {}; do eval \"printf '%s=%s\\\\0' $v \\\"\\$$v\\\"\"; done",
        names.join(" ")
    );
    let what = || format!("run {}", file.display());
    let output = Command::new("/bin/sh").args(["-c", &script, "sh"]).arg(file).stdin(Stdio::null()).output();
    let output = output.doing(what)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(Kind::Failed, format!("{}: {}", what(), said.trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

/// The length of a prefix, given as such or as a netmask.
fn prefix(text: &str) -> Option<u8> {
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        let bits = u32::from(mask);
        return (bits.leading_ones() + bits.trailing_zeros() == 32 || bits == u32::MAX)
            .then_some(bits.leading_ones() as u8);
    }
    text.parse().ok().filter(|n| *n <= 32)
}

/// Whether a text is `address/length`: it goes into rules, where nothing else may.
fn is_network(text: &str, most: u8) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let address =
        if most == 32 { address.parse::<Ipv4Addr>().is_ok() } else { address.parse::<Ipv6Addr>().is_ok() };
    address && length.parse::<u8>().is_ok_and(|l| l <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks() {
        let found =
            ["255.255.255.0", "24", "255.255.255.255", "0.0.0.0", "255.0.255.0", "33", "x"].map(prefix);
        assert_eq!(found, [Some(24), Some(24), Some(32), Some(0), None, None, None]);
    }

    #[test]
    fn values_that_are_none() {
        let with = |name: &str, value: &str| {
            Settings::from_variables(&BTreeMap::from([(name.to_string(), value.to_string())]))
        };
        for (name, value) in [
            ("LXC_BRIDGE", "a b"),
            ("LXC_BRIDGE", "x\"; drop"),
            ("LXC_ADDR", "10.0.3"),
            ("LXC_NETMASK", "255.0.255.0"),
            ("LXC_NETWORK", "10.0.3.0/24; flush ruleset"),
            ("LXC_IPV6_NETWORK", "fc42::/129"),
            ("LXC_BRIDGE_MAC", "00:16"),
        ] {
            let error = with(name, value).expect_err(value).to_string();
            assert!(error.contains(name), "{error}");
        }
        assert_eq!(with("LXC_IPV6_ENABLE", "false").expect("is fine").ipv6, None);
        assert_eq!(with("LXC_IPV6_ADDR", "").expect("is fine").ipv6, None);
    }
}

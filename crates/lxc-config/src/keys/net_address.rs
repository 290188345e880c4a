//! Addresses, prefixes and routers of `lxc.net.<n>.ipv4.*` and `ipv6.*`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::access::separated;
use crate::values::{Gateway, Ipv4Net};
use crate::{ValueError, scalar};

fn address<A: FromStr>(text: &str) -> Result<A, ValueError> {
    text.parse().map_err(|_| ValueError::new(format!("'{text}' is not an address")))
}

/// A prefix length; octal as in C when it starts with 0.
fn prefix(text: &str, max: u8) -> Result<u8, ValueError> {
    let length =
        scalar::uint(text).ok().filter(|&length| length <= max.into() && !text.starts_with([' ', '+']));
    length
        .map(|length| length as u8)
        .ok_or_else(|| ValueError::new(format!("'{text}' is not a prefix length")))
}

pub(super) fn ipv4_net(value: &str) -> Result<Ipv4Net, ValueError> {
    let (net, broadcast) = match value.split_once(' ') {
        Some((net, broadcast)) => (net, Some(address(broadcast)?)),
        None => (value, None),
    };
    let (address, prefix) = match net.split_once('/') {
        Some((text, length)) => (address(text)?, prefix(length, 32)?),
        None => {
            let address = address(net)?;
            (address, class_prefix(address)?)
        }
    };
    Ok(Ipv4Net { address, prefix, broadcast })
}

/// The network that an address belonged to before there were prefix lengths.
fn class_prefix(address: Ipv4Addr) -> Result<u8, ValueError> {
    match address.octets()[0] {
        0..128 => Ok(8),
        128..192 => Ok(16),
        192..224 => Ok(24),
        _ => Err(ValueError::new(format!("{address} needs a prefix length"))),
    }
}

pub(super) fn ipv6_net(value: &str) -> Result<(Ipv6Addr, u8), ValueError> {
    match value.split_once('/') {
        Some((text, length)) => Ok((address(text)?, prefix(length, 128)?)),
        None => Ok((address(value)?, 64)),
    }
}

pub(super) fn route<A: FromStr>(value: &str, max: u8) -> Result<(A, u8), ValueError> {
    let (net, length) =
        value.split_once('/').ok_or_else(|| ValueError::new(format!("'{value}' lacks a prefix length")))?;
    Ok((address(net)?, prefix(length, max)?))
}

pub(super) fn gateway<A: FromStr>(value: &str) -> Result<Gateway<A>, ValueError> {
    match value {
        "auto" => Ok(Gateway::Auto),
        "dev" => Ok(Gateway::Dev),
        _ => address(value).map(Gateway::Address),
    }
}

pub(super) fn prefixes<A: fmt::Display>(list: &[(A, u8)]) -> String {
    separated(list.iter().map(|(address, length)| format!("{address}/{length}")))
}

impl fmt::Display for Ipv4Net {
    /// Without the broadcast address, as the API returns it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<A: fmt::Display> fmt::Display for Gateway<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gateway::Address(address) => address.fmt(f),
            Gateway::Auto => f.write_str("auto"),
            Gateway::Dev => f.write_str("dev"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_addresses() {
        let net = ipv4_net("10.0.3.4/24 10.0.3.255").unwrap();
        assert_eq!(
            (net.to_string().as_str(), net.broadcast),
            ("10.0.3.4/24", Some(Ipv4Addr::new(10, 0, 3, 255)))
        );
        assert_eq!(ipv4_net("10.0.3.200").unwrap().prefix, 8);
        assert_eq!(ipv4_net("172.16.0.1").unwrap().prefix, 16);
        assert_eq!(ipv4_net("192.168.0.1").unwrap().prefix, 24);
        for bad in
            ["224.0.0.1", "1.2.3.4/33", "1.2.3.4/ 24", "1.2.3.4/24  1.2.3.255", "1.2.3", "1.2.3.4/", "/8"]
        {
            assert!(ipv4_net(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ipv6_addresses_and_routes() {
        assert_eq!(prefixes(&[ipv6_net("FE80::1").unwrap()]), "fe80::1/64");
        assert!(ipv6_net("::1/129").is_err());
        assert_eq!(route::<Ipv4Addr>("1.0.0.0/8", 32), Ok((Ipv4Addr::new(1, 0, 0, 0), 8)));
        assert!(route::<Ipv4Addr>("1.0.0.0", 32).is_err());
        assert!(route::<Ipv4Addr>("1.0.0.1/8 ", 32).is_err());
    }
}

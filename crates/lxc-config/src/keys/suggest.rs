//! What a misspelt name was probably meant to be.

use super::{NETWORK_PREFIX, Sub, keys};
use crate::diagnostic::nearest;

/// The known key nearest to a name, with the name's own network index and sub-key.
pub(crate) fn suggestion(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_index = |part: &&&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let index = parts.get(2).filter(is_index).copied().unwrap_or("0");
    let candidates: Vec<String> = keys()
        .map(|key| {
            let own = match key.name.strip_prefix(NETWORK_PREFIX) {
                Some(rest) => format!("lxc.net.{index}{rest}"),
                None => key.name.to_owned(),
            };
            let depth = own.split('.').count();
            match key.sub {
                Sub::Optional(_) | Sub::Required(_) if parts.len() > depth => {
                    format!("{own}.{}", parts[depth..].join("."))
                }
                _ => own,
            }
        })
        .filter(|candidate| candidate != name)
        .collect();
    nearest(name, candidates.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        for (typed, meant) in [
            ("lxc.net.0.tpye", Some("lxc.net.0.type")),
            ("lxc.net.12.ipv4.adress", Some("lxc.net.12.ipv4.address")),
            ("lxc.net.type", Some("lxc.net.0.type")),
            ("lxc.cgroup3.memory.max", Some("lxc.cgroup2.memory.max")),
            ("lxc.syctl.net.ipv4.ip_forward", Some("lxc.sysctl.net.ipv4.ip_forward")),
            ("lxc.start.atuo", Some("lxc.start.auto")),
            ("lxc.something.entirely.different", None),
        ] {
            assert_eq!(suggestion(typed).as_deref(), meant, "{typed}");
        }
    }
}

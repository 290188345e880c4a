//! What a configuration comes to, includes and repeated lines resolved: the assignments that make it anew.

use crate::config::Config;
use crate::keys::{Kind, Place, Sub, keys};
use crate::values::{Caps, NamespaceKind};

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The key, with index or sub-key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The key may be assigned several times, and this is one of its values.
    pub is_list: bool,
}

impl Effective {
    /// As a line of a file, without its end.
    pub fn line(&self) -> String {
        format!("{} = {}", self.key, crate::lexer::quoted(&self.value))
    }
}

impl Config {
    /// The assignments that an empty configuration needs to become this one, in the order of the table.
    /// Keys that have their default are left out.
    pub fn effective(&self) -> Vec<Effective> {
        let plain = Config::new();
        let mut out = Vec::new();
        for key in keys() {
            match (&key.place, key.sub) {
                (Place::Networks, _) => out.extend(self.effective_networks()),
                (
                    Place::WholeNetwork
                    | Place::NetworkType
                    | Place::Network { .. }
                    | Place::Hooks
                    | Place::Include,
                    _,
                ) => {}
                (_, Sub::Required(_)) => {
                    for kind in NamespaceKind::ALL {
                        self.add(&mut out, &plain, &format!("{}.{}", key.name, kind.name()), key.kind);
                    }
                }
                (_, Sub::Optional(_)) => out.extend(self.entries(key.name)),
                (_, Sub::None) => self.add(&mut out, &plain, key.name, key.kind),
            }
        }
        out
    }

    /// The value of one key, where it is not that of `plain`.
    fn add(&self, out: &mut Vec<Effective>, plain: &Config, key: &str, kind: Kind) {
        let text = |config: &Config| config.get(key).unwrap_or_default();
        let (value, default) = (text(self), text(plain));
        let one = |value: &str, is_list| Effective { key: key.to_owned(), value: value.to_owned(), is_list };
        match (key, &self.values.caps) {
            ("lxc.cap.keep", Caps::Keep(list)) if list.is_empty() => return out.push(one("none", true)),
            ("lxc.rootfs.path", _) => {
                let kind = self.values.rootfs.kind.as_deref().map(|kind| format!("{kind}:"));
                if !value.is_empty() {
                    out.push(one(&(kind.unwrap_or_default() + &value), false));
                }
                return;
            }
            _ if value == default => return,
            _ => {}
        }
        match kind {
            Kind::List => out.extend(value.lines().map(|line| one(line, true))),
            Kind::Scalar | Kind::Map => out.push(one(&value, false)),
        }
    }

    /// All entries of a key that takes sub-keys, which are written as lines of a file.
    fn entries(&self, key: &str) -> Vec<Effective> {
        let text = self.get(key).unwrap_or_default();
        let entries: Vec<_> = text.lines().filter_map(|line| line.split_once(" = ")).collect();
        let entry = |&(key, value): &(&str, &str)| Effective {
            key: key.to_owned(),
            value: value.to_owned(),
            is_list: entries.iter().filter(|(other, _)| *other == key).count() > 1,
        };
        entries.iter().map(entry).collect()
    }

    fn effective_networks(&self) -> Vec<Effective> {
        let mut out = Vec::new();
        for (index, network) in &self.values.networks {
            let name = |rest: &str| format!("lxc.net.{index}{rest}");
            let mut plain = Config::new();
            // A network without type is one as soon as something is said of it.
            let kind = network.kind.map_or("empty", crate::values::NetType::name);
            plain
                .values
                .networks
                .insert(*index, crate::values::Network { kind: network.kind, ..Default::default() });
            out.push(Effective { key: name(".type"), value: kind.to_owned(), is_list: false });
            for key in keys().filter(|key| matches!(key.place, Place::Network { .. })) {
                let key_name = name(key.name.strip_prefix("lxc.net.<n>").unwrap_or_default());
                if key_name.ends_with(".ipv4.address") {
                    // Reading leaves the broadcast address out.
                    out.extend(network.ipv4_addresses.iter().map(|net| {
                        let broadcast = net.broadcast.map(|b| format!(" {b}")).unwrap_or_default();
                        let value = format!("{}/{}{broadcast}", net.address, net.prefix);
                        Effective { key: key_name.clone(), value, is_list: true }
                    }));
                    continue;
                }
                self.add(&mut out, &plain, &key_name, key.kind);
            }
        }
        out
    }
}

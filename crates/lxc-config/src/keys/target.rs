//! A key as a user names it: the declaration with network index or sub-key, and what can be done with it.

use super::{Access, Empty, Key, Place, Setting, Sub, network_key, plain_key};
use crate::source::Source;
use crate::values::{NetType, Network, Values};
use crate::{GetError, ValueError};

/// Highest index of a network.
const NETWORK_INDEX_MAX: u32 = 2_147_483_646;

/// A declared key with what the user's name adds to it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub key: &'static Key,
    /// Index of the network; 0 for other keys.
    pub index: u32,
    /// The user's part of the name; empty where there is none.
    pub sub: Box<str>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        std::ptr::eq(self.key, other.key) && self.index == other.index && self.sub == other.sub
    }
}

/// Why a name leads to no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// No such key.
    Unknown,
    /// The network part is well formed, what follows it is not known.
    NetworkKey(u32),
}

impl Target {
    fn new(key: &'static Key) -> Target {
        Target { key, index: 0, sub: Box::default() }
    }

    /// Finds the declaration: the exact name first, then the longest prefix that takes sub-keys.
    pub(crate) fn resolve(name: &str) -> Result<Target, Unresolved> {
        if let Some(rest) = name.strip_prefix("lxc.net.") {
            return Target::resolve_network(rest);
        }
        if let Some(key) = plain_key(name) {
            return if matches!(key.sub, Sub::Required(_)) {
                Err(Unresolved::Unknown)
            } else {
                Ok(Target::new(key))
            };
        }
        let mut prefix = name;
        while let Some(dot) = prefix.rfind('.') {
            prefix = &prefix[..dot];
            if let Some(key) = plain_key(prefix) {
                let sub = &name[dot + 1..];
                return if key.sub != Sub::None && key.accepts_sub(sub) {
                    Ok(Target { sub: sub.into(), ..Target::new(key) })
                } else {
                    Err(Unresolved::Unknown)
                };
            }
        }
        Err(Unresolved::Unknown)
    }

    /// Resolves what follows `lxc.net.`.
    fn resolve_network(rest: &str) -> Result<Target, Unresolved> {
        let (digits, field) = rest.split_once('.').unwrap_or((rest, ""));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Unresolved::Unknown);
        }
        let index = digits.parse().ok().filter(|&n| n <= NETWORK_INDEX_MAX).ok_or(Unresolved::Unknown)?;
        // `lxc.net.0.` is not the network itself.
        match network_key(field) {
            Some(key) if !rest.ends_with('.') => Ok(Target { index, ..Target::new(key) }),
            _ => Err(Unresolved::NetworkKey(index)),
        }
    }

    /// The name in its usual spelling.
    pub(crate) fn name(&self) -> String {
        if let Some(rest) = self.key.name.strip_prefix(super::NETWORK_PREFIX) {
            return format!("lxc.net.{}{rest}", self.index);
        }
        match &*self.sub {
            "" => self.key.name.to_owned(),
            sub => format!("{}.{sub}", self.key.name),
        }
    }

    /// Whether clearing this key also clears the other.
    pub(crate) fn covers(&self, other: &Target) -> bool {
        match &self.key.place {
            Place::Networks => other.key.family() == "net",
            // The type resets the network, so it takes the other keys with it.
            Place::WholeNetwork | Place::NetworkType => other.is_in_network(self.index),
            Place::Hooks => other.key.family() == "hook" && other.key.kind == super::Kind::List,
            // Both share one list.
            _ if self.key.family() == "cap" => other.key.family() == "cap",
            _ => {
                std::ptr::eq(self.key, other.key)
                    && self.index == other.index
                    && (self.sub.is_empty() || self.sub == other.sub)
            }
        }
    }

    fn is_in_network(&self, index: u32) -> bool {
        self.index == index && self.key.name.starts_with(super::NETWORK_PREFIX)
    }

    /// Assigns a value as a line of a file does. Returns a warning about a doubtful value.
    pub(crate) fn set(
        &self,
        values: &mut Values,
        value: &str,
        source: &dyn Source,
    ) -> Result<Option<String>, ValueError> {
        let value = match self.key.empty {
            Empty::Means(stand_in) if value.is_empty() => stand_in,
            Empty::Refused if value.is_empty() => return Err(ValueError::new("the value is missing")),
            _ if value.is_empty() => {
                // A network that does not exist has nothing to lose.
                let _ = self.clear(values);
                return Ok(None);
            }
            _ => value,
        };
        let mut setting = Setting { sub: &self.sub, value, source, warning: None };
        match &self.key.place {
            Place::Container(access) => access.set(values, &mut setting)?,
            Place::Network { needs, access } => self.set_in_network(values, *needs, access, &mut setting)?,
            Place::NetworkType => {
                let kind = super::net_device::net_type(value)?;
                values.networks.insert(self.index, Network { kind: Some(kind), ..Network::default() });
            }
            Place::Networks | Place::WholeNetwork | Place::Hooks | Place::Include => {
                return Err(ValueError::new("only the empty value, which clears, can be assigned"));
            }
        }
        Ok(setting.warning)
    }

    /// A network that is first mentioned by another key than its type has type `empty`.
    fn set_in_network(
        &self,
        values: &mut Values,
        needs: Option<NetType>,
        access: &Access<Network>,
        setting: &mut Setting<'_>,
    ) -> Result<(), ValueError> {
        match (values.networks.get_mut(&self.index), needs) {
            (Some(network), _) if needs.is_none() || network.kind == needs => access.set(network, setting),
            (Some(_), Some(kind)) => {
                Err(ValueError::new(format!("network {} is not of type {}", self.index, kind.name())))
            }
            (None, Some(kind)) => {
                Err(ValueError::new(format!("lxc.net.{}.type = {} must come first", self.index, kind.name())))
            }
            (_, None) => {
                let mut network = Network { kind: Some(NetType::Empty), ..Network::default() };
                access.set(&mut network, setting)?;
                values.networks.insert(self.index, network);
                Ok(())
            }
        }
    }

    /// Puts the default back.
    pub(crate) fn clear(&self, values: &mut Values) -> Result<(), GetError> {
        match &self.key.place {
            Place::Container(access) => access.clear(values, &self.sub),
            Place::Network { needs, access } => {
                let network = values.networks.get_mut(&self.index).ok_or(GetError::Invalid)?;
                // A key of another type of network has nothing to lose.
                if needs.is_none() || network.kind == *needs {
                    access.clear(network, &self.sub);
                }
            }
            Place::NetworkType => {
                *values.networks.get_mut(&self.index).ok_or(GetError::Invalid)? = Network::default();
            }
            Place::Networks => values.networks.clear(),
            Place::WholeNetwork => {
                values.networks.remove(&self.index);
            }
            Place::Hooks => values.hooks.clear(),
            Place::Include => {}
        }
        Ok(())
    }

    /// The text that the API returns.
    pub(crate) fn get(&self, values: &Values) -> Result<String, GetError> {
        match &self.key.place {
            Place::Container(access) => Ok(access.get(values, self.key.name, &self.sub)),
            Place::Network { needs, access } => {
                let network = values.networks.get(&self.index);
                let fitting = network.filter(|network| needs.is_none() || network.kind == *needs);
                Ok(access.get(fitting.ok_or(GetError::Invalid)?, self.key.name, &self.sub))
            }
            Place::NetworkType => {
                let network = values.networks.get(&self.index).ok_or(GetError::Invalid)?;
                Ok(network.kind.map_or_else(String::new, |kind| kind.name().to_owned()))
            }
            Place::Networks => {
                let types =
                    values.networks.values().map(|network| network.kind.map_or("(invalid)", NetType::name));
                Ok(super::access::lines(types))
            }
            Place::WholeNetwork if values.networks.contains_key(&self.index) => Err(GetError::Missing),
            Place::WholeNetwork | Place::Hooks => Err(GetError::Invalid),
            Place::Include => Err(GetError::Unsupported),
        }
    }
}

impl Key {
    /// Whether a sub-key is well formed.
    fn accepts_sub(&self, sub: &str) -> bool {
        match self.name {
            // Files of cgroup v1 are called after their controller. Anything else is a misspelt key of the
            // layout.
            "lxc.cgroup" => sub.split_once('.').is_some_and(|(controller, file)| {
                !controller.is_empty() && !file.is_empty() && controller != "dir" && controller != "relative"
            }),
            "lxc.namespace.share" => super::namespace::kind_of_share(sub).is_some(),
            _ => !sub.is_empty(),
        }
    }
}

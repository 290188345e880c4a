//! Rules of the device filter: `lxc.cgroup2.devices.allow` and `lxc.cgroup2.devices.deny`.

use std::fmt;

use thiserror::Error;

/// May read.
pub const ACCESS_READ: u8 = 1;
/// May write.
pub const ACCESS_WRITE: u8 = 2;
/// May create nodes.
pub const ACCESS_MKNOD: u8 = 4;

/// Text that is no device rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{text}' is not a device rule such as 'c 1:3 rwm', 'b *:* m' or 'a'")]
pub struct DeviceRuleError {
    /// As written.
    pub text: String,
}

/// Which nodes a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// `a`
    All,
    /// `b`
    Block,
    /// `c`
    Char,
}

/// One rule. `None` for a number is `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Type of the node.
    pub kind: DeviceKind,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// [`ACCESS_READ`], [`ACCESS_WRITE`] and [`ACCESS_MKNOD`].
    pub access: u8,
    /// Whether it allows or denies.
    pub allow: bool,
}

/// The value of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEntry {
    /// `a` alone: everything that no rule mentions is allowed or denied, and the rules so far are forgotten.
    Global {
        /// Whether it is allowed.
        allow: bool,
    },
    /// A rule.
    Rule(DeviceRule),
    /// A node of the host, whose numbers are looked up when the container starts.
    Path {
        /// Absolute path of the node.
        path: String,
        /// As in [`DeviceRule::access`].
        access: u8,
    },
}

impl DeviceEntry {
    /// Parses the value of `devices.allow` or `devices.deny`.
    pub fn parse(text: &str, allow: bool) -> Result<DeviceEntry, DeviceRuleError> {
        let bad = || DeviceRuleError { text: text.to_owned() };
        let text = text.trim_matches([' ', '\t']);
        if text == "a" {
            return Ok(DeviceEntry::Global { allow });
        }
        if allow && text.starts_with('/') {
            let (path, access) = match text.rsplit_once([' ', '\t']) {
                Some((path, access)) => (path, parse_access(access).ok_or_else(bad)?),
                None => (text, ACCESS_READ | ACCESS_WRITE | ACCESS_MKNOD),
            };
            return Ok(DeviceEntry::Path { path: path.trim_end().to_owned(), access });
        }
        parse_rule(text, allow).map(DeviceEntry::Rule).ok_or_else(bad)
    }
}

/// `TYPE MAJOR:MINOR ACCESS` with one blank between the parts.
fn parse_rule(text: &str, allow: bool) -> Option<DeviceRule> {
    let mut parts = text.split([' ', '\t']);
    let (kind, numbers, access) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let kind = match kind {
        "a" => DeviceKind::All,
        "b" => DeviceKind::Block,
        "c" => DeviceKind::Char,
        _ => return None,
    };
    let (major, minor) = numbers.split_once(':')?;
    Some(DeviceRule {
        kind,
        major: parse_number(major)?,
        minor: parse_number(minor)?,
        access: parse_access(access)?,
        allow,
    })
}

/// A number or `*`; the outer `None` is neither.
fn parse_number(text: &str) -> Option<Option<u32>> {
    if text == "*" {
        return Some(None);
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Some)
}

/// One to three letters of `rwm`.
fn parse_access(text: &str) -> Option<u8> {
    if text.is_empty() || text.len() > 3 {
        return None;
    }
    text.chars().try_fold(0, |access, c| match c {
        'r' => Some(access | ACCESS_READ),
        'w' => Some(access | ACCESS_WRITE),
        'm' => Some(access | ACCESS_MKNOD),
        _ => None,
    })
}

impl fmt::Display for DeviceRule {
    /// The text that parses to this rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (bit, letter) in [(ACCESS_READ, "r"), (ACCESS_WRITE, "w"), (ACCESS_MKNOD, "m")] {
            if self.access & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// The rules that hold together: what is not mentioned, and the exceptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceList {
    /// What no rule mentions is allowed.
    pub allow_by_default: bool,
    /// Newest first, the order in which they are tried.
    pub rules: Vec<DeviceRule>,
    /// Whether anything was ever said; without, no filter is needed.
    pub is_set: bool,
}

impl DeviceList {
    /// Adds a rule. The same rule with the other verdict replaces the old one in its place.
    pub fn add(&mut self, rule: DeviceRule) {
        self.is_set = true;
        let same = |old: &&mut DeviceRule| DeviceRule { allow: rule.allow, ..**old } == rule;
        match self.rules.iter_mut().find(same) {
            Some(old) => old.allow = rule.allow,
            None => self.rules.insert(0, rule),
        }
    }

    /// Changes what holds for everything else and forgets the rules.
    pub fn set_default(&mut self, allow: bool) {
        *self = DeviceList { allow_by_default: allow, rules: Vec::new(), is_set: true };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> DeviceRule {
        match DeviceEntry::parse(text, true).unwrap() {
            DeviceEntry::Rule(rule) => rule,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rules_round_trip() {
        for text in ["c 1:3 rwm", "b *:* m", "a 10:* rw", "c *:5 r"] {
            assert_eq!(rule(text).to_string(), text);
        }
        for bad in [
            "",
            "c",
            "c 1:3",
            "c  1:3 r",
            "d 1:3 r",
            "c 1:3 x",
            "c 1:3 rwmr",
            "c 1 r",
            "c -1:3 r",
            "c 1:3 r x",
        ] {
            assert!(DeviceEntry::parse(bad, true).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_are_only_for_allow() {
        let all = ACCESS_READ | ACCESS_WRITE | ACCESS_MKNOD;
        assert_eq!(
            DeviceEntry::parse("/dev/kvm rw", true),
            Ok(DeviceEntry::Path { path: "/dev/kvm".into(), access: ACCESS_READ | ACCESS_WRITE })
        );
        assert_eq!(
            DeviceEntry::parse("/dev/kvm", true),
            Ok(DeviceEntry::Path { path: "/dev/kvm".into(), access: all })
        );
        assert!(DeviceEntry::parse("/dev/kvm", false).is_err());
    }

    #[test]
    fn lists_flip_and_forget() {
        let mut list = DeviceList::default();
        list.add(rule("c 1:3 r"));
        list.add(rule("c 1:5 r"));
        list.add(DeviceRule { allow: false, ..rule("c 1:3 r") });
        assert_eq!(list.rules.len(), 2);
        assert!(!list.rules[1].allow);
        list.set_default(true);
        assert!(list.rules.is_empty() && list.allow_by_default && list.is_set);
    }
}

//! Attributes of the container's processes and of its monitor.

use std::fmt;

use super::access::{Access, Custom, Setting, assignments, field, flag, sub_key};
use super::{Empty, KEY, Key, Kind, Place, Sub};
use crate::values::{Arch, Limit, Values};
use crate::{ValueError, scalar};

pub(super) const ARCH: &[Key] = &[Key {
    name: "lxc.arch",
    value: "name of an architecture as printed by uname -m or used by distributions, or linux32, linux64",
    default: "that of the caller",
    since: "1.0",
    doc: "The personality of the container: what uname(2) reports as the machine, 32 or 64 bits.",
    empty: Empty::Refused,
    place: Place::Container(Access::Custom(Custom {
        set: |values, setting| arch(setting.value).map(|arch| values.arch = Some(arch)),
        get: |values, _| match values.arch {
            None => String::new(),
            Some(Arch { is_32bit: true, .. }) => "i686".to_owned(),
            Some(Arch { is_32bit: false, .. }) => "x86_64".to_owned(),
        },
        clear: |values, _| values.arch = None,
    })),
    ..KEY
}];

pub(super) const SCHED: &[Key] = &[Key {
    name: "lxc.sched.core",
    value: "0 or 1",
    default: "0",
    since: "5.0",
    doc: "With 1 the container's processes never share a CPU core with others (core scheduling).",
    place: Place::Container(Access::Flag(field!(sched_core), false)),
    ..KEY
}];

pub(super) const KEYRING: &[Key] = &[Key {
    name: "lxc.keyring.session",
    value: "0 or 1",
    default: "0",
    since: "4.0",
    doc: "With 0 the container gets a new session keyring, with 1 it keeps that of the caller.",
    place: Place::Container(Access::Flag(field!(keyring_session), false)),
    ..KEY
}];

pub(super) const MONITOR: &[Key] = &[
    Key {
        name: "lxc.monitor.unshare",
        value: "0, or any other number for yes",
        default: "0",
        since: "2.0",
        doc: "Gives the monitor a mount namespace of its own before anything else is done.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| {
                scalar::uint(setting.value).map(|number| values.monitor_unshare = number != 0)
            },
            get: |values, _| flag(values.monitor_unshare),
            clear: |values, _| values.monitor_unshare = false,
        })),
        ..KEY
    },
    Key {
        name: "lxc.monitor.signal.pdeath",
        value: "signal, or 0 for none",
        default: "SIGKILL",
        since: "3.1",
        doc: "The signal that init receives when its monitor dies.",
        empty: Empty::Means("0"),
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| {
                scalar::signal(setting.value).map(|signal| values.monitor_signal_pdeath = Some(signal))
            },
            get: |values, _| values.monitor_signal_pdeath.unwrap_or(SIGKILL).to_string(),
            clear: |values, _| values.monitor_signal_pdeath = None,
        })),
        ..KEY
    },
];

const SIGKILL: i32 = 9;

pub(super) const NO_NEW_PRIVS: &[Key] = &[Key {
    name: "lxc.no_new_privs",
    value: "0 or 1",
    default: "0",
    since: "2.1",
    doc: "With 1 no program in the container can gain privileges by being executed.",
    place: Place::Container(Access::Flag(field!(no_new_privs), false)),
    ..KEY
}];

pub(super) const PRLIMIT: &[Key] = &[Key {
    name: "lxc.prlimit",
    sub: Sub::Optional("<resource>"),
    kind: Kind::Map,
    value: "SOFT[:HARD], each a number or unlimited",
    default: "those of the caller",
    since: "2.1",
    doc: "A resource limit of init: as core cpu data fsize locks memlock msgqueue nice nofile nproc rss \
          rtprio rttime sigpending stack, or the number of a resource. One value sets both limits.",
    place: Place::Container(Access::Custom(Custom {
        set: set_limit,
        get: get_limit,
        clear: |values, sub| values.prlimits.retain(|(name, _)| !sub.is_empty() && name != sub),
    })),
    ..KEY
}];

/// Names of `lxc.arch` with a 32-bit personality.
const ARCH_32: [&str; 16] = [
    "arm", "armel", "armhf", "armv7l", "athlon", "i386", "i486", "i586", "i686", "linux32", "mips", "mipsel",
    "ppc", "powerpc", "x32", "x86",
];

/// Names of `lxc.arch` with a 64-bit personality.
const ARCH_64: [&str; 15] = [
    "aarch64",
    "amd64",
    "arm64",
    "linux64",
    "loongarch64",
    "loong64",
    "mips64",
    "mips64el",
    "ppc64",
    "ppc64el",
    "ppc64le",
    "powerpc64",
    "riscv64",
    "s390x",
    "x86_64",
];

fn arch(value: &str) -> Result<Arch, ValueError> {
    let known = |names: &'static [&'static str]| names.iter().copied().find(|&name| name == value);
    if let Some(name) = known(&ARCH_32) {
        return Ok(Arch { name, is_32bit: true });
    }
    if let Some(name) = known(&ARCH_64) {
        return Ok(Arch { name, is_32bit: false });
    }
    Err(ValueError::new(format!("'{value}' is not a known architecture")))
}

impl fmt::Display for Limit {
    /// One number where both limits are the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |f: &mut fmt::Formatter<'_>, limit: Option<u64>| match limit {
            Some(limit) => write!(f, "{limit}"),
            None => f.write_str("unlimited"),
        };
        write(f, self.soft)?;
        if self.soft != self.hard {
            f.write_str(":")?;
            write(f, self.hard)?;
        }
        Ok(())
    }
}

fn set_limit(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    let name = sub_key(setting)?;
    let limit = limit(setting.value)?;
    match values.prlimits.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = limit,
        None => values.prlimits.push((name.to_owned(), limit)),
    }
    Ok(())
}

fn get_limit(values: &Values, sub: &str) -> String {
    if sub.is_empty() {
        return assignments("lxc.prlimit", &values.prlimits);
    }
    values
        .prlimits
        .iter()
        .find(|(name, _)| name == sub)
        .map_or_else(String::new, |(_, limit)| limit.to_string())
}

/// Nothing before the colon is 0, nothing after it the soft limit again.
fn limit(value: &str) -> Result<Limit, ValueError> {
    let (soft, hard) = value.split_once(':').unwrap_or((value, ""));
    let soft = if soft.trim().is_empty() { Some(0) } else { one_limit(soft.trim())? };
    let hard = if hard.trim().is_empty() { soft } else { one_limit(hard.trim())? };
    Ok(Limit { soft, hard })
}

/// The kernel's largest value, and what C makes of -1, mean unlimited too.
fn one_limit(text: &str) -> Result<Option<u64>, ValueError> {
    if text == "unlimited" || text == "-1" {
        return Ok(None);
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    match number {
        Some(u64::MAX) => Ok(None),
        Some(number) => Ok(Some(number)),
        None => Err(ValueError::new(format!("'{text}' is not a limit"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let text = |value| limit(value).map(|limit| limit.to_string());
        for (written, read) in [
            ("10", "10"),
            ("10 : 20", "10:20"),
            (":5", "0:5"),
            ("5:", "5"),
            ("-1", "unlimited"),
            ("unlimited:5", "unlimited:5"),
            ("010", "10"),
            ("18446744073709551615", "unlimited"),
        ] {
            assert_eq!(text(written).as_deref(), Ok(read), "{written}");
        }
        for bad in ["x", "5 x", "0x10", "10 20", "18446744073709551616", "1:2:3", "-2"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }
}

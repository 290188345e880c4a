//! `lxc.cap.*`

use super::access::{Access, Custom, lines};
use super::{KEY, Key, Kind, Place};
use crate::values::{CapWord, Caps};
use crate::{ValueError, scalar};

const GRAMMAR: &str =
    "names of capabilities in lower case without cap_, or their numbers, separated by blanks";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.cap.drop",
        kind: Kind::List,
        value: GRAMMAR,
        default: "nothing is dropped",
        since: "1.0",
        doc: "Capabilities to remove from the container's bounding set. Cannot be used together with \
              lxc.cap.keep; an empty value of either forgets both.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| drop_caps(&mut values.caps, setting.value),
            get: |values, _| match &values.caps {
                Caps::Drop(caps) => lines(caps.iter().map(|cap| &cap.word)),
                _ => String::new(),
            },
            clear: |values, _| values.caps = Caps::Unset,
        })),
        ..KEY
    },
    Key {
        name: "lxc.cap.keep",
        kind: Kind::List,
        value: "as lxc.cap.drop, or none",
        default: "everything is kept",
        since: "1.0",
        doc: "The only capabilities that stay in the container's bounding set. `none` forgets the words \
              given before it, and alone keeps no capability at all.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| keep_caps(&mut values.caps, setting.value),
            get: |values, _| match &values.caps {
                Caps::Keep(caps) => lines(caps.iter().map(|cap| &cap.word)),
                _ => String::new(),
            },
            clear: |values, _| values.caps = Caps::Unset,
        })),
        ..KEY
    },
];

/// Names by number, as in linux/capability.h.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Highest number that a set of capabilities has room for; which of them exist is known to the host alone.
const LAST: u32 = 63;

fn capability(word: &str) -> Result<CapWord, ValueError> {
    let number = match NAMES.iter().position(|&name| name == word) {
        Some(number) => number as u32,
        None => scalar::uint(word)
            .ok()
            .filter(|&number| number <= LAST)
            .ok_or_else(|| ValueError::new(format!("'{word}' is not a capability")))?,
    };
    Ok(CapWord { word: word.to_owned(), number })
}

fn drop_caps(caps: &mut Caps, value: &str) -> Result<(), ValueError> {
    if matches!(caps, Caps::Keep(_)) {
        return Err(ValueError::new("lxc.cap.keep is already set"));
    }
    let added = scalar::words(value).map(capability).collect::<Result<Vec<_>, _>>()?;
    match caps {
        Caps::Drop(list) => list.extend(added),
        _ => *caps = Caps::Drop(added),
    }
    Ok(())
}

fn keep_caps(caps: &mut Caps, value: &str) -> Result<(), ValueError> {
    if matches!(caps, Caps::Drop(_)) {
        return Err(ValueError::new("lxc.cap.drop is already set"));
    }
    let mut added = Vec::new();
    let mut forget = false;
    for word in scalar::words(value) {
        if word == "none" {
            forget = true;
            added.clear();
        } else {
            added.push(capability(word)?);
        }
    }
    match caps {
        Caps::Keep(list) if !forget => list.extend(added),
        _ => *caps = Caps::Keep(added),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(caps: &Caps) -> Vec<u32> {
        match caps {
            Caps::Unset => Vec::new(),
            Caps::Drop(caps) | Caps::Keep(caps) => caps.iter().map(|cap| cap.number).collect(),
        }
    }

    #[test]
    fn words_are_names_or_numbers() {
        let mut caps = Caps::Unset;
        drop_caps(&mut caps, "sys_admin 21\tchown 0x5").unwrap();
        assert_eq!(numbers(&caps), [21, 21, 0, 5]);
        for bad in ["CAP_CHOWN", "chOwn", "64", "none", "chown bogus"] {
            assert!(drop_caps(&mut caps, bad).is_err(), "{bad}");
        }
        assert_eq!(numbers(&caps), [21, 21, 0, 5]);
        assert!(keep_caps(&mut caps, "chown").is_err());
    }

    #[test]
    fn none_forgets() {
        let mut caps = Caps::Unset;
        keep_caps(&mut caps, "chown").unwrap();
        keep_caps(&mut caps, "kill none mknod").unwrap();
        assert_eq!(numbers(&caps), [27]);
        keep_caps(&mut caps, "none").unwrap();
        assert_eq!(caps, Caps::Keep(Vec::new()));
    }
}

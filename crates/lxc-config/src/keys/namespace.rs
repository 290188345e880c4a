//! `lxc.namespace.*`, and the keys that say what is different inside: ids, clocks, host name.

use super::access::{Access, Custom, Setting, field, lines, separated, sub_key};
use super::{KEY, Key, Kind, Place, Sub};
use crate::values::{IdKind, IdMap, NamespaceKind, Values};
use crate::{ValueError, scalar};

const NAMESPACES: &str = "user mnt pid uts ipc net cgroup time, separated by blanks";
const OFFSET: &str = "number with unit h, m, s, ms, us or ns";
/// Longest host name of Linux.
const HOST_NAME_MAX: usize = 64;

pub(super) const IDMAP: &[Key] = &[Key {
    name: "lxc.idmap",
    kind: Kind::List,
    value: "u|g, first id inside, first id outside, number of ids",
    default: "no user namespace",
    since: "3.0",
    doc: "A range of user (u) or group (g) ids of the container and the ids on the host that stand behind \
          them.",
    place: Place::Container(Access::Custom(Custom {
        set: |values, setting| id_map(setting.value).map(|map| values.idmap.push(map)),
        get: |values, _| separated(&values.idmap),
        clear: |values, _| values.idmap.clear(),
    })),
    ..KEY
}];

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.namespace.clone",
        kind: Kind::List,
        value: NAMESPACES,
        default: "chosen by the other keys",
        since: "3.0",
        doc: "The namespaces that the container gets, and no others. Cannot be used together with \
              lxc.namespace.keep.",
        place: Place::Container(Access::Custom(Custom {
            set: set_clone,
            get: |values, _| lines(values.namespace.clone.iter().map(|kind| kind.name())),
            clear: |values, _| values.namespace.clone.clear(),
        })),
        ..KEY
    },
    Key {
        name: "lxc.namespace.keep",
        kind: Kind::List,
        value: NAMESPACES,
        default: "chosen by the other keys",
        since: "3.0",
        doc: "The namespaces that the container shares with its caller; it gets all others. Cannot be used \
              together with lxc.namespace.clone.",
        place: Place::Container(Access::Custom(Custom {
            set: set_keep,
            get: |values, _| lines(values.namespace.keep.iter().map(|kind| kind.name())),
            clear: |values, _| values.namespace.keep.clear(),
        })),
        ..KEY
    },
    Key {
        name: "lxc.namespace.share",
        sub: Sub::Required("<namespace>"),
        kind: Kind::Map,
        value: "name of a container, process id, or path of a namespace file",
        default: "none",
        since: "3.0",
        doc: "A namespace to join instead of a new one.",
        listed: false,
        place: Place::Container(Access::Custom(Custom {
            set: set_share,
            get: |values, sub| {
                let share = kind_of_share(sub).and_then(|kind| values.namespace.share.get(&kind));
                share.cloned().unwrap_or_default()
            },
            clear: |values, sub| {
                if let Some(kind) = kind_of_share(sub) {
                    values.namespace.share.remove(&kind);
                }
            },
        })),
        ..KEY
    },
    Key {
        name: "lxc.time.offset.boot",
        value: OFFSET,
        default: "0",
        since: "5.0",
        doc: "How much the container's clock of the time since boot differs from that of the host.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| time_offset(setting.value).map(|offset| values.time_offset.boot = offset),
            get: |values, _| offset_text(values.time_offset.boot),
            clear: |values, _| values.time_offset.boot = (0, 0),
        })),
        ..KEY
    },
    Key {
        name: "lxc.time.offset.monotonic",
        value: OFFSET,
        default: "0",
        since: "5.0",
        doc: "How much the container's monotonic clock differs from that of the host.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| {
                time_offset(setting.value).map(|offset| values.time_offset.monotonic = offset)
            },
            get: |values, _| offset_text(values.time_offset.monotonic),
            clear: |values, _| values.time_offset.monotonic = (0, 0),
        })),
        ..KEY
    },
];

pub(super) const UTS: &[Key] = &[Key {
    name: "lxc.uts.name",
    value: "host name of at most 64 bytes",
    default: "the name of the container",
    since: "2.1",
    doc: "The host name inside the container.",
    place: Place::Container(Access::Bounded(field!(uts_name), HOST_NAME_MAX)),
    ..KEY
}];

impl std::fmt::Display for IdMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            IdKind::Uid => 'u',
            IdKind::Gid => 'g',
        };
        write!(f, "{kind} {} {} {}", self.ns_id, self.host_id, self.count)
    }
}

fn id_map(value: &str) -> Result<IdMap, ValueError> {
    let fields: Vec<&str> = scalar::words(value).collect();
    let &[kind, ns_id, host_id, count] = &fields[..] else {
        return Err(ValueError::new(format!("an id map has four fields, not {}", fields.len())));
    };
    let kind = match kind {
        "u" => IdKind::Uid,
        "g" => IdKind::Gid,
        _ => return Err(ValueError::new(format!("'{kind}' is neither u nor g"))),
    };
    Ok(IdMap {
        kind,
        ns_id: scalar::ulong(ns_id)?,
        host_id: scalar::ulong(host_id)?,
        count: scalar::ulong(count)?,
    })
}

/// The namespace of `lxc.namespace.share.<namespace>`.
pub(super) fn kind_of_share(name: &str) -> Option<NamespaceKind> {
    NamespaceKind::ALL.into_iter().find(|kind| kind.name() == name)
}

fn set_share(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    let name = sub_key(setting)?;
    let kind = kind_of_share(name).ok_or_else(|| ValueError::new(format!("'{name}' is not a namespace")))?;
    values.namespace.share.insert(kind, setting.value.to_owned());
    Ok(())
}

fn set_clone(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    if !values.namespace.keep.is_empty() {
        return Err(ValueError::new("lxc.namespace.keep is already set"));
    }
    add_namespaces(&mut values.namespace.clone, setting.value)
}

fn set_keep(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    if !values.namespace.clone.is_empty() {
        return Err(ValueError::new("lxc.namespace.clone is already set"));
    }
    add_namespaces(&mut values.namespace.keep, setting.value)
}

/// Adds the named ones and puts all into their usual order.
fn add_namespaces(list: &mut Vec<NamespaceKind>, value: &str) -> Result<(), ValueError> {
    let named = |word: &str| {
        let kind = NamespaceKind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(word));
        kind.ok_or_else(|| ValueError::new(format!("'{word}' is not a namespace")))
    };
    let added = scalar::words(value).map(named).collect::<Result<Vec<_>, _>>()?;
    list.extend(added);
    list.sort_unstable();
    list.dedup();
    Ok(())
}

/// Hours, minutes and seconds count as seconds, smaller units as nanoseconds.
fn time_offset(value: &str) -> Result<(i64, i64), ValueError> {
    let bad = || ValueError::new(format!("'{value}' is not a number with a unit"));
    let signed = usize::from(value.starts_with(['+', '-']));
    let digits = value[signed..].bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(signed + digits);
    let number: i64 = number.parse().map_err(|_| bad())?;
    // One blank may stand before a unit of one letter: no more than two characters follow the number.
    let unit = if unit.len() <= 2 { unit.trim_start_matches(' ') } else { unit };
    let times = |factor: i64| {
        number.checked_mul(factor).ok_or_else(|| ValueError::new(format!("'{value}' is out of range")))
    };
    match unit {
        "h" => Ok((times(3600)?, 0)),
        "m" => Ok((times(60)?, 0)),
        "s" => Ok((number, 0)),
        "ms" => Ok((0, times(1_000_000)?)),
        "us" => Ok((0, times(1000)?)),
        "ns" => Ok((0, number)),
        _ => Err(bad()),
    }
}

fn offset_text((seconds, nanoseconds): (i64, i64)) -> String {
    if seconds != 0 { format!("{seconds}s") } else { format!("{nanoseconds}ns") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        assert_eq!(time_offset("2h"), Ok((7200, 0)));
        assert_eq!(time_offset("5 m"), Ok((300, 0)));
        assert_eq!(time_offset("-7ms"), Ok((0, -7_000_000)));
        assert_eq!(time_offset("+3s"), Ok((3, 0)));
        for bad in ["7", "5  m", "5 ms", "1d", "0x10s", "3S", "s", "-", "9223372036854775807h", "5é"] {
            assert!(time_offset(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn id_maps() {
        assert_eq!(id_map(" u 0\t0x10 010 ").unwrap().to_string(), "u 0 16 8");
        for bad in ["u 0 1", "u 0 1 2 3", "b 0 1 2", "u -1 1 2", "uu 0 1 2"] {
            assert!(id_map(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn namespaces_are_ordered() {
        let mut list = Vec::new();
        add_namespaces(&mut list, "net USER").unwrap();
        add_namespaces(&mut list, "mnt net").unwrap();
        assert_eq!(list, [NamespaceKind::User, NamespaceKind::Mnt, NamespaceKind::Net]);
        assert!(add_namespaces(&mut list, "pid mount").is_err());
        assert_eq!(list.len(), 3);
    }
}

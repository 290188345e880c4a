//! `lxc.mount.*`

use super::access::{Access, Custom, Setting, field};
use super::{KEY, Key, Kind, Place};
use crate::values::{CgroupAccess, CgroupMount, CgroupMountKind, MountAuto, ProcMount, SysMount, Values};
use crate::{ValueError, scalar};

/// Where the directory for mount injection appears in the container unless the value says otherwise.
const SHMOUNTS_TARGET: &str = "/dev/.lxc-mounts";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.mount.auto",
        kind: Kind::List,
        value: "proc[:mixed|rw] sys[:mixed|ro|rw] cgroup[-full][:mixed|ro|rw][:force] cgroup2[:ro][:force] \
                shmounts:HOSTPATH[:PATH], separated by blanks",
        default: "none",
        since: "1.0",
        doc: "File systems to mount without further ado. Of each kind the last one counts. `mixed` protects \
              what should not be written, `cgroup-full` shows the whole hierarchy, and `shmounts` shares a \
              directory of the host through which mounts can be added later.",
        place: Place::Container(Access::Custom(Custom {
            set: set_auto,
            get: |values, _| values.mount_auto.to_string(),
            clear: |values, _| values.mount_auto = MountAuto::default(),
        })),
        ..KEY
    },
    Key {
        name: "lxc.mount.entry",
        kind: Kind::List,
        value: "line of fstab(5), with create=dir, create=file, optional, relative and idmap= among the \
                options",
        default: "none",
        since: "1.0",
        doc: "A mount of the container. A relative target is below the root file system. `create=` makes the \
              target, `optional` ignores failures, `relative` takes the source from the root file system \
              too.",
        place: Place::Container(Access::Lines(field!(mount_entries))),
        ..KEY
    },
    Key {
        name: "lxc.mount.fstab",
        value: "path",
        since: "2.1",
        doc: "A file with lines like those of lxc.mount.entry, which are mounted before them.",
        place: Place::Container(Access::Path(field!(mount_fstab))),
        ..KEY
    },
];

/// All tokens of a value or none.
fn set_auto(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    let mut auto = values.mount_auto.clone();
    for token in scalar::words(setting.value) {
        add(&mut auto, token)?;
    }
    values.mount_auto = auto;
    Ok(())
}

fn add(auto: &mut MountAuto, token: &str) -> Result<(), ValueError> {
    let bad = || ValueError::new(format!("'{token}' is not an automatic mount"));
    let (class, rest) = token.split_once(':').map_or((token, None), |(class, rest)| (class, Some(rest)));
    match (class, rest) {
        ("proc", None | Some("mixed")) => auto.proc = Some(ProcMount::Mixed),
        ("proc", Some("rw")) => auto.proc = Some(ProcMount::Rw),
        ("sys", None | Some("mixed")) => auto.sys = Some(SysMount::Mixed),
        ("sys", Some("ro")) => auto.sys = Some(SysMount::Ro),
        ("sys", Some("rw")) => auto.sys = Some(SysMount::Rw),
        ("cgroup", rest) => auto.cgroup = Some(cgroup(CgroupMountKind::Own, rest).ok_or_else(bad)?),
        ("cgroup-full", rest) => auto.cgroup = Some(cgroup(CgroupMountKind::Full, rest).ok_or_else(bad)?),
        ("cgroup2", rest) => {
            let access = match rest {
                None | Some("force") => None,
                Some("ro" | "ro:force") => Some(CgroupAccess::Ro),
                _ => return Err(bad()),
            };
            auto.cgroup = Some(CgroupMount { kind: CgroupMountKind::Unified, access, force: true });
        }
        ("shmounts", Some(paths)) => {
            let (host, container) = paths.split_once(':').unwrap_or((paths, SHMOUNTS_TARGET));
            if host.is_empty() || container.is_empty() {
                return Err(ValueError::new("shmounts needs the path of a directory"));
            }
            auto.shmounts = Some((host.into(), container.into()));
        }
        _ => return Err(bad()),
    }
    Ok(())
}

/// What follows `cgroup:` or `cgroup-full:`.
fn cgroup(kind: CgroupMountKind, rest: Option<&str>) -> Option<CgroupMount> {
    let (access, force) = match rest {
        None => (None, false),
        Some("force") => (None, true),
        Some(rest) => match rest.split_once(':') {
            None => (Some(rest), false),
            Some((access, "force")) => (Some(access), true),
            Some(_) => return None,
        },
    };
    let access = match access {
        None => None,
        Some("mixed") => Some(CgroupAccess::Mixed),
        Some("ro") => Some(CgroupAccess::Ro),
        Some("rw") => Some(CgroupAccess::Rw),
        Some(_) => return None,
    };
    Some(CgroupMount { kind, access, force })
}

impl std::fmt::Display for MountAuto {
    /// Tokens that give the same value again, separated by blanks.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let proc = self.proc.map(|proc| match proc {
            ProcMount::Mixed => "proc:mixed".to_owned(),
            ProcMount::Rw => "proc:rw".to_owned(),
        });
        let sys = self.sys.map(|sys| match sys {
            SysMount::Mixed => "sys:mixed".to_owned(),
            SysMount::Ro => "sys:ro".to_owned(),
            SysMount::Rw => "sys:rw".to_owned(),
        });
        let cgroup = self.cgroup.map(|cgroup| cgroup.to_string());
        let shmounts = self.shmounts.as_ref().map(|(host, container)| {
            format!("shmounts:{}:{}", host.to_string_lossy(), container.to_string_lossy())
        });
        let tokens: Vec<String> = [proc, sys, cgroup, shmounts].into_iter().flatten().collect();
        f.write_str(&tokens.join(" "))
    }
}

impl std::fmt::Display for CgroupMount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.kind {
            CgroupMountKind::Own => "cgroup",
            CgroupMountKind::Full => "cgroup-full",
            CgroupMountKind::Unified => "cgroup2",
        })?;
        f.write_str(match self.access {
            None => "",
            Some(CgroupAccess::Mixed) => ":mixed",
            Some(CgroupAccess::Ro) => ":ro",
            Some(CgroupAccess::Rw) => ":rw",
        })?;
        // cgroup2 is always forced, so the word would add nothing.
        if self.force && self.kind != CgroupMountKind::Unified { f.write_str(":force") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_mounts_round_trip() {
        for (written, read) in [
            ("proc", "proc:mixed"),
            ("sys:ro  proc:rw", "proc:rw sys:ro"),
            ("sys", "sys:mixed"),
            ("sys:rw", "sys:rw"),
            ("cgroup", "cgroup"),
            ("cgroup:force", "cgroup:force"),
            ("cgroup:mixed:force", "cgroup:mixed:force"),
            ("cgroup-full:rw", "cgroup-full:rw"),
            ("cgroup2:ro:force", "cgroup2:ro"),
            ("cgroup cgroup2", "cgroup2"),
            ("shmounts:/a", "shmounts:/a:/dev/.lxc-mounts"),
            ("shmounts:/a:/b", "shmounts:/a:/b"),
        ] {
            let mut auto = MountAuto::default();
            scalar::words(written).for_each(|token| add(&mut auto, token).unwrap());
            assert_eq!(auto.to_string(), read);
            let mut again = MountAuto::default();
            scalar::words(read).for_each(|token| add(&mut again, token).unwrap());
            assert_eq!(again, auto);
        }
        let bad = [
            "proc:ro",
            "proc:",
            "sys:",
            "cgroup:",
            "cgroup:ro:x",
            "cgroup2:rw",
            "cgroup2:mixed",
            "shmounts",
            "shmounts:",
            "shmounts::/b",
            "shmounts:/a:",
            "Proc",
        ];
        for bad in bad {
            assert!(add(&mut MountAuto::default(), bad).is_err(), "{bad}");
        }
    }
}

//! Which ids the container's processes have, inside and on the host.

use lxc_config::{IdKind, IdMap, Values};

use super::subordinate::Subordinate;
use crate::error::{Error, Result};

/// Ids of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Map of the user namespace; empty without one.
    pub map: Vec<IdMap>,
    /// Uid, inside, with which the container is set up: 0, or init's where 0 is not mapped.
    pub setup_uid: u32,
    /// Gid, inside, with which the container is set up.
    pub setup_gid: u32,
    /// Uid of init, inside.
    pub uid: u32,
    /// Gid of init, inside.
    pub gid: u32,
    /// Supplementary groups of init.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Checks the map and picks the ids.
    pub fn resolve(values: &Values) -> Result<Identity> {
        let mut identity = Identity {
            map: values.idmap.clone(),
            setup_uid: 0,
            setup_gid: 0,
            uid: values.init.uid,
            gid: values.init.gid,
            groups: values.init.groups.clone(),
        };
        if identity.map.is_empty() {
            return Ok(identity);
        }
        for kind in [IdKind::Uid, IdKind::Gid] {
            check_map(&identity.map, kind)?;
        }
        if identity.host_id(IdKind::Uid, 0).is_none() {
            identity.setup_uid = identity.uid;
        }
        if identity.host_id(IdKind::Gid, 0).is_none() {
            identity.setup_gid = identity.gid;
        }
        for (kind, id, key) in
            [(IdKind::Uid, identity.uid, "lxc.init.uid"), (IdKind::Gid, identity.gid, "lxc.init.gid")]
        {
            if identity.host_id(kind, id).is_none() {
                return Err(Error::invalid(format!("lxc.idmap maps no id for {key} = {id}"))
                    .with_hint(format!("add a line such as `lxc.idmap = {} {id} 100000 1`", letter(kind))));
            }
        }
        Ok(identity)
    }

    /// Whether the container has a user namespace with a map.
    pub fn is_mapped(&self) -> bool {
        !self.map.is_empty()
    }

    /// The host's id of an id inside.
    pub fn host_id(&self, kind: IdKind, inside: u32) -> Option<u32> {
        if self.map.is_empty() {
            return Some(inside);
        }
        let inside = u64::from(inside);
        self.map
            .iter()
            .find(|m| m.kind == kind && inside >= m.ns_id && inside - m.ns_id < m.count)
            .and_then(|m| u32::try_from(m.host_id + (inside - m.ns_id)).ok())
    }

    /// All that an ordinary user may map, from its first ranges of subordinate ids; nothing for root.
    pub fn of_caller() -> Identity {
        if rustix::process::geteuid().is_root() {
            return Identity::default();
        }
        let given = Subordinate::of_caller();
        match (given.first(IdKind::Uid), given.first(IdKind::Gid)) {
            (Some(uids), Some(gids)) => Identity { map: vec![uids, gids], ..Identity::default() },
            _ => Identity::default(),
        }
    }

    /// The same, with the caller's own ids mapped as well, each at the first id inside that is free: whoever is root
    /// there may then give files of the caller's to the container and take them back.
    pub fn with_caller(&self) -> Identity {
        let mut identity = self.clone();
        let own = [
            (IdKind::Uid, rustix::process::geteuid().as_raw()),
            (IdKind::Gid, rustix::process::getegid().as_raw()),
        ];
        for (kind, id) in own {
            let host_id = u64::from(id);
            let covers = |m: &IdMap| m.kind == kind && host_id >= m.host_id && host_id - m.host_id < m.count;
            if !identity.map.iter().any(covers) {
                let ns_id = first_free(&identity.map, kind);
                identity.map.push(IdMap { kind, ns_id, host_id, count: 1 });
            }
        }
        identity
    }

    /// The id inside of an id of the host.
    pub fn inside_id(&self, kind: IdKind, outside: u32) -> Option<u32> {
        let outside = u64::from(outside);
        self.map
            .iter()
            .find(|m| m.kind == kind && outside >= m.host_id && outside - m.host_id < m.count)
            .and_then(|m| u32::try_from(m.ns_id + (outside - m.host_id)).ok())
    }

    /// Uid and gid on the host that own what is made for the container's root.
    pub fn host_owner(&self) -> (u32, u32) {
        (
            self.host_id(IdKind::Uid, self.setup_uid).unwrap_or(0),
            self.host_id(IdKind::Gid, self.setup_gid).unwrap_or(0),
        )
    }

    /// Text for /proc/PID/uid_map or gid_map.
    pub fn map_text(&self, kind: IdKind) -> String {
        let line = |m: &IdMap| format!("{} {} {}\n", m.ns_id, m.host_id, m.count);
        self.map.iter().filter(|m| m.kind == kind).map(line).collect()
    }
}

/// The first id inside that a map leaves free. Not 0, where anything is mapped: whoever has that there loses all
/// capabilities with the change to another one (capabilities(7)).
pub fn first_free(map: &[IdMap], kind: IdKind) -> u64 {
    let mut free = u64::from(map.iter().any(|m| m.kind == kind));
    while let Some(taken) = map.iter().find(|m| m.kind == kind && free >= m.ns_id && free - m.ns_id < m.count)
    {
        free = taken.ns_id + taken.count;
    }
    free
}

pub(crate) fn letter(kind: IdKind) -> char {
    match kind {
        IdKind::Uid => 'u',
        IdKind::Gid => 'g',
    }
}

/// The kernel's rules (user_namespaces(7)): no empty, overflowing or overlapping ranges.
fn check_map(map: &[IdMap], kind: IdKind) -> Result<()> {
    const IDS: u64 = 1 << 32;
    let lines: Vec<&IdMap> = map.iter().filter(|m| m.kind == kind).collect();
    let show = |m: &IdMap| format!("lxc.idmap = {} {} {} {}", letter(kind), m.ns_id, m.host_id, m.count);
    if lines.is_empty() {
        let (have, lack) = if kind == IdKind::Uid { ("g", "u") } else { ("u", "g") };
        return Err(Error::invalid(format!("lxc.idmap has lines for {have} but none for {lack}")));
    }
    for m in &lines {
        let ends = (m.ns_id.checked_add(m.count), m.host_id.checked_add(m.count));
        if m.count == 0 || !matches!(ends, (Some(a), Some(b)) if a <= IDS && b <= IDS) {
            return Err(Error::invalid(format!("{}: the range is empty or passes 2^32", show(m))));
        }
    }
    let overlap = |a: u64, b: u64, x: &IdMap, y: &IdMap| a < b + y.count && b < a + x.count;
    for (i, x) in lines.iter().enumerate() {
        for y in &lines[i + 1..] {
            if overlap(x.ns_id, y.ns_id, x, y) || overlap(x.host_id, y.host_id, x, y) {
                return Err(Error::invalid(format!("{}: overlaps with {}", show(x), show(y))));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(lines: &[(IdKind, u64, u64, u64)]) -> Values {
        let map =
            |&(kind, ns_id, host_id, count): &(IdKind, u64, u64, u64)| IdMap { kind, ns_id, host_id, count };
        Values { idmap: lines.iter().map(map).collect(), ..Values::default() }
    }

    #[test]
    fn free_ids() {
        let map = |ns_id, count| IdMap { kind: IdKind::Uid, ns_id, host_id: 1, count };
        assert_eq!(first_free(&[], IdKind::Uid), 0);
        assert_eq!(first_free(&[map(10, 5), map(0, 10)], IdKind::Uid), 15);
        assert_eq!(first_free(&[map(1, 5)], IdKind::Uid), 6);
        assert_eq!(first_free(&[map(1000, 5)], IdKind::Uid), 1);
        assert_eq!(first_free(&[map(0, 5)], IdKind::Gid), 0);
    }

    #[test]
    fn maps() {
        use IdKind::{Gid, Uid};
        let id =
            Identity::resolve(&values(&[(Uid, 0, 100_000, 65536), (Gid, 0, 200_000, 65536)])).expect("a map");
        assert_eq!(id.host_owner(), (100_000, 200_000));
        assert_eq!(id.host_id(Uid, 65536), None);
        assert_eq!(id.map_text(Gid), "0 200000 65536\n");
        for bad in [
            vec![(Uid, 0, 100_000, 65536)],
            vec![(Uid, 0, 1, 0), (Gid, 0, 1, 1)],
            vec![(Uid, 0, 1, 10), (Uid, 5, 100, 10), (Gid, 0, 1, 1)],
            vec![(Uid, 1, 1, 10), (Gid, 0, 1, 1)],
        ] {
            assert!(Identity::resolve(&values(&bad)).is_err(), "{bad:?}");
        }
    }
}

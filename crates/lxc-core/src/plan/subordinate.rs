//! Subordinate ids: what an ordinary user may map besides its own ids (subuid(5), subgid(5)).

use lxc_config::{IdKind, IdMap};

use super::identity::{Identity, letter};
use crate::error::{Error, Kind, Result};

/// The subordinate ids of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subordinate {
    /// Name of the user; its number where it has none.
    pub login: String,
    uid: u32,
    gid: u32,
    uids: Vec<Range>,
    gids: Vec<Range>,
    /// Ids are given by other sources than the files as well: only newuidmap(1) knows them all.
    others: bool,
}

/// Ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    count: u64,
}

impl Range {
    fn end(self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

impl Subordinate {
    /// Those of the calling user.
    pub fn of_caller() -> Subordinate {
        let read = |path: &str| crate::files::read_text(path).unwrap_or_default();
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        let login = login_of(uid).unwrap_or_else(|| uid.to_string());
        let switch = read("/etc/nsswitch.conf");
        let sources = switch.lines().find_map(|l| l.trim().strip_prefix("subid:"));
        let others = sources.is_some_and(|s| s.split_ascii_whitespace().any(|word| word != "files"));
        let own = Subordinate::of(&login, (uid, gid), &read("/etc/subuid"), &read("/etc/subgid"));
        Subordinate { others, ..own }
    }

    /// Those that the texts of /etc/subuid and /etc/subgid give to a user.
    pub fn of(login: &str, (uid, gid): (u32, u32), subuid: &str, subgid: &str) -> Subordinate {
        Subordinate {
            login: login.to_string(),
            uid,
            gid,
            uids: parse(subuid, login, uid),
            gids: parse(subgid, login, uid),
            others: false,
        }
    }

    fn ranges(&self, kind: IdKind) -> &[Range] {
        match kind {
            IdKind::Uid => &self.uids,
            IdKind::Gid => &self.gids,
        }
    }

    /// The first range, mapped at 0.
    pub fn first(&self, kind: IdKind) -> Option<IdMap> {
        let range = self.ranges(kind).first()?;
        Some(IdMap { kind, ns_id: 0, host_id: range.first, count: range.count })
    }

    /// Whether the user may map everything in a map.
    ///
    /// # Errors
    /// The first line that it may not, and what would let it.
    pub fn check(&self, identity: &Identity) -> Result<()> {
        for line in &identity.map {
            let own = if line.kind == IdKind::Uid { self.uid } else { self.gid };
            let is_own = line.count == 1 && line.host_id == u64::from(own);
            if !is_own && !self.others && !self.covers(line) {
                return Err(self.explain(line));
            }
        }
        Ok(())
    }

    /// Why a container without a map is none for an ordinary user.
    pub fn nothing_mapped(&self) -> Error {
        let line = |kind| {
            self.first(kind)
                .map(|m| format!("`lxc.idmap = {} {} {} {}`", letter(kind), m.ns_id, m.host_id, m.count))
        };
        let hint = match (line(IdKind::Uid), line(IdKind::Gid)) {
            (Some(uids), Some(gids)) => format!("add {uids} and {gids}: to default.conf for new containers"),
            _ => format!(
                "{0} has no subordinate ids: let root run \
                 `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {0}`",
                self.login
            ),
        };
        Error::new(Kind::Denied, "lxc.idmap is missing: only root runs containers without one")
            .with_hint(hint)
    }

    /// As newuidmap(1) decides: ranges that follow each other count as one.
    fn covers(&self, line: &IdMap) -> bool {
        let ranges = self.ranges(line.kind);
        let Some(end) = line.host_id.checked_add(line.count) else { return false };
        let mut next = line.host_id;
        while next < end {
            match ranges.iter().find(|r| r.first <= next && next < r.end()) {
                Some(range) => next = range.end(),
                None => return false,
            }
        }
        true
    }

    fn explain(&self, line: &IdMap) -> Error {
        let (file, option) = match line.kind {
            IdKind::Uid => ("/etc/subuid", "--add-subuids"),
            IdKind::Gid => ("/etc/subgid", "--add-subgids"),
        };
        let login = &self.login;
        let show = |r: &Range| format!("{}-{}", r.first, r.end() - 1);
        let given: Vec<String> = self.ranges(line.kind).iter().map(show).collect();
        let given =
            if given.is_empty() { "no ids".to_string() } else { format!("only {}", given.join(", ")) };
        let IdMap { ns_id, host_id, count, .. } = line;
        let wanted = show(&Range { first: *host_id, count: *count });
        Error::new(
            Kind::Denied,
            format!(
                "lxc.idmap = {} {ns_id} {host_id} {count}: {file} gives {login} {given}",
                letter(line.kind)
            ),
        )
        .with_hint(format!(
            "map what is given, or let root run `usermod {option} {wanted} {login}`, which adds the line \
             `{login}:{host_id}:{count}`"
        ))
    }
}

/// The lines of a user, by name or number: NAME:FIRST:COUNT. Others are skipped, as shadow's programs do.
fn parse(text: &str, login: &str, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let (name, first, count) = (fields.next()?, fields.next()?, fields.next()?);
            let of_user = (name == login || name == number) && fields.next().is_none();
            let range = Range { first: first.parse().ok()?, count: count.parse().ok()? };
            (of_user && range.count > 0).then_some(range)
        })
        .collect()
}

/// The name of a user.
pub fn login_of(uid: u32) -> Option<String> {
    let number = uid.to_string();
    let find = |text: &str| {
        let line = text.lines().find(|l| l.split(':').nth(2) == Some(&number))?;
        line.split(':').next().map(String::from)
    };
    let local = crate::files::read_text("/etc/passwd").unwrap_or_default();
    // Users of a directory service.
    find(&local).or_else(|| find(&crate::program::run("getent", &["passwd", &number]).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# none\nother:1:2\nme:100000:0\nme:200000:65536\n1000:265536:10\nme:5\nme:1:2:3\n";

    fn of_user() -> Subordinate {
        Subordinate::of("me", (1000, 100), TEXT, TEXT)
    }

    #[test]
    fn ranges_of_a_user() {
        let found = of_user().first(IdKind::Uid).expect("a range");
        assert_eq!((found.ns_id, found.host_id, found.count), (0, 200_000, 65536));
        assert_eq!(parse(TEXT, "nobody", 7), []);
    }

    #[test]
    fn what_may_be_mapped() {
        use IdKind::{Gid, Uid};
        let may = |kind, host_id, count| {
            let map = vec![IdMap { kind, ns_id: 0, host_id, count }];
            of_user().check(&Identity { map, ..Identity::default() }).is_ok()
        };
        assert!(may(Uid, 200_000, 65536));
        assert!(may(Uid, 200_010, 65536), "two ranges that follow each other");
        assert!(!may(Uid, 200_010, 65537));
        assert!(!may(Uid, 199_999, 2));
        assert!(!may(Uid, 0, 1));
        assert!(may(Uid, 1000, 1) && may(Gid, 100, 1), "its own");
        assert!(!may(Gid, 1000, 1) && !may(Uid, 1000, 2));
        assert!(!may(Uid, u64::MAX, 2));
    }
}

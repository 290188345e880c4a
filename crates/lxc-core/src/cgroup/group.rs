//! The cgroups of one container or monitor, one in each hierarchy.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};

use super::layout::{Hierarchy, Layout, Version, read_at, write_at};
use crate::error::{Doing, Error, Result};
use crate::plan::cgroup::GroupName;

/// Suffixes tried when a name is taken: none, -1 … -999.
const MAX_SUFFIX: u32 = 999;

/// A cgroup in one hierarchy.
#[derive(Debug)]
pub struct Group {
    /// Index into [`Layout::hierarchies`].
    pub hierarchy: usize,
    /// Interface of that hierarchy.
    pub version: Version,
    /// Path relative to the base cgroup.
    pub path: String,
    /// The directory that carries the limits.
    pub limit_dir: OwnedFd,
    /// The directory that init runs in, where it is another one.
    pub inner_dir: Option<OwnedFd>,
}

impl Group {
    /// The directory that init runs in.
    pub fn dir(&self) -> &OwnedFd {
        self.inner_dir.as_ref().unwrap_or(&self.limit_dir)
    }
}

/// The cgroups of one container or monitor in all hierarchies.
#[derive(Debug, Default)]
pub struct GroupSet {
    /// In the order of the layout.
    pub groups: Vec<Group>,
    /// Name below `path`'s last component in which init runs.
    pub inner: Option<String>,
}

const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl GroupSet {
    /// Creates the cgroups in every hierarchy of the layout, with the same name in all.
    ///
    /// What a monitor that was killed left is removed first: cgroups of that name which nobody is in
    /// and no other monitor has locked, in all hierarchies. Where the name is taken the next suffix
    /// is tried. A name that was given exactly is the administrator's: it must be free.
    pub fn create(layout: &Layout, name: &GroupName) -> Result<GroupSet> {
        for suffix in 0..=if name.exact { 0 } else { MAX_SUFFIX } {
            let path = if suffix == 0 { name.path.clone() } else { format!("{}-{suffix}", name.path) };
            let mut made = GroupSet::try_create(layout, &path, name)?;
            // Leftovers, mostly of a monitor that was killed, give way.
            if made.is_none() && !name.exact && remove_abandoned(layout, &path) {
                made = GroupSet::try_create(layout, &path, name)?;
            }
            if let Some(groups) = made {
                return Ok(GroupSet { groups, inner: name.inner.clone() });
            }
        }
        Err(Error::os(format!("create cgroup {}", name.path), Errno::EXIST)
            .with_hint("cgroups of that name exist and are in use; see lxc.cgroup.dir"))
    }

    /// `None`: the name is taken in some hierarchy; what was made is removed again.
    fn try_create(layout: &Layout, path: &str, name: &GroupName) -> Result<Option<Vec<Group>>> {
        let mut made = GroupSet { groups: Vec::new(), inner: name.inner.clone() };
        for (index, hierarchy) in layout.hierarchies.iter().enumerate() {
            match create_one(hierarchy, path) {
                Ok(Some(limit_dir)) => made.groups.push(Group {
                    hierarchy: index,
                    version: hierarchy.version,
                    path: path.to_string(),
                    limit_dir,
                    inner_dir: None,
                }),
                Ok(None) => {
                    made.remove(layout);
                    return Ok(None);
                }
                Err(e) => {
                    made.remove(layout);
                    return Err(e);
                }
            }
        }
        Ok(Some(made.groups))
    }

    /// Makes the inner cgroups. Device rules of v1 must be written before: a cgroup with children
    /// refuses `a`.
    pub fn create_inner(&mut self, layout: &Layout) -> Result<()> {
        let Some(inner) = self.inner.clone() else { return Ok(()) };
        for group in &mut self.groups {
            let hierarchy = &layout.hierarchies[group.hierarchy];
            let what = || format!("create cgroup {}/{inner} in {}", group.path, hierarchy.mount.display());
            rustix::fs::mkdirat(&group.limit_dir, &*inner, Mode::from_raw_mode(0o755)).doing(what)?;
            if hierarchy.controllers.iter().any(|c| c == "cpuset") && group.version == Version::V1 {
                inherit_cpuset(group.limit_dir.as_fd(), &inner).doing(what)?;
            }
            let dir = rustix::fs::openat(&group.limit_dir, &*inner, DIR_FLAGS, Mode::empty()).doing(what)?;
            group.inner_dir = Some(dir);
        }
        Ok(())
    }

    /// Makes the controllers of a pure v2 host available in these cgroups: each parent passes on
    /// all that the base has, never the leaf.
    pub fn enable_controllers(&self, layout: &Layout) -> Result<()> {
        if !layout.is_unified() {
            return Ok(());
        }
        for group in &self.groups {
            let hierarchy = &layout.hierarchies[group.hierarchy];
            if hierarchy.controllers.is_empty() {
                continue;
            }
            let all: Vec<String> = hierarchy.controllers.iter().map(|c| format!("+{c}")).collect();
            let all = all.join(" ");
            let mut components: Vec<&str> = group.path.split('/').collect();
            if self.inner.is_none() {
                components.pop();
            }
            let mut parent = String::from(".");
            for component in std::iter::once("").chain(components) {
                if !component.is_empty() {
                    parent = format!("{parent}/{component}");
                }
                let file = format!("{parent}/cgroup.subtree_control");
                let enabled = read_at(hierarchy.base_dir.as_fd(), &file).unwrap_or_default();
                let missing = |c: &String| !enabled.split_ascii_whitespace().any(|e| e == c);
                if hierarchy.controllers.iter().any(missing) {
                    let what = || format!("write {all} to {file} below {}", hierarchy.mount.display());
                    match write_at(hierarchy.base_dir.as_fd(), &file, &all) {
                        // A cgroup with processes in it hands no controllers on. Without them the container
                        // has no limits; one that wants some is refused when they are written.
                        Err(e @ Errno::BUSY) => log::warn!("{}", Error::os(what(), e)),
                        result => result.doing(what)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Descriptors of their directories.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.groups
            .iter()
            .flat_map(|group| [Some(&group.limit_dir), group.inner_dir.as_ref()])
            .flatten()
            .map(AsRawFd::as_raw_fd)
    }

    /// The v2 cgroup that a child can be born in.
    pub fn unified_dir(&self) -> Option<&OwnedFd> {
        self.groups.iter().find(|g| g.version == Version::V2).map(Group::dir)
    }

    /// Opens the `tasks` files of the v1 cgroups for [`join`].
    pub fn v1_tasks(&self) -> Result<Vec<OwnedFd>> {
        let v1 = self.groups.iter().filter(|g| g.version == Version::V1);
        v1.map(|g| {
            rustix::fs::openat(g.dir(), "tasks", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .doing(|| format!("open tasks of cgroup {}", g.path))
        })
        .collect()
    }

    /// Moves the calling, single-threaded process into all cgroups; into the v2 one by
    /// `cgroup.procs`, which may wait for an RCU grace period.
    pub fn enter(&self) -> Result<()> {
        join(&self.v1_tasks()?)?;
        for group in self.groups.iter().filter(|g| g.version == Version::V2) {
            write_at(group.dir().as_fd(), "cgroup.procs", "0")
                .doing(|| format!("enter cgroup {}", group.path))?;
        }
        Ok(())
    }

    /// Removes all cgroups of the set with what is below them. Failures are logged: the next start
    /// of the container reclaims what stayed.
    pub fn remove(&self, layout: &Layout) {
        for group in &self.groups {
            let hierarchy = &layout.hierarchies[group.hierarchy];
            if let Err(e) = remove_tree(hierarchy, &group.path) {
                log::warn!("remove cgroup {} in {}: {e}", group.path, hierarchy.mount.display());
            }
        }
    }

    /// Whether all are gone when what the caller may remove is removed.
    pub fn try_remove(&self, layout: &Layout) -> bool {
        let gone = |g: &Group| remove_tree(&layout.hierarchies[g.hierarchy], &g.path).is_ok();
        self.groups.iter().filter(|g| !gone(g)).count() == 0
    }
}

/// Moves the calling, single-threaded process into v1 cgroups whose `tasks` files are open. A write
/// of 0 names the writer itself, for which the kernel needs no global lock.
pub fn join(tasks: &[OwnedFd]) -> Result<()> {
    for fd in tasks {
        rustix::io::write(fd, b"0").doing(|| "join a cgroup by its tasks file")?;
    }
    Ok(())
}

/// Moves the calling process out of `set`, so that it can be removed: on v1 to the base cgroup, on
/// v2, unless it is there no more, to `pivot` below the base (made if absent, and left: other monitors use it too).
pub fn leave(layout: &Layout, set: &GroupSet, pivot: &str, in_v2: bool) {
    for group in set.groups.iter().filter(|g| in_v2 || g.version == Version::V1) {
        let hierarchy = &layout.hierarchies[group.hierarchy];
        let base = hierarchy.base_dir.as_fd();
        let left = match group.version {
            Version::V1 => write_at(base, "tasks", "0"),
            Version::V2 => make_path(hierarchy, pivot)
                .and_then(|()| write_at(base, &format!("{pivot}/cgroup.procs"), "0")),
        };
        if let Err(e) = left {
            log::warn!("leave cgroup {} in {}: {e}", group.path, hierarchy.mount.display());
        }
    }
}

/// Makes and opens a v2 cgroup below the base of the hierarchy in which `set` has one.
pub fn open_v2(layout: &Layout, set: &GroupSet, path: &str) -> Option<OwnedFd> {
    let group = set.groups.iter().find(|g| g.version == Version::V2)?;
    let hierarchy = &layout.hierarchies[group.hierarchy];
    make_path(hierarchy, path).ok()?;
    rustix::fs::openat(&hierarchy.base_dir, path, DIR_FLAGS, Mode::empty()).ok()
}

/// mkdir -p below the base cgroup.
fn make_path(hierarchy: &Hierarchy, path: &str) -> lxc_sys::Result<()> {
    let mut sofar = String::new();
    for component in path.split('/').filter(|c| !c.is_empty()) {
        sofar.push_str(component);
        match rustix::fs::mkdirat(&hierarchy.base_dir, &*sofar, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        sofar.push('/');
    }
    Ok(())
}

/// Creates `path` in one hierarchy; its last component must be new. `None`: it is taken.
fn create_one(hierarchy: &Hierarchy, path: &str) -> Result<Option<OwnedFd>> {
    let what = || format!("create cgroup {path} in {}", hierarchy.mount.display());
    let cpuset = hierarchy.version == Version::V1 && hierarchy.controllers.iter().any(|c| c == "cpuset");
    if let Some((parents, _)) = path.rsplit_once('/') {
        make_path(hierarchy, parents).doing(what)?;
        if cpuset {
            let mut sofar = String::new();
            for component in parents.split('/').filter(|c| !c.is_empty()) {
                sofar.push_str(component);
                inherit_cpuset(hierarchy.base_dir.as_fd(), &sofar).doing(what)?;
                sofar.push('/');
            }
        }
    }
    // A few rounds: another monitor may take the new, empty directory for a leftover before it is locked.
    for _ in 0..3 {
        match rustix::fs::mkdirat(&hierarchy.base_dir, path, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(e) => {
                return Err(Error::os(what(), e).with_hint(
                    "run as root, or below a cgroup that is yours (systemd-run --user --scope -p Delegate=yes)",
                ));
            }
        }
        // Another monitor, or lxc gc, may just be looking whether it is in use.
        let mut tries = 0..5;
        let locked = loop {
            match lock_directory(hierarchy, path) {
                None if tries.next().is_some() => std::thread::sleep(std::time::Duration::from_millis(1)),
                locked => break locked,
            }
        };
        let Some(dir) = locked else { continue };
        if cpuset {
            inherit_cpuset(hierarchy.base_dir.as_fd(), path).doing(what)?;
        }
        return Ok(Some(dir));
    }
    Ok(None)
}

/// Locks a cgroup's directory: it tells other monitors that it is in use though nobody is in it.
/// `None`: it is locked by another, or not there any more.
fn lock_directory(hierarchy: &Hierarchy, path: &str) -> Option<OwnedFd> {
    let dir = rustix::fs::openat(&hierarchy.base_dir, path, DIR_FLAGS, Mode::empty()).ok()?;
    rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).ok()?;
    // The one that was opened may have been removed and made again before it was locked.
    let (ours, now) = (
        rustix::fs::fstat(&dir).ok()?,
        rustix::fs::statat(&hierarchy.base_dir, path, AtFlags::SYMLINK_NOFOLLOW).ok()?,
    );
    (ours.st_ino == now.st_ino).then_some(dir)
}

/// The hierarchies in which there is a cgroup of a name, if in every one of them nobody is in it nor below it and no
/// monitor has it locked; with the locks. Nothing when it is used, or nowhere.
fn abandoned<'a>(layout: &'a Layout, path: &str) -> Option<(Vec<&'a Hierarchy>, Vec<OwnedFd>)> {
    let (mut found, mut locks) = (Vec::new(), Vec::new());
    for hierarchy in &layout.hierarchies {
        let exists =
            rustix::fs::accessat(&hierarchy.base_dir, path, rustix::fs::Access::EXISTS, AtFlags::empty());
        if exists.is_err() {
            continue;
        }
        // In use somewhere, thus in use everywhere.
        locks.push(lock_directory(hierarchy, path).filter(is_empty)?);
        found.push(hierarchy);
    }
    (!found.is_empty()).then_some((found, locks))
}

/// Whether there are cgroups of a name that nobody uses.
pub fn is_abandoned(layout: &Layout, path: &str) -> bool {
    abandoned(layout, path).is_some()
}

/// Removes cgroups of a name that nobody uses; whether there were any. The locks are held until all are gone.
pub fn remove_abandoned(layout: &Layout, path: &str) -> bool {
    let Some((found, locks)) = abandoned(layout, path) else { return false };
    for hierarchy in found {
        log::info!("removing abandoned cgroup {path} in {}", hierarchy.mount.display());
        if let Err(e) = remove_tree(hierarchy, path) {
            log::warn!("remove cgroup {path} in {}: {e}", hierarchy.mount.display());
        }
    }
    drop(locks);
    true
}

fn is_empty(dir: &OwnedFd) -> bool {
    read_at(dir.as_fd(), "cgroup.procs").is_ok_and(|procs| procs.trim().is_empty())
        && subdirectories(dir).is_ok_and(|subs| {
            subs.iter()
                .all(|s| rustix::fs::openat(dir, &**s, DIR_FLAGS, Mode::empty()).is_ok_and(|d| is_empty(&d)))
        })
}

fn subdirectories(dir: &OwnedFd) -> lxc_sys::Result<Vec<String>> {
    let mut out = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type() == rustix::fs::FileType::Directory && name != "." && name != ".." {
            out.push(name.into_owned());
        }
    }
    Ok(out)
}

/// Removes a cgroup and all below it, deepest first. Absent is fine.
fn remove_tree(hierarchy: &Hierarchy, path: &str) -> lxc_sys::Result<()> {
    match rustix::fs::unlinkat(&hierarchy.base_dir, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(_) => {}
    }
    let dir = match rustix::fs::openat(&hierarchy.base_dir, path, DIR_FLAGS, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e),
    };
    for sub in subdirectories(&dir)? {
        remove_tree(hierarchy, &format!("{path}/{sub}"))?;
    }
    // Processes that were just killed may still be leaving: the kernel says EBUSY until they did.
    for round in 0u32.. {
        match rustix::fs::unlinkat(&hierarchy.base_dir, path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if round < 100 => std::thread::sleep(std::time::Duration::from_millis(2)),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Gives a new v1 cpuset the processors and memory nodes of its parent (spec: cgroups, section 4).
fn inherit_cpuset(base: std::os::fd::BorrowedFd<'_>, path: &str) -> lxc_sys::Result<()> {
    let parent = path.rsplit_once('/').map_or(String::new(), |(p, _)| format!("{p}/"));
    let inherits = read_at(base, &format!("{parent}cgroup.clone_children"))?.trim() == "1";
    if !inherits {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = format!("{path}/{file}");
            if read_at(base, &own)?.trim().is_empty() {
                let value = read_at(base, &format!("{parent}{file}"))?;
                let value =
                    if file == "cpuset.cpus" { usable_cpus(value.trim()) } else { value.trim().to_string() };
                write_at(base, &own, &value)?;
            }
        }
    }
    write_at(base, &format!("{path}/cgroup.clone_children"), "1")
}

/// The list without processors that are isolated or offline; as it is when none would stay.
fn usable_cpus(list: &str) -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let excluded: Vec<u32> = ["isolated", "offline"]
        .iter()
        .flat_map(|f| parse_list(read(&format!("/sys/devices/system/cpu/{f}")).trim()))
        .collect();
    if excluded.is_empty() {
        return list.to_string();
    }
    let kept: Vec<String> =
        parse_list(list).into_iter().filter(|c| !excluded.contains(c)).map(|c| c.to_string()).collect();
    if kept.is_empty() { list.to_string() } else { kept.join(",") }
}

/// Numbers of a list such as `0-2,5` (cpuset(7), list format).
fn parse_list(list: &str) -> Vec<u32> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<u32>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(parse_list(""), Vec::<u32>::new());
    }
}

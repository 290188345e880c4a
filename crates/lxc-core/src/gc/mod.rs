//! What killed processes have left on the host: found, and removed. Nothing that is in use is touched, which each
//! remainder shows in its own way: by a lock, by processes, by a listener.
//!
//! Mounts of containers are in mount namespaces of theirs and end with them, and the kernel clears the work
//! directory of an overlay at its next mount: neither is ever left.

mod devices;
pub mod throwaway;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lxc_sys::Errno;
use rustix::fs::{Dir, Mode, OFlags};

use crate::cgroup::{Layout, group, layout};
use crate::container::Container;
use crate::error::{Doing, Result};
use crate::lifecycle::discover;
use crate::lifecycle::making::UNNAMED;
use crate::lock::{self, Creation};
use crate::lsm::apparmor;
use crate::monitor::states::monitord_fifo;
use crate::network::{openvswitch, service};
use crate::plan::Identity;
use crate::spawn::isolated::with_ids_of;
use crate::storage::remove_directory;
use devices::Veth;

/// Something that nobody needs any more.
#[derive(Debug)]
pub struct Leftover {
    thing: Thing,
    /// The container that it was of; two where a number at the end may belong to the name or not.
    containers: Vec<String>,
}

#[derive(Debug)]
enum Thing {
    /// Path below the base cgroups.
    Cgroup(String),
    /// The directory of a container whose creation was interrupted.
    Creation { lxcpath: PathBuf, name: String },
    /// A container whose rename or restore was interrupted.
    Change { lxcpath: PathBuf, name: String },
    /// A file that was to take the place of another.
    File(PathBuf),
    /// A directory that was to become that of a container.
    Nameless(PathBuf),
    /// The directory of an `lxc run`.
    ThrowAway(PathBuf),
    /// The pipe of an lxc-monitord.
    Fifo(PathBuf),
    /// A pair of devices that never came into a container.
    Pair(Veth),
    /// A port that Open vSwitch has no device for.
    Port(String),
    /// The file of a generated AppArmor profile.
    Profile(PathBuf),
    /// The record that lxc-net is on, without its bridge.
    Service,
}

impl Leftover {
    /// What [`Leftover::kind`] says.
    pub const KINDS: [&'static str; 10] =
        ["cgroup", "change", "container", "directory", "fifo", "file", "port", "profile", "service", "veth"];

    /// What it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self.thing {
            Thing::Cgroup(_) => "cgroup",
            Thing::Change { .. } => "change",
            Thing::Creation { .. } => "container",
            Thing::Nameless(_) | Thing::ThrowAway(_) => "directory",
            Thing::Fifo(_) => "fifo",
            Thing::File(_) => "file",
            Thing::Pair(_) => "veth",
            Thing::Port(_) => "port",
            Thing::Profile(_) => "profile",
            Thing::Service => "service",
        }
    }

    /// Which one.
    pub fn name(&self) -> String {
        match &self.thing {
            Thing::Cgroup(path) => path.clone(),
            Thing::Change { lxcpath, name } | Thing::Creation { lxcpath, name } => {
                lxcpath.join(name).display().to_string()
            }
            Thing::Nameless(path)
            | Thing::ThrowAway(path)
            | Thing::Fifo(path)
            | Thing::File(path)
            | Thing::Profile(path) => path.display().to_string(),
            Thing::Pair(veth) => veth.to_string(),
            Thing::Port(name) => name.clone(),
            Thing::Service => "lxc-net".into(),
        }
    }

    /// Whether it may be of this container.
    pub fn is_of(&self, container: &str) -> bool {
        self.containers.iter().any(|c| c == container)
    }

    /// Why nobody needs it.
    pub fn reason(&self) -> &'static str {
        match self.thing {
            Thing::Cgroup(_) => "nobody is in it, and its monitor is gone",
            Thing::Change { .. } => "its rename or restore was interrupted",
            Thing::Creation { .. } => "its creation was interrupted",
            Thing::Nameless(_) => "the creation of a container was interrupted",
            Thing::ThrowAway(_) => "the lxc run that made it is gone",
            Thing::Fifo(_) => "no lxc-monitord reads it",
            Thing::File(_) => "it was to take the place of another",
            Thing::Pair(_) => "both ends are on the host and connected to nothing",
            Thing::Port(_) => "it has no device",
            Thing::Profile(_) => "its container does not run",
            Thing::Service => "it is recorded as on, but its bridge is gone",
        }
    }

    /// Removes it, after another look: somebody may use it by now.
    ///
    /// # Errors
    /// What could not be removed, and why.
    pub fn remove(&self) -> Result<()> {
        match &self.thing {
            Thing::Cgroup(path) => {
                group::remove_abandoned(&layout::detect(false, None)?, path);
                Ok(())
            }
            Thing::Change { lxcpath, name } => Container::open(name, lxcpath)?.recover(),
            Thing::Creation { lxcpath, name } => Container::open(name, lxcpath)?.remove_incomplete(),
            Thing::Nameless(path) if is_abandoned(path) => {
                with_ids_of(&Identity::of_caller(), || remove_directory(path, true))
            }
            Thing::Nameless(_) => Ok(()),
            Thing::ThrowAway(path) => throwaway::remove(path),
            Thing::Fifo(path) if is_unread(path) => {
                std::fs::remove_file(path).doing(|| format!("remove {}", path.display()))
            }
            Thing::Fifo(_) => Ok(()),
            Thing::File(path) => std::fs::remove_file(path).doing(|| format!("remove {}", path.display())),
            Thing::Pair(veth) => veth.remove(),
            Thing::Port(name) if openvswitch::ports_without_device().contains(name) => {
                openvswitch::remove_port(name)
            }
            Thing::Port(_) => Ok(()),
            Thing::Profile(file) => apparmor::unload(file),
            Thing::Service => service::stop_without_bridge(),
        }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind(), self.name(), self.reason())
    }
}

/// Looks for what is left of containers of an lxcpath, and of the host's.
///
/// # Errors
/// The lxcpath or the cgroups cannot be read.
pub fn find(lxcpath: &Path) -> Result<Vec<Leftover>> {
    let mut out = Vec::new();
    let layout = layout::detect(false, None)?;
    let active = discover::active_anywhere()?;
    for path in cgroups(&layout) {
        let names = names_of(&path);
        if !names.iter().any(|n| active.contains(*n)) && group::is_abandoned(&layout, &path) {
            let containers = names.iter().map(ToString::to_string).collect();
            out.push(Leftover { thing: Thing::Cgroup(path), containers });
        }
    }
    let of = |thing, name: &String| Leftover { thing, containers: vec![name.clone()] };
    let running: BTreeSet<String> = discover::active(lxcpath)?.into_iter().collect();
    for name in discover::candidates(lxcpath)?.into_iter().filter(|n| !running.contains(n)) {
        let directory = lxcpath.join(&name);
        if lock::creation(&directory).is_ok_and(|c| c == Creation::Incomplete) {
            out.push(of(Thing::Creation { lxcpath: lxcpath.to_path_buf(), name: name.clone() }, &name));
        }
        let container = Container::without_config(&name, lxcpath)?;
        if container.is_unfinished() {
            out.push(of(Thing::Change { lxcpath: lxcpath.to_path_buf(), name: name.clone() }, &name));
        }
        let files = crate::files::abandoned(&directory, ".");
        out.extend(files.into_iter().map(|file| of(Thing::File(file), &name)));
        let snapshots = container.snapshots_path();
        for snapshot in discover::candidates(&snapshots)? {
            if lock::creation(&snapshots.join(&snapshot)).is_ok_and(|c| c == Creation::Incomplete) {
                out.push(of(Thing::Creation { lxcpath: snapshots.clone(), name: snapshot }, &name));
            }
        }
        let unused = apparmor::files_of(&directory).into_iter().filter(|file| apparmor::is_unused(file));
        out.extend(unused.map(|file| of(Thing::Profile(file), &name)));
    }
    out.extend(nameless(lxcpath)?);
    let host = |thing| Leftover { thing, containers: Vec::new() };
    out.extend(throwaway::abandoned(&throwaway::base()).into_iter().map(|path| host(Thing::ThrowAway(path))));
    out.extend(monitord_fifo(lxcpath).filter(|path| is_unread(path)).map(|path| host(Thing::Fifo(path))));
    out.extend(pairs()?.into_iter().map(|veth| host(Thing::Pair(veth))));
    out.extend(openvswitch::ports_without_device().into_iter().map(|p| host(Thing::Port(p))));
    if service::has_lost_its_bridge() {
        out.push(host(Thing::Service));
    }
    Ok(out)
}

/// Directories that never got their name, and those beside a container that a restore was killed for.
fn nameless(lxcpath: &Path) -> Result<Vec<Leftover>> {
    let mut out = Vec::new();
    let mut paths = vec![lxcpath.to_path_buf()];
    for name in discover::candidates(lxcpath)? {
        paths.push(Container::without_config(&name, lxcpath)?.snapshots_path());
    }
    for path in paths {
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let of = name.strip_prefix('.').and_then(|n| n.strip_suffix(UNNAMED));
            if let Some(of) = of.filter(|_| is_abandoned(&entry.path())) {
                out.push(Leftover { thing: Thing::Nameless(entry.path()), containers: vec![of.to_string()] });
            }
        }
    }
    Ok(out)
}

/// Whether nobody is about to give it its name: that takes no time.
fn is_abandoned(directory: &Path) -> bool {
    match lock::creation(directory) {
        Ok(Creation::Ongoing) | Err(_) => false,
        Ok(Creation::Incomplete) => true,
        Ok(Creation::Complete) => {
            let age = directory.metadata().and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok());
            age.is_some_and(|age| age > Duration::from_secs(1))
        }
    }
}

/// Cgroups that monitors make, of whatever container: those below the base.
fn cgroups(layout: &Layout) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for hierarchy in &layout.hierarchies {
        // The base is opened for its path only.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(base) = rustix::fs::openat(&hierarchy.base_dir, ".", flags, Mode::empty()) else { continue };
        for entry in Dir::read_from(&base).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy();
            if name.starts_with("lxc.payload.") || name.starts_with("lxc.monitor.") {
                out.insert(name.into_owned());
            }
        }
    }
    out
}

/// The containers that a cgroup may be of: a number at the end may belong to the name, or tell it from one that was
/// in use.
fn names_of(path: &str) -> Vec<&str> {
    let name = path.splitn(3, '.').nth(2).unwrap_or(path);
    let numbered = |n: &&str| n.rsplit_once('-').is_some_and(|(_, d)| d.bytes().all(|b| b.is_ascii_digit()));
    let shorter = Some(name).filter(numbered).and_then(|n| n.rsplit_once('-')).map(|(short, _)| short);
    std::iter::once(name).chain(shorter).collect()
}

/// Pairs that stay where they are: a start makes one within an instant.
fn pairs() -> Result<Vec<Veth>> {
    let first = devices::unconnected_pairs()?;
    if first.is_empty() {
        return Ok(first);
    }
    std::thread::sleep(Duration::from_secs(1));
    let mut still = devices::unconnected_pairs()?;
    still.retain(|veth| first.contains(veth));
    Ok(still)
}

/// Whether it is a pipe that nobody reads.
fn is_unread(path: &Path) -> bool {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).is_err_and(|e| e == Errno::NXIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cgroups() {
        assert_eq!(names_of("lxc.payload.web"), ["web"]);
        assert_eq!(names_of("lxc.monitor.web-2"), ["web-2", "web"]);
        assert_eq!(names_of("lxc.payload.a.b-c"), ["a.b-c"]);
    }
}

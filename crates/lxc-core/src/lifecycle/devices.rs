//! Devices of a running container: nodes and network interfaces that come and go.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lxc_sys::Errno;
use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::network::own_namespace;
use crate::network::radio::move_device;
use crate::rootfs::Root;
use lxc_netlink::{Netlink, Radios, is_device_name};

impl Container {
    /// Makes the device node `source` of the host in the running container, at `path` (`None`: where it is on the
    /// host), with its permissions, and lets the container use it. What is there gives way.
    ///
    /// # Errors
    /// The container does not run, `source` is no device, the node cannot be made; then nothing has changed.
    pub fn add_device_node(&self, source: &Path, path: Option<&Path>) -> Result<()> {
        let what = || format!("device {}", source.display());
        let found = rustix::fs::stat(source).doing(what)?;
        let rule = rule(&found).ok_or_else(|| Error::invalid(format!("{}: not a device", what())))?;
        let root = self.running_root()?;
        let path = path.unwrap_or(source);
        let making = || format!("create {} in {}", path.display(), self.name());
        root.make_node(path, &found).map_err(|e| match e.errno() {
            Some(Errno::PERM | Errno::OVERFLOW) => e.with_hint(
                "a file system of a container with mapped ids has no device nodes: bind it, by lxc.mount.entry",
            ),
            _ => e,
        })?;
        self.set_cgroup_item("devices.allow", &rule).map_err(|e| {
            // Without the permission the node is of no use.
            if let Err(e) = root.remove_file(path) {
                log::warn!("{e}");
            }
            e.during(making())
        })
    }

    /// Removes the node at `path` from the running container and forbids the use of the device: `source` of the
    /// host, or what the node is where the host has none. A node that is not there is fine.
    pub fn remove_device_node(&self, source: &Path, path: Option<&Path>) -> Result<()> {
        let path = path.unwrap_or(source);
        let root = self.running_root()?;
        let inside = || {
            let node = root.find(path).ok()?;
            rustix::fs::fstat(node).ok()
        };
        let rule = rustix::fs::stat(source)
            .ok()
            .as_ref()
            .and_then(rule)
            .or_else(|| inside().as_ref().and_then(rule));
        let Some(rule) = rule else {
            return Err(Error::invalid(format!("device {}: not a device", source.display())));
        };
        root.remove_file(path)?;
        self.set_cgroup_item("devices.deny", &rule)
    }

    /// Moves a network interface of the host into the running container, where it is called `new_name` (`None`: as
    /// before). It is down then.
    pub fn attach_interface(&self, name: &str, new_name: Option<&str>) -> Result<()> {
        let namespace = self.network_namespace()?;
        let mut inside =
            Netlink::open_in(namespace.as_fd()).doing(|| "open a netlink socket in the container")?;
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        let device = netlink.device(name).doing(|| format!("interface {name}"))?;
        let new_name = new_name.unwrap_or(name);
        check_interface_name(new_name)?;
        let mut radios = Radios::open().ok();
        let from = (&mut netlink, radios.as_mut());
        move_device(&device, from, (&mut inside, namespace.as_fd()), new_name)
            .map(drop)
            .doing(|| format!("move interface {name} into {} as {new_name}", self.name()))
    }

    /// Moves a network interface of the running container to the host, where it is called `new_name` (`None`: as
    /// before). It is down then.
    pub fn detach_interface(&self, name: &str, new_name: Option<&str>) -> Result<()> {
        let namespace = self.network_namespace()?;
        let mut inside =
            Netlink::open_in(namespace.as_fd()).doing(|| "open a netlink socket in the container")?;
        let device = inside.device(name).doing(|| format!("interface {name} of {}", self.name()))?;
        let new_name = new_name.unwrap_or(name);
        check_interface_name(new_name)?;
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        let here = own_namespace()?;
        let mut radios = lxc_netlink::there(namespace.as_fd(), Radios::open).ok();
        let from = (&mut inside, radios.as_mut());
        move_device(&device, from, (&mut netlink, here.as_fd()), new_name)
            .map(drop)
            .doing(|| format!("move interface {name} of {} to the host as {new_name}", self.name()))
    }

    /// Whether the running container has a network interface of that name.
    pub fn has_interface(&self, name: &str) -> Result<bool> {
        let namespace = self.network_namespace()?;
        let mut inside =
            Netlink::open_in(namespace.as_fd()).doing(|| "open a netlink socket in the container")?;
        Ok(inside.index_of(name).is_ok())
    }

    /// A descriptor of its init's network namespace.
    pub(super) fn network_namespace(&self) -> Result<OwnedFd> {
        let path = format!("{}/ns/net", self.process_directory()?);
        rustix::fs::open(&*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("open {path}"))
    }

    /// The root directory of its init: below it are the mounts of the container.
    fn running_root(&self) -> Result<Root> {
        Root::open(Path::new(&format!("{}/root", self.process_directory()?)))
    }

    fn process_directory(&self) -> Result<String> {
        self.require_running()?;
        Ok(format!("/proc/{}", self.client().init_pid()?.as_raw_pid()))
    }
}

/// Whether the host has a network interface of that name.
pub fn host_has_interface(name: &str) -> bool {
    is_device_name(name) && Netlink::open().and_then(|mut n| n.index_of(name)).is_ok()
}

fn check_interface_name(name: &str) -> Result<()> {
    is_device_name(name)
        .then_some(())
        .ok_or_else(|| Error::new(Kind::Invalid, format!("{name:?} is not a name for an interface")))
}

/// The rule of the device filter that allows all use of a device.
fn rule(stat: &Stat) -> Option<String> {
    let letter = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => return None,
    };
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Some(format!("{letter} {major}:{minor} rwm"))
}

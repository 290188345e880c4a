//! Files of a running container's cgroups.

use std::os::fd::AsFd;

use lxc_config::device_rule::{ACCESS_MKNOD, ACCESS_READ, ACCESS_WRITE, DeviceEntry, DeviceKind};

use crate::cgroup::items;
use crate::container::Container;
use crate::error::Result;
use crate::protocol::wire::DeviceRequest;
use crate::spawn::parent::parse_rule;

impl Container {
    /// Reads a file of the cgroup that carries the limits, e.g. `memory.max`.
    pub fn cgroup_item(&self, item: &str) -> Result<String> {
        items::check_item_name(item)?;
        let (directory, _) = self.client().limit_cgroup_fd(items::controller_of(item))?;
        items::read(directory.as_fd(), item)
    }

    /// Writes one. On cgroup v2 `devices.allow` and `devices.deny` change the device filter.
    pub fn set_cgroup_item(&self, item: &str, value: &str) -> Result<()> {
        items::check_item_name(item)?;
        let client = self.client();
        let (directory, v2) = client.limit_cgroup_fd(items::controller_of(item))?;
        if v2 && matches!(item, "devices.allow" | "devices.deny") {
            let rule = parse_rule(value, item == "devices.allow")?;
            return client.add_device_rule(&request(&rule, item == "devices.allow"));
        }
        items::write(directory.as_fd(), item, value)
    }
}

fn request(rule: &DeviceEntry, allow: bool) -> DeviceRequest {
    let number = |n: Option<u32>| n.map_or(-1, |n| n as i32);
    match rule {
        DeviceEntry::Rule(rule) => DeviceRequest {
            kind: match rule.kind {
                DeviceKind::All => b'a',
                DeviceKind::Block => b'b',
                DeviceKind::Char => b'c',
            },
            major: number(rule.major),
            minor: number(rule.minor),
            access: [(ACCESS_READ, 'r'), (ACCESS_WRITE, 'w'), (ACCESS_MKNOD, 'm')]
                .into_iter()
                .filter(|(bit, _)| rule.access & bit != 0)
                .map(|(_, letter)| letter)
                .collect(),
            allow,
        },
        // A path was resolved before.
        DeviceEntry::Global { .. } | DeviceEntry::Path { .. } => {
            DeviceRequest { kind: b'a', major: -1, minor: -1, access: "rwm".into(), allow }
        }
    }
}

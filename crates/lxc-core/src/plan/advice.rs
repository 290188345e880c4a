//! What a configuration says to no effect here, or against itself: for people, nothing is refused.

use lxc_config::{HookType, NamespaceKind, NetType, Network, Values};

use super::host::Host;

/// One remark about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The key as it is written.
    pub key: String,
    /// What is to be said, without the key.
    pub text: String,
}

/// Collects remarks.
struct Adviser {
    out: Vec<Advice>,
}

impl Adviser {
    fn say(&mut self, holds: bool, key: impl Into<String>, text: impl Into<String>) {
        let advice = Advice { key: key.into(), text: text.into() };
        // A list of many items to no effect is one remark.
        if holds && !self.out.contains(&advice) {
            self.out.push(advice);
        }
    }
}

/// Remarks about a configuration on a host. `unified`: it has cgroup v2 alone.
pub fn advise(values: &Values, host: &Host, unified: bool) -> Vec<Advice> {
    let mut adviser = Adviser { out: Vec::new() };
    cgroups(&mut adviser, values, unified);
    labels(&mut adviser, values, host);
    root_and_devices(&mut adviser, values);
    namespaces(&mut adviser, values);
    networks(&mut adviser, values);
    environment(&mut adviser, values);
    adviser.out
}

/// What a limit of cgroup v1 is called on v2 (kernel: Documentation/admin-guide/cgroup-v2.rst).
fn name_on_v2(item: &str) -> Option<&'static str> {
    Some(match item {
        "memory.limit_in_bytes" => "memory.max",
        "memory.soft_limit_in_bytes" => "memory.high",
        "memory.memsw.limit_in_bytes" => "memory.swap.max (swap alone)",
        "cpu.shares" => "cpu.weight (1 to 10000, 100 for 1024 shares)",
        "cpu.cfs_quota_us" | "cpu.cfs_period_us" => "cpu.max (quota and period in one value)",
        "blkio.weight" => "io.weight",
        "pids.max" => "pids.max",
        "cpuset.cpus" => "cpuset.cpus",
        "cpuset.mems" => "cpuset.mems",
        "devices.allow" => "devices.allow",
        "devices.deny" => "devices.deny",
        _ => return None,
    })
}

fn cgroups(adviser: &mut Adviser, values: &Values, unified: bool) {
    for (item, _) in values.cgroup1_items.iter().filter(|_| unified) {
        let mut text = "has no effect: this host has cgroup v2 alone".to_string();
        if let Some(name) = name_on_v2(item) {
            text += &format!("; there it is lxc.cgroup2.{name}");
        }
        adviser.say(true, format!("lxc.cgroup.{item}"), text);
    }
    for (item, _) in values.cgroup2_items.iter().filter(|_| !unified) {
        let text = "has no effect: this host has cgroup v1 hierarchies, for which it is lxc.cgroup.*";
        adviser.say(true, format!("lxc.cgroup2.{item}"), text);
    }
}

fn labels(adviser: &mut Adviser, values: &Values, host: &Host) {
    let profile = values.apparmor.profile.as_deref();
    let none = "has no effect: AppArmor is not enabled here";
    adviser.say(
        host.apparmor.is_none() && profile.is_some_and(|p| !["unconfined", "unchanged"].contains(&p)),
        "lxc.apparmor.profile",
        none,
    );
    let generated = "has an effect with lxc.apparmor.profile = generated only";
    adviser.say(
        !values.apparmor.raw.is_empty() && profile != Some("generated"),
        "lxc.apparmor.raw",
        generated,
    );
    for (set, key) in [
        (values.selinux_context.is_some(), "lxc.selinux.context"),
        (values.selinux_keyring.is_some(), "lxc.selinux.context.keyring"),
    ] {
        adviser.say(set && !host.selinux, key, "has no effect: SELinux is not enabled here");
        let other = "has no effect: AppArmor is enabled here, and labels containers";
        adviser.say(set && host.selinux && host.apparmor.is_some(), key, other);
    }
    adviser.say(
        values.selinux_keyring.is_some() && values.keyring_session,
        "lxc.selinux.context.keyring",
        "has no effect with lxc.keyring.session = 1: the container gets no keyring of its own",
    );
    let seccomp = &values.seccomp;
    adviser.say(
        seccomp.notify_cookie.is_some() && seccomp.notify_proxy.is_none(),
        "lxc.seccomp.notify.cookie",
        "has no effect without lxc.seccomp.notify.proxy",
    );
    for (set, key) in [
        (seccomp.allow_nesting, "lxc.seccomp.allow_nesting"),
        (seccomp.notify_proxy.is_some(), "lxc.seccomp.notify.proxy"),
        (seccomp.notify_cookie.is_some(), "lxc.seccomp.notify.cookie"),
    ] {
        adviser.say(set && seccomp.profile.is_none(), key, "has no effect without lxc.seccomp.profile");
    }
}

fn root_and_devices(adviser: &mut Adviser, values: &Values) {
    let rootfs = &values.rootfs;
    adviser.say(
        rootfs.options.is_some() && rootfs.path.is_none(),
        "lxc.rootfs.options",
        "has no effect without lxc.rootfs.path",
    );
    adviser.say(
        rootfs.path.is_none() && !values.namespace.clone.is_empty(),
        "lxc.namespace.clone",
        "the container sees the host's root file system: lxc.rootfs.path is not set",
    );
    let own_dev = values.autodev && rootfs.path.is_some();
    adviser.say(
        !own_dev && values.hooks.contains_key(&HookType::Autodev),
        "lxc.hook.autodev",
        "is not run: the container gets no /dev of its own (lxc.autodev, lxc.rootfs.path)",
    );
    adviser.say(
        !own_dev && values.autodev_tmpfs_size.is_some(),
        "lxc.autodev.tmpfs.size",
        "has no effect: the container gets no /dev of its own (lxc.autodev, lxc.rootfs.path)",
    );
    let console = &values.console;
    for (set, key) in [(console.rotate, "lxc.console.rotate"), (console.size > 0, "lxc.console.size")] {
        let text = "has no effect without lxc.console.logfile";
        adviser.say(set && console.logfile.is_none(), key, text);
    }
    adviser.say(
        console.rotate && console.logfile.is_some() && console.size == 0,
        "lxc.console.rotate",
        "has no effect without lxc.console.size: the log grows without limit",
    );
    let no_console = console.path.as_deref() == Some(std::path::Path::new("none"));
    adviser.say(
        no_console && (console.logfile.is_some() || console.buffer_size > 0),
        "lxc.console.path",
        "with none there is no console, and nothing to log",
    );
    adviser.say(
        values.tty_dir.is_some() && values.tty_max == 0 && no_console,
        "lxc.tty.dir",
        "has no effect: there is neither a console nor a tty",
    );
}

fn namespaces(adviser: &mut Adviser, values: &Values) {
    let keys = &values.namespace;
    for kind in keys.share.keys() {
        adviser.say(
            keys.clone.contains(kind),
            format!("lxc.namespace.share.{}", kind.name()),
            "wins over lxc.namespace.clone: the namespace is joined, not made",
        );
    }
    let hosts = |kind: NamespaceKind| {
        keys.keep.contains(&kind)
            || keys.share.contains_key(&kind)
            || !keys.clone.is_empty() && !keys.clone.contains(&kind)
    };
    adviser.say(
        values.uts_name.is_some() && hosts(NamespaceKind::Uts),
        "lxc.uts.name",
        "has no effect: the container has no UTS namespace of its own",
    );
    let net_is_hosts =
        hosts(NamespaceKind::Net) || values.networks.values().any(|n| n.kind == Some(NetType::None));
    for (name, _) in &values.sysctls {
        adviser.say(
            net_is_hosts && name.starts_with("net."),
            format!("lxc.sysctl.{name}"),
            "changes the host: the container has no network namespace of its own",
        );
        adviser.say(
            hosts(NamespaceKind::Ipc)
                && (name.starts_with("kernel.shm")
                    || name.starts_with("kernel.msg")
                    || name.starts_with("kernel.sem")),
            format!("lxc.sysctl.{name}"),
            "changes the host: the container has no IPC namespace of its own",
        );
    }
}

fn networks(adviser: &mut Adviser, values: &Values) {
    for (index, network) in &values.networks {
        let key = |rest: &str| format!("lxc.net.{index}.{rest}");
        match network.kind {
            None | Some(NetType::None) => {
                for rest in said_of_a_device(network) {
                    let text = "has no effect: a network of type none, or without a type, has no device";
                    adviser.say(true, key(rest), text);
                }
            }
            Some(NetType::Empty) => {
                for (set, rest) in [
                    (network.link.is_some(), "link"),
                    (network.mtu.is_some(), "mtu"),
                    (network.hwaddr.is_some(), "hwaddr"),
                    (network.ipv4_gateway.is_some(), "ipv4.gateway"),
                    (network.ipv6_gateway.is_some(), "ipv6.gateway"),
                ] {
                    let text = "has no effect: a network of type empty has the loopback device alone";
                    adviser.say(set, key(rest), text);
                }
            }
            Some(_) => {
                let addresses = !network.ipv4_addresses.is_empty() || !network.ipv6_addresses.is_empty();
                let text = "the device has an address but stays down: lxc.net.N.flags = up is missing";
                adviser.say(addresses && !network.up, key("type"), text);
            }
        }
    }
}

fn said_of_a_device(network: &Network) -> impl Iterator<Item = &'static str> {
    [
        (network.link.is_some(), "link"),
        (network.name.is_some(), "name"),
        (network.mtu.is_some(), "mtu"),
        (network.hwaddr.is_some(), "hwaddr"),
        (network.up, "flags"),
        (!network.ipv4_addresses.is_empty(), "ipv4.address"),
        (!network.ipv6_addresses.is_empty(), "ipv6.address"),
    ]
    .into_iter()
    .filter_map(|(set, rest)| set.then_some(rest))
}

fn environment(adviser: &mut Adviser, values: &Values) {
    for (at, entry) in values.environment.iter().enumerate() {
        let name = |e: &str| e.split('=').next().unwrap_or_default().to_string();
        let again = values.environment[at + 1..].iter().any(|later| name(later) == name(entry));
        let text = format!("{} is set again by a later line, which wins", name(entry));
        adviser.say(again, "lxc.environment", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lxc_config::{Config, MemorySource};

    fn remarks(text: &str, unified: bool) -> Vec<String> {
        let mut config = Config::new();
        let source = MemorySource::new();
        config.load_text(text.as_bytes(), std::path::Path::new("config"), &source).expect("valid lines");
        advise(&config.values, &Host::for_tests(), unified).into_iter().map(|a| a.key).collect()
    }

    #[test]
    fn only_what_is_worth_a_word() {
        let usual = "lxc.rootfs.path = dir:/r\nlxc.uts.name = web\nlxc.net.0.type = veth\nlxc.net.0.flags = up\n\
                     lxc.net.0.ipv4.address = 10.0.0.2/24\nlxc.apparmor.profile = unconfined\n";
        assert!(remarks(usual, true).is_empty());
    }

    #[test]
    fn limits_of_the_other_kind_of_host() {
        let both = "lxc.cgroup.memory.limit_in_bytes = 1G\nlxc.cgroup2.memory.max = 1G\n";
        assert_eq!(remarks(both, true), ["lxc.cgroup.memory.limit_in_bytes"]);
        assert_eq!(remarks(both, false), ["lxc.cgroup2.memory.max"]);
    }

    #[test]
    fn contradictions() {
        for (text, key) in [
            (
                "lxc.namespace.keep = net\nlxc.sysctl.net.ipv4.ip_forward = 1\n",
                "lxc.sysctl.net.ipv4.ip_forward",
            ),
            ("lxc.net.0.type = none\nlxc.net.0.link = br0\n", "lxc.net.0.link"),
            ("lxc.autodev = 0\nlxc.hook.autodev = /x\n", "lxc.hook.autodev"),
            ("lxc.environment = A=1\nlxc.environment = A=2\n", "lxc.environment"),
            ("lxc.console.rotate = 1\n", "lxc.console.rotate"),
            ("lxc.namespace.keep = uts\nlxc.uts.name = x\n", "lxc.uts.name"),
        ] {
            assert_eq!(remarks(text, true), [key], "{text}");
        }
    }
}

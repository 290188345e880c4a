//! lxc net add, del and list: networks of a running container.

use lxc_testkit::net::{HostDevices, sh};
use lxc_testkit::{Lxcpath, Output, Suite, eventually, needs};

fn net(dir: &Lxcpath, name: &str, verb: &str, more: &[&str]) -> Output {
    Suite::ours().run("lxc", &[&["net", verb, "-P", dir.arg(), "-n", name], more].concat())
}

fn running(dir: &Lxcpath) -> String {
    let name = dir.busybox("hot").quick().build();
    dir.start(&Suite::ours(), &name);
    name
}

fn inside(dir: &Lxcpath, name: &str, script: &str) -> String {
    sh(&format!("nsenter -t {} -n sh -c '{script}'", dir.init_pid(&Suite::ours(), name)))
}

fn ports(bridge: &HostDevices) -> String {
    sh(&format!("ls /sys/class/net/{}/brif", bridge.name()))
}

#[test]
fn a_pair_comes_and_goes() {
    needs!(root, ours, program "ip", program "nsenter");
    let bridge = HostDevices::bridge("y", "");
    sh(&format!("ip addr add 10.84.0.1/24 dev {}", bridge.name()));
    let dir = Lxcpath::new();
    let name = running(&dir);
    let add = [
        "--link",
        bridge.name(),
        "--address",
        "10.84.0.2/24",
        "--address",
        "fc84::2/64",
        "--gateway",
        "auto",
    ];
    assert_eq!(net(&dir, &name, "add", &add).ok(), "eth0\n");
    let seen = inside(&dir, &name, "ip -o addr show dev eth0; ip route");
    for text in ["10.84.0.2/24", "fc84::2/64", "default via 10.84.0.1"] {
        assert!(seen.contains(text), "{text}: {seen}");
    }
    sh("busybox ping -c 1 -W 5 10.84.0.2");
    assert_eq!(net(&dir, &name, "add", &["--link", bridge.name(), "--mtu", "1400"]).ok(), "eth1\n");
    assert_eq!(ports(&bridge).lines().count(), 2);
    let list = net(&dir, &name, "list", &[]).ok();
    let row = |device: &str| list.lines().find(|l| l.starts_with(device)).unwrap_or_default().to_string();
    assert!(row("eth0").contains("10.84.0.2/24, fc84::2/64") && row("eth1").contains("1400"), "{list}");
    let json = net(&dir, &name, "list", &["--json"]).ok();
    assert!(json.contains("\"name\": \"eth1\"") && json.contains("\"mtu\": 1400"), "{json}");
    net(&dir, &name, "del", &["eth0"]).ok();
    assert_eq!(ports(&bridge).lines().count(), 1);
    // What is still there goes with the container.
    dir.kill(&Suite::ours(), &name);
    dir.gone(&Suite::ours(), &name);
    eventually("the last port is gone", || ports(&bridge).is_empty());
}

#[test]
fn macvlan_and_keys() {
    needs!(root, ours, program "ip", program "nsenter", device "macvlan");
    let link = HostDevices::pair("y");
    let dir = Lxcpath::new();
    let name = running(&dir);
    let add = ["--type", "macvlan", "--link", link.name(), "--device", "wan", "--set", "macvlan.mode=vepa"];
    assert_eq!(net(&dir, &name, "add", &add).ok(), "wan\n");
    assert!(inside(&dir, &name, "ip -d link show dev wan").contains("mode vepa"));
    net(&dir, &name, "del", &["wan"]).ok();
    assert!(!inside(&dir, &name, "ip link").contains("wan"));
    dir.kill(&Suite::ours(), &name);
}

/// Nothing is left of what fails.
#[test]
fn what_cannot_be_added() {
    needs!(root, ours, program "ip", program "nsenter");
    let bridge = HostDevices::bridge("z", "");
    let dir = Lxcpath::new();
    let name = running(&dir);
    let link = ["--link", bridge.name()];
    let before = inside(&dir, &name, "ip -o link | cut -d : -f 2");
    for (more, cause) in [
        (vec!["--link", "nobr0"], "lxc.net.1.link = nobr0"),
        ([&link[..], &["--device", "lo"]].concat(), "File exists"),
        ([&link[..], &["--mtu", "12"]].concat(), "mtu"),
        ([&link[..], &["--address", "10.0.0.300/8"]].concat(), "not an address"),
        ([&link[..], &["--gateway", "10.0.0.1"]].concat(), "an address"),
        // Fails inside, when the pair is there.
        ([&link[..], &["--address", "10.84.1.2/24", "--address", "10.84.1.2/24"]].concat(), "File exists"),
        ([&link[..], &["--set", "nothing"]].concat(), "KEY=VALUE"),
        ([&link[..], &["--set", "tpye=veth"]].concat(), "tpye"),
        ([&link[..], &["--set", "script.up=/bin/true"]].concat(), "script"),
        (vec!["--type", "phys", "--link", bridge.name()], "lxc-device"),
        (vec!["--type", "empty"], "can be added"),
    ] {
        let output = net(&dir, &name, "add", &more);
        assert!(output.code == 1 && output.stderr.contains(cause), "{more:?}: {cause}: {output}");
        assert_eq!(inside(&dir, &name, "ip -o link | cut -d : -f 2"), before, "{more:?}");
        assert_eq!(ports(&bridge), "", "{more:?}");
    }
    assert!(net(&dir, &name, "del", &["lo"]).stderr.contains("belongs to"));
    assert!(net(&dir, &name, "del", &["nothing"]).stderr.contains("No such device"));
    dir.kill(&Suite::ours(), &name);
    dir.gone(&Suite::ours(), &name);
    assert_eq!(net(&dir, &name, "add", &link).code, 1);
}

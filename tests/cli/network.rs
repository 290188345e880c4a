//! Network devices: what they are inside, what the host has of them, and that nothing is left.

use lxc_testkit::net::{HostDevices, device_name, sh};
use lxc_testkit::{Lxcpath, Suite, eventually, needs, process};
use rustix::process::Signal;

fn container(dir: &Lxcpath, lines: &[&str]) -> String {
    lines.iter().fold(dir.busybox("net").quick().no_network_lines(), |b, l| b.line(*l)).build()
}

/// What the host's programs say in the network of a container.
fn inside(dir: &Lxcpath, suite: &Suite, name: &str, script: &str) -> String {
    sh(&format!("nsenter -t {} -n sh -c '{script}'", dir.init_pid(suite, name)))
}

/// A device on top of another of the host, as it is seen inside, after a second start as well.
fn stacked(tag: &str, lines: &[&str]) {
    let parent = HostDevices::pair(tag);
    let link = format!("lxc.net.0.link = {}", parent.name());
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let lines =
            [lines, &[&link, "lxc.net.0.flags = up", "lxc.net.0.ipv4.address = 10.78.0.2/24"]].concat();
        let name = container(&dir, &lines);
        let mut seen = Vec::new();
        for _ in 0..2 {
            // The kernel takes its time to remove the device of the first run, for which the peer does not wait.
            if suite.to_string() == "peer" {
                eventually("the peer starts", || dir.run(suite, "lxc-start", &name, &["-d"]).code == 0);
            } else {
                dir.start(suite, &name);
            }
            let script = "ip -o -d link show up | grep -v LOOPBACK | \
                          grep -oE \"^[0-9]+: [a-z0-9]+|mtu [0-9]+|(macvlan|ipvlan) +mode [a-z0-9]+( [a-z]+)?|vlan protocol.* id [0-9]+\"; \
                          ip -o -4 addr show | grep -oE \"10\\.[0-9.]*/24\"";
            seen.push(inside(&dir, suite, &name, script).replace("  ", " "));
            let get = dir.run(suite, "lxc-info", &name, &["-c", "lxc.net.0.name"]);
            assert_eq!(get.code, 0, "{get}");
            dir.kill(suite, &name);
            dir.gone(suite, &name);
        }
        // The number of the device is the kernel's choice.
        let seen: Vec<String> =
            seen.iter().map(|s| s.split_once(": ").map_or("", |(_, s)| s).into()).collect();
        assert!(seen[0].contains("10.78.0.2"), "{suite}: {seen:?}");
        assert_eq!(seen[0], seen[1], "{suite}");
        sh(&format!("ip link show {}", parent.name()));
        seen
    });
}

#[test]
fn macvlan() {
    needs!(root, ours, program "ip", device "macvlan");
    for (n, mode) in ["private", "vepa", "bridge", "passthru"].iter().enumerate() {
        let mode = format!("lxc.net.0.macvlan.mode = {mode}");
        stacked(&format!("m{n}"), &["lxc.net.0.type = macvlan", &mode]);
    }
    stacked("m4", &["lxc.net.0.type = macvlan", "lxc.net.0.name = wan", "lxc.net.0.mtu = 1300"]);
}

#[test]
fn ipvlan() {
    needs!(root, ours, program "ip", device "ipvlan");
    for (n, mode) in ["l2", "l3", "l3s"].iter().enumerate() {
        let mode = format!("lxc.net.0.ipvlan.mode = {mode}");
        stacked(&format!("i{n}"), &["lxc.net.0.type = ipvlan", &mode]);
    }
    for (n, isolation) in ["bridge", "private", "vepa"].iter().enumerate() {
        let isolation = format!("lxc.net.0.ipvlan.isolation = {isolation}");
        stacked(&format!("j{n}"), &["lxc.net.0.type = ipvlan", &isolation]);
    }
}

#[test]
fn vlan() {
    needs!(root, ours, program "ip", device "vlan id 7");
    stacked("v", &["lxc.net.0.type = vlan", "lxc.net.0.vlan.id = 7"]);
}

/// The host answers for the router that the container has, and knows the way to it.
#[test]
fn router_mode_and_routes() {
    needs!(root, ours, program "ip");
    let pair = device_name("r", "");
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let lines = [
            "lxc.net.0.type = veth",
            "lxc.net.0.flags = up",
            "lxc.net.0.veth.mode = router",
            &format!("lxc.net.0.veth.pair = {pair}"),
            "lxc.net.0.ipv4.address = 10.79.0.2/32",
            "lxc.net.0.ipv4.gateway = 169.254.7.1",
            "lxc.net.0.ipv6.address = fc79::2/128",
            "lxc.net.0.veth.ipv4.route = 10.79.8.0/24",
            "lxc.net.0.veth.ipv6.route = fc79:8::/64",
        ];
        let name = container(&dir, &lines);
        dir.start(suite, &name);
        let host = sh(&format!(
            "ip route show dev {pair}; ip -6 route show dev {pair} | grep -v fe80; \
             cat /proc/sys/net/ipv4/conf/{pair}/forwarding"
        ));
        assert!(host.contains("10.79.0.2") && host.contains("10.79.8.0/24"), "{suite}: {host}");
        let proxies = sh(&format!("ip neigh show proxy dev {pair}"));
        // 6.0 does not always have it.
        assert!(proxies.contains("169.254.7.1") || suite.to_string() == "peer", "{suite}: {proxies}");
        let routes = inside(&dir, suite, &name, "ip route");
        dir.kill(suite, &name);
        dir.gone(suite, &name);
        eventually("the device is gone", || !std::path::Path::new("/sys/class/net").join(&pair).exists());
        (host, routes)
    });
}

/// A device of the host goes in and comes back.
#[test]
fn phys() {
    needs!(root, ours, program "ip");
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let device = HostDevices::pair("p");
        let lines = [
            "lxc.net.0.type = phys",
            &format!("lxc.net.0.link = {}", device.name()),
            "lxc.net.0.name = lan0",
            "lxc.net.0.mtu = 1280",
            "lxc.net.0.flags = up",
            "lxc.net.0.ipv4.address = 10.81.0.2/24",
        ];
        let name = container(&dir, &lines);
        let path = std::path::Path::new("/sys/class/net").join(device.name());
        let mut seen = Vec::new();
        for _ in 0..2 {
            dir.start(suite, &name);
            assert!(!path.exists(), "{suite}: the host still has it");
            let script = "ip -o link show dev lan0 | grep -oE \"mtu [0-9]+\"; ip -o -4 addr show dev lan0 | \
                          grep -oE \"10\\.[0-9.]*/24\"";
            seen.push(inside(&dir, suite, &name, script));
            dir.kill(suite, &name);
            dir.gone(suite, &name);
            eventually("the device is back", || path.exists());
            eventually("its MTU is back", || sh(&format!("cat {}/mtu", path.display())) == "1500\n");
        }
        seen
    });
}

/// With everything that it had, and whatever becomes of the start.
#[test]
fn phys_comes_back_as_it_was() {
    needs!(root, ours, program "ip");
    let suite = Suite::ours();
    let device = HostDevices::pair("q");
    let host = device.name();
    sh(&format!("ip addr add 10.82.0.1/24 dev {host}; ip addr add fc82::1/64 dev {host} nodad"));
    let look = || {
        sh(&format!(
            "ip -o link show dev {host} | grep -oE 'mtu [0-9]+|link/ether [0-9a-f:]+|[<,]UP[,>]'; \
             ip -o addr show dev {host} scope global | grep -oE 'inet6? .*global'"
        ))
    };
    let before = look();
    let base = [
        "lxc.net.0.type = phys",
        &format!("lxc.net.0.link = {host}"),
        "lxc.net.0.name = eth7",
        "lxc.net.0.mtu = 1300",
        "lxc.net.0.hwaddr = 10:66:6a:00:00:09",
    ];
    let bad: &[&[&str]] = &[
        &[],
        // Fails in the container, after the move.
        &[
            "lxc.net.0.flags = up",
            "lxc.net.0.ipv4.address = 10.82.0.9/24",
            "lxc.net.0.ipv4.address = 10.82.0.9/24",
        ],
        &["lxc.net.1.type = macvlan", "lxc.net.1.link = nothere0"],
        &["lxc.init.cmd = /not/there"],
        &["lxc.hook.mount = /bin/false"],
        &["lxc.net.0.script.up = /bin/false"],
    ];
    for more in bad {
        let dir = Lxcpath::new();
        let name = container(&dir, &[&base[..], more].concat());
        let output = dir.run(&suite, "lxc-start", &name, &[]);
        assert_eq!(output.code == 0, more.is_empty(), "{more:?}: {output}");
        if more.is_empty() {
            assert!(inside(&dir, &suite, &name, "ip link show dev eth7").contains("10:66:6a:00:00:09"));
            // Whatever it is called in the container.
            inside(&dir, &suite, &name, "ip link set eth7 down; ip link set eth7 name other");
            dir.kill(&suite, &name);
            dir.gone(&suite, &name);
            // The monitor may be killed: the next start finds the device where it was.
            eventually("the device is back", || std::path::Path::new("/sys/class/net").join(host).exists());
            dir.start(&suite, &name);
            let monitor = dir.monitor_pid(&name).expect("a monitor");
            process::kill(monitor, Signal::KILL);
            eventually("the device is as before", || {
                std::path::Path::new("/sys/class/net").join(host).exists() && look() == before
            });
            dir.start(&suite, &name);
            dir.kill(&suite, &name);
        }
        dir.gone(&suite, &name);
        eventually("the device is as before", || {
            std::path::Path::new("/sys/class/net").join(host).exists() && look() == before
        });
    }
}

/// A wireless device goes in with its radio, and both come back, also when the monitor is killed.
#[test]
fn wireless() {
    // The peer moves it by iw.
    needs!(root, ours, program "ip", program "iw", radio);
    let host = std::path::Path::new("/sys/class/net/wlan0");
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let lines = [
            "lxc.net.0.type = phys",
            "lxc.net.0.link = wlan0",
            "lxc.net.0.name = eth0",
            "lxc.net.0.ipv4.address = 10.86.0.2/24",
        ];
        let name = container(&dir, &lines);
        dir.start(&suite, &name);
        assert!(!host.exists(), "{suite}: the host still has it");
        let seen = inside(&dir, &suite, &name, "ip -o -4 addr show dev eth0");
        assert!(seen.contains("10.86.0.2/24"), "{suite}: {seen}");
        dir.kill(&suite, &name);
        if suite.to_string() == "peer" {
            // It comes back under the container's name.
            eventually("the device is back", || host.with_file_name("eth0").exists());
            sh("ip link set eth0 name wlan0");
        } else {
            eventually("the device is back", || host.exists());
            dir.gone(&suite, &name);
            dir.start(&suite, &name);
            process::kill(dir.monitor_pid(&name).expect("a monitor"), Signal::KILL);
            eventually("the device is back", || host.exists());
        }
    }
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = container(&dir, &["lxc.net.0.type = empty"]);
    dir.start(&suite, &name);
    dir.run(&suite, "lxc-device", &name, &["add", "wlan0", "wifi0"]).ok();
    assert!(!host.exists() && inside(&dir, &suite, &name, "ip link").contains("wifi0"));
    dir.run(&suite, "lxc-device", &name, &["del", "wifi0", "wlan0"]).ok();
    assert!(host.exists());
    dir.kill(&suite, &name);
}

#[test]
fn a_port_of_a_bridge_stays_where_it_is() {
    needs!(root, ours, program "ip");
    let (bridge, device) = (HostDevices::bridge("s", ""), HostDevices::pair("s"));
    sh(&format!("ip link set {} master {}", device.name(), bridge.name()));
    let dir = Lxcpath::new();
    let name = container(&dir, &["lxc.net.0.type = phys", &format!("lxc.net.0.link = {}", device.name())]);
    let output = dir.run(&Suite::ours(), "lxc-start", &name, &[]);
    assert!(output.code == 1 && output.stderr.contains("lxc.net.0.link"), "{output}");
    assert!(sh(&format!("ls /sys/class/net/{}/brif", bridge.name())).contains(device.name()));
}

/// The host answers for the container on the link.
#[test]
fn layer_2_proxies() {
    needs!(root, ours, program "ip");
    let (device, pair) = (HostDevices::pair("t"), device_name("t", "p"));
    let link = device.name();
    sh(&format!("sysctl -qw net.ipv4.conf.{link}.forwarding=1 net.ipv6.conf.{link}.proxy_ndp=1"));
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let lines = [
            "lxc.net.0.type = veth",
            "lxc.net.0.veth.mode = router",
            "lxc.net.0.flags = up",
            "lxc.net.0.l2proxy = 1",
            &format!("lxc.net.0.link = {link}"),
            &format!("lxc.net.0.veth.pair = {pair}"),
            "lxc.net.0.ipv4.address = 10.83.0.2/32",
        ];
        let name = container(&dir, &lines);
        dir.start(suite, &name);
        let proxies = || sh(&format!("ip neigh show proxy dev {link}; ip -6 neigh show proxy dev {link}"));
        let seen = proxies();
        assert!(seen.contains("10.83.0.2"), "{suite}: {seen}");
        dir.kill(suite, &name);
        dir.gone(suite, &name);
        if suite.to_string() == "peer" {
            // It leaves them.
            sh(&format!("ip neigh del proxy 10.83.0.2 dev {link} || true"));
        }
        eventually("the proxy is gone", || proxies().is_empty());
        eventually("the device is gone", || !std::path::Path::new("/sys/class/net").join(&pair).exists());
        seen
    });
    sh(&format!("sysctl -qw net.ipv4.conf.{link}.forwarding=0"));
    let dir = Lxcpath::new();
    let lines = ["lxc.net.0.type = veth", "lxc.net.0.veth.mode = router", "lxc.net.0.l2proxy = 1"];
    let more = [&format!("lxc.net.0.link = {link}"), "lxc.net.0.ipv4.address = 10.83.0.2/32"];
    let name = container(&dir, &[&lines[..], &more].concat());
    let output = dir.run(&Suite::ours(), "lxc-start", &name, &[]);
    assert!(output.code == 1 && output.stderr.contains("forwarding"), "{output}");
}

#[test]
fn vlans_of_a_bridge() {
    needs!(root, ours, program "ip", program "bridge", device "bridge vlan_filtering 1");
    let bridge = HostDevices::bridge("f", "vlan_filtering 1");
    let pair = device_name("f", "p");
    let cases: &[&[&str]] = &[
        &["lxc.net.0.veth.vlan.id = 100"],
        &["lxc.net.0.veth.vlan.id = 1"],
        &["lxc.net.0.veth.vlan.id = none", "lxc.net.0.veth.vlan.tagged.id = 30"],
        &["lxc.net.0.veth.vlan.tagged.id = 20", "lxc.net.0.veth.vlan.tagged.id = 21"],
        &["lxc.net.0.veth.vlan.id = 100", "lxc.net.0.veth.vlan.tagged.id = 20"],
    ];
    let base = [
        "lxc.net.0.type = veth",
        "lxc.net.0.flags = up",
        &format!("lxc.net.0.link = {}", bridge.name()),
        &format!("lxc.net.0.veth.pair = {pair}"),
    ];
    for case in cases {
        Suite::compare(|suite| {
            let dir = Lxcpath::new();
            let name = container(&dir, &[&base[..], case].concat());
            dir.start(suite, &name);
            let seen = sh(&format!("bridge vlan show dev {pair} | tr -s ' \\t\\n' ' '"));
            dir.kill(suite, &name);
            dir.gone(suite, &name);
            eventually("the device is gone", || !std::path::Path::new("/sys/class/net").join(&pair).exists());
            seen
        });
    }
}

#[test]
fn vlans_need_a_bridge_that_filters() {
    needs!(root, ours, program "ip");
    let bridge = HostDevices::bridge("g", "");
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let link = format!("lxc.net.0.link = {}", bridge.name());
    let name = container(&dir, &["lxc.net.0.type = veth", &link, "lxc.net.0.veth.vlan.id = 5"]);
    let output = dir.run(&suite, "lxc-start", &name, &[]);
    assert_eq!(output.code, 1, "{output}");
    assert!(output.stderr.contains("lxc.net.0.veth.vlan.id"), "{output}");
    assert_eq!(sh(&format!("ls /sys/class/net/{}/brif", bridge.name())), "", "{output}");
}

/// The router is the host, by the address of the link.
#[test]
fn gateway_auto() {
    needs!(root, ours, program "ip");
    let bridge = HostDevices::bridge("h", "");
    sh(&format!("ip addr add 10.80.0.1/24 dev {}", bridge.name()));
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let link = format!("lxc.net.0.link = {}", bridge.name());
        let lines = [
            "lxc.net.0.type = veth",
            &link,
            "lxc.net.0.flags = up",
            "lxc.net.0.ipv4.address = 10.80.0.2/24",
            "lxc.net.0.ipv4.gateway = auto",
        ];
        let name = container(&dir, &lines);
        dir.start(suite, &name);
        let routes = inside(&dir, suite, &name, "ip route");
        assert!(routes.contains("default via 10.80.0.1"), "{suite}: {routes}");
        sh("busybox ping -c 1 -W 5 10.80.0.2");
        let configured = dir.run(suite, "lxc-info", &name, &["-c", "lxc.net.0.ipv4.gateway"]).stdout;
        dir.kill(suite, &name);
        dir.gone(suite, &name);
        (routes, configured)
    });
}

/// Refused with the key before there is anything of the container.
#[test]
fn what_cannot_be() {
    needs!(root, ours);
    let suite = Suite::ours();
    let cases: &[(&[&str], &str)] = &[
        (&["lxc.net.0.type = macvlan"], "lxc.net.0.link"),
        (&["lxc.net.0.type = phys"], "lxc.net.0.link"),
        (&["lxc.net.0.type = phys", "lxc.net.0.link = nothere0"], "lxc.net.0.link = nothere0"),
        (&["lxc.net.0.type = phys", "lxc.net.0.link = nothere+"], "lxc.net.0.link"),
        (&["lxc.net.0.type = veth", "lxc.net.0.l2proxy = 1"], "lxc.net.0.l2proxy"),
        (&["lxc.net.0.type = vlan", "lxc.net.0.link = lo", "lxc.net.0.vlan.id = 4095"], "lxc.net.0.vlan.id"),
        (&["lxc.net.0.type = vlan", "lxc.net.0.link = lo"], "lxc.net.0.vlan.id"),
        (&["lxc.net.0.type = macvlan", "lxc.net.0.link = nothere0"], "lxc.net.0.link = nothere0"),
        (&["lxc.net.0.type = veth", "lxc.net.0.veth.vlan.id = 5"], "lxc.net.0.veth.vlan.id"),
        (&["lxc.net.0.type = veth", "lxc.net.0.ipv4.gateway = auto"], "lxc.net.0.ipv4.gateway"),
        (
            &["lxc.net.0.type = veth", "lxc.net.0.link = nothere0", "lxc.net.0.ipv6.gateway = auto"],
            "lxc.net.0.ipv6.gateway",
        ),
    ];
    for (lines, key) in cases {
        let dir = Lxcpath::new();
        let name = container(&dir, lines);
        let before = dir.listing();
        let output = dir.run(&suite, "lxc-start", &name, &[]);
        assert_eq!(output.code, 1, "{lines:?}: {output}");
        assert!(output.stderr.contains(key), "{lines:?}: {output}");
        dir.gone(&suite, &name);
        assert_eq!(dir.listing(), before);
    }
}

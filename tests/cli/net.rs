//! lxc-net, in a network and a mount namespace of its own, where it finds settings that the test has made.

use std::path::{Path, PathBuf};
use std::process::Command;

use lxc_testkit::{Lxcpath, Suite, needs};

fn program(suite: &Suite) -> PathBuf {
    match suite.path("lxc").parent().and_then(Path::parent) {
        Some(prefix) => prefix.join("libexec/lxc/lxc-net"),
        None => unreachable!("a suite is in a directory"),
    }
}

/// What a shell says that has a host of its own: `$N` is lxc-net, `settings` is /etc/default/lxc-net.
fn on_a_host(suite: &Suite, settings: &str, script: &str) -> String {
    let dir = Lxcpath::new();
    std::fs::write(dir.join("settings"), format!("{settings}\n")).unwrap();
    std::fs::write(dir.join("lxc"), ". /run/settings\n").unwrap();
    let text = format!(
        "set -e; mount -t tmpfs t /run; mkdir /run/default; cp {0}/settings /run/settings; cp {0}/lxc /run/default/lxc; \
         cp {0}/settings /run/default/lxc-net; mount --bind /run/default /etc/default; \
         mkdir -p /var/lib/misc; mount -t tmpfs t /var/lib/misc; mount -t proc proc /proc; mount -t sysfs sysfs /sys; \
         ip link set lo up; N={1}; set +e; {script}",
        dir.arg(),
        program(suite).display()
    );
    let output = Command::new("unshare")
        .args(["-n", "-m", "-p", "-f", "sh", "-c", &text])
        .output()
        .expect("run unshare");
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said += &String::from_utf8_lossy(&output.stderr);
    // Which packets were on the way is chance.
    let counted = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut words: Vec<&str> = counted.split(' ').collect();
    for n in (1..words.len()).rev() {
        if matches!(words[n - 1], "packets" | "bytes") {
            words[n] = "N";
        }
    }
    words.join(" ")
}

const LOOK: &str = "ip -o addr | sed 's/valid.*//'; ip -o link show type bridge; \
                    for t in inet ip ip6; do nft list table $t lxc; done 2>/dev/null; nft list tables | wc -l; ls /run/lxc; \
                    for p in $(pidof dnsmasq); do tr '\\0' ' ' </proc/$p/cmdline; done; cat /proc/sys/net/ipv4/ip_forward";

/// 5.0, which is the peer on some hosts, has no IPv6 by itself, and another hardware address.
const ALIKE: &str = "USE_LXC_BRIDGE=true\nLXC_BRIDGE_MAC=10:66:6a:00:00:00\nLXC_IPV6_ENABLE=true\nLXC_IPV6_ADDR=fc42::1\n\
                     LXC_IPV6_MASK=64\nLXC_IPV6_NETWORK=fc42::/64\nLXC_IPV6_NAT=true";

#[test]
fn what_it_makes_and_removes() {
    needs!(root, ours, program "nft", program "dnsmasq", program "unshare");
    let script = format!(
        "$N start; echo $?; {LOOK}; $N start >/dev/null 2>&1; echo $?; $N frob >/dev/null 2>&1; echo $?; \
         $N stop; echo $?; {LOOK}; $N stop >/dev/null 2>&1; echo $?"
    );
    for more in [
        "",
        "LXC_DOMAIN=lxc\nLXC_BRIDGE=br7\nLXC_DHCP_MAX=9",
        "LXC_ADDR=10.9.0.1\nLXC_NETMASK=255.255.0.0\nLXC_NETWORK=10.9.0.0/16\nLXC_DHCP_RANGE=10.9.0.2,10.9.9.9",
    ] {
        Suite::compare(|suite| {
            let said = on_a_host(suite, &format!("{ALIKE}\n{more}"), &script);
            assert!(said.contains("masquerade") && said.contains("dnsmasq"), "{suite}: {said}");
            said
        });
    }
}

#[test]
fn what_it_does_by_itself() {
    needs!(root, ours, program "nft", program "dnsmasq", program "unshare");
    let suite = Suite::ours();
    let said = on_a_host(
        &suite,
        "USE_LXC_BRIDGE=true",
        "$N status; echo $?; $N start; $N status; echo $?; ip -o addr show lxcbr0; $N restart; echo $?; $N stop",
    );
    assert!(said.starts_with("lxcbr0 is off 3 lxcbr0 is on: 10.0.3.1/24 0 "), "{said}");
    assert!(said.contains("inet6 fc42:5009:ba4b:5ab0::1/64"), "{said}");
    let said = on_a_host(
        &suite,
        "USE_LXC_BRIDGE=false",
        "$N start; echo $?; ip -o link show type bridge; ls /run/lxc",
    );
    assert!(said.starts_with('0') && !said.contains("lxcbr0"), "{said}");
}

/// Nothing is left of a start that fails, and nothing of an interrupted one stands in the way.
#[test]
fn half_a_start() {
    needs!(root, ours, program "nft", program "dnsmasq", program "unshare");
    let suite = Suite::ours();
    let said = on_a_host(
        &suite,
        "USE_LXC_BRIDGE=true\nLXC_DHCP_RANGE=nonsense",
        "$N start; echo rc $?; ip -o link show type bridge; nft list ruleset; ls /run/lxc",
    );
    assert!(
        said.contains("rc 1")
            && said.contains("dnsmasq:")
            && !said.contains("mtu")
            && !said.contains("table"),
        "{said}"
    );
    let said = on_a_host(&suite, "USE_LXC_BRIDGE=true\nLXC_ADDR=10.0.3", "$N start; echo rc $?");
    assert!(said.contains("LXC_ADDR = 10.0.3") && said.contains("rc 1"), "{said}");
    let script = "$N start; rm /run/lxc/network_up; $N start; echo rc $?; pidof dnsmasq | wc -w; $N stop; echo rc $?; pidof dnsmasq | wc -w";
    let said = on_a_host(&suite, "USE_LXC_BRIDGE=true", script);
    assert_eq!(said, "rc 0 1 rc 0 0");
}

/// Rules of others, and a bridge that is in use, stay.
#[test]
fn it_is_not_alone() {
    needs!(root, ours, program "nft", program "dnsmasq", program "unshare");
    let script = "nft add table inet other; $N start; ip link add name p0 type veth peer name p1; ip link set p0 master lxcbr0; \
                  $N stop; nft list tables; ls /sys/class/net/lxcbr0/brif; $N start; echo rc $?; $N stop";
    let said = on_a_host(&Suite::ours(), "USE_LXC_BRIDGE=true", script);
    assert_eq!(said, "table inet other p0 rc 0");
}

/// Docker and ufw drop what is forwarded unless a rule of theirs accepts it.
#[test]
fn with_others_that_drop() {
    needs!(root, ours, program "nft", iptables "iptables-nft", program "dnsmasq", program "unshare");
    admitted("iptables-nft");
}

#[test]
fn with_others_that_drop_by_the_old_iptables() {
    needs!(root, ours, program "nft", iptables "iptables-legacy", program "dnsmasq", program "unshare");
    admitted("iptables-legacy");
}

/// Where a policy drops, and where Docker leaves a chain to its users.
fn admitted(iptables: &str) {
    let script = |iptables: &str, chain: &str| {
        format!(
            "for n in in out; do ip netns add $n; ip link add name $n type veth peer name eth0 netns $n; done; \
             ip netns exec out sh -c 'ip addr add 10.7.0.2/24 dev eth0; ip link set eth0 up'; \
             ip addr add 10.7.0.1/24 dev out; ip link set out up; \
             {iptables} -P FORWARD DROP; {iptables} -P INPUT DROP; {iptables} -A INPUT -p icmp -j ACCEPT; {chain}; \
             {iptables} -S >/run/before; $N start; echo rc $?; ip link set in master lxcbr0 up; \
             ip netns exec in sh -c 'ip addr add 10.0.3.9/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.3.1; \
             busybox ping -c 1 -W 2 10.7.0.2 | grep -c from; busybox udhcpc -q -n -i eth0 -s /bin/true 2>&1 | grep -c obtained'; \
             {iptables} -S | grep -c lxcbr0; ip link del in; \
             $N stop; {iptables} -S | cmp - /run/before && echo as before"
        )
    };
    let docker = |iptables: &str| format!("{iptables} -N DOCKER-USER; {iptables} -I FORWARD -j DOCKER-USER");
    for chain in ["true".to_string(), docker(iptables)] {
        let said = on_a_host(&Suite::ours(), "USE_LXC_BRIDGE=true", &script(iptables, &chain));
        assert_eq!(said, "rc 0 1 1 6 as before", "{iptables} {chain}");
    }
}

#[test]
fn without_nftables() {
    needs!(root, ours, program "iptables", program "dnsmasq", program "unshare");
    let look = "iptables-save | grep -c lxcbr0; iptables-save | grep -o MASQUERADE; ip6tables-save | grep -o MASQUERADE";
    let script = format!("$N start; echo rc $?; {look}; $N stop; {look}");
    let said = on_a_host(&Suite::ours(), "USE_LXC_BRIDGE=true\nLXC_USE_NFT=false", &script);
    assert!(said.starts_with("rc 0 ") && said.ends_with("MASQUERADE MASQUERADE 0"), "{said}");
}

/// Containers get their addresses by DHCP, reach the host and each other by IPv4 and IPv6, and all that lists
/// addresses lists those that `ip` does.
#[test]
fn containers_on_the_bridge() {
    needs!(root, ours, program "nft", program "dnsmasq", program "unshare", program "nsenter");
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let names = [7, 8].map(|n| {
        let lines = [
            "lxc.net.0.type = veth",
            "lxc.net.0.link = lxcbr0",
            "lxc.net.0.flags = up",
            &format!("lxc.net.0.ipv6.address = fc42:5009:ba4b:5ab0::{n}/64"),
        ];
        let name =
            lines.iter().fold(dir.busybox("dhcp").quick().no_network_lines(), |b, l| b.line(*l)).build();
        dir.script(&name, "bin/lease", "ip addr add $ip/24 dev $interface 2>/dev/null; exit 0");
        name
    });
    let lxc = |command: &str, n: usize| {
        format!("{} -P {} -n {}", suite.path(command).display(), dir.arg(), names[n])
    };
    let lease = "udhcpc -q -n -i eth0 -s /bin/lease >/dev/null 2>&1";
    let address = |n| format!("$({} -iH | grep '^10.0.3')", lxc("lxc-info", n));
    let script = format!(
        "$N start; {start0}; {start1}; {attach0} -- sh -c '{lease}'; {attach1} -- sh -c '{lease}'; \
         for a in 10.0.3.1 {a1} fc42:5009:ba4b:5ab0::1 fc42:5009:ba4b:5ab0::8; do {attach0} -- ping -c 1 -W 5 $a | grep -c from; done; \
         {attach1} -- ping -c 1 -W 5 {a0} | grep -c from; \
         nsenter -t $({info0} -pH) -n ip -o addr show scope global | grep -oE '[0-9a-f.:]+/[0-9]+' | cut -d / -f 1 | sort >/run/a; \
         {info0} -iH | sort >/run/b; {ls} -P {path} -f -F ipv4,ipv6 ^{name0}$ | tail -n 1 | tr -d , | tr -s ' ' '\n' | grep . | sort >/run/c; \
         wc -l </run/a; cmp /run/a /run/b && cmp /run/a /run/c && echo same; \
         {stop0} -k; {stop1} -k; $N stop; ip -o link show | wc -l",
        start0 = lxc("lxc-start", 0),
        start1 = lxc("lxc-start", 1),
        attach0 = lxc("lxc-attach", 0),
        attach1 = lxc("lxc-attach", 1),
        info0 = lxc("lxc-info", 0),
        stop0 = lxc("lxc-stop", 0),
        stop1 = lxc("lxc-stop", 1),
        ls = suite.path("lxc-ls").display(),
        path = dir.arg(),
        name0 = names[0],
        a0 = address(0),
        a1 = address(1),
    );
    let said = on_a_host(&suite, "USE_LXC_BRIDGE=true", &script);
    // It finds itself another address by the bridge's router advertisements.
    assert!(["1 1 1 1 1 2 same 1", "1 1 1 1 1 3 same 1"].contains(&said.as_str()), "{said}");
}

//! Many starts at once, of which a part dies.

use std::process::{Child, Command, Stdio};

use lxc_testkit::net::sh;
use lxc_testkit::{Lxcpath, Running, Suite, eventually, needs, patience, process};
use rustix::process::Signal;

/// A network namespace in which nobody else is.
struct OwnNetwork(Child);

impl OwnNetwork {
    fn new() -> OwnNetwork {
        let mut command = Command::new("unshare");
        command.args(["-n", "sleep", "100000"]).stdin(Stdio::null());
        let own = OwnNetwork(command.spawn().expect("run unshare"));
        let here = process::namespace(std::process::id(), "net");
        eventually("it is there", || process::namespace(own.0.id(), "net") != here);
        own
    }

    fn enter(&self) -> String {
        format!("nsenter --net=/proc/{}/ns/net", self.0.id())
    }

    fn sh(&self, script: &str) -> String {
        sh(&format!("{} sh -c '{script}'", self.enter()))
    }

    fn run(&self, suite: &Suite, program: &str, arguments: &[&str]) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(suite.path(program)).args(arguments);
        Running::spawn(command).wait().exits(0);
    }
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// 200 starts and stops, 40 at a time, and the monitor killed in a third of them: afterwards the host's network is as
/// before, and what cgroups were left `lxc gc` has found.
#[test]
fn networks_of_many_of_which_a_third_dies() {
    needs!(root, ours, program "ip", program "nft", program "nsenter", program "unshare");
    // On an emulated machine every second counts.
    let emulated = patience(std::time::Duration::from_secs(1)).as_secs() > 1;
    let (at_once, rounds) = if emulated { (8, 2) } else { (40, 5) };
    let (suite, dir, network) = (Suite::ours(), Lxcpath::new(), OwnNetwork::new());
    network.sh(
        "ip link set lo up; ip link add name br0 type bridge; ip link set br0 up; nft add table inet other",
    );
    let look = || network.sh("ip -o link | cut -d : -f 2; ip -o addr | wc -l; ip route; nft list ruleset");
    let rootfs = dir.join(".rootfs");
    lxc_testkit::container::busybox_rootfs(&rootfs);
    let lines = ["lxc.net.0.type = veth", "lxc.net.0.link = br0", "lxc.net.0.flags = up"];
    let names: Vec<String> = (0..at_once)
        .map(|n| {
            let builder = dir.busybox("many").rootfs(&rootfs).quick().no_network_lines();
            let address = format!("lxc.net.0.ipv4.address = 10.85.0.{}/24", n + 2);
            lines.iter().fold(builder, |b, l| b.line(*l)).line(address).build()
        })
        .collect();
    let before = look();
    std::thread::scope(|scope| {
        for (n, name) in names.iter().enumerate() {
            let (suite, path, network) = (&suite, dir.path().to_path_buf(), &network);
            scope.spawn(move || {
                let arguments = ["-P", &*path.to_string_lossy(), "-n", name];
                let is_own = |m: &(u32, String)| m.1 == *name;
                for round in 0..rounds {
                    network.run(suite, "lxc-start", &arguments);
                    let monitor = process::monitors(&path).into_iter().find(is_own).expect("a monitor").0;
                    if (n + round) % 3 == 0 {
                        let inits = process::children(monitor);
                        process::kill(monitor, Signal::KILL);
                        eventually("the container is dead", || !inits.iter().any(|&i| process::alive(i)));
                    } else {
                        network.run(suite, "lxc-stop", &[&arguments[..], &["-k"]].concat());
                    }
                }
            });
        }
    });

    eventually("the network is as before", || look() == before);
    for name in &names {
        network.run(&suite, "lxc", &["gc", "-P", dir.arg(), "-n", name]);
        assert!(process::cgroups_of(name).is_empty(), "{name}: {:?}", process::cgroups_of(name));
    }
}

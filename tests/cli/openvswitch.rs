//! Bridges of Open vSwitch, of an instance of its own that needs nothing of the kernel.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use lxc_testkit::net::device_name;
use lxc_testkit::{Lxcpath, Running, Suite, eventually, needs};

/// Its database, its switch, and a bridge.
struct OpenVSwitch {
    dir: PathBuf,
    bridge: String,
    daemons: Vec<Child>,
}

impl OpenVSwitch {
    fn new(dir: PathBuf) -> OpenVSwitch {
        std::fs::create_dir(&dir).expect("create a directory for Open vSwitch");
        let path = |name: &str| dir.join(name).display().to_string();
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        let made = Command::new("ovsdb-tool").args(["create", &path("db"), schema]).status();
        assert!(made.expect("run ovsdb-tool").success());
        let mut new = OpenVSwitch { bridge: device_name("v", "r"), daemons: Vec::new(), dir: dir.clone() };
        let socket = path("db.sock");
        new.run("ovsdb-server", &[&path("db"), &format!("--remote=punix:{socket}"), "--unixctl=none"]);
        eventually("the database listens", || dir.join("db.sock").exists());
        new.ask(&["--no-wait", "init"]);
        let control = format!("--unixctl={}", path("control"));
        new.run("ovs-vswitchd", &[&format!("unix:{socket}"), &control]);
        let bridge = new.bridge.clone();
        new.ask(&["--timeout=20", "add-br", &bridge, "--", "set", "bridge", &bridge, "datapath_type=netdev"]);
        new
    }

    fn run(&mut self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).env("OVS_RUNDIR", &self.dir).stderr(Stdio::null());
        self.daemons.push(command.spawn().unwrap_or_else(|e| panic!("{program}: {e}")));
    }

    fn ask(&self, words: &[&str]) -> String {
        let output = Command::new("ovs-vsctl").args(words).env("OVS_RUNDIR", &self.dir).output();
        let output = output.expect("run ovs-vsctl");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn ports(&self) -> String {
        self.ask(&["list-ports", &self.bridge])
    }
}

impl Drop for OpenVSwitch {
    fn drop(&mut self) {
        // The bridge's device goes with the switch, which is the last one.
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[test]
fn a_port_with_its_vlans() {
    needs!(root, ours, program "ovs-vsctl", program "ovs-vswitchd", program "ovsdb-server", file "/dev/net/tun");
    let place = Lxcpath::new();
    let switch = OpenVSwitch::new(place.join("ovs"));
    let pair = device_name("v", "p");
    let cases: &[&[&str]] = &[
        &[],
        &["lxc.net.0.veth.vlan.id = 100"],
        &["lxc.net.0.veth.vlan.tagged.id = 20", "lxc.net.0.veth.vlan.tagged.id = 21"],
        &["lxc.net.0.veth.vlan.id = none", "lxc.net.0.veth.vlan.tagged.id = 20"],
        &["lxc.net.0.veth.vlan.id = 100", "lxc.net.0.veth.vlan.tagged.id = 20"],
    ];
    let base = [
        "lxc.net.0.type = veth",
        "lxc.net.0.flags = up",
        &format!("lxc.net.0.link = {}", switch.bridge),
        &format!("lxc.net.0.veth.pair = {pair}"),
    ];
    for case in cases {
        Suite::compare(|suite| {
            let dir = Lxcpath::new();
            let builder = dir.busybox("ovs").quick().no_network_lines();
            let name = base.iter().chain(*case).fold(builder, |b, line| b.line(*line)).build();
            let run = |program: &str, more: &[&str]| {
                let mut command = suite.command(program);
                command.args(["-P", dir.arg(), "-n", &name]).args(more).env("OVS_RUNDIR", &switch.dir);
                Running::spawn(command).wait().exits(0);
            };
            if suite.to_string() == "ours" {
                // Left by a monitor that was killed, of another configuration.
                switch.ask(&["--timeout=20", "add-port", &switch.bridge, &pair, "tag=7"]);
            }
            run("lxc-start", &["-d"]);
            assert_eq!(switch.ports(), format!("{pair}\n"), "{suite}");
            let seen = switch.ask(&["--columns=tag,trunks,vlan_mode", "list", "port", &pair]);
            run("lxc-stop", &["-k"]);
            dir.gone(suite, &name);
            eventually("the port is gone", || switch.ports().is_empty());
            seen
        });
    }
}

/// lxc-user-nic makes a port, and removes it from the records of Open vSwitch again: that one, and no other.
#[test]
fn a_port_of_an_ordinary_user() {
    use lxc_testkit::user::LOGIN;
    needs!(root, ours, userns, ordinary_user);
    needs!(program "ovs-vsctl", program "ovs-vswitchd", program "ovsdb-server", file "/dev/net/tun");
    let user = lxc_testkit::OrdinaryUser::new();
    let switch = OpenVSwitch::new(user.dir.join("ovs"));
    let bridge = &switch.bridge;
    switch.ask(&["--no-wait", "add-port", bridge, "others"]);
    user.allow(&format!("{LOGIN} veth {bridge} 1\n"));
    let helper = Suite::ours().path("../libexec/lxc/lxc-user-nic");
    // The helper trusts no environment: it finds the database where it always is.
    let script = format!(
        "mount -t tmpfs none /run && mkdir /run/lxc /run/openvswitch && mount --bind \"$D/run\" /run/lxc
         mount --bind \"$D/ovs\" /run/openvswitch
         as() {{ setpriv --reuid=$U --regid=$U --init-groups \"$@\"; }}
         call() {{ as {} \"$@\" veth {bridge} $DEVICE || true; }}
         setpriv --reuid=$U --regid=$U --init-groups unshare -Urn sleep 60 >/dev/null 2>&1 & PID=$!
         until grep -q . /proc/$PID/uid_map && [ \"$(cat /proc/$PID/comm)\" = sleep ]; do
             kill -0 $PID || exit; sleep 0.01
         done
         exec 2>&1; DEVICE=; answer=$(call create - - $PID); echo \"$answer\"
         ovs-vsctl list-ports {bridge}; call create - - $PID
         DEVICE=others; call delete - - /proc/$PID/ns/net
         DEVICE=$(echo \"$answer\" | cut -d: -f3); call delete - - /proc/$PID/ns/net
         ip link show $DEVICE; kill $PID",
        helper.display()
    );
    let output = Running::spawn(user.roots_shell(&Suite::ours(), &script)).wait();
    let text = &output.stdout;
    let lines: Vec<&str> = text.lines().collect();
    let device = lines[0].split(':').nth(2).unwrap_or_default();
    assert!(!device.is_empty() && lines.contains(&device) && lines.contains(&"others"), "{output}");
    for said in ["Quota reached", "others on", "was not made for", "does not exist"] {
        assert!(text.contains(said), "{said}: {output}");
    }
    assert_eq!(switch.ports(), "others\n", "{output}");
}

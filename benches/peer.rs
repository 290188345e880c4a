//! How long our commands take, beside those of the distribution's LXC, in the same run and alternating, so
//! that both see the same machine. Run it with `cargo xtask bench`; an argument selects rows by a part of
//! their name.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "peer/copies.rs"]
mod copies;

use std::process::Stdio;
use std::time::{Duration, Instant};

use lxc_testkit::net::HostDevices;
use lxc_testkit::{Lxcpath, Suite, container, process};

/// Odd, so that the median is a measurement.
const ROUNDS: usize = 25;
const DEFINED: usize = 300;
const RUNNING: usize = 30;
const ADDRESSED: usize = 100;
/// Milliseconds in which running containers are listed with their addresses.
const ADDRESSED_LIMIT: f64 = 60.0;
/// Milliseconds in which a long configuration is read.
const LONG_LIMIT: f64 = 5.0;

/// What is wanted: at most this part of the peer's time.
const TARGETS: [(&str, f64); 11] = [
    ("start", 0.4),
    ("start, bridge", 0.6),
    ("stop -k", 1.0),
    ("attach true", 0.4),
    ("info", 0.3),
    ("--version", 0.25),
    ("2000 lines, 51 files", 0.6),
    ("ls -1, 300 defined", 0.15),
    ("ls -f, 30 running", 0.15),
    ("ls -f, 100 addresses", 0.08),
    ("monitor PSS", 0.6),
];

fn main() {
    // `cargo bench` passes --bench.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--b")).collect();
    let is_wanted = |row: &str| wanted.is_empty() || wanted.iter().any(|w| row.contains(w.as_str()));
    let both = [Suite::ours(), Suite::peer()];
    println!("{:<20} {:>10} {:>10} {:>7} {:>7}", "", "ours", "peer", "ratio", "target");
    if is_wanted("start") || is_wanted("stop -k") {
        let [start, stop] = start_and_stop(&both, &[]);
        row("start", "ms", start);
        row("stop -k", "ms", stop);
    }
    if is_wanted("start, bridge") {
        let bridge = HostDevices::bridge("s", "");
        let link = format!("lxc.net.1.link = {}", bridge.name());
        let lines =
            ["lxc.net.1.type = veth", &link, "lxc.net.1.flags = up", "lxc.net.1.ipv4.address = 10.76.0.2/24"];
        row("start, bridge", "ms", start_and_stop(&both, &lines)[0]);
    }
    if is_wanted("attach true") || is_wanted("info") {
        let each = both.clone().map(|suite| Standing::new(&suite, 1));
        let arguments =
            |s: usize| ["-P", each[s].dir.arg(), "-n", &each[s].names[0]].map(str::to_string).to_vec();
        let attach = |s: usize| [arguments(s), vec!["--".into(), "true".into()]].concat();
        row("attach true", "ms", alternate(&both, |suite, s| time(suite, "lxc-attach", &attach(s))));
        row("info", "ms", alternate(&both, |suite, s| time(suite, "lxc-info", &arguments(s))));
    }
    if is_wanted("--version") {
        let version = ["--version".to_string()];
        row("--version", "ms", alternate(&both, |suite, _| time(suite, "lxc-info", &version)));
    }
    if is_wanted("2000 lines, 51 files") {
        let [ours, peer] = load_long(&both);
        row("2000 lines, 51 files", "ms", [ours, peer]);
        limit(ours, LONG_LIMIT);
    }
    if is_wanted("ls -1, 300 defined") {
        row("ls -1, 300 defined", "ms", list_defined(&both));
    }
    if is_wanted("ls -f, 100 addresses") {
        let [ours, peer] = list_addresses(&both);
        row("ls -f, 100 addresses", "ms", [ours, peer]);
        limit(ours, ADDRESSED_LIMIT);
    }
    if is_wanted("ls -f, 30 running") || is_wanted("monitor PSS") {
        let [list, pss] = many_running(&both);
        row("ls -f, 30 running", "ms", list);
        row("monitor PSS", "KiB", pss);
    }
    if is_wanted("copy, overlay") {
        copies::of_overlay(&both);
    }
    if is_wanted("copy, btrfs") {
        copies::of_btrfs(&both);
    }
    if is_wanted("tree") {
        copies::of_a_tree(&both[0]);
    }
}

/// Containers with an address on a bridge.
fn list_addresses(both: &[Suite; 2]) -> [f64; 2] {
    let bridge = HostDevices::bridge("l", "");
    let link = format!("lxc.net.1.link = {}", bridge.name());
    let each = both.clone().map(|suite| {
        Standing::with(&suite, ADDRESSED, |n| {
            let address = format!("lxc.net.1.ipv4.address = 10.76.{}.{}/16", n / 250, n % 250 + 2);
            vec!["lxc.net.1.type = veth".into(), link.clone(), "lxc.net.1.flags = up".into(), address]
        })
    });
    alternate(both, |suite, s| time(suite, "lxc-ls", &["-P", each[s].dir.arg(), "-f"].map(str::to_string)))
}

fn row(name: &str, unit: &str, [ours, peer]: [f64; 2]) {
    let target = TARGETS.iter().find(|(n, _)| *n == name).map_or(1.0, |(_, t)| *t);
    let ratio = ours / peer;
    let verdict = if ratio <= target { "ok" } else { "missed" };
    println!("{name:<20} {ours:>6.2} {unit:<3} {peer:>6.2} {unit:<3} {ratio:>7.2} {target:>7.2}  {verdict}");
}

/// A limit in milliseconds, the process included.
fn limit(ours: f64, limit: f64) {
    let verdict = if ours < limit { "ok" } else { "missed" };
    println!("{:<20} {ours:>6.2} ms  of {limit} ms  {verdict}", "");
}

/// Medians of something measured in turn, the one that goes first changing from round to round.
fn alternate(both: &[Suite; 2], mut measure: impl FnMut(&Suite, usize) -> f64) -> [f64; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS + 2 {
        for turn in 0..2 {
            let s = (round + turn) % 2;
            // What the one left to do in the background must not be charged to the other.
            std::thread::sleep(Duration::from_millis(30));
            let value = measure(&both[s], s);
            // The first rounds fill caches.
            if round >= 2 {
                all[s].push(value);
            }
        }
    }
    all.map(median)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds from before the creation of the process to after its end.
fn time(suite: &Suite, command: &str, arguments: &[String]) -> f64 {
    let mut command = suite.command(command);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let output = command.output();
    let elapsed = begin.elapsed();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    elapsed.as_secs_f64() * 1000.0
}

/// With these lines in the configuration.
fn start_and_stop(both: &[Suite; 2], lines: &[&str]) -> [[f64; 2]; 2] {
    let dir = Lxcpath::new();
    let name = lines.iter().fold(dir.busybox("bench"), |builder, line| builder.line(line)).build();
    let arguments: Vec<String> = ["-P", dir.arg(), "-n", &name].map(str::to_string).to_vec();
    let kill = [arguments.clone(), vec!["-k".into()]].concat();
    let mut stop = [Vec::new(), Vec::new()];
    let start = alternate(both, |suite, s| {
        let start = time(suite, "lxc-start", &arguments);
        std::thread::sleep(Duration::from_millis(30));
        stop[s].push(time(suite, "lxc-stop", &kill));
        dir.gone(suite, &name);
        start
    });
    [start, stop.map(median)]
}

/// A configuration of 2000 lines, of which 40 are in each of 50 included files: a command that only reads it.
fn load_long(both: &[Suite; 2]) -> [f64; 2] {
    let dir = Lxcpath::new();
    let name = dir.name("long");
    std::fs::create_dir(dir.join(&name)).expect("create the container's directory");
    let mut config = format!("lxc.rootfs.path = dir:{}\nlxc.uts.name = long\n", dir.arg());
    for file in 0..50 {
        let path = dir.join(&format!("part{file}"));
        let entry = |n: usize| match n % 4 {
            0 => format!("lxc.environment = V{file}x{n}=some value\n"),
            1 => format!("lxc.mount.entry = tmpfs run/{file}/{n} tmpfs create=dir,size=64k 0 0\n"),
            2 => format!("# what the next line is for, {n}\n"),
            _ => format!("lxc.sysctl.net.ipv4.conf.d{file}.n{n} = 1\n"),
        };
        std::fs::write(&path, (0..39).map(entry).collect::<String>()).expect("write an included file");
        config += &format!("lxc.include = {}\n", path.display());
    }
    std::fs::write(dir.join(&name).join("config"), config).expect("write the configuration");
    let arguments = ["-P", dir.arg(), "-n", &name, "-c", "lxc.uts.name"].map(str::to_string);
    alternate(both, |suite, _| time(suite, "lxc-info", &arguments))
}

fn list_defined(both: &[Suite; 2]) -> [f64; 2] {
    let dir = Lxcpath::new();
    let rootfs = dir.join(".rootfs");
    container::busybox_rootfs(&rootfs);
    for _ in 0..DEFINED {
        dir.busybox("c").rootfs(&rootfs).build();
    }
    let arguments = ["-P", dir.arg(), "-1"].map(str::to_string);
    alternate(both, |suite, _| time(suite, "lxc-ls", &arguments))
}

fn many_running(both: &[Suite; 2]) -> [[f64; 2]; 2] {
    let each = both.clone().map(|suite| Standing::new(&suite, RUNNING));
    let list = alternate(both, |suite, s| {
        time(suite, "lxc-ls", &["-P", each[s].dir.arg(), "-f"].map(str::to_string))
    });
    let pss = [0, 1].map(|s| {
        let monitors = process::monitors(each[s].dir.path());
        assert_eq!(monitors.len(), RUNNING, "monitors");
        monitors.iter().map(|(pid, _)| pss(*pid)).sum::<f64>() / RUNNING as f64
    });
    [list, pss]
}

/// The memory of a process in KiB, what it shares with others divided among them.
fn pss(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("read smaps_rollup");
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:")).expect("a line Pss");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Containers that run while something is measured.
struct Standing {
    dir: Lxcpath,
    names: Vec<String>,
}

impl Standing {
    fn new(suite: &Suite, count: usize) -> Standing {
        Standing::with(suite, count, |_| Vec::new())
    }

    /// With lines for each in its configuration.
    fn with(suite: &Suite, count: usize, lines: impl Fn(usize) -> Vec<String>) -> Standing {
        let dir = Lxcpath::new();
        let rootfs = dir.join(".rootfs");
        container::busybox_rootfs(&rootfs);
        let build = |n| {
            let builder = dir.busybox("c").rootfs(&rootfs).quick();
            lines(n).iter().fold(builder, |builder, line| builder.line(line)).build()
        };
        let names: Vec<String> = (0..count).map(build).collect();
        names.iter().for_each(|name| dir.start(suite, name));
        Standing { dir, names }
    }
}

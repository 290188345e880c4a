//! What the machine must have, beside Rust.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// What the packages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// `build`, `install` and `demo`.
    Building,
    /// `test` and `bench`: containers to run, and the peer to compare with.
    Tests,
    /// `vm`: an emulator, and what makes its disk.
    Vm,
}

const BUILDING: &[&str] = &["gcc", "libc6-dev"];
/// busybox-static and mmdebstrap make the systems that are started, lxc is the peer, lxc-templates has configurations
/// that containers include.
const TESTS: &[&str] = &[
    "btrfs-progs",
    "busybox-static",
    "dnsmasq-base",
    "e2fsprogs",
    "gnupg",
    "gpgv",
    "iproute2",
    "iptables",
    "lxc",
    "lxc-templates",
    "mmdebstrap",
    "nftables",
    "openssl",
    "openvswitch-switch",
    "python3",
    "rsync",
    "umoci",
    "util-linux",
    "xfsprogs",
    "xz-utils",
];
const VM: &[&str] =
    &["e2fsprogs", "mmdebstrap", "qemu-system-x86", "qemu-utils", "tar", "util-linux", "xz-utils"];

/// Installs what is missing.
pub fn run(purpose: For) -> Result<()> {
    let wanted: Vec<&str> = match purpose {
        For::Building => BUILDING.to_vec(),
        For::Tests => [BUILDING, TESTS].concat(),
        For::Vm => [BUILDING, VM].concat(),
    };
    if !shell::has("dpkg-query") {
        if wanted.iter().all(|p| shell::has(program_of(p))) {
            return Ok(());
        }
        bail!("this is not Debian: install what matches its packages {} yourself", wanted.join(" "));
    }
    if purpose == For::Tests {
        id_mappers()?;
    }
    let missing = missing(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !shell::is_root() {
        bail!("packages are missing; run as root: apt-get install --no-install-recommends {list}");
    }
    println!("installing {list}");
    let options = if missing.iter().any(|p| p.starts_with("qemu")) { backports()? } else { Vec::new() };
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet").args(&options);
        apt
    };
    shell::run(apt().arg("update"))?;
    shell::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(&missing))
}

/// newuidmap and newgidmap, for the containers of ordinary users, in a directory of the tests' own: where they are
/// installed, the peer asks them for root's containers as well, and they refuse unless root has subordinate ids.
fn id_mappers() -> Result<()> {
    let place = std::path::absolute(shell::target().join("uidmap"))?;
    if shell::has("newuidmap") || place.is_dir() || !shell::is_root() {
        return Ok(());
    }
    let partial = place.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir_all(&partial)?;
    let script = "chmod 777 . && apt-get --quiet update && apt-get --quiet download uidmap && dpkg-deb -x uidmap_*.deb .";
    shell::run(Command::new("sh").args(["-e", "-c", script]).current_dir(&partial))?;
    std::fs::rename(&partial, &place).with_context(|| format!("rename {}", partial.display()))
}

/// Options for apt that add Debian's backports, where one half of the emulator is already installed from there:
/// the other half must be of the same version. The machine's own list of sources stays as it is.
fn backports() -> Result<Vec<String>> {
    let version = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "qemu-utils"]).output()?;
    if !String::from_utf8_lossy(&version.stdout).contains("~bpo") {
        return Ok(Vec::new());
    }
    let release = std::fs::read_to_string("/etc/os-release")?;
    let codename = release.lines().find_map(|l| l.strip_prefix("VERSION_CODENAME="));
    let suite = codename.context("/etc/os-release has no VERSION_CODENAME")?.trim_matches('"');
    let mirror = shell::debian_mirror();
    let directory = std::path::absolute(shell::target().join("apt"))?;
    std::fs::create_dir_all(directory.join("lists"))?;
    let sources = directory.join("sources.list");
    let line = |s: &str| {
        format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {s} main\n")
    };
    let backports = format!("{suite}-backports");
    std::fs::write(&sources, line(suite) + &line(&backports))?;
    let option = |key: &str, value: &str| ["-o".to_string(), format!("{key}={value}")];
    let mut options = Vec::new();
    options.extend(option("Dir::Etc::sourcelist", &sources.to_string_lossy()));
    options.extend(option("Dir::Etc::sourceparts", "-"));
    options.extend(option("Dir::State::lists", &directory.join("lists").to_string_lossy()));
    options.extend(option("APT::Default-Release", &backports));
    Ok(options)
}

fn missing<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .output()?;
    // Its exit status is 1 when one of the names is unknown.
    let text = String::from_utf8_lossy(&query.stdout);
    Ok(wanted.iter().copied().filter(|p| !text.lines().any(|l| l == format!("{p} installed"))).collect())
}

fn program_of(package: &str) -> &str {
    match package {
        "busybox-static" => "busybox",
        "lxc" => "lxc-start",
        "lxc-templates" => "lxc-start",
        "iproute2" => "ip",
        "util-linux" => "setpriv",
        "libc6-dev" => "gcc",
        "e2fsprogs" => "mke2fs",
        "qemu-system-x86" => "qemu-system-x86_64",
        "qemu-utils" => "qemu-img",
        "xz-utils" => "xz",
        other => other,
    }
}

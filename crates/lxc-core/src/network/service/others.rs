//! Packet filters of others that drop what they do not know: what our rules accept, theirs still drop. The bridge is
//! admitted the way that each of them has for it, and taken out again.
//!
//! Docker and ufw set the policy of the chain FORWARD to drop, by iptables of either kind; Docker leaves the chain
//! DOCKER-USER to its users. firewalld rejects what is in none of its zones.

use std::process::{Command, Stdio};

use super::settings::Settings;
use crate::error::{Doing, Error, Kind, Result};

/// Chains for rules of ours, the better one first.
const CHAINS: [&str; 2] = ["DOCKER-USER", "FORWARD"];

/// Admits the bridge wherever something would drop what it forwards.
pub fn admit(settings: &Settings) -> Result<()> {
    for program in programs() {
        let Some(chain) = chain_that_drops(program) else { continue };
        for rule in rules(&settings.bridge) {
            log::info!("{program}: admit {} in {chain}", settings.bridge);
            iptables(program, &[&["-I", chain], &rule[..]].concat())?;
        }
    }
    if firewalld_runs() {
        let interface = format!("--add-interface={}", settings.bridge);
        run("firewall-cmd", &["--quiet", "--zone=trusted", &interface])?;
    }
    Ok(())
}

/// Takes it out again; what is not there is fine.
pub fn dismiss(settings: &Settings) {
    for program in programs() {
        for chain in CHAINS {
            for rule in rules(&settings.bridge) {
                let _ = iptables(program, &[&["-D", chain], &rule[..]].concat());
            }
        }
    }
    if firewalld_runs() {
        let interface = format!("--remove-interface={}", settings.bridge);
        let _ = run("firewall-cmd", &["--quiet", "--zone=trusted", &interface]);
    }
}

fn rules(bridge: &str) -> [[&str; 4]; 2] {
    ["-o", "-i"].map(|direction| [direction, bridge, "-j", "ACCEPT"])
}

/// Kinds of iptables whose table of filters is in use. Asking the others would make one.
fn programs() -> Vec<&'static str> {
    let tables = output("nft", &["list", "tables"]).unwrap_or_default();
    let legacy = |file: &str| {
        let names = std::fs::read_to_string(file).unwrap_or_default();
        names.lines().any(|table| table == "filter")
    };
    let in_nft = |family: &str| tables.lines().any(|line| line.trim() == format!("table {family} filter"));
    [
        (in_nft("ip"), "iptables-nft"),
        (in_nft("ip6"), "ip6tables-nft"),
        (legacy("/proc/net/ip_tables_names"), "iptables-legacy"),
        (legacy("/proc/net/ip6_tables_names"), "ip6tables-legacy"),
    ]
    .into_iter()
    .filter_map(|(used, program)| used.then_some(program))
    .collect()
}

/// Where a rule that accepts has to be; nothing where nothing is dropped.
fn chain_that_drops(program: &str) -> Option<&'static str> {
    let rules = output(program, &["-w", "-S"])?;
    let has = |line: &str| rules.lines().any(|l| l.trim() == line);
    if has("-N DOCKER-USER") {
        return Some("DOCKER-USER");
    }
    has("-P FORWARD DROP").then_some("FORWARD")
}

fn iptables(program: &str, words: &[&str]) -> Result<()> {
    run(program, &[&["-w"], words].concat())
}

fn firewalld_runs() -> bool {
    // Its program asks D-Bus, which takes a while: not where it cannot run.
    std::path::Path::new("/run/firewalld").exists()
        && output("firewall-cmd", &["--state"]).is_some_and(|said| said.trim() == "running")
}

/// What a program says, if it succeeds.
fn output(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let what = || format!("{program} {}", words.join(" "));
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().doing(what)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, format!("{}: {}", what(), String::from_utf8_lossy(&output.stderr).trim())))
}

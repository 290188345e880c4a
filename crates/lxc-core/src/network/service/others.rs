//! Packet filters of others that drop what they do not know: what our rules accept, theirs still drop. The bridge is
//! admitted the way that each of them has for it, and taken out again.
//!
//! Docker and ufw set the policy of the chain FORWARD to drop, by iptables of either kind, ufw that of INPUT as well;
//! Docker leaves the chain DOCKER-USER to its users. firewalld rejects what is in none of its zones.

use super::settings::Settings;
use crate::error::Result;
use crate::program::run;

/// Admits the bridge wherever something would drop what it sends, to the host or through it. What cannot be done is
/// logged: the bridge works without, for what is not dropped.
pub fn admit(settings: &Settings) {
    for program in programs() {
        for (chain, rule) in missing(program, &settings.bridge) {
            log::info!("{program}: admit {} in {chain}", settings.bridge);
            warn(iptables(program, &["-I", chain], &rule));
        }
    }
    // One that somebody has put into a zone stays there.
    if firewalld_runs() && zone_of(&settings.bridge).is_none() {
        let interface = format!("--add-interface={}", settings.bridge);
        warn(run("firewall-cmd", &["--quiet", ZONE, &interface]));
    }
}

/// Takes it out again; what is not there is fine.
pub fn dismiss(settings: &Settings) {
    for program in programs() {
        for (chain, rule) in rules(&settings.bridge) {
            let _ = iptables(program, &["-D", chain], &rule);
        }
    }
    if firewalld_runs() && zone_of(&settings.bridge).as_deref() == Some("trusted") {
        let interface = format!("--remove-interface={}", settings.bridge);
        warn(run("firewall-cmd", &["--quiet", ZONE, &interface]));
    }
}

const ZONE: &str = "--zone=trusted";

fn warn(result: Result<String>) {
    if let Err(e) = result {
        log::warn!("{e}");
    }
}

/// All rules that may be ours, with their chains.
fn rules(bridge: &str) -> Vec<(&'static str, Vec<String>)> {
    let words = |text: String| text.split(' ').map(String::from).collect::<Vec<_>>();
    let mut out = Vec::new();
    for chain in ["DOCKER-USER", "FORWARD"] {
        out.extend(["-o", "-i"].map(|direction| (chain, words(format!("{direction} {bridge} -j ACCEPT")))));
    }
    for (protocol, port) in [("udp", 67), ("tcp", 67), ("udp", 53), ("tcp", 53)] {
        out.push(("INPUT", words(format!("-i {bridge} -p {protocol} --dport {port} -j ACCEPT"))));
    }
    out
}

/// Those that are needed: in chains that drop, or before them.
fn missing(program: &str, bridge: &str) -> Vec<(&'static str, Vec<String>)> {
    let listed = run(program, &["-w", "-S"]).unwrap_or_default();
    let has = |line: &str| listed.lines().any(|l| l.trim() == line);
    let docker = has("-N DOCKER-USER");
    let (forward, input) = (has("-P FORWARD DROP"), has("-P INPUT DROP"));
    let mut out = rules(bridge);
    out.retain(|(chain, _)| match *chain {
        "DOCKER-USER" => docker,
        "FORWARD" => forward && !docker,
        _ => input,
    });
    out
}

/// Kinds of iptables whose table of filters is in use. Asking the others would make one.
fn programs() -> Vec<&'static str> {
    let tables = run("nft", &["list", "tables"]).unwrap_or_default();
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

fn iptables(program: &str, action: &[&str], rule: &[String]) -> Result<String> {
    let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
    run(program, &[&["-w"], action, &rule].concat())
}

/// The zone of firewalld that an interface is in.
fn zone_of(interface: &str) -> Option<String> {
    let zone = run("firewall-cmd", &[&format!("--get-zone-of-interface={interface}")]).ok()?;
    Some(zone.trim().to_string()).filter(|zone| !zone.is_empty())
}

fn firewalld_runs() -> bool {
    // Its program asks D-Bus, which takes a while: not where it cannot run.
    std::path::Path::new("/run/firewalld").exists()
        && run("firewall-cmd", &["--state"]).is_ok_and(|said| said.trim() == "running")
}

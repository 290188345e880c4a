//! Packet filter rules: what the bridge's hosts send is let in, forwarded, and hidden behind the host's address. They
//! are in tables of our own, or, without nftables, rules that are removed one by one.

use std::io::Write;
use std::process::{Command, Stdio};

use super::others;
use super::settings::Settings;
use crate::error::{Doing, Error, Kind, Result};
use crate::program;

/// Puts the rules in force, in one transaction with nftables.
pub fn add(settings: &Settings) -> Result<()> {
    if uses_nft(settings) {
        nft(&script(settings))?;
        others::admit(settings);
        return Ok(());
    }
    for rule in iptables_rules(settings) {
        match iptables(&rule, true) {
            // Kernels without the target: only clients of long ago need it.
            Err(e) if rule.table == "mangle" => log::info!("{e}"),
            result => result?,
        }
    }
    Ok(())
}

/// Removes them; what is not there is fine.
pub fn remove(settings: &Settings) -> Result<()> {
    if uses_nft(settings) {
        others::dismiss(settings);
        // A table that is added first can be deleted whether it was there or not.
        return nft(&TABLES
            .map(|(family, table)| format!("table {family} {table} {{}}\ndelete table {family} {table}\n"))
            .concat());
    }
    for rule in iptables_rules(settings).iter().rev() {
        // One that is not there.
        let _ = iptables(rule, false);
    }
    Ok(())
}

const TABLES: [(&str, &str); 3] = [("inet", "lxc"), ("ip", "lxc"), ("ip6", "lxc")];

fn uses_nft(settings: &Settings) -> bool {
    settings.use_nft && program::run("nft", &["list", "tables"]).is_ok()
}

/// The tables, as nft(8) reads them.
fn script(settings: &Settings) -> String {
    let bridge = &settings.bridge;
    let mut out = format!(
        "table inet lxc {{}}\n\
         flush table inet lxc\n\
         table inet lxc {{\n\
         chain input {{\n\
         type filter hook input priority filter; policy accept;\n\
         iifname \"{bridge}\" udp dport {{ 53, 67 }} accept\n\
         iifname \"{bridge}\" tcp dport {{ 53, 67 }} accept\n\
         }}\n\
         chain forward {{\n\
         type filter hook forward priority filter; policy accept;\n\
         iifname \"{bridge}\" accept\n\
         oifname \"{bridge}\" accept\n\
         }}\n\
         }}\n"
    );
    let mut masquerade = |family: &str, network: &str| {
        out += &format!(
            "table {family} lxc {{}}\n\
             flush table {family} lxc\n\
             table {family} lxc {{\n\
             chain postrouting {{\n\
             type nat hook postrouting priority srcnat; policy accept;\n\
             {family} saddr {network} {family} daddr != {network} counter masquerade\n\
             }}\n\
             }}\n"
        );
    };
    masquerade("ip", &settings.ipv4_network);
    if settings.ipv6.is_some() && settings.ipv6_nat {
        masquerade("ip6", &settings.ipv6_network);
    }
    out
}

fn nft(script: &str) -> Result<()> {
    let what = "nft -f -";
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| what)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).doing(|| what)?;
    }
    let output = child.wait_with_output().doing(|| what)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// A rule: the program, the table, the chain and what follows.
struct Rule {
    program: &'static str,
    table: &'static str,
    chain: &'static str,
    rest: Vec<String>,
}

fn iptables_rules(settings: &Settings) -> Vec<Rule> {
    let bridge = settings.bridge.as_str();
    let mut out = Vec::new();
    let mut rule = |program, table, chain, rest: &[&str]| {
        let rest = rest.iter().map(|s| (*s).to_string()).collect();
        out.push(Rule { program, table, chain, rest });
    };
    let families: &[_] = if settings.ipv6.is_some() { &["iptables", "ip6tables"] } else { &["iptables"] };
    for &program in families {
        for (protocol, port) in [("udp", "67"), ("tcp", "67"), ("udp", "53"), ("tcp", "53")] {
            rule(
                program,
                "filter",
                "INPUT",
                &["-i", bridge, "-p", protocol, "--dport", port, "-j", "ACCEPT"],
            );
        }
        rule(program, "filter", "FORWARD", &["-i", bridge, "-j", "ACCEPT"]);
        rule(program, "filter", "FORWARD", &["-o", bridge, "-j", "ACCEPT"]);
    }
    let hidden = |network: &str| ["-s", network, "!", "-d", network, "-j", "MASQUERADE"].map(String::from);
    let hide = hidden(&settings.ipv4_network);
    rule("iptables", "nat", "POSTROUTING", &hide.each_ref().map(String::as_str));
    if settings.ipv6.is_some() && settings.ipv6_nat {
        let hide = hidden(&settings.ipv6_network);
        rule("ip6tables", "nat", "POSTROUTING", &hide.each_ref().map(String::as_str));
    }
    // Old clients want checksums that the kernel leaves to the card.
    let fill = ["-o", bridge, "-p", "udp", "-m", "udp", "--dport", "68", "-j", "CHECKSUM", "--checksum-fill"];
    rule("iptables", "mangle", "POSTROUTING", &fill);
    out
}

fn iptables(rule: &Rule, add: bool) -> Result<()> {
    let action = if add { "-I" } else { "-D" };
    let rest: Vec<&str> = rule.rest.iter().map(String::as_str).collect();
    program::run(rule.program, &[&["-w", "-t", rule.table, action, rule.chain], &rest[..]].concat()).map(drop)
}

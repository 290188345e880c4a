//! lxc-info

use std::fmt::Write as _;

use lxc_core::lifecycle::stats::Usage;
use lxc_core::network::query::{Interface, interfaces_and_stay};
use lxc_core::protocol::wire::Command as Request;
use lxc_core::protocol::{Client, Pending};
use lxc_core::{Container, State};

use crate::context::Context;
use crate::getopt::{Arg, Opt, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "info",
    about: "Show what is known of a container",
    usage: "NAME [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Shows the container's state, the process id of its init, its addresses, and what it uses. With options \
              only what they ask for.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('c', "config", Arg::Required("KEY"), "Show a configuration item"),
    opt('i', "ips", Arg::No, "Show the addresses"),
    opt('p', "pid", Arg::No, "Show the process id of init"),
    opt('S', "stats", Arg::No, "Show the use of resources"),
    opt('H', "no-humanize", Arg::No, "Show plain numbers"),
    opt('s', "state", Arg::No, "Show the state"),
];

/// Questions that were sent to the monitor.
struct Asked {
    state: Pending,
    pid: Option<Pending>,
    groups: Option<Pending>,
}

/// Labels are as wide as the longest.
fn row(out: &mut String, label: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{label:<15} {value}");
}

/// A number of bytes for people: strictly more than a unit is shown in it.
pub fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(size, _)| bytes > *size) {
        Some((size, unit)) => format!("{:.2} {unit}", bytes as f64 / *size as f64),
        None => format!("{bytes} bytes"),
    }
}

struct Wanted {
    ips: bool,
    pid: bool,
    state: bool,
    stats: bool,
    human: bool,
    /// One thing alone: no label in front of it.
    single: bool,
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let keys: Vec<&str> = context.matches.all("config").collect();
    let (ips, pid, state, stats) =
        (context.has("ips"), context.has("pid"), context.has("state"), context.has("stats"));
    let all = !(ips || pid || state || stats) && keys.is_empty();
    let human = !context.has("no-humanize");
    let count = [ips, pid, state].iter().filter(|&&w| w).count();
    let wanted = Wanted {
        ips: ips || all,
        pid: pid || all,
        state: state || all,
        stats: stats || all,
        human,
        single: !human && count == 1 && !stats && keys.is_empty(),
    };
    // Asked ahead: the monitor wakes up while the configuration is read.
    let client = Client::new(&context.lxcpath, &context.name);
    let asked = Asked {
        state: client.begin(Request::GetState, 0, &[]),
        pid: (wanted.pid || wanted.ips).then(|| client.begin(Request::GetInitPid, 0, &[])),
        groups: wanted.stats.then(|| client.begin_cgroup_ctx()),
    };
    let Some(container) = context.open() else {
        context.error(format!("Failure to retrieve information on {}", context.full_name()));
        return Ok(1);
    };
    let now = match asked.state.state() {
        Err(e) if e.kind() == lxc_core::Kind::Denied => {
            eprintln!("Insufficent privileges to control {}", context.full_name());
            return Ok(1);
        }
        other => other?,
    };
    if !container.is_defined() && !container.has_config() && now == State::Stopped {
        eprintln!("{} doesn't exist", context.name);
        return Ok(1);
    }
    let mut out = String::new();
    if all {
        row(&mut out, "Name:", &context.name);
    }
    if wanted.state {
        value(&mut out, &wanted, "State:", now);
    }
    if now != State::Stopped {
        running(&mut out, &wanted, &container, &client, asked.pid, asked.groups)?;
    }
    for key in &keys {
        config_item(&mut out, &container, key, !human && keys.len() == 1);
    }
    print!("{out}");
    Ok(0)
}

fn value(out: &mut String, wanted: &Wanted, label: &str, value: impl std::fmt::Display) {
    if wanted.single {
        let _ = writeln!(out, "{value}");
    } else {
        row(out, label, value);
    }
}

fn running(
    out: &mut String,
    wanted: &Wanted,
    container: &Container,
    client: &Client,
    pid: Option<Pending>,
    groups: Option<Pending>,
) -> anyhow::Result<()> {
    let pid = pid.and_then(|asked| asked.pid().ok());
    if let (true, Some(pid)) = (wanted.pid, pid) {
        value(out, wanted, "PID:", pid.as_raw_pid());
    }
    // Everything that is asked of the monitor, before this process leaves for the container's network.
    let used = groups.map(|asked| container.usage_from(client, asked));
    let traffic = if wanted.stats { container.traffic()? } else { Vec::new() };
    if let (true, Some(pid)) = (wanted.ips, pid) {
        let interfaces = interfaces_and_stay(pid).unwrap_or_default();
        let addresses = interfaces.iter().flat_map(Interface::reachable);
        let mut addresses: Vec<String> = addresses.map(|a| a.to_string()).collect();
        addresses.sort();
        addresses.iter().for_each(|a| value(out, wanted, "IP:", a));
    }
    if let Some(used) = used {
        usage(out, wanted.human, &used);
        for traffic in traffic {
            row(out, "Link:", &traffic.link);
            let total = traffic.sent + traffic.received;
            for (label, bytes) in
                [(" TX bytes:", traffic.sent), (" RX bytes:", traffic.received), (" Total bytes:", total)]
            {
                row(out, label, bytes_of(wanted.human, bytes));
            }
        }
    }
    Ok(())
}

fn bytes_of(humanize: bool, bytes: u64) -> String {
    if humanize { human(bytes) } else { bytes.to_string() }
}

fn usage(out: &mut String, humanize: bool, usage: &Usage) {
    if let Some(ns) = usage.cpu_ns {
        let text = if humanize { format!("{:.2} seconds", ns as f64 / 1e9) } else { ns.to_string() };
        row(out, "CPU use:", text);
    }
    for (label, bytes) in
        [("BlkIO use:", usage.block_io), ("Memory use:", usage.memory), ("KMem use:", usage.kernel_memory)]
    {
        if let Some(bytes) = bytes {
            row(out, label, bytes_of(humanize, bytes));
        }
    }
}

fn config_item(out: &mut String, container: &Container, key: &str, bare: bool) {
    match container.config.get(key) {
        Ok(value) if bare => {
            let _ = writeln!(out, "{value}");
        }
        Ok(value) if value.is_empty() => {
            let _ = writeln!(out, "{key} =");
        }
        Ok(value) => {
            let _ = writeln!(out, "{key} = {value}");
        }
        Err(_) => eprintln!("{key} invalid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(human(1024), "1024 bytes");
        assert_eq!(human(1025), "1.00 KiB");
        assert_eq!(human(671_744), "656.00 KiB");
        assert_eq!(human(3 << 30), "3.00 GiB");
    }
}

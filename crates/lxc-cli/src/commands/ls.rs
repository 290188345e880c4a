//! lxc-ls

pub mod table;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use lxc_core::lifecycle::discover;
use lxc_core::network::query::Visitor;
use lxc_core::protocol::Client;
use lxc_core::protocol::wire::Command as Request;
use lxc_core::{Container, Kind, State};

use crate::context::Context;
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};
use table::{Column, Row, Seen};

/// The command.
pub static COMMAND: Command = Command {
    name: "ls",
    about: "List containers",
    usage: "[FILTER] [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: true,
    details: "Lists containers that are defined or running. Options that select combine: a container must meet all.\n\n\
              Columns of the table: NAME STATE PID RAM SWAP AUTOSTART GROUPS INTERFACE IPV4 IPV6 UNPRIVILEGED.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('1', "line", Arg::No, "One name a line"),
    opt('f', "fancy", Arg::No, "A table"),
    opt('F', "fancy-format", Arg::Required("COLUMNS"), "Columns of the table, joined by commas"),
    long("active", Arg::No, "Only containers with a monitor"),
    long("running", Arg::No, "Only containers that run, frozen ones included"),
    long("frozen", Arg::No, "Only frozen containers"),
    long("stopped", Arg::No, "Only stopped containers"),
    long("defined", Arg::No, "Only containers with a configuration"),
    long("nesting", Arg::Optional("DEPTH"), "List containers inside containers, to this depth (5)"),
    long("filter", Arg::Required("REGEX"), "Only names that match"),
    opt('g', "groups", Arg::Required("GROUPS"), "Only members of all these groups, joined by commas"),
    long("json", Arg::No, "The table as JSON"),
];

/// Monitors that are asked before the answer of the first is read.
const AHEAD: usize = 32;

struct Selection<'a> {
    active: bool,
    running: bool,
    frozen: bool,
    stopped: bool,
    defined: bool,
    groups: Vec<&'a str>,
    filter: Option<regex_lite::Regex>,
}

impl Selection<'_> {
    fn needs_state(&self) -> bool {
        self.running || self.frozen || self.stopped
    }
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let fancy = context.has("fancy") || context.has("json");
    let columns = match context.get("fancy-format").filter(|_| fancy) {
        None => Column::DEFAULT.to_vec(),
        Some(list) => match Column::parse_list(list) {
            Ok(columns) => columns,
            Err(word) => {
                eprintln!("Invalid key: {word}");
                return Ok(0);
            }
        },
    };
    let pattern = context.get("filter").or(match context.words() {
        [one] => Some(one.as_str()),
        _ => None,
    });
    let filter = match pattern.map(regex_lite::Regex::new) {
        None => None,
        Some(Ok(regex)) => Some(regex),
        Some(Err(e)) => {
            eprintln!("lxc-ls: --filter {}: {e}", pattern.unwrap_or_default());
            return Ok(0);
        }
    };
    let selection = Selection {
        active: context.has("active"),
        running: context.has("running"),
        frozen: context.has("frozen"),
        stopped: context.has("stopped"),
        defined: context.has("defined"),
        groups: context.matches.all("groups").flat_map(|g| g.split(',')).filter(|g| !g.is_empty()).collect(),
        filter,
    };
    let depth = match (context.has("nesting"), context.get("nesting")) {
        (false, _) => 0,
        (true, depth) => depth.and_then(|d| d.parse().ok()).unwrap_or(5),
    };
    let mut rows = Vec::new();
    let visitor = if fancy { table::visitor(&columns) } else { None };
    let place = Place { parent: String::new(), level: 0, depth, visitor: visitor.as_ref() };
    collect(&context.lxcpath, &selection, &columns, fancy, &place, &mut rows)?;
    if let Some(visitor) = visitor {
        table::fill_addresses(&mut rows, visitor);
    }
    print!("{}", render(context, &rows, &columns, fancy));
    Ok(0)
}

fn render(context: &Context, rows: &[Row], columns: &[Column], fancy: bool) -> String {
    if context.has("json") {
        return table::json(rows, columns);
    }
    if rows.is_empty() {
        return String::new();
    }
    if fancy {
        return table::fancy(rows, columns);
    }
    let names = rows.iter().map(Row::path);
    if context.has("line") {
        return names.map(|n| n + "\n").collect();
    }
    table::plain(&names.collect::<Vec<_>>(), table::terminal_width())
}

/// Where containers are listed.
struct Place<'a> {
    parent: String,
    level: usize,
    depth: usize,
    /// Who learns of each container that is listed and runs.
    visitor: Option<&'a Visitor>,
}

fn collect(
    lxcpath: &Path,
    selection: &Selection<'_>,
    columns: &[Column],
    fancy: bool,
    place: &Place<'_>,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let active: BTreeSet<String> = discover::active(lxcpath)?.into_iter().collect();
    let mut names = active.clone();
    if !selection.active {
        names.extend(discover::candidates(lxcpath)?);
    }
    names.retain(|name| selection.filter.as_ref().is_none_or(|f| f.is_match(name)));
    let names: Vec<String> = names.into_iter().collect();
    // Names alone: of each container only whether its configuration can be read.
    let names_only = !fancy && selection.groups.is_empty() && place.depth == 0;
    let opened = discover::open_many(&names, lxcpath, |opened| {
        opened.map(|c| (c.is_defined(), if names_only { None } else { Some(c) }))
    });
    let needs_state = fancy || selection.needs_state() || place.depth > 0;
    let needs_pid = fancy && Row::needs_pid(columns);
    // Monitors wake up for their questions while others are listened to.
    let ask = |name: &String| {
        let client = Client::new(lxcpath, name);
        (needs_state && active.contains(name)).then(|| {
            let pid = needs_pid.then(|| client.begin(Request::GetInitPid, 0, &[]));
            (client.begin(Request::GetState, 0, &[]), pid)
        })
    };
    let mut asked: VecDeque<_> = names.iter().take(AHEAD).map(ask).collect();
    let mut next = names.iter().skip(AHEAD);
    for (name, opened) in names.iter().zip(opened) {
        let question = asked.pop_front().flatten();
        asked.extend(next.next().map(ask));
        let container = match opened {
            Ok((defined, _)) if !defined && (selection.defined || !active.contains(name)) => continue,
            Ok((_, container)) => container,
            Err(e) => {
                eprintln!("Failed to load config for {name}: {e}");
                continue;
            }
        };
        // Whoever does not listen is stopped: that need not be asked.
        let mut pid = None;
        let (state, controllable) = match question {
            None if active.contains(name) => (State::Running, true),
            None => (State::Stopped, true),
            Some((state, init)) => {
                pid = init.and_then(|asked| asked.pid().ok());
                match state.state() {
                    Ok(state) => (state, true),
                    Err(e) => (State::Stopped, e.kind() != Kind::Denied),
                }
            }
        };
        // One line may name several, with commas.
        let groups: Vec<&str> = container
            .iter()
            .flat_map(|c| &c.config.values.groups)
            .flat_map(|g| g.split(','))
            .map(str::trim)
            .collect();
        let selected = (!selection.running || state != State::Stopped)
            && (!selection.frozen || state == State::Frozen)
            && (!selection.stopped || state == State::Stopped)
            && selection.groups.iter().all(|g| groups.contains(g));
        if selected {
            let seen = Seen { state, controllable, pid };
            let row = Row::new(name, container.as_ref(), seen, fancy, columns, &place.parent, place.level);
            if let (Some(visitor), Some(pid)) = (place.visitor, row.pid()) {
                visitor.visit(pid);
            }
            rows.push(row);
        }
        if place.level < place.depth
            && let Some(inner) = container.as_ref().and_then(|c| inner_lxcpath(c, state, lxcpath))
        {
            let parent = format!("{}{name}/", place.parent);
            let place = Place { parent, level: place.level + 1, ..*place };
            // What cannot be read inside is not listed.
            let _ = collect(&inner, selection, columns, fancy, &place, rows);
        }
    }
    Ok(())
}

/// The same lxcpath inside a container: by the root of its init, or of its stopped root file system.
fn inner_lxcpath(container: &Container, state: State, lxcpath: &Path) -> Option<PathBuf> {
    let below = lxcpath.strip_prefix("/").ok()?;
    let root = match state {
        State::Stopped => PathBuf::from(container.config.values.rootfs.path.as_deref()?),
        _ => PathBuf::from(format!("/proc/{}/root", container.client().init_pid().ok()?.as_raw_pid())),
    };
    // Found by descriptor: links inside do not lead outside.
    let root = lxc_core::rootfs::Root::open(&root).ok()?;
    let dir = root.open_at(below, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY).ok()?;
    let path = lxc_core::files::fd_path(std::os::fd::AsFd::as_fd(&dir));
    // The path is used while the listing runs: the descriptor stays open as long as the process.
    std::mem::forget(dir);
    Some(PathBuf::from(path))
}

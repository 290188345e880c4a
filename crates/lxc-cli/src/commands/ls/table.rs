//! Rows, columns and layouts of lxc-ls.

use std::fmt::Write as _;

use lxc_core::lifecycle::stats::memory_and_swap;
use lxc_core::network::query::{Interface, Visitor};
use lxc_core::{Container, State};

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Name.
    Name,
    /// State.
    State,
    /// Pid of init.
    Pid,
    /// Memory.
    Ram,
    /// Swap.
    Swap,
    /// lxc.start.auto
    Autostart,
    /// lxc.group
    Groups,
    /// Devices.
    Interface,
    /// Addresses.
    Ipv4,
    /// Addresses.
    Ipv6,
    /// Whether it has an id map.
    Unprivileged,
}

impl Column {
    /// Columns of the table unless others are asked for.
    pub const DEFAULT: [Column; 7] = [
        Column::Name,
        Column::State,
        Column::Autostart,
        Column::Groups,
        Column::Ipv4,
        Column::Ipv6,
        Column::Unprivileged,
    ];

    const ALL: [(Column, &'static str); 11] = [
        (Column::Name, "NAME"),
        (Column::State, "STATE"),
        (Column::Pid, "PID"),
        (Column::Ram, "RAM"),
        (Column::Swap, "SWAP"),
        (Column::Autostart, "AUTOSTART"),
        (Column::Groups, "GROUPS"),
        (Column::Interface, "INTERFACE"),
        (Column::Ipv4, "IPV4"),
        (Column::Ipv6, "IPV6"),
        (Column::Unprivileged, "UNPRIVILEGED"),
    ];

    fn title(self) -> &'static str {
        Column::ALL.iter().find(|(c, _)| *c == self).map_or("", |(_, title)| title)
    }

    /// Columns of a comma list in any case; the error is the unknown word.
    pub fn parse_list(list: &str) -> Result<Vec<Column>, &str> {
        list.split(',')
            .map(str::trim)
            .filter(|w| !w.is_empty())
            .map(|w| Column::ALL.iter().find(|(_, t)| t.eq_ignore_ascii_case(w)).map(|(c, _)| *c).ok_or(w))
            .collect()
    }
}

/// What a monitor said of its container.
#[derive(Debug)]
pub struct Seen {
    /// State.
    pub state: State,
    /// Whether the caller may control it.
    pub controllable: bool,
    /// Pid of init, where it was asked for.
    pub pid: Option<rustix::process::Pid>,
}

/// What is known of one container.
#[derive(Debug)]
pub struct Row {
    parent: String,
    level: usize,
    name: String,
    state: State,
    controllable: bool,
    pid: Option<rustix::process::Pid>,
    memory: Option<(u64, u64)>,
    autostart: bool,
    groups: Vec<String>,
    interfaces: Vec<Interface>,
    unprivileged: bool,
}

impl Row {
    /// Whether a column needs init's pid.
    pub fn needs_pid(columns: &[Column]) -> bool {
        let needing = [Column::Pid, Column::Interface, Column::Ipv4, Column::Ipv6];
        columns.iter().any(|c| needing.contains(c))
    }

    /// Asks for what the columns need besides.
    pub fn new(
        name: &str,
        container: Option<&Container>,
        seen: Seen,
        fancy: bool,
        columns: &[Column],
        parent: &str,
        level: usize,
    ) -> Row {
        let values = container.map(|c| &c.config.values);
        let wants_memory = fancy && columns.iter().any(|c| matches!(c, Column::Ram | Column::Swap));
        let running = seen.state != State::Stopped;
        Row {
            parent: parent.to_string(),
            level,
            name: name.to_string(),
            state: seen.state,
            controllable: seen.controllable,
            pid: seen.pid.filter(|_| running),
            memory: container.filter(|_| running && wants_memory).map(|c| memory_and_swap(&c.client())),
            autostart: values.is_some_and(|v| v.start.auto),
            groups: values.map(|v| v.groups.clone()).unwrap_or_default(),
            interfaces: Vec::new(),
            unprivileged: values.is_some_and(|v| !v.idmap.is_empty()),
        }
    }

    /// Init's pid, where a column needs it and the container runs.
    pub fn pid(&self) -> Option<rustix::process::Pid> {
        self.pid
    }

    /// Name with the containers that it is in.
    pub fn path(&self) -> String {
        format!("{}{}", self.parent, self.name)
    }

    fn addresses(&self, v6: bool) -> Vec<String> {
        let own = self.interfaces.iter().flat_map(Interface::reachable);
        let mut out: Vec<String> = own.filter(|a| a.is_ipv6() == v6).map(|a| a.to_string()).collect();
        out.sort();
        out
    }

    fn interface_names(&self) -> Vec<String> {
        let mut out: Vec<String> = self.interfaces.iter().map(|i| printable(&i.device.name)).collect();
        out.sort();
        out.dedup();
        out
    }

    fn cell(&self, column: Column) -> String {
        let dash = |text: String| if text.is_empty() { "-".to_string() } else { text };
        let megabytes = |bytes: u64| format!("{:.2}MB", bytes as f64 / 1024.0 / 1024.0);
        match column {
            Column::Name if self.level == 0 => self.name.clone(),
            Column::Name => format!("{:>width$}{}", "\\", self.name, width = self.level),
            _ if !self.controllable => match column {
                Column::Autostart => "0".into(),
                Column::Unprivileged => "false".into(),
                _ => "-".into(),
            },
            Column::State => self.state.to_string(),
            Column::Pid => dash(self.pid.map(|p| p.as_raw_pid().to_string()).unwrap_or_default()),
            Column::Ram => dash(self.memory.map(|(m, _)| megabytes(m)).unwrap_or_default()),
            Column::Swap => dash(self.memory.map(|(_, s)| megabytes(s)).unwrap_or_default()),
            Column::Autostart => u8::from(self.autostart).to_string(),
            Column::Groups => dash(self.groups.join(", ")),
            Column::Interface => dash(self.interface_names().join(", ")),
            Column::Ipv4 => dash(self.addresses(false).join(", ")),
            Column::Ipv6 => dash(self.addresses(true).join(", ")),
            Column::Unprivileged => self.unprivileged.to_string(),
        }
    }
}

/// A name that a container has chosen, without what a terminal would act upon.
pub fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Somebody who reads the devices of containers while others are still asked for, where a column wants them.
pub fn visitor(columns: &[Column]) -> Option<Visitor> {
    let wanted = [Column::Interface, Column::Ipv4, Column::Ipv6];
    columns.iter().any(|c| wanted.contains(c)).then(Visitor::begin)
}

/// Gives the rows what a visitor of all their containers has seen.
pub fn fill_addresses(rows: &mut [Row], visitor: Visitor) {
    let mut answers = visitor.finish().into_iter();
    for row in rows.iter_mut().filter(|r| r.pid.is_some()) {
        // A container that ended meanwhile has none.
        row.interfaces = answers.next().and_then(Result::ok).unwrap_or_default();
    }
}

/// The table: cells are left-justified and followed by a blank.
pub fn fancy(rows: &[Row], columns: &[Column]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|r| columns.iter().map(|c| r.cell(*c)).collect()).collect();
    let width = |i: usize| {
        let longest = cells.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
        // Numbers of memory have room for their unit.
        let unit = if matches!(columns[i], Column::Ram | Column::Swap) { 2 } else { 0 };
        longest.max(columns[i].title().len() + unit)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    let titles: Vec<String> = columns.iter().map(|c| c.title().to_string()).collect();
    for row in std::iter::once(&titles).chain(&cells) {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(out, "{cell:<width$} ");
        }
        out.push('\n');
    }
    out
}

/// Names side by side in as many columns as fit; one a line where there is no terminal.
pub fn plain(names: &[String], terminal: usize) -> String {
    let width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0).max(4);
    let (mut out, mut used) = (String::new(), 0);
    for name in names {
        let _ = write!(out, "{name:<width$}");
        used += width;
        if used + width >= terminal {
            out.push('\n');
            used = 0;
        } else {
            out.push(' ');
            used += 1;
        }
    }
    if used > 0 {
        out.push('\n');
    }
    out
}

/// Columns of the terminal that stdout, stderr or stdin is; 0 without one.
pub fn terminal_width() -> usize {
    let size = |fd| rustix::termios::tcgetwinsize(fd).ok().map(|s| usize::from(s.ws_col));
    size(rustix::stdio::stdout())
        .or_else(|| size(rustix::stdio::stderr()))
        .or_else(|| size(rustix::stdio::stdin()))
        .unwrap_or(0)
}

/// An array of objects, a member for each column.
pub fn json(rows: &[Row], columns: &[Column]) -> String {
    use serde_json::{Map, Value, json};
    let one = |row: &Row| -> Value {
        let mut map = Map::new();
        for column in columns {
            let value = match column {
                Column::Name => json!(row.path()),
                Column::State => json!(row.state.name()),
                Column::Pid => json!(row.pid.map(|p| p.as_raw_pid())),
                Column::Ram => json!(row.memory.map(|(m, _)| m)),
                Column::Swap => json!(row.memory.map(|(_, s)| s)),
                Column::Autostart => json!(row.autostart),
                Column::Groups => json!(row.groups),
                Column::Interface => json!(row.interface_names()),
                Column::Ipv4 => json!(row.addresses(false)),
                Column::Ipv6 => json!(row.addresses(true)),
                Column::Unprivileged => json!(row.unprivileged),
            };
            map.insert(column.title().to_ascii_lowercase(), value);
        }
        Value::Object(map)
    };
    format!("{:#}\n", Value::Array(rows.iter().map(one).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_layout_as_observed() {
        let names = ["ct-a", "ct-c", "ct-longname-dd"].map(String::from);
        assert_eq!(plain(&names, 0), "ct-a          \nct-c          \nct-longname-dd\n");
        assert_eq!(plain(&names, 80), "ct-a           ct-c           ct-longname-dd \n");
        assert_eq!(plain(&names, 31), "ct-a           ct-c          \nct-longname-dd \n");
    }

    #[test]
    fn columns() {
        assert_eq!(Column::parse_list("name, Pid"), Ok(vec![Column::Name, Column::Pid]));
        assert_eq!(Column::parse_list("name,BOGUS"), Err("BOGUS"));
    }
}

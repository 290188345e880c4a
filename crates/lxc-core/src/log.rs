//! The log: upstream's line format, a file and stderr as sinks, and a ring of the last records.
//!
//! Records are made with the `log` crate's macros. Levels between its five are not used; ERROR is
//! what reaches stderr. The ring keeps TRACE records at no cost but memory, so that a start that
//! fails can tell what led to it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use log::{Level, LevelFilter, Metadata, Record};
use lxc_config::LogLevel;

use crate::error::{Doing, Result};

/// Records kept in memory.
const RING: usize = 128;
/// Longest line, with its newline (spec: life cycle, 13.2).
const MAX_LINE: usize = 4096;

struct State {
    prefix: String,
    name: Option<String>,
    file: Option<File>,
    /// The file was named on the command line: the configuration does not override it.
    file_is_fixed: bool,
    /// Connected to the system's log, and the facility.
    syslog: Option<(UnixDatagram, u8)>,
    level: LogLevel,
    stderr: bool,
    /// Records, and whether the file has them already.
    ring: Option<VecDeque<(Entry, bool)>>,
}

/// A record before it is made a line, which most never are.
struct Entry {
    time: SystemTime,
    level: LogLevel,
    target: String,
    file: Option<&'static str>,
    line: u32,
    message: String,
}

impl Entry {
    fn new(level: LogLevel, record: &Record<'_>) -> Entry {
        Entry {
            time: SystemTime::now(),
            level,
            target: record.target().to_string(),
            file: record.file_static(),
            line: record.line().unwrap_or(0),
            message: record.args().to_string(),
        }
    }

    /// `PREFIX NAME YYYYMMDDhhmmss.mmm LEVEL    CATEGORY - FILE:FUNC:LINE - MESSAGE`.
    fn line(&self, prefix: &str, name: Option<&str>) -> String {
        let module = self.target.rsplit("::").next().unwrap_or("lxc");
        let file = self.file.map_or("", |f| f.rsplit('/').next().unwrap_or(f));
        let name = name.map(|n| format!(" {n}")).unwrap_or_default();
        let time = jiff::Timestamp::try_from(self.time).unwrap_or_default();
        let stamp = time.strftime("%Y%m%d%H%M%S%.3f").to_string();
        let mut line = format!(
            "{}{} {} {:<8} {} - {}:{}:{} - {}",
            prefix,
            name,
            stamp,
            self.level.name(),
            module,
            file,
            module,
            self.line,
            self.message,
        );
        if line.len() >= MAX_LINE {
            let mut end = MAX_LINE - 1;
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            line.truncate(end);
        }
        line.push('\n');
        line
    }
}

struct Sink(Mutex<State>);

static SINK: Sink = Sink(Mutex::new(State {
    prefix: String::new(),
    name: None,
    file: None,
    file_is_fixed: false,
    syslog: None,
    level: LogLevel::Error,
    stderr: false,
    ring: None,
}));

fn from_log(level: Level) -> LogLevel {
    match level {
        Level::Error => LogLevel::Error,
        Level::Warn => LogLevel::Warn,
        Level::Info => LogLevel::Info,
        Level::Debug => LogLevel::Debug,
        Level::Trace => LogLevel::Trace,
    }
}

impl log::Log for Sink {
    /// What libraries say is of no use to anybody: that a kernel is newer than they are, for each device.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("lxc")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Ok(mut state) = self.0.lock() else { return };
        let level = from_log(record.level());
        let to_file = state.file.is_some() && level >= state.level;
        if let Some((socket, facility)) = &state.syslog
            && level >= state.level
        {
            // RFC 3164, as syslog(3) of the C library sends it. A full log has nobody to be told.
            let priority = facility * 8 + severity(level);
            let name = state.name.as_deref().unwrap_or_default();
            let pid = rustix::process::getpid().as_raw_nonzero();
            let text = format!("<{priority}>{}[{pid}]: {name}: {}", state.prefix, record.args());
            let _ = socket.send(text.as_bytes());
        }
        let to_stderr = state.stderr && level >= LogLevel::Error;
        if to_file || state.ring.is_some() {
            let entry = Entry::new(level, record);
            if to_file {
                let line = entry.line(&state.prefix, state.name.as_deref());
                // A log that cannot be written has nobody to be told.
                let _ = state.file.as_mut().map(|f| f.write_all(line.as_bytes()));
            }
            if let Some(ring) = &mut state.ring {
                if ring.len() == RING {
                    ring.pop_front();
                }
                ring.push_back((entry, to_file));
            }
        }
        if to_stderr {
            let name = state.name.as_deref().map(|n| format!("{n}: ")).unwrap_or_default();
            let line = format!("{}: {}{}\n", state.prefix, name, record.args());
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// RFC 5424, section 6.2.1.
fn severity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Trace | LogLevel::Debug => 7,
        LogLevel::Info => 6,
        LogLevel::Notice => 5,
        LogLevel::Warn => 4,
        LogLevel::Error => 3,
        LogLevel::Crit => 2,
        LogLevel::Alert => 1,
        LogLevel::Fatal => 0,
    }
}

/// Number of a facility of `lxc.log.syslog`: daemon or local0 to local7.
fn facility(name: &str) -> u8 {
    let local = name.to_ascii_lowercase().strip_prefix("local").and_then(|n| n.parse::<u8>().ok());
    local.map_or(3, |n| 16 + n)
}

/// What a command asks of the log.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// Program name (at most 31 characters are shown).
    pub prefix: &'a str,
    /// Container.
    pub name: Option<&'a str>,
    /// File given by `-o`.
    pub file: Option<&'a Path>,
    /// Level given by `-l`.
    pub level: Option<LogLevel>,
    /// Errors go to stderr.
    pub stderr: bool,
}

/// Begins logging.
///
/// # Errors
/// The log file cannot be opened.
pub fn init(options: &Options<'_>) -> Result<()> {
    let file = options.file.map(open).transpose()?;
    if let Ok(mut state) = SINK.0.lock() {
        state.prefix = options.prefix.chars().take(31).collect();
        state.name = options.name.map(str::to_string);
        state.file_is_fixed = file.is_some();
        state.file = file;
        state.stderr = options.stderr;
        if let Some(level) = options.level {
            state.level = level;
        }
    }
    // A second initialisation of the same process keeps the sink.
    let _ = log::set_logger(&SINK);
    update_filter();
    Ok(())
}

/// Applies `lxc.log.*` of a configuration.
///
/// # Errors
/// The log file cannot be opened.
pub fn apply_config(config: &lxc_config::Values) -> Result<()> {
    let wanted = config.log.file.as_deref();
    let fixed = SINK.0.lock().is_ok_and(|s| s.file_is_fixed);
    let file = wanted.filter(|_| !fixed).map(open).transpose()?;
    if let Ok(mut state) = SINK.0.lock() {
        if file.is_some() {
            state.file = file;
        }
        if let Some(level) = config.log.level {
            state.level = level;
        }
        if let Some(name) = &config.log.syslog {
            // A host without a system log is no reason to fail.
            state.syslog = UnixDatagram::unbound()
                .and_then(|s| s.connect("/dev/log").and_then(|()| s.set_nonblocking(true)).map(|()| s))
                .ok()
                .map(|s| (s, facility(name)));
        }
    }
    update_filter();
    Ok(())
}

/// Names the container that later records are about.
pub fn set_name(name: &str) {
    if let Ok(mut state) = SINK.0.lock() {
        state.name = Some(name.to_string());
    }
}

/// Stops writing errors to stderr: a daemon has nobody to read them.
pub fn silence_stderr() {
    if let Ok(mut state) = SINK.0.lock() {
        state.stderr = false;
    }
    update_filter();
}

/// Stops writing to the file, whose descriptor this process has closed by number.
pub fn forget_file() {
    if let Ok(mut state) = SINK.0.lock() {
        std::mem::forget((state.file.take(), state.syslog.take()));
    }
    update_filter();
}

/// Keeps records in memory from now on.
pub fn start_ring() {
    if let Ok(mut state) = SINK.0.lock() {
        state.ring = Some(VecDeque::new());
    }
    update_filter();
}

/// Ends the ring and forgets what it held.
pub fn drop_ring() {
    if let Ok(mut state) = SINK.0.lock() {
        state.ring = None;
    }
    update_filter();
}

/// Ends the ring after a failure: the log file gets what it does not have yet, whatever the level,
/// and the caller all lines.
pub fn take_ring() -> Vec<String> {
    let lines: Vec<String> = match SINK.0.lock() {
        Ok(mut state) => {
            let ring = state.ring.take().unwrap_or_default();
            let line = |entry: &Entry| entry.line(&state.prefix, state.name.as_deref());
            let lines: Vec<(String, bool)> = ring.iter().map(|(e, written)| (line(e), *written)).collect();
            if let Some(file) = &mut state.file {
                let missing: String =
                    lines.iter().filter(|(_, written)| !written).map(|(l, _)| l.as_str()).collect();
                let _ = file.write_all(missing.as_bytes());
            }
            lines.into_iter().map(|(line, _)| line).collect()
        }
        Err(_) => Vec::new(),
    };
    update_filter();
    lines
}

/// Descriptors of the log: kept open by the monitor, closed at exec.
pub fn descriptors() -> Vec<i32> {
    use std::os::fd::AsRawFd;
    let Ok(state) = SINK.0.lock() else { return Vec::new() };
    let file = state.file.as_ref().map(|f| f.as_raw_fd());
    file.into_iter().chain(state.syslog.as_ref().map(|(s, _)| s.as_raw_fd())).collect()
}

/// Lets the macros skip what no sink wants, before anything is formatted.
fn update_filter() {
    let Ok(state) = SINK.0.lock() else { return };
    let filter = if state.ring.is_some() {
        LevelFilter::Trace
    } else if state.file.is_none() && state.syslog.is_none() {
        LevelFilter::Error
    } else {
        match state.level {
            LogLevel::Trace => LevelFilter::Trace,
            LogLevel::Debug => LevelFilter::Debug,
            LogLevel::Info => LevelFilter::Info,
            LogLevel::Notice | LogLevel::Warn => LevelFilter::Warn,
            _ => LevelFilter::Error,
        }
    };
    log::set_max_level(filter);
}

fn open(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).doing(|| format!("create directory {}", dir.display()))?;
    }
    File::options()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .doing(|| format!("open log file {}", path.display()))
}

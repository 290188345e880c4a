//! `lxc.log.*`

use super::access::{Access, Custom, field};
use super::{KEY, Key, Place};
use crate::values::LogLevel;
use crate::{ValueError, scalar};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.log.file",
        value: "path",
        since: "3.0",
        doc: "The log file of every process that reads this configuration.",
        place: Place::Container(Access::Path(field!(log.file))),
        ..KEY
    },
    Key {
        name: "lxc.log.level",
        value: "0 to 8, or TRACE, DEBUG, INFO, NOTICE, WARN, ERROR, CRIT, ALERT, FATAL",
        default: "ERROR",
        since: "3.0",
        doc: "The lowest severity that is logged.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| level(setting.value).map(|level| values.log.level = Some(level)),
            get: |values, _| values.log.level.map_or("NOTSET", LogLevel::name).to_owned(),
            clear: |values, _| values.log.level = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.log.syslog",
        value: "daemon or local0 to local7",
        since: "3.0",
        doc: "The syslog facility to which messages are sent as well.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| facility(setting.value).map(|facility| values.log.syslog = Some(facility)),
            get: |values, _| values.log.syslog.clone().unwrap_or_default(),
            clear: |values, _| values.log.syslog = None,
        })),
        ..KEY
    },
];

const LEVELS: [LogLevel; 9] = [
    LogLevel::Trace,
    LogLevel::Debug,
    LogLevel::Info,
    LogLevel::Notice,
    LogLevel::Warn,
    LogLevel::Error,
    LogLevel::Crit,
    LogLevel::Alert,
    LogLevel::Fatal,
];

impl LogLevel {
    /// The name in upper case, as in log lines.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Trace => "TRACE",
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Notice => "NOTICE",
            LogLevel::Warn => "WARN",
            LogLevel::Error => "ERROR",
            LogLevel::Crit => "CRIT",
            LogLevel::Alert => "ALERT",
            LogLevel::Fatal => "FATAL",
        }
    }

    /// The level of a name in any case.
    pub fn from_name(name: &str) -> Option<LogLevel> {
        LEVELS.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

/// A level by name in any case, or by number.
fn level(value: &str) -> Result<LogLevel, ValueError> {
    let number = scalar::uint(value).ok().filter(|_| value.starts_with(|c: char| c.is_ascii_digit()));
    LogLevel::from_name(value)
        .or_else(|| LEVELS.into_iter().find(|&level| Some(level as u32) == number))
        .ok_or_else(|| ValueError::new(format!("'{value}' is not a log level")))
}

/// The facility as written.
fn facility(value: &str) -> Result<String, ValueError> {
    let lower = value.to_ascii_lowercase();
    let local = lower.strip_prefix("local").is_some_and(|n| n.len() == 1 && ("0"..="7").contains(&n));
    if local || lower == "daemon" {
        return Ok(value.to_owned());
    }
    Err(ValueError::new(format!("'{value}' is not a syslog facility")))
}

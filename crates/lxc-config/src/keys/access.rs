//! How a value is stored: the shapes that many keys share, and functions of their own for the others.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::source::Source;
use crate::{ValueError, scalar};

/// A field of the values (or of one network), to read and to change.
#[derive(Debug)]
pub(crate) struct Field<S, T> {
    pub get: fn(&S) -> &T,
    pub get_mut: fn(&mut S) -> &mut T,
}

/// Names a field for a declaration: `field!(console.rotate)`.
macro_rules! field {
    ($($path:tt)+) => {
        $crate::keys::access::Field { get: |s| &s.$($path)+, get_mut: |s| &mut s.$($path)+ }
    };
}
pub(crate) use field;

/// One assignment of a value that is not empty.
pub(crate) struct Setting<'a> {
    /// What follows the key's name, for keys that have sub-keys.
    pub sub: &'a str,
    /// The text right of `=`.
    pub value: &'a str,
    /// For the few values that depend on the environment.
    pub source: &'a dyn Source,
    /// Filled where the value is accepted, but means something unexpected.
    pub warning: Option<String>,
}

/// Functions of a key whose value has a shape of its own.
#[derive(Debug)]
pub(crate) struct Custom<S> {
    pub set: fn(&mut S, &mut Setting<'_>) -> Result<(), ValueError>,
    /// The second argument is the sub-key, empty for all entries.
    pub get: fn(&S, &str) -> String,
    pub clear: fn(&mut S, &str),
}

/// Named values of a key with sub-keys, in the order written.
pub(crate) type Entries = Vec<(String, String)>;

/// The shape of a value.
#[derive(Debug)]
pub(crate) enum Access<S> {
    Text(Field<S, Option<String>>),
    /// Text of at most so many bytes.
    Bounded(Field<S, Option<String>>, usize),
    Path(Field<S, Option<PathBuf>>),
    /// 0 or 1, and the default.
    Flag(Field<S, bool>, bool),
    Uint(Field<S, u32>),
    Int(Field<S, i32>),
    Signal(Field<S, i32>),
    RingSize(Field<S, u64>),
    InterfaceName(Field<S, Option<String>>),
    HardwareAddress(Field<S, Option<String>>),
    /// Each assignment is one entry.
    Lines(Field<S, Vec<String>>),
    /// Each word is one entry.
    Words(Field<S, Vec<String>>),
    Environment(Field<S, Vec<String>>),
    /// Sub-keys that keep every assignment.
    Repeated(Field<S, Entries>),
    /// Sub-keys that keep the last assignment.
    Replaced(Field<S, Entries>),
    Custom(Custom<S>),
}

impl<S> Access<S> {
    /// Stores a value that is not empty. On an error nothing is changed.
    pub(crate) fn set(&self, s: &mut S, setting: &mut Setting<'_>) -> Result<(), ValueError> {
        let value = setting.value;
        match self {
            Access::Text(field) | Access::HardwareAddress(field) => {
                *(field.get_mut)(s) = Some(value.to_owned())
            }
            Access::Bounded(field, max) => {
                if value.len() > *max {
                    return Err(ValueError::new(format!("longer than {max} bytes")));
                }
                *(field.get_mut)(s) = Some(value.to_owned());
            }
            Access::Path(field) => *(field.get_mut)(s) = Some(scalar::path(value)?.into()),
            Access::Flag(field, _) => *(field.get_mut)(s) = scalar::bool01(value)?,
            Access::Uint(field) => *(field.get_mut)(s) = scalar::uint(value)?,
            Access::Int(field) => *(field.get_mut)(s) = scalar::int(value)?,
            Access::Signal(field) => *(field.get_mut)(s) = scalar::signal(value)?,
            Access::RingSize(field) => *(field.get_mut)(s) = scalar::ring_size(value)?,
            Access::InterfaceName(field) => *(field.get_mut)(s) = Some(scalar::ifname(value)?),
            Access::Lines(field) => (field.get_mut)(s).push(value.to_owned()),
            Access::Words(field) => (field.get_mut)(s).extend(scalar::words(value).map(str::to_owned)),
            Access::Environment(field) => {
                (field.get_mut)(s).push(super::env::variable(value, setting.source)?)
            }
            Access::Repeated(field) => {
                (field.get_mut)(s).push((sub_key(setting)?.to_owned(), value.to_owned()));
            }
            Access::Replaced(field) => {
                let name = sub_key(setting)?;
                let entries = (field.get_mut)(s);
                match entries.iter_mut().find(|(known, _)| known == name) {
                    Some((_, old)) => *old = value.to_owned(),
                    None => entries.push((name.to_owned(), value.to_owned())),
                }
            }
            Access::Custom(custom) => (custom.set)(s, setting)?,
        }
        Ok(())
    }

    /// The text that the API returns.
    pub(crate) fn get(&self, s: &S, key: &str, sub: &str) -> String {
        match self {
            Access::Text(field)
            | Access::Bounded(field, _)
            | Access::InterfaceName(field)
            | Access::HardwareAddress(field) => (field.get)(s).clone().unwrap_or_default(),
            Access::Path(field) => {
                (field.get)(s).as_ref().map_or_else(String::new, |path| path.to_string_lossy().into_owned())
            }
            Access::Flag(field, _) => flag(*(field.get)(s)),
            Access::Uint(field) => (field.get)(s).to_string(),
            Access::Int(field) | Access::Signal(field) => (field.get)(s).to_string(),
            Access::RingSize(field) => (field.get)(s).to_string(),
            Access::Lines(field) | Access::Words(field) | Access::Environment(field) => lines((field.get)(s)),
            Access::Repeated(field) if !sub.is_empty() => {
                lines((field.get)(s).iter().filter(|(name, _)| name == sub).map(|(_, value)| value))
            }
            Access::Replaced(field) if !sub.is_empty() => {
                let entry = (field.get)(s).iter().find(|(name, _)| name == sub);
                entry.map_or_else(String::new, |(_, value)| value.clone())
            }
            Access::Repeated(field) | Access::Replaced(field) => assignments(key, (field.get)(s)),
            Access::Custom(custom) => (custom.get)(s, sub),
        }
    }

    /// Back to the default.
    pub(crate) fn clear(&self, s: &mut S, sub: &str) {
        match self {
            Access::Text(field)
            | Access::Bounded(field, _)
            | Access::InterfaceName(field)
            | Access::HardwareAddress(field) => *(field.get_mut)(s) = None,
            Access::Path(field) => *(field.get_mut)(s) = None,
            Access::Flag(field, default) => *(field.get_mut)(s) = *default,
            Access::Uint(field) => *(field.get_mut)(s) = 0,
            Access::Int(field) | Access::Signal(field) => *(field.get_mut)(s) = 0,
            Access::RingSize(field) => *(field.get_mut)(s) = 0,
            Access::Lines(field) | Access::Words(field) | Access::Environment(field) => {
                (field.get_mut)(s).clear()
            }
            Access::Repeated(field) | Access::Replaced(field) => {
                (field.get_mut)(s).retain(|(name, _)| !sub.is_empty() && name != sub);
            }
            Access::Custom(custom) => (custom.clear)(s, sub),
        }
    }
}

/// The sub-key of an assignment, which cannot be missing here.
pub(crate) fn sub_key<'a>(setting: &Setting<'a>) -> Result<&'a str, ValueError> {
    if setting.sub.is_empty() {
        return Err(ValueError::new("only an empty value can be assigned without a sub-key"));
    }
    Ok(setting.sub)
}

/// A flag as the API writes it.
pub(crate) fn flag(on: bool) -> String {
    if on { "1" } else { "0" }.to_owned()
}

/// Entries of a list, each with a newline.
pub(crate) fn lines<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for entry in entries {
        text.push_str(entry.as_ref());
        text.push('\n');
    }
    text
}

/// Entries with newlines between them.
pub(crate) fn separated<T: std::fmt::Display>(entries: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for (n, entry) in entries.into_iter().enumerate() {
        let separator = if n == 0 { "" } else { "\n" };
        let _ = write!(text, "{separator}{entry}");
    }
    text
}

/// All entries of a key with sub-keys, written as lines of a file.
pub(crate) fn assignments<V: std::fmt::Display>(key: &str, entries: &[(String, V)]) -> String {
    let mut text = String::new();
    for (name, value) in entries {
        let _ = writeln!(text, "{key}.{name} = {value}");
    }
    text
}

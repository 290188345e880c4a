//! What is wrong with a configuration, where, and what was probably meant.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct ValueError {
    /// One line, without the name of the key.
    pub reason: String,
}

impl ValueError {
    /// An error with this text.
    pub fn new(reason: impl Into<String>) -> ValueError {
        ValueError { reason: reason.into() }
    }
}

/// Why a key has no text to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GetError {
    /// The key is unknown, belongs to another type of network, or to a network that does not exist.
    #[error("no such key")]
    Invalid,
    /// A key below `lxc.net.<n>` that names nothing.
    #[error("no such network key")]
    Missing,
    /// The key has no value that could be returned.
    #[error("the key cannot be read")]
    Unsupported,
}

impl GetError {
    /// The error number of Linux: EINVAL, ENOENT or ENOSYS, positive.
    pub fn errno(self) -> i32 {
        match self {
            GetError::Invalid => 22,
            GetError::Missing => 2,
            GetError::Unsupported => 38,
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: u32,
    /// In bytes, counted from 1.
    pub column: u32,
}

/// The line that included the file above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncludedFrom {
    /// The including file.
    pub file: PathBuf,
    /// Line of its `lxc.include`.
    pub line: u32,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No key of this name.
    UnknownKey {
        /// As written.
        key: String,
        /// The known key that differs least.
        nearest: Option<String>,
    },
    /// The line starts like a key but assigns nothing.
    MissingEquals,
    /// The value is not in the key's grammar.
    InvalidValue {
        /// As written.
        key: String,
        /// What is wrong with the value.
        reason: String,
        /// The grammar of the key.
        expected: &'static str,
    },
    /// A file or directory that `lxc.include` names cannot be used.
    Include {
        /// As written.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A zero byte, which no value can hold.
    NulByte,
    /// The line is not UTF-8.
    NotUtf8,
    /// A line break inside a value, which the file could not express.
    LineBreak,
    /// Warning: a name of LXC 1 or 2.
    LegacyKey {
        /// The name used.
        key: String,
        /// Its name today; `None` where it has no effect any more.
        replacement: Option<String>,
    },
    /// Warning: the value is accepted but means something else than it says.
    DoubtfulValue {
        /// As written.
        key: String,
        /// What happens.
        reason: String,
    },
    /// Warning: a later line of the same file assigns the key again.
    Overridden {
        /// In its usual spelling.
        key: String,
        /// The line that wins.
        line: u32,
    },
}

impl Problem {
    /// Whether reading goes on.
    pub fn is_warning(&self) -> bool {
        matches!(self, Problem::LegacyKey { .. } | Problem::DoubtfulValue { .. } | Problem::Overridden { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Problem::UnknownKey { key, nearest: None } => format!("unknown key '{key}'"),
            Problem::UnknownKey { key, nearest: Some(nearest) } => {
                format!("unknown key '{key}', did you mean '{nearest}'?")
            }
            Problem::MissingEquals => "missing '=' after the key".to_owned(),
            Problem::InvalidValue { key, reason, .. } => format!("{key}: {reason}"),
            Problem::Include { path, reason } => format!("cannot include {}: {reason}", path.display()),
            Problem::NulByte => "zero byte in the file".to_owned(),
            Problem::NotUtf8 => "the line is not valid UTF-8".to_owned(),
            Problem::LineBreak => "a value cannot contain a line break".to_owned(),
            Problem::LegacyKey { key, replacement: Some(new) } => format!("'{key}' is now called '{new}'"),
            Problem::LegacyKey { key, replacement: None } => format!("'{key}' has no effect any more"),
            Problem::DoubtfulValue { key, reason } => format!("{key}: {reason}"),
            Problem::Overridden { key, line } => {
                format!("{key}: the line has no effect, line {line} assigns it again")
            }
        };
        f.write_str(&without_controls(&text))
    }
}

/// Text of a file on its way to a terminal: what would move the cursor or change colours is made visible.
fn without_controls(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// The cause of an error of the system, without the number that Rust appends.
pub(crate) fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(cause, _)| cause.to_owned())
}

/// An error or a warning about one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where; `None` for a key that was set by a program or on the command line.
    pub location: Option<Location>,
    /// The line, or the assignment that was tried.
    pub text: String,
    /// How many bytes of the line are meant, from the column on.
    pub length: u32,
    /// What is wrong.
    pub problem: Problem,
    /// The files that led here by `lxc.include`, innermost first.
    pub included_from: Vec<IncludedFrom>,
}

impl Diagnostic {
    /// An assignment that stands in no file.
    pub(crate) fn without_file(text: String, problem: Problem) -> Diagnostic {
        Diagnostic { location: None, text, length: 0, problem, included_from: Vec::new() }
    }

    /// Whether reading goes on.
    pub fn is_warning(&self) -> bool {
        self.problem.is_warning()
    }

    /// Several lines for a person at a terminal: the cause, the line with the doubtful part marked, the
    /// expected grammar and the way through the includes. Ends without a newline.
    pub fn render(&self) -> String {
        let severity = if self.is_warning() { "warning" } else { "error" };
        let mut out = format!("{severity}: {}", self.problem);
        if let Some(location) = &self.location {
            let number = location.line.to_string();
            let margin = " ".repeat(number.len());
            out += &format!("\n{margin}--> {}:{number}:{}", location.file.display(), location.column);
            if !self.text.is_empty() {
                let (before, marked) = self.marked(location.column);
                // A tab stays a tab in the line of carets, so that the marks stand below what they mark.
                let blanks: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let carets = "^".repeat(marked.chars().count().max(1));
                let line = without_controls(&self.text);
                out += &format!("\n{margin} |\n{number} | {line}\n{margin} | {blanks}{carets}");
            }
        }
        if let Problem::InvalidValue { expected, .. } = &self.problem
            && !expected.is_empty()
        {
            out += &format!("\n  expected: {expected}");
        }
        for from in &self.included_from {
            out += &format!("\n  included from {}:{}", from.file.display(), from.line);
        }
        out
    }

    /// The line before the part that is meant, and that part. A line that is not UTF-8 was changed when it
    /// was made printable, so that its offsets may be off.
    fn marked(&self, column: u32) -> (&str, &str) {
        let boundary =
            |at: usize| (0..=at.min(self.text.len())).rev().find(|&at| self.text.is_char_boundary(at));
        let start = boundary(column as usize - 1).unwrap_or(0);
        let end = boundary(start + self.length as usize).unwrap_or(start).max(start);
        (&self.text[..start], &self.text[start..end])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{}:{}:{}: ", location.file.display(), location.line, location.column)?;
        }
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for Diagnostic {}

/// Why a configuration could not be read or changed.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file itself cannot be read.
    #[error("{}: {}", path.display(), cause(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// A line or an assignment is wrong.
    #[error(transparent)]
    Invalid(#[from] Box<Diagnostic>),
}

/// The candidate that a misspelt name most probably meant: few edits, in proportion to its length.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.len() / 5).clamp(1, 4);
    candidates
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= limit)
        .map(|candidate| (edit_distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|&(distance, _)| distance <= limit)
        // Among equals, a wrong character is likelier than a missing one.
        .min_by_key(|&(distance, candidate)| (distance, candidate.len().abs_diff(name.len())))
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and transpositions of neighbours that lead from one name to the
/// other.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut row = vec![0; b.len() + 1];
    for i in 1..=a.len() {
        row[0] = i;
        for j in 1..=b.len() {
            let substitution = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substitution.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        std::mem::swap(&mut before_last, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposition_is_one_edit() {
        assert_eq!(edit_distance(b"tpye", b"type"), 1);
        assert_eq!(edit_distance(b"", b"abc"), 3);
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
    }

    #[test]
    fn rendering_marks_the_value() {
        let diagnostic = Diagnostic {
            location: Some(Location { file: "c".into(), line: 12, column: 18 }),
            text: "lxc.start.auto = yes".into(),
            length: 3,
            problem: Problem::InvalidValue {
                key: "lxc.start.auto".into(),
                reason: "'yes' is neither 0 nor 1".into(),
                expected: "0 or 1",
            },
            included_from: vec![IncludedFrom { file: "main".into(), line: 3 }],
        };
        assert_eq!(diagnostic.to_string(), "c:12:18: lxc.start.auto: 'yes' is neither 0 nor 1");
        assert_eq!(
            diagnostic.render(),
            "error: lxc.start.auto: 'yes' is neither 0 nor 1\n  --> c:12:18\n   |\n12 | lxc.start.auto = yes\n   \
             |                  ^^^\n  expected: 0 or 1\n  included from main:3"
        );
    }
}

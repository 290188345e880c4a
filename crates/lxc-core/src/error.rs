//! One error type: what was being done, what the kernel said, and what to do about it.

use std::fmt;

use lxc_sys::Errno;

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure it is, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// An operation failed.
    Failed,
    /// The configuration, a name or an argument is wrong; nothing was begun.
    Invalid,
    /// There is no such container.
    NotDefined,
    /// The container does not run.
    NotRunning,
    /// The container runs already.
    AlreadyRunning,
    /// The caller may not control the container.
    Denied,
    /// This host, kernel or build cannot do it.
    Unsupported,
    /// Time ran out.
    TimedOut,
    /// The file system or kernel has no id-mapped mounts.
    NoIdmappedMounts,
}

/// Why something failed: the innermost cause first, then what it was part of.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    /// What was being done, outermost first; the last one names paths and arguments.
    doing: Vec<String>,
    errno: Option<Errno>,
    hint: Option<String>,
}

impl Error {
    /// An error without errno.
    pub fn new(kind: Kind, what: impl Into<String>) -> Error {
        Error { kind, doing: vec![what.into()], errno: None, hint: None }
    }

    /// Something refused before anything was begun.
    pub fn invalid(what: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, what)
    }

    /// Something this host or build cannot do.
    pub fn unsupported(what: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, what)
    }

    /// A failed system call: what was tried, with its arguments.
    pub fn os(what: impl Into<String>, errno: Errno) -> Error {
        Error { kind: Kind::Failed, doing: vec![what.into()], errno: Some(errno), hint: None }
    }

    /// The sort of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was being done, without the kernel's answer.
    pub fn what(&self) -> String {
        self.doing.join(": ")
    }

    /// The kernel's answer, where there was one.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// What to do about it, where known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Says what this was part of, e.g. the name of a step.
    pub fn during(mut self, step: impl Into<String>) -> Error {
        self.doing.insert(0, step.into());
        self
    }

    /// Adds a remedy; an earlier, more precise one stays.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Changes the sort of failure.
    pub fn with_kind(mut self, kind: Kind) -> Error {
        self.kind = kind;
        self
    }

    /// Serialises for a pipe between two processes of one start.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.kind as u8];
        out.extend(self.errno.map_or(0, Errno::raw_os_error).to_ne_bytes());
        let hint = self.hint.as_deref().unwrap_or("");
        for part in std::iter::once(hint).chain(self.doing.iter().map(String::as_str)) {
            out.extend(part.as_bytes());
            out.push(0);
        }
        out
    }

    /// Reads what [`Error::to_bytes`] wrote. Never fails: what cannot be read is shown as it is.
    pub fn from_bytes(bytes: &[u8]) -> Error {
        const KINDS: [Kind; 9] = [
            Kind::Failed,
            Kind::Invalid,
            Kind::NotDefined,
            Kind::NotRunning,
            Kind::AlreadyRunning,
            Kind::Denied,
            Kind::Unsupported,
            Kind::TimedOut,
            Kind::NoIdmappedMounts,
        ];
        let Some((head, text)) = bytes.split_at_checked(5) else {
            return Error::new(Kind::Failed, "a process of the start ended without saying why");
        };
        let kind = KINDS.get(usize::from(head[0])).copied().unwrap_or(Kind::Failed);
        let errno = i32::from_ne_bytes([head[1], head[2], head[3], head[4]]);
        let mut parts = text.split(|&b| b == 0).map(|p| String::from_utf8_lossy(p).into_owned());
        let hint = parts.next().filter(|h| !h.is_empty());
        let doing: Vec<String> = parts.filter(|p| !p.is_empty()).collect();
        let errno = (errno != 0).then(|| lxc_sys::errno_from(errno));
        Error { kind, doing, errno, hint }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing.join(": "))?;
        match self.errno {
            Some(errno) => write!(f, ": {}", strerror(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<lxc_config::ConfigError> for Error {
    fn from(e: lxc_config::ConfigError) -> Error {
        let error = Error::invalid(e.to_string());
        match e {
            lxc_config::ConfigError::Read { path, error } => {
                Error::os(format!("read {}", path.display()), errno_of(&error)).with_kind(Kind::Invalid)
            }
            lxc_config::ConfigError::Invalid(_) => error,
        }
    }
}

/// The text of an error number, without Rust's "(os error N)".
pub fn strerror(errno: Errno) -> String {
    strerror_of(errno.raw_os_error())
}

/// The text of a number that need not be one of an error.
pub fn strerror_of(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// The errno of an I/O error; EIO where it has none.
pub fn errno_of(e: &std::io::Error) -> Errno {
    Errno::from_raw_os_error(e.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
}

/// Says what failed while it is known.
pub trait Doing<T> {
    /// Names the operation with its arguments; the closure runs only on failure.
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, Errno> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::os(what(), e))
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::os(what(), errno_of(&e)))
    }
}

impl<T> Doing<T> for Result<T> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| e.during(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_pipe() {
        let e = Error::os("mount overlay on /x", Errno::PERM).during("mount rootfs").with_hint("be root");
        let back = Error::from_bytes(&e.to_bytes());
        assert_eq!(back.to_string(), "mount rootfs: mount overlay on /x: Operation not permitted");
        assert_eq!(back.hint(), Some("be root"));
        assert_eq!(Error::from_bytes(b"").kind(), Kind::Failed);
    }
}

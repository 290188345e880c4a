//! What a member of an archive has: its contents, its owner, mode, times and attributes.

use std::ffi::{CStr, CString, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use super::stream::Record;
use crate::error::{Doing, Error, Result};
use crate::files::fd_path;

/// A block of zeros of this size is left out of a file.
const HOLE: usize = 64 * 1024;
/// XATTR_SIZE_MAX of the kernel.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// What a member has beside its contents.
pub(super) struct Meta {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: Timespec,
    xattrs: Vec<(CString, Vec<u8>)>,
}

impl Meta {
    /// Reads the header and its extension. `trusted`: also attributes that only the host's root may give.
    pub(super) fn of(header: &tar::Header, records: &[Record], trusted: bool) -> Result<Meta> {
        let id = |id: std::io::Result<u64>, what: &str| {
            let id = id.doing(|| format!("read its {what}"))?;
            u32::try_from(id).map_err(|_| Error::invalid(format!("its {what} {id} is none")))
        };
        let mut meta = Meta {
            uid: id(header.uid(), "uid")?,
            gid: id(header.gid(), "gid")?,
            mode: header.mode().doing(|| "read its mode")? & 0o7777,
            mtime: Timespec { tv_sec: i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), tv_nsec: 0 },
            xattrs: Vec::new(),
        };
        for (key, value) in records {
            let text = || std::str::from_utf8(value).unwrap_or_default();
            let none = |what: &str| Error::invalid(format!("its {what} is none"));
            match key.as_str() {
                "uid" => meta.uid = text().parse().map_err(|_| none("uid"))?,
                "gid" => meta.gid = text().parse().map_err(|_| none("gid"))?,
                "mtime" => meta.mtime = time(text()).unwrap_or(meta.mtime),
                key if key.starts_with("GNU.sparse.") => {
                    return Err(Error::unsupported("a sparse file in the format of pax")
                        .with_hint("tar --format=gnu writes those that are read, or leave --sparse out"));
                }
                key => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.")
                        && is_taken(name, trusted)?
                    {
                        if value.len() > MAX_ATTRIBUTE {
                            return Err(Error::invalid(format!("its attribute {name} is too long")));
                        }
                        let name = CString::new(name).map_err(|_| none("the name of an attribute"))?;
                        meta.xattrs.push((name, value.clone()));
                    }
                }
            }
        }
        Ok(meta)
    }

    /// Takes out what makes files that are made in a directory inherit something, or changes its mode.
    pub(super) fn without_acls(&mut self) -> Meta {
        let is_acl = |(name, _): &(CString, Vec<u8>)| name.to_bytes().starts_with(b"system.posix_acl_");
        let (acls, others) = std::mem::take(&mut self.xattrs).into_iter().partition(is_acl);
        self.xattrs = acls;
        Meta { xattrs: others, ..*self }
    }

    /// Bytes of its attributes.
    pub(super) fn weight(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.as_bytes().len() + value.len()).sum()
    }

    /// Gives a file or directory that is open what the member has. In this order: a change of the owner takes set-id bits
    /// and capabilities away, and that of the mode changes ACLs.
    pub(super) fn apply(&self, file: BorrowedFd<'_>) -> Result<()> {
        let what = || "set its owner, mode and times";
        rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
            .doing(what)
            .map_err(|e| self.explain_owner(e))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode)).doing(what)?;
        self.set_xattrs(|name, value| rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()))?;
        rustix::fs::futimens(file, &self.times()).doing(what)
    }

    /// The same for links and nodes, just made in a directory that nobody else gets at.
    pub(super) fn apply_by_name(&self, parent: &OwnedFd, name: &OsStr, link: bool) -> Result<()> {
        let what = || "set its owner, mode and times";
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let (uid, gid) = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        rustix::fs::chownat(parent, name, uid, gid, nofollow)
            .doing(what)
            .map_err(|e| self.explain_owner(e))?;
        if !link {
            let mode = Mode::from_raw_mode(self.mode);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).doing(what)?;
        }
        if !self.xattrs.is_empty() {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let named = rustix::fs::openat(parent, name, flags, Mode::empty()).doing(what)?;
            let path = fd_path(named.as_fd());
            self.set_xattrs(|name, value| rustix::fs::setxattr(&*path, name, value, XattrFlags::empty()))?;
        }
        rustix::fs::utimensat(parent, name, &self.times(), nofollow).doing(what)
    }

    fn times(&self) -> Timestamps {
        Timestamps { last_access: self.mtime, last_modification: self.mtime }
    }

    fn explain_owner(&self, error: Error) -> Error {
        match error.errno() {
            Some(Errno::INVAL) => {
                error.with_hint(format!("lxc.idmap has no place for {}:{}", self.uid, self.gid))
            }
            _ => error,
        }
    }

    fn set_xattrs(&self, set: impl Fn(&CStr, &[u8]) -> lxc_sys::Result<()>) -> Result<()> {
        for (name, value) in &self.xattrs {
            match set(name, value) {
                // Labels of another host; and in a user namespace what is not given away.
                Err(Errno::OPNOTSUPP | Errno::PERM) if !name.to_bytes().starts_with(b"user.") => {}
                set => set.doing(|| format!("set its attribute {}", name.to_string_lossy()))?,
            }
        }
        Ok(())
    }
}

/// Whether an attribute is taken from an archive: labels and signatures are those of another host.
fn is_taken(name: &str, trusted: bool) -> Result<bool> {
    if name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") {
        // What a layer says to the kernel's overlay is for whoever mounts it to say.
        return Err(Error::invalid(format!("its attribute {name} is the kernel's own")));
    }
    if name.starts_with("trusted.") && !trusted {
        return Err(Error::invalid(format!("its attribute {name} is for the host's root to give")));
    }
    let plain = name.starts_with("user.") || name.starts_with("system.posix_acl_");
    Ok(trusted || plain || name == "security.capability")
}

/// Seconds with a fraction.
fn time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(Timespec { tv_sec: seconds.parse().ok()?, tv_nsec: digits.parse().ok()? })
}

/// Writes a member's contents; blocks of zeros are holes.
pub(super) fn write_contents(entry: &mut impl Read, file: &OwnedFd) -> Result<()> {
    let mut buffer = vec![0; HOLE];
    let mut at = 0u64;
    loop {
        let mut length = 0;
        while length < buffer.len() {
            match entry.read(&mut buffer[length..]).map_err(super::unreadable)? {
                0 => break,
                n => length += n,
            }
        }
        if length == 0 {
            break;
        }
        if length < HOLE || buffer.iter().any(|&b| b != 0) {
            let mut written = 0;
            while written < length {
                let rest = &buffer[written..length];
                let n = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, rest, at + written as u64));
                written += n.doing(|| "write its contents")?;
            }
        }
        at += length as u64;
    }
    rustix::fs::ftruncate(file, at).doing(|| "write its contents")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time("12.5").expect("a time").tv_nsec, 500_000_000);
        assert_eq!(time("12").expect("a time").tv_nsec, 0);
        assert!(time("x").is_none());
    }

    #[test]
    fn attributes() {
        assert!(
            is_taken("user.a", false).expect("fine") && is_taken("security.capability", false).expect("fine")
        );
        assert!(!is_taken("security.selinux", false).expect("left out"));
        assert!(is_taken("trusted.a", false).is_err() && is_taken("trusted.a", true).expect("fine"));
        assert!(is_taken("trusted.overlay.opaque", true).is_err());
    }
}

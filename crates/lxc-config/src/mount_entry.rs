//! Mount options and lines of fstab(5), as in `lxc.mount.entry`, the file of `lxc.mount.fstab` and
//! `lxc.rootfs.options`.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::scalar;

/// Mount read-only.
pub const MS_RDONLY: u64 = 1;
/// Ignore set-user-ID and set-group-ID bits.
pub const MS_NOSUID: u64 = 1 << 1;
/// Device nodes do not work.
pub const MS_NODEV: u64 = 1 << 2;
/// Programs cannot be executed.
pub const MS_NOEXEC: u64 = 1 << 3;
/// Symbolic links are not followed.
pub const MS_NOSYMFOLLOW: u64 = 1 << 8;
/// Access times are not updated.
pub const MS_NOATIME: u64 = 1 << 10;
/// Access times of directories are not updated.
pub const MS_NODIRATIME: u64 = 1 << 11;
/// A directory tree appears in another place.
pub const MS_BIND: u64 = 1 << 12;
/// A mount moves to another place.
pub const MS_MOVE: u64 = 1 << 13;
/// The operation includes the mounts below.
pub const MS_REC: u64 = 1 << 14;
/// The mount cannot be bound elsewhere.
pub const MS_UNBINDABLE: u64 = 1 << 17;
/// Nothing propagates to or from the mount.
pub const MS_PRIVATE: u64 = 1 << 18;
/// Mounts propagate into it.
pub const MS_SLAVE: u64 = 1 << 19;
/// Mounts propagate in both directions.
pub const MS_SHARED: u64 = 1 << 20;
/// Access times are updated when they are older than the modification.
pub const MS_RELATIME: u64 = 1 << 21;
/// Access times are always updated.
pub const MS_STRICTATIME: u64 = 1 << 24;

/// A line or option that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MountEntryError {
    /// Not even source and target.
    #[error("a mount needs at least a source and a target")]
    MissingFields,
    /// An escape that gives no text.
    #[error("the escapes in '{0}' do not give valid text")]
    Escape(String),
    /// The source of a bind mount is neither absolute nor marked as relative.
    #[error("the source '{0}' of the bind mount must be absolute, or the option 'relative' be given")]
    RelativeSource(String),
    /// An option with a value that means nothing.
    #[error("'{0}' is not a valid mount option")]
    Option(String),
    /// Two types of propagation.
    #[error("more than one type of propagation")]
    Propagation,
    /// `idmap=` where the kernel's interface cannot do it.
    #[error("idmap= needs a bind mount without type and without options of a file system")]
    IdMap,
}

/// What `create=` makes where the target is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// A directory.
    Dir,
    /// An empty file.
    File,
}

/// The user namespace of `idmap=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdMapSource {
    /// That of the container.
    Container,
    /// The one that this file stands for.
    File(PathBuf),
}

/// Options of a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Flags to set, `MS_BIND`, `MS_REC` and `MS_MOVE` included.
    pub flags: u64,
    /// Flags that were switched off by name, e.g. [`MS_NODEV`] by `dev`.
    pub cleared: u64,
    /// One of [`MS_PRIVATE`], [`MS_SLAVE`], [`MS_SHARED`] and [`MS_UNBINDABLE`], perhaps with [`MS_REC`]; 0
    /// for none.
    pub propagation: u64,
    /// `create=dir` or `create=file`.
    pub create: Option<Create>,
    /// Failures are ignored.
    pub optional: bool,
    /// The source is inside the root file system.
    pub relative: bool,
    /// `idmap=`
    pub idmap: Option<IdMapSource>,
    /// What is left, for the file system, joined by commas.
    pub data: String,
}

/// Words that set and clear flags: (word, set, cleared).
const FLAGS: &[(&str, u64, u64)] = &[
    ("atime", 0, MS_NOATIME),
    ("bind", MS_BIND, 0),
    ("defaults", 0, 0),
    ("dev", 0, MS_NODEV),
    ("diratime", 0, MS_NODIRATIME),
    ("exec", 0, MS_NOEXEC),
    ("move", MS_MOVE, 0),
    ("noatime", MS_NOATIME, 0),
    ("nodev", MS_NODEV, 0),
    ("nodiratime", MS_NODIRATIME, 0),
    ("noexec", MS_NOEXEC, 0),
    ("norelatime", 0, MS_RELATIME),
    ("nostrictatime", 0, MS_STRICTATIME),
    ("nosuid", MS_NOSUID, 0),
    ("nosymfollow", MS_NOSYMFOLLOW, 0),
    ("rbind", MS_BIND | MS_REC, 0),
    ("relatime", MS_RELATIME, 0),
    ("ro", MS_RDONLY, 0),
    ("rw", 0, MS_RDONLY),
    ("strictatime", MS_STRICTATIME, 0),
    ("suid", 0, MS_NOSUID),
    // Known everywhere else, without meaning for a container's mounts.
    ("async", 0, 0),
    ("dirsync", 0, 0),
    ("lazytime", 0, 0),
    ("mand", 0, 0),
    ("nomand", 0, 0),
    ("remount", 0, 0),
    ("sync", 0, 0),
];

const PROPAGATIONS: &[(&str, u64)] = &[
    ("private", MS_PRIVATE),
    ("rprivate", MS_PRIVATE | MS_REC),
    ("shared", MS_SHARED),
    ("rshared", MS_SHARED | MS_REC),
    ("slave", MS_SLAVE),
    ("rslave", MS_SLAVE | MS_REC),
    ("unbindable", MS_UNBINDABLE),
    ("runbindable", MS_UNBINDABLE | MS_REC),
];

impl MountOptions {
    /// Parses options separated by commas. Words are taken whole: `rootcontext=…` is not `ro`.
    pub fn parse(text: &str) -> Result<MountOptions, MountEntryError> {
        let mut options = MountOptions::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            options.add(word)?;
        }
        Ok(options)
    }

    fn add(&mut self, word: &str) -> Result<(), MountEntryError> {
        if let Some(&(_, set, cleared)) = FLAGS.iter().find(|(known, ..)| *known == word) {
            // The last of two opposites wins.
            self.flags = self.flags & !cleared | set;
            self.cleared = self.cleared & !set | cleared;
        } else if let Some(&(_, propagation)) = PROPAGATIONS.iter().find(|(known, _)| *known == word) {
            if self.propagation != 0 && self.propagation != propagation {
                return Err(MountEntryError::Propagation);
            }
            self.propagation = propagation;
        } else if let Some(kind) = word.strip_prefix("create=") {
            self.create = Some(match kind {
                "dir" => Create::Dir,
                "file" => Create::File,
                _ => return Err(MountEntryError::Option(word.to_owned())),
            });
        } else if let Some(map) = word.strip_prefix("idmap=") {
            self.idmap = Some(match map {
                "container" => IdMapSource::Container,
                "" => return Err(MountEntryError::Option(word.to_owned())),
                path => IdMapSource::File(path.into()),
            });
        } else if word == "optional" {
            self.optional = true;
        } else if word == "relative" {
            self.relative = true;
        } else {
            if !self.data.is_empty() {
                self.data.push(',');
            }
            self.data.push_str(word);
        }
        Ok(())
    }

    /// Whether the mount shows an existing tree in another place.
    pub fn is_bind(&self) -> bool {
        self.flags & MS_BIND != 0
    }
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// What is mounted.
    pub source: String,
    /// Where, as written.
    pub target: String,
    /// Type of the file system; `none` where it was left out.
    pub fstype: String,
    /// The options.
    pub options: MountOptions,
}

impl MountEntry {
    /// Parses one line of fstab(5). Blank lines and comments are `None`; fields after the options are
    /// ignored.
    pub fn parse(line: &str) -> Result<Option<MountEntry>, MountEntryError> {
        let line = line.trim_matches([' ', '\t', '\n', '\r']);
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let mut fields = scalar::words(line).map(unescape);
        let mut field = || fields.next().transpose();
        let (Some(source), Some(target)) = (field()?, field()?) else {
            return Err(MountEntryError::MissingFields);
        };
        let fstype = field()?.unwrap_or_else(|| "none".to_owned());
        let options = MountOptions::parse(&field()?.unwrap_or_default())?;
        if options.is_bind() && !options.relative && !source.starts_with('/') {
            return Err(MountEntryError::RelativeSource(source));
        }
        if options.idmap.is_some() && !(options.is_bind() && fstype == "none" && options.data.is_empty()) {
            return Err(MountEntryError::IdMap);
        }
        Ok(Some(MountEntry { source, target, fstype, options }))
    }

    /// Parses a whole file: the mounts in their order, or the number of the first bad line.
    pub fn parse_file(text: &str) -> Result<Vec<MountEntry>, (u32, MountEntryError)> {
        let mut entries = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            entries.extend(MountEntry::parse(line).map_err(|error| (number, error))?);
        }
        Ok(entries)
    }
}

impl fmt::Display for Create {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Create::Dir => "dir",
            Create::File => "file",
        })
    }
}

/// Replaces `\` with three octal digits, which fields need for blanks, and a doubled `\`.
fn unescape(field: &str) -> Result<String, MountEntryError> {
    if !field.contains('\\') {
        return Ok(field.to_owned());
    }
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at..] {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                at += 4;
            }
            [b'\\', b'\\', ..] => {
                out.push(b'\\');
                at += 2;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    if out.contains(&0) {
        return Err(MountEntryError::Escape(field.to_owned()));
    }
    String::from_utf8(out).map_err(|_| MountEntryError::Escape(field.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> MountEntry {
        MountEntry::parse(line).unwrap().unwrap()
    }

    #[test]
    fn fields_and_escapes() {
        let mount = entry(r"/a\040b  mnt/c\134d none bind,create=dir,optional 0 0");
        assert_eq!((mount.source.as_str(), mount.target.as_str()), ("/a b", r"mnt/c\d"));
        assert_eq!(mount.options.create, Some(Create::Dir));
        assert!(mount.options.optional && mount.options.is_bind());
        assert_eq!(entry("proc proc").fstype, "none");
        assert_eq!(MountEntry::parse("  # comment"), Ok(None));
        assert_eq!(MountEntry::parse("proc"), Err(MountEntryError::MissingFields));
        assert!(MountEntry::parse(r"/a\000 b").is_err());
        assert_eq!(entry(r"/a\9 b").source, r"/a\9");
    }

    #[test]
    fn words_are_whole_and_the_last_opposite_wins() {
        let options =
            MountOptions::parse("rootcontext=x,ro,rw,devmode=1,nodev,xoptional,size=1m,,sync").unwrap();
        assert_eq!(options.flags, MS_NODEV);
        assert_eq!(options.cleared, MS_RDONLY);
        assert!(!options.optional);
        assert_eq!(options.data, "rootcontext=x,devmode=1,xoptional,size=1m");
        assert!(MountOptions::parse("create=link").is_err());
        assert!(MountOptions::parse("rshared,slave").is_err());
        assert_eq!(MountOptions::parse("rslave").unwrap().propagation, MS_SLAVE | MS_REC);
    }

    #[test]
    fn binds_need_a_clear_source() {
        assert!(matches!(MountEntry::parse("foo bar none bind"), Err(MountEntryError::RelativeSource(_))));
        assert!(entry("foo bar none rbind,relative").options.relative);
        assert_eq!(entry("tmpfs tmp tmpfs size=1m").options.data, "size=1m");
    }

    #[test]
    fn idmapped_mounts() {
        assert_eq!(entry("/a b none bind,idmap=container").options.idmap, Some(IdMapSource::Container));
        for bad in
            ["/a b none idmap=container", "/a b ext4 bind,idmap=container", "/a b none bind,x=y,idmap=/ns"]
        {
            assert_eq!(MountEntry::parse(bad), Err(MountEntryError::IdMap), "{bad}");
        }
        assert!(MountEntry::parse("/a b none bind,idmap=").is_err());
    }

    #[test]
    fn files() {
        assert_eq!(MountEntry::parse_file("# x\n\nproc proc proc\n").unwrap().len(), 1);
        assert_eq!(MountEntry::parse_file("\na b none bind\n").unwrap_err().0, 2);
    }
}

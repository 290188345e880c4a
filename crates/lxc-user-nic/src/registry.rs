//! Which devices were made for whom: the file /run/lxc/nics, which upstream's helper reads and writes as well.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use lxc_sys::Errno;

/// One device: `OWNER TYPE BRIDGE DEVICE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whom it counts for: a user, or `@` and a group.
    pub owner: String,
    /// Type.
    pub kind: String,
    /// The bridge that it is a port of; `none` for none.
    pub bridge: String,
    /// Name of the device on the host.
    pub device: String,
}

impl Entry {
    fn parse(line: &str) -> Option<Entry> {
        let mut words = line.split_ascii_whitespace().map(String::from);
        let entry =
            Entry { owner: words.next()?, kind: words.next()?, bridge: words.next()?, device: words.next()? };
        words.next().is_none().then_some(entry)
    }

    /// Whether it counts for an owner, a type and a bridge.
    pub fn counts_for(&self, owner: &str, kind: &str, bridge: &str) -> bool {
        self.owner == owner && self.kind == kind && self.bridge == bridge
    }
}

/// The devices of a file. What is no entry, such as half a line that a killed helper left, is not read.
pub fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(Entry::parse).collect()
}

/// The text of a file.
pub fn format(entries: &[Entry]) -> String {
    let line = |e: &Entry| format!("{} {} {} {}\n", e.owner, e.kind, e.bridge, e.device);
    entries.iter().map(line).collect()
}

/// The file, locked as long as this value lives.
#[derive(Debug)]
pub struct Registry {
    file: File,
    /// What is in it.
    pub entries: Vec<Entry>,
}

/// Longest file that is read.
const MAX_LENGTH: u64 = 16 << 20;

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, lxc_sys::errno_from)
}

/// How long another call is waited for. Signals do not end one, but its caller may freeze the cgroup that it is in.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

fn lock(file: &File) -> lxc_sys::Result<()> {
    let begin = Instant::now();
    loop {
        match lxc_sys::lock::try_lock_exclusive(file.as_fd()) {
            Err(Errno::AGAIN | Errno::ACCESS) if begin.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

impl Registry {
    /// Opens and locks the file, made where it is missing. Only root gets at it.
    pub fn open(path: &Path) -> lxc_sys::Result<Registry> {
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(errno)?;
        }
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(path).map_err(errno)?;
        lock(&file)?;
        let length = file.metadata().map_err(errno)?.size();
        if length > MAX_LENGTH {
            return Err(Errno::FBIG);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(errno)?;
        let entries = parse(&String::from_utf8_lossy(&bytes));
        Ok(Registry { file, entries })
    }

    /// Writes the entries. In place: whoever waits for the lock has this file open.
    pub fn save(&self) -> lxc_sys::Result<()> {
        let text = format(&self.entries);
        self.file.write_all_at(text.as_bytes(), 0).map_err(errno)?;
        self.file.set_len(text.len() as u64).map_err(errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = "me veth br0 veth1000_abcd\n@net veth none vethXYZ\n";
        let entries = parse(text);
        assert_eq!(format(&entries), text);
        assert!(
            entries[1].counts_for("@net", "veth", "none") && !entries[1].counts_for("@net", "veth", "br0")
        );
        assert_eq!(parse("\n# a comment of old\nme veth br0\nme veth br0 veth1000_a more\n"), []);
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_alike(text in "(?s).{0,200}") {
            let entries = parse(&text);
            proptest::prop_assert_eq!(parse(&format(&entries)), entries);
        }
    }
}

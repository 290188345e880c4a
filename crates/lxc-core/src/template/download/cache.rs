//! What is kept of images, so that they are not downloaded again.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{METADATA, ROOTFS};
use crate::error::{Doing, Error, Result};
use crate::files;
use crate::template::image::{self, Image};
use crate::template::unpack::small_files;
use crate::template::{cache_dir, digest, make_cache};

/// Where what is kept came from, and how it was checked: what is in it of [`Origin`].
const ORIGIN: &str = "origin";
const BUILD: &str = "build_id";
/// The build of which a part is here.
const PART: &str = "build_id.part";

/// What the files of an image were compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Nothing but what TLS says of the server.
    None,
    /// The server's sums.
    Sums,
    /// The same, and they are signed by a key of the keyring with this digest.
    Signed(String),
}

impl Check {
    /// Whether what was checked so is good enough for somebody who wants `wanted`.
    fn is_enough_for(&self, wanted: &Check) -> bool {
        match wanted {
            Check::None => true,
            Check::Sums => *self != Check::None,
            Check::Signed(_) => self == wanted,
        }
    }

    fn name(&self) -> &str {
        match self {
            Check::None => "nothing",
            Check::Sums => "sums",
            Check::Signed(keyring) => keyring,
        }
    }
}

/// Where an image came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Address of the server.
    pub server: String,
    /// How it was checked when it came.
    pub check: Check,
}

/// The place of one image, held while it is looked at or filled.
pub struct Cache {
    pub(super) directory: PathBuf,
    _lock: File,
}

impl Cache {
    pub fn open(words: &[&str; 4]) -> Result<Cache> {
        let directory = words.iter().fold(cache_dir().join("download"), |path, word| path.join(word));
        make_cache(&directory)?;
        let lock = File::open(&directory).doing(|| format!("open {}", directory.display()))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .doing(|| format!("lock {}", directory.display()))?;
        Ok(Cache { directory, _lock: lock })
    }

    fn read(&self, name: &str) -> Option<String> {
        files::read_text(self.directory.join(name)).ok().map(|text| text.trim().to_string())
    }

    /// The build that is kept.
    pub fn build(&self) -> Option<String> {
        self.read(BUILD)
    }

    /// Whether there is an image.
    pub fn is_complete(&self) -> bool {
        [ROOTFS, BUILD].iter().all(|name| self.directory.join(name).is_file())
            && [METADATA, "config"].iter().any(|name| self.directory.join(name).is_file())
    }

    /// What is written down of it. Upstream's script writes nothing down.
    fn recorded(&self) -> BTreeMap<String, String> {
        let text = self.read(ORIGIN).unwrap_or_default();
        let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_string(), value.to_string()));
        text.lines().filter_map(pair).collect()
    }

    /// Whether it is what this server would send, checked at least as it would be now.
    pub fn is_of(&self, wanted: &Origin) -> bool {
        let recorded = self.recorded();
        let check = match recorded.get("checked").map(String::as_str) {
            None | Some("nothing") => Check::None,
            Some("sums") => Check::Sums,
            Some(keyring) => Check::Signed(keyring.to_string()),
        };
        let is_there = recorded.get("server").map_or(wanted.check == Check::None, |s| *s == wanted.server);
        is_there && check.is_enough_for(&wanted.check)
    }

    /// Metadata may say until when it is good, in seconds since 1970.
    pub fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let metadata = self.metadata().unwrap_or_default();
        let expiry = metadata.get("expiry").map(|b| String::from_utf8_lossy(b).trim().to_string());
        expiry.and_then(|e| e.parse::<u64>().ok()).is_some_and(|expiry| expiry < now)
    }

    /// Removes it.
    pub fn clear(&self) -> Result<()> {
        let what = || format!("read {}", self.directory.display());
        for entry in std::fs::read_dir(&self.directory).doing(what)? {
            let path = entry.doing(what)?.path();
            if path.is_file() {
                std::fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Makes it ready for what is downloaded. What is left of another build, or of another server, is no beginning of it.
    pub fn prepare_for(&self, build: &str, origin: &Origin) -> Result<()> {
        let wanted = format!("{build} {}", origin.server);
        if self.read(PART).as_deref() != Some(&wanted) {
            self.clear()?;
            files::replace(&self.directory.join(PART), wanted.as_bytes(), 0o644)?;
        }
        Ok(())
    }

    /// It is complete; what `sums` says of its files is what arrived.
    pub fn finish(&self, build: &str, origin: &Origin, sums: &[(&str, String)]) -> Result<()> {
        let mut text = format!("server {}\nchecked {}\n", origin.server, origin.check.name());
        for (name, sum) in sums {
            text.push_str(&format!("{name} {sum}\n"));
        }
        files::replace(&self.directory.join(ORIGIN), text.as_bytes(), 0o644)?;
        files::replace(&self.directory.join(BUILD), build.as_bytes(), 0o644)?;
        let _ = std::fs::remove_file(self.directory.join(PART));
        Ok(())
    }

    /// The archive of metadata, or the files that upstream's script has unpacked of it.
    fn metadata(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let archive = self.directory.join(METADATA);
        if archive.is_file() {
            return small_files(Box::new(image::open(&archive)?))
                .map_err(|e| e.during(archive.display().to_string()));
        }
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if let (Ok(name), Ok(bytes)) = (entry.file_name().into_string(), files::read_small(&entry.path()))
                && !name.ends_with(".xz")
            {
                found.insert(name, bytes);
            }
        }
        Ok(found)
    }

    /// The image, if its files are what they were when they were checked.
    pub fn image(&self) -> Result<Image> {
        let recorded = self.recorded();
        for name in [ROOTFS, METADATA] {
            let path = self.directory.join(name);
            if let Some(sum) = recorded.get(name)
                && digest::of_file(&path)? != *sum
            {
                return Err(Error::invalid(format!("{}: it is not what was downloaded", path.display()))
                    .with_hint("--flush-cache downloads it again"));
            }
        }
        let path = self.directory.join(ROOTFS);
        let metadata = self.metadata()?;
        Ok(Image { rootfs: image::open(&path)?, metadata, without_dev: false, needs_config: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks() {
        let signed = |by: &str| Check::Signed(by.to_string());
        assert!(Check::None.is_enough_for(&Check::None));
        assert!(signed("a").is_enough_for(&Check::Sums));
        assert!(signed("a").is_enough_for(&signed("a")));
        assert!(!signed("a").is_enough_for(&signed("b")));
        assert!(!Check::Sums.is_enough_for(&signed("a")));
        assert!(!Check::None.is_enough_for(&Check::Sums));
    }
}

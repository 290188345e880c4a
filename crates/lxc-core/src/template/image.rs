//! Images of LXC: a root file system, and files about it (spec: storage, section 9).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::unpack::{Options, Totals, unpack};
use super::{Lines, Request};
use crate::error::{Doing, Error, Result};
use crate::paths;
use crate::rootfs::Root;

/// The version of the format of metadata.
const COMPAT: &str = "7";

/// An image that is ready to be unpacked.
#[derive(Debug)]
pub struct Image {
    /// The archive of the root file system.
    pub rootfs: File,
    /// Files about it, by name.
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// The device nodes below dev are left out.
    pub without_dev: bool,
    /// Without a configuration it is none.
    pub needs_config: bool,
}

/// Keys that say whose container it is and where: whoever makes it says so, not the image.
const REFUSED: [&str; 4] = ["lxc.idmap", "lxc.id_map", "lxc.rootfs", "lxc.rootfs."];

impl Image {
    /// A file of the metadata: for containers with a user namespace or without, and for this version, if there is one.
    fn file(&self, name: &str, user: bool) -> Option<String> {
        let mode = if user { "user" } else { "system" };
        let names = [
            format!("{name}-{mode}.{COMPAT}"),
            format!("{name}-{mode}"),
            format!("{name}.{COMPAT}"),
            name.to_string(),
        ];
        let bytes = names.iter().find_map(|n| self.metadata.get(n))?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Unpacks it; returns the configuration, and what the image says to whoever has made it.
    ///
    /// # Errors
    /// The archive is refused, or a file cannot be written.
    pub fn fill(&self, request: &Request<'_>, says: &mut dyn FnMut(&str)) -> Result<Lines> {
        let user = request.mapped;
        let words = Words::of(request);
        let config = self.configuration(user, &words)?;
        let root = Root::open(request.rootfs)?;
        let excludes = self.file("excludes", user).unwrap_or_default();
        let excludes = excludes.lines().filter(|l| !l.trim().is_empty()).map(String::from).collect();
        let mut options = Options { excludes, ..Options::default() };
        if self.without_dev {
            options.excludes.push("dev/*".into());
        }
        says("Unpacking the rootfs");
        let archive = self.rootfs.try_clone().doing(|| "open the archive")?;
        unpack(Box::new(archive), &root, &options, &mut Totals::default())
            .map_err(|e| e.during("the root file system"))?;
        drop(root.make_dir("dev/pts", 0o755)?);
        for file in self.file("templates", user).unwrap_or_default().lines().map(str::trim) {
            if file.is_empty() || !root.is_file(file.trim_start_matches('/')) {
                continue;
            }
            let path = file.trim_start_matches('/');
            let text = root.read_file(path, 1 << 20)?;
            let new = words.put_in(&String::from_utf8_lossy(&text));
            root.write_file(path, 0o644, new.as_bytes())?;
        }
        let mut after = String::new();
        if let Some(fstab) = self.file("fstab", user) {
            let path = request.path.join("fstab");
            std::fs::write(&path, words.put_in(&fstab)).doing(|| format!("write {}", path.display()))?;
            after.push_str(&format!("lxc.mount.fstab = {}\n", path.display()));
        }
        after.push_str(&format!("lxc.uts.name = {}\n", request.name));
        if let Some(message) = self.file("create-message", user) {
            says(&format!("\n---\n{}", words.put_in(&message).trim_end()));
        }
        Ok(Lines { before: config, after })
    }

    fn configuration(&self, user: bool, words: &Words) -> Result<String> {
        let Some(config) = self.file("config", user) else {
            return if self.needs_config {
                Err(Error::invalid("there is no configuration in the metadata of the image"))
            } else {
                Ok(String::new())
            };
        };
        for (number, line) in config.lines().enumerate() {
            let key = line.split('=').next().unwrap_or_default().trim();
            if REFUSED.iter().any(|r| key == *r || r.ends_with('.') && key.starts_with(r)) {
                return Err(Error::invalid(format!(
                    "the configuration of the image, line {}: {key} is not for an image to say",
                    number + 1
                )));
            }
        }
        let text = words.put_in(&config);
        Ok(format!("# Distribution configuration\n{}\n", text.trim_end_matches('\n')))
    }
}

/// Words in files of an image that stand for what is not known before.
struct Words(Vec<(&'static str, String)>);

impl Words {
    fn of(request: &Request<'_>) -> Words {
        let share = paths::share_dir();
        Words(vec![
            ("LXC_TEMPLATE_CONFIG", share.join("config").display().to_string()),
            ("LXC_HOOK_DIR", share.join("hooks").display().to_string()),
            ("LXC_ROOTFS", request.rootfs.display().to_string()),
            ("LXC_NAME", request.name.to_string()),
            ("LXC_PATH", request.path.display().to_string()),
        ])
    }

    fn put_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, (word, value)| text.replace(word, value))
    }
}

/// Opens an archive that the caller names.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    let file = File::open(path).doing(|| format!("open {}", path.display()))?;
    if file.metadata().is_ok_and(|m| m.is_file()) {
        return Ok(file);
    }
    Err(Error::invalid(format!("{}: not a file", path.display())))
}

//! The configuration of a copy, and the files beside it that it names (spec: storage, section 5).

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use lxc_config::Config;
use rustix::fs::OFlags;

use crate::error::{Doing, Error, Result};
use crate::rootfs::Root;

/// From where to where.
pub(super) struct Change<'a> {
    /// Directory of the source.
    pub(super) from: &'a Path,
    /// Directory of the copy.
    pub(super) to: &'a Path,
    /// Where files go that are copied; `None`: they move with the directory.
    pub(super) copy_to: Option<&'a Path>,
    pub(super) keep_addresses: bool,
}

/// Length of a hardware address, as text.
const ADDRESS: usize = 17;

/// The text of a copy's configuration. Scripts of hooks and the fstab that are named in it are copied.
///
/// # Errors
/// A file cannot be copied.
pub(super) fn configuration(config: &Config, change: &Change<'_>) -> Result<Vec<u8>> {
    let mut failed = None;
    let text = config.rewritten(&mut |key, value| {
        let new = match key {
            _ if key.starts_with("lxc.net.") && key.ends_with(".hwaddr") => {
                let fresh = !change.keep_addresses && value.len() == ADDRESS;
                Ok(fresh.then(random_address))
            }
            _ if change.copy_to.is_none() && names_host_paths(key) => Ok(moved(value, change)),
            _ if key.starts_with("lxc.hook.") && key != "lxc.hook.version" => hook(value, change),
            "lxc.mount.fstab" if value.is_empty() => Ok(None),
            "lxc.mount.fstab" => {
                copy_beside(Path::new(value), change).map(|path| Some(path.display().to_string()))
            }
            "lxc.mount.entry" => Ok(overlay_entry(value, change)),
            _ => Ok(None),
        };
        new.unwrap_or_else(|e| {
            failed.get_or_insert(e);
            None
        })
    });
    match failed {
        Some(e) => Err(e),
        None => Ok(text),
    }
}

/// A script in the source's directory.
fn hook(line: &str, change: &Change<'_>) -> Result<Option<String>> {
    let (script, rest) = line.split_at(line.find([' ', '\t']).unwrap_or(line.len()));
    if !Path::new(script).starts_with(change.from) || !Path::new(script).is_file() {
        return Ok(None);
    }
    let copy = copy_beside(Path::new(script), change)?;
    Ok(Some(format!("{}{rest}", copy.display())))
}

/// Copies a file into the copy's directory, with its mode: where it was in the source's, or else right there.
fn copy_beside(file: &Path, change: &Change<'_>) -> Result<PathBuf> {
    let Some(copy_to) = change.copy_to else { return Ok(file.to_path_buf()) };
    let name = file.file_name().ok_or_else(|| Error::invalid(format!("{}: no file", file.display())))?;
    let own = file.strip_prefix(change.from).ok();
    let below = own.filter(|below| is_beside(below)).unwrap_or(Path::new(name));
    let copy = copy_to.join(below);
    let what = || format!("copy {} to {}", file.display(), copy.display());
    copy.parent().map_or(Ok(()), std::fs::create_dir_all).doing(what)?;
    match own.and_then(|own| own.strip_prefix("rootfs").ok()) {
        // A link in it leads where the container says.
        Some(inside) => {
            let root = Root::open(&change.from.join("rootfs"))?;
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let mut source = File::from(root.open_at(inside, flags).doing(what)?);
            let meta = source.metadata().doing(what)?;
            if !meta.is_file() {
                return Err(Error::invalid(format!("{}: not a file", what())));
            }
            let mut target = File::create(&copy).doing(what)?;
            std::io::copy(&mut source, &mut target).doing(what)?;
            target.set_permissions(meta.permissions()).doing(what)?;
        }
        None => drop(std::fs::copy(file, &copy).doing(what)?),
    }
    crate::files::sync(&copy)?;
    Ok(change.to.join(below))
}

/// Whether a path below a container's directory is that of something that is there for the configuration: none of what a
/// container has itself.
pub(super) fn is_beside(below: &Path) -> bool {
    let Some(first) = below.iter().next().and_then(OsStr::to_str) else { return false };
    below.components().all(|part| matches!(part, std::path::Component::Normal(_)))
        && !first.starts_with('.')
        && !first.starts_with("lxc_")
        && !["partial", "config", "rootfs", "snaps", "overlay", "rootdev", "ts", "comment"].contains(&first)
}

/// Keys whose values have paths of the host in them.
fn names_host_paths(key: &str) -> bool {
    ["lxc.hook.", "lxc.mount.", "lxc.net."].iter().any(|prefix| key.starts_with(prefix))
        || ["lxc.include", "lxc.seccomp.profile", "lxc.log.file", "lxc.console.logfile"].contains(&key)
}

/// A value with the paths below the old directory below the new one. A path begins and ends with the value, or where one
/// can be told from what is beside it.
fn moved(value: &str, change: &Change<'_>) -> Option<String> {
    let (from, to) = (change.from.to_str()?, change.to.to_str()?);
    let ends = |c: char| matches!(c, ' ' | '\t' | ',' | ':' | '=' | '"' | '\'');
    let mut new = String::new();
    let mut rest = value;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let begins = before.chars().next_back().or(new.chars().next_back()).is_none_or(ends);
        let ends = after.chars().next().is_none_or(|c| c == '/' || ends(c));
        new += before;
        new += if begins && ends { to } else { from };
        rest = after;
    }
    new += rest;
    (new != value).then_some(new)
}

/// Layers of a mount entry that are in the source's directory.
fn overlay_entry(value: &str, change: &Change<'_>) -> Option<String> {
    let fields: Vec<&str> = value.split_whitespace().collect();
    if fields.get(2) != Some(&"overlay") && fields.get(2) != Some(&"overlayfs") {
        return None;
    }
    let from = change.from.display().to_string();
    let to = change.to.display().to_string();
    let mut new = value.to_string();
    for option in ["upperdir=", "workdir="] {
        for end in ["/", ",", " "] {
            new = new.replace(&format!("{option}{from}{end}"), &format!("{option}{to}{end}"));
        }
    }
    (new != value).then_some(new)
}

/// An address of the block that LXC uses.
fn random_address() -> String {
    let mut bytes = [0u8; 3];
    // The kernel's source of random numbers is ready long before containers are.
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    format!("10:66:6a:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_with_the_directory() {
        let change =
            Change { from: "/c/web".as_ref(), to: "/c/new".as_ref(), copy_to: None, keep_addresses: true };
        for (before, after) in [
            ("/c/web/up /c/web/a,b=/c/web", "/c/new/up /c/new/a,b=/c/new"),
            ("lowerdir=/x:/c/web/l,upperdir=/c/web/u", "lowerdir=/x:/c/new/l,upperdir=/c/new/u"),
            ("\"/c/web/a b\"", "\"/c/new/a b\""),
        ] {
            assert_eq!(moved(before, &change).as_deref(), Some(after));
        }
        for other in ["/c/website/up", "/old/c/web/up", "/c/web2", "/c"] {
            assert_eq!(moved(other, &change), None);
        }
    }

    #[test]
    fn what_changes_in_a_copy() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (from, to) = (dir.path().join("web"), dir.path().join("new"));
        for path in [&from, &to] {
            std::fs::create_dir(path).expect("a directory");
        }
        std::fs::write(from.join("up"), "#!/bin/sh\n").expect("a script");
        std::fs::write(from.join("fstab"), "none\n").expect("a table");
        let text = format!(
            "# mine\n\nlxc.hook.start-host = {0}/up -v\nlxc.hook.stop = /usr/bin/true\nlxc.mount.fstab = {0}/fstab\n\
             lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:aa:bb:cc\n\
             lxc.mount.entry = /a b overlay lowerdir=/a,upperdir={0}/u,workdir={0}/w 0 0\n\
             lxc.mount.entry = {0}/data data none bind 0 0\n",
            from.display()
        );
        let mut config = Config::new();
        config
            .load_text(text.as_bytes(), Path::new("config"), &lxc_config::MemorySource::new())
            .expect("a configuration");
        let mut change = Change { from: &from, to: &to, copy_to: Some(&to), keep_addresses: true };
        let moved = text
            .replace(&format!("{}/up", from.display()), &format!("{}/up", to.display()))
            .replace(&format!("{}/fstab", from.display()), &format!("{}/fstab", to.display()))
            .replace(&format!("upperdir={}", from.display()), &format!("upperdir={}", to.display()))
            .replace(&format!("workdir={}", from.display()), &format!("workdir={}", to.display()));
        let kept = configuration(&config, &change).expect("rewritten");
        assert_eq!(String::from_utf8_lossy(&kept), moved);
        assert!(to.join("up").is_file() && to.join("fstab").is_file());
        change.keep_addresses = false;
        let fresh = configuration(&config, &change).expect("rewritten");
        assert!(String::from_utf8_lossy(&fresh).contains("lxc.net.0.hwaddr = 10:66:6a:"));
    }
}

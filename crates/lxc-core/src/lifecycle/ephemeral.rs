//! Copies for one use: they share the source's files, and go when they stop (spec: storage, section 5).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::copy::CopyOptions;
use crate::container::Container;
use crate::error::{Doing, Error, Result};
use crate::plan::StorageKind;

/// A directory or file of the host that the copy sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// As it is.
    Bind {
        /// On the host.
        source: String,
        /// In the container; the same place where nothing is said.
        target: Option<String>,
        /// Nothing can be changed in it.
        read_only: bool,
    },
    /// Changes stay in the copy.
    Overlay {
        /// On the host.
        source: String,
        /// In the container; the same place where nothing is said.
        target: Option<String>,
    },
}

/// What a copy for one use is like.
#[derive(Debug, Clone, Default)]
pub struct EphemeralOptions {
    /// What it sees of the host.
    pub sights: Vec<Sight>,
    /// Changes are kept in memory.
    pub tmpfs: bool,
    /// It stays when it stops.
    pub keep: bool,
}

impl Container {
    /// Makes a copy for one use. Without a name in `options` it gets a random one.
    ///
    /// # Errors
    /// Why not; nothing is left of it.
    pub fn ephemeral(&self, options: &CopyOptions<'_>, wanted: &EphemeralOptions) -> Result<Container> {
        let overlay = options.kind.is_none_or(|k| k == StorageKind::Overlay);
        if wanted.tmpfs && (wanted.keep || !overlay) {
            return Err(Error::invalid(
                "A container can only be placed on a tmpfs when the overlay storage driver is used",
            ));
        }
        let lxcpath = options.lxcpath.clone().unwrap_or_else(|| self.lxcpath().to_path_buf());
        let name = match &options.name {
            Some(name) => name.clone(),
            None => free_name(&lxcpath, self.name()),
        };
        let options = CopyOptions { name: Some(name.clone()), snapshot: true, ..options.clone() };
        self.copy_as(&options, &name, &|copy| complete(copy, wanted, options.keep_name))
    }
}

/// A name that nobody has.
fn free_name(lxcpath: &Path, source: &str) -> String {
    loop {
        let name = format!("{source}_{}", random(6));
        if !lxcpath.join(&name).exists() {
            return name;
        }
    }
}

fn random(count: usize) -> String {
    lxc_netlink::random_device_name("", count)
}

/// What is in the configuration of a copy for one use, and nowhere else.
fn complete(copy: &mut Container, wanted: &EphemeralOptions, keep_name: bool) -> Result<()> {
    if wanted.tmpfs {
        let hook = copy.directory().join(format!("pre-start-{}", random(6)));
        write_hook(&hook, copy, keep_name)?;
        copy.set("lxc.hook.pre-mount", &hook.display().to_string())?;
    }
    if !wanted.keep {
        copy.set("lxc.ephemeral", "1")?;
    }
    for sight in &wanted.sights {
        let entry = entry(sight, copy)?;
        copy.set("lxc.mount.entry", &entry)?;
    }
    Ok(())
}

fn entry(sight: &Sight, copy: &Container) -> Result<String> {
    let (Sight::Bind { source, target, .. } | Sight::Overlay { source, target }) = sight;
    let canonical = std::fs::canonicalize(source).doing(|| format!("look at {source}"))?;
    let target = target.as_deref().map_or_else(|| canonical.clone(), PathBuf::from);
    let target = fstab(&plain(&target)?);
    let shown = fstab(&canonical);
    match sight {
        Sight::Bind { read_only, .. } => {
            let access = if *read_only { "ro" } else { "rw" };
            let create = if canonical.is_dir() { "dir" } else { "file" };
            Ok(format!("{shown} {target} none bind,optional,{access},create={create} 0 0"))
        }
        Sight::Overlay { .. } => {
            let layer = |name: &str| -> Result<String> {
                let path = copy.directory().join(format!("{name}#{}", random(6)));
                std::fs::create_dir(&path).doing(|| format!("create {}", path.display()))?;
                Ok(fstab(&path))
            };
            let (upper, work) = (layer("delta")?, layer("work")?);
            Ok(format!(
                "{shown} {target} overlay lowerdir={shown},upperdir={upper},workdir={work},create=dir 0 0"
            ))
        }
    }
}

/// A path in the container without `.` and `..`, relative to its root.
fn plain(path: &Path) -> Result<PathBuf> {
    use std::path::Component;
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            _ => {}
        }
    }
    if out.as_os_str().is_empty() {
        return Err(Error::invalid(format!("{}: nothing can be mounted on the root", path.display())));
    }
    Ok(out)
}

/// As a field of fstab(5).
fn fstab(path: &Path) -> String {
    let text = path.display().to_string();
    [("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012")]
        .iter()
        .fold(text, |text, (letter, code)| text.replace(letter, code))
}

/// Before the root file system is mounted, in the container's mount namespace: the layer of changes is put in memory.
fn write_hook(hook: &Path, copy: &Container, keep_name: bool) -> Result<()> {
    let layers = copy.directory().join("overlay");
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let quoted = quote(&layers.display().to_string());
    let mut text = format!(
        "#!/bin/sh\nset -e\nmount -n -t tmpfs -o mode=0755 none {quoted}\nmkdir -p {quoted}/delta {quoted}/work\n"
    );
    if !keep_name {
        text.push_str(&format!(
            "mkdir -p {quoted}/delta/etc\necho {} >{quoted}/delta/etc/hostname\n",
            quote(copy.name())
        ));
    }
    let what = || format!("write {}", hook.display());
    std::fs::write(hook, text).doing(what)?;
    std::fs::set_permissions(hook, PermissionsExt::from_mode(0o755)).doing(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_paths() {
        assert_eq!(fstab(Path::new("/a b\\c")), "/a\\040b\\134c");
        assert_eq!(plain(Path::new("/a/./b/../c")).expect("a path"), Path::new("a/c"));
        assert!(plain(Path::new("/..")).is_err());
    }
}

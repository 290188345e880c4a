//! Where things are: fixed when the program is built, or beside the running program.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{getegid, geteuid};

/// Directory of lxc.conf and default.conf for root.
pub const SYSCONFDIR: &str = match option_env!("LXC_SYSCONFDIR") {
    Some(dir) => dir,
    None => "/etc",
};

/// Directory that holds lib/lxc, log/lxc and cache/lxc.
pub const LOCALSTATEDIR: &str = match option_env!("LXC_LOCALSTATEDIR") {
    Some(dir) => dir,
    None => "/var",
};

/// The built-in lxcpath of root.
pub fn built_in_lxcpath() -> PathBuf {
    Path::new(LOCALSTATEDIR).join("lib/lxc")
}

/// A path that means the same from every directory.
pub fn absolute(path: &Path) -> PathBuf {
    // As it is written, otherwise: others may compare it.
    let made = if path.is_absolute() { None } else { std::path::absolute(path).ok() };
    made.unwrap_or_else(|| path.to_path_buf())
}

/// Directory of the default log files of root.
pub fn log_dir() -> PathBuf {
    Path::new(LOCALSTATEDIR).join("log/lxc")
}

/// The prefix under which this program is installed: the parent of the directory of its executable.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        std::env::current_exe()
            .ok()
            .and_then(|exe| Some(exe.parent()?.parent()?.to_path_buf()))
            .unwrap_or_else(|| PathBuf::from("/usr"))
    })
}

/// `share/lxc`: configuration snippets, hooks, templates. Beside the program, else /usr/share/lxc.
pub fn share_dir() -> PathBuf {
    let own = prefix().join("share/lxc");
    if own.is_dir() { own } else { PathBuf::from("/usr/share/lxc") }
}

/// Where template programs are looked for by name.
pub fn template_dir() -> PathBuf {
    share_dir().join("templates")
}

/// `libexec/lxc`: programs that are not run by people.
pub fn libexec_dir() -> PathBuf {
    prefix().join("libexec/lxc")
}

/// Where root file systems are mounted unless `lxc.rootfs.mount` says otherwise. Only an empty
/// directory is needed, and it is seen inside the container's mount namespace alone.
pub fn default_rootfs_mount() -> PathBuf {
    let own = prefix().join("lib/lxc/rootfs");
    if own.is_dir() { own } else { runtime_dir().map_or_else(|| own, |run| run.join("lxc/rootfs")) }
}

/// Directory for locks and FIFOs (spec: life cycle, 13.1): /run where the caller owns it, else
/// $XDG_RUNTIME_DIR, else $HOME/.cache/lxc/run.
pub fn runtime_dir() -> Option<PathBuf> {
    if let Ok(run) = rustix::fs::stat("/run")
        && (run.st_uid == geteuid().as_raw() || run.st_gid == getegid().as_raw())
    {
        return Some(PathBuf::from("/run"));
    }
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("XDG_RUNTIME_DIR").or_else(|| set("HOME").map(|home| home.join(".cache/lxc/run")))
}

/// Home of the user; `/` when HOME is unset, as upstream.
pub fn home() -> PathBuf {
    std::env::var_os("HOME").filter(|h| !h.is_empty()).map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

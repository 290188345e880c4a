//! A Debian system with systemd, made once and kept.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, Mode, OFlags};

const SUITE: &str = "bookworm";
const PACKAGES: &str = "dbus,systemd,systemd-sysv";

/// The root file system of a minimal Debian, to be used as a lower layer: nothing may write to it.
///
/// The first call makes it with mmdebstrap, from the mirrors of Debian, which takes a minute or two.
///
/// # Errors
/// When it cannot be made, for lack of a network for example.
pub fn rootfs() -> Result<PathBuf, String> {
    let cache = cache();
    std::fs::create_dir_all(&cache).map_err(|e| format!("create {}: {e}", cache.display()))?;
    // The name says what is in it: another set of packages is another directory.
    let root = cache.join(format!("debian-{SUITE}-{}", PACKAGES.replace(',', "-")));
    let lock =
        rustix::fs::open(cache.join("lock"), OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR)
            .map_err(|e| format!("lock {}: {e}", cache.display()))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|e| format!("lock {}: {e}", cache.display()))?;
    if root.is_dir() { Ok(root) } else { make(&root).map(|()| root) }
}

/// Outside the build directory: that may be below a home which id-mapped users cannot enter.
fn cache() -> PathBuf {
    std::env::var_os("LXC_TEST_CACHE").map_or_else(|| "/var/tmp/lxc-test-cache".into(), PathBuf::from)
}

fn make(root: &Path) -> Result<(), String> {
    let partial = root.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    let output = Command::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=minbase", &format!("--include={PACKAGES}")])
        // A host name or a resolver of the build machine has no place in it.
        .args(["--customize-hook=rm -f \"$1/etc/hostname\" \"$1/etc/resolv.conf\""])
        .arg(SUITE)
        .arg(&partial)
        .output()
        .map_err(|e| format!("run mmdebstrap: {e}"))?;
    if !output.status.success() {
        let _ = std::fs::remove_dir_all(&partial);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("mmdebstrap: {}", text.lines().last().unwrap_or("failed")));
    }
    std::fs::rename(&partial, root).map_err(|e| format!("rename {}: {e}", partial.display()))
}

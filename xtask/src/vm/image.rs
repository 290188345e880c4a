//! The disk of the guest and the saved state of its machine, kept in a cache by content.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::FlockOperation;

use super::machine::{Boot, Machine, Ports};
use crate::shell;

const DISK: &str = "16G";
/// What the guest finds its work in; a machine's state can only be resumed with a disk of the same size.
const WORK_DISK: u64 = 4 << 30;
/// Where the guest has the system that tests boot, which they would otherwise make with mmdebstrap.
pub const TEST_CACHE: &str = "/opt/lxc-test-cache";
/// How long a guest may take until it waits for a command.
const BOOT: Duration = Duration::from_secs(300);

/// One release of Debian, ready to be resumed.
pub struct Image {
    directory: PathBuf,
    /// The accelerator that its state was saved with.
    pub accel: String,
}

impl Image {
    /// The image for the guest files of this tree; built, if it is missing.
    pub fn get(suite: &str, accel: &str) -> Result<Image> {
        let _lock = lock("build")?;
        let debian = lxc_testkit::debian::rootfs().map_err(|e| anyhow!("the system that tests boot: {e}"))?;
        let directory = cache()?.join(format!("{suite}-{:016x}", key(suite, accel, &debian)?));
        let image = Image { directory, accel: accel.into() };
        if image.directory.is_dir() {
            return Ok(image);
        }
        if !shell::is_root() {
            bail!("vm: building the guest's disk needs root: run once as root");
        }
        println!("building the guest, Debian {suite}: a few minutes, once");
        let partial = Image { directory: image.directory.with_extension("partial"), accel: accel.into() };
        // Of a build that was killed.
        let _ = std::fs::remove_dir_all(&partial.directory);
        std::fs::create_dir(&partial.directory)?;
        let made = partial.make_disk(suite, &debian).and_then(|()| partial.save_state());
        if made.is_err() {
            let _ = std::fs::remove_dir_all(&partial.directory);
        }
        made?;
        std::fs::rename(&partial.directory, &image.directory)
            .with_context(|| format!("rename {}", partial.directory.display()))?;
        Ok(image)
    }

    /// A file of the image: `vmlinuz`, `initrd`, `root.raw` as it was made, `root.qcow2` and `state` as they were
    /// when the guest waited for a command.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn make_disk(&self, suite: &str, debian: &Path) -> Result<()> {
        let root = self.file("root");
        let packages: Vec<&str> = include_str!("../../guest/packages").lines().collect();
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--mode=root", "--variant=minbase"]);
        make.arg("--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr");
        for option in ["APT::Install-Recommends", "Acquire::Check-Valid-Until", "Acquire::Check-Date"] {
            make.arg(format!("--aptopt={option} \"false\""));
        }
        // The file of the hook below stays.
        make.arg("--dpkgopt=force-confold");
        for directory in ["man", "doc", "locale"] {
            make.arg(format!("--dpkgopt=path-exclude=/usr/share/{directory}/*"));
        }
        // What the guest boots with is made by guest/prepare.
        let no_initramfs = "mkdir -p \"$1/etc/initramfs-tools\" && \
                            echo update_initramfs=no >\"$1/etc/initramfs-tools/update-initramfs.conf\"";
        make.arg(format!("--essential-hook={no_initramfs}"));
        make.arg(format!("--include={}", packages.join(",")))
            .arg(suite)
            .arg(&root)
            .arg(shell::debian_mirror());
        shell::quietly(&mut make)?;
        shell::quietly(Command::new(guest("prepare")).arg(&root).arg(&self.directory))?;
        let kept = root.join(TEST_CACHE.trim_start_matches('/'));
        std::fs::create_dir_all(&kept)?;
        shell::run(Command::new("cp").arg("-a").arg(debian).arg(&kept))?;
        let disk = self.file("root.raw");
        shell::run(
            Command::new("mke2fs")
                .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-L", "root", "-d"])
                .arg(&root)
                .arg(&disk)
                .arg(DISK),
        )?;
        std::fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))
    }

    /// Boots, and saves the machine when the guest waits for a command.
    fn save_state(&self) -> Result<()> {
        let scratch = Scratch::new()?;
        std::fs::write(scratch.work_disk(), "")?;
        scratch.size_work_disk()?;
        overlay(&self.file("root.raw"), "raw", &self.file("root.qcow2"))?;
        let console = self.directory.with_extension("log");
        let sink = || Box::new(std::io::stderr()) as Box<dyn Write + Send>;
        let ports = Ports { stdout: sink(), stderr: sink(), console: Some(console.clone()) };
        let mut machine =
            Machine::start(self, &scratch, &self.file("root.qcow2"), (Boot::default(), &[]), ports)?;
        machine
            .ready(BOOT)
            .with_context(|| format!("the guest did not come up; its console is in {}", console.display()))?;
        machine.save(&self.file("state"))?;
        let _ = std::fs::remove_file(&console);
        Ok(())
    }
}

/// Files of one run, which nobody needs after it.
pub struct Scratch {
    directory: PathBuf,
    /// Held as long as the run lasts: what a killed run leaves is known by its lock being free.
    _lock: std::fs::File,
}

impl Scratch {
    /// An empty directory in the cache. Those of dead runs are removed.
    pub fn new() -> Result<Scratch> {
        let _lock = lock("runs")?;
        let runs = cache()?.join("runs");
        std::fs::create_dir_all(&runs)?;
        for entry in std::fs::read_dir(&runs)? {
            let path = entry?.path();
            if try_lock(&path.join("lock")).is_ok() {
                let _ = std::fs::remove_dir_all(path);
            }
        }
        let directory = runs.join(std::process::id().to_string());
        std::fs::create_dir(&directory).with_context(|| format!("create {}", directory.display()))?;
        let lock = try_lock(&directory.join("lock"))?;
        Ok(Scratch { directory, _lock: lock })
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The archive that the guest unpacks.
    pub fn work_disk(&self) -> PathBuf {
        self.join("work")
    }

    /// Gives the work disk its size.
    pub fn size_work_disk(&self) -> Result<()> {
        let disk = std::fs::OpenOptions::new().write(true).open(self.work_disk())?;
        if disk.metadata()?.len() > WORK_DISK {
            bail!("vm: -d: more than {} GiB", WORK_DISK >> 30);
        }
        Ok(disk.set_len(WORK_DISK)?)
    }

    /// A root disk that takes the guest's changes.
    pub fn root_disk(&self, base: &Path, format: &str) -> Result<PathBuf> {
        let disk = self.join("root.qcow2");
        overlay(base, format, &disk)?;
        Ok(disk)
    }

    /// Unpacks what the guest left in /out.
    pub fn unpack_result(&self, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
        let result = self.join("result");
        if std::fs::metadata(&result).is_ok_and(|m| m.len() > 0) {
            shell::run(Command::new("tar").arg("-C").arg(to).arg("-xf").arg(&result))?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Removes all images.
pub fn clean() -> Result<()> {
    let _lock = lock("build")?;
    let cache = cache()?;
    std::fs::remove_dir_all(&cache).with_context(|| format!("remove {}", cache.display()))
}

fn cache() -> Result<PathBuf> {
    let set = |variable| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(directory) = set("LXC_VM_CACHE") {
        return Ok(directory);
    }
    let home = || set("HOME").map(|h| h.join(".cache"));
    let base = set("XDG_CACHE_HOME").or_else(home).context("vm: neither LXC_VM_CACHE nor HOME is set")?;
    Ok(base.join("lxc-vm"))
}

/// Whatever shapes the disk or the saved state.
fn key(suite: &str, accel: &str, debian: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for name in ["agent", "agent.service", "init", "packages", "prepare"] {
        let path = guest(name);
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))?.hash(&mut hasher);
    }
    (suite, accel, debian.file_name(), DISK, WORK_DISK, super::machine::HARDWARE).hash(&mut hasher);
    // The state of one version is not promised to be read by another.
    shell::read(Command::new("qemu-system-x86_64").arg("--version"))?.hash(&mut hasher);
    Ok(hasher.finish())
}

fn guest(name: &str) -> PathBuf {
    shell::root().join("xtask/guest").join(name)
}

fn overlay(base: &Path, format: &str, disk: &Path) -> Result<()> {
    let base = std::path::absolute(base)?;
    // A path relative to the disk: the directory of the image gets its name last.
    let base = if base.parent() == disk.parent() {
        base.file_name().map(PathBuf::from).unwrap_or(base)
    } else {
        base
    };
    shell::run(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
            .arg(base)
            .arg(disk),
    )
}

fn lock(name: &str) -> Result<std::fs::File> {
    let cache = cache()?;
    std::fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let file = std::fs::File::create(cache.join(format!("{name}.lock")))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

fn try_lock(path: &Path) -> Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

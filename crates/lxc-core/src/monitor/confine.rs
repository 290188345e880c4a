//! Landlock for the monitor while it serves (landlock(7)): what the command socket or the console makes it open by mistake is
//! a cgroup or a terminal, and it executes no file. It is no wall against whoever runs code in it: memory is shared with the
//! thread that waits, and not everything that root may do is a file.
//!
//! A domain is never left again, and the end of a container needs more: hooks, mounts, networks. So a thread serves, and
//! the rest of the monitor waits for it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, path_beneath_rules,
};

use lxc_sys::clone::SingleThreaded;

use super::states::monitord_fifo;
use crate::plan::Plan;

/// Truncation and ioctl(2) of devices are told apart since then; earlier kernels restrict what they know.
const KNOWN: ABI = ABI::V5;
/// Of the thread that serves, in bytes. It calls no library that wants more.
const STACK: usize = 256 * 1024;

/// Directories with what may be done in them.
type Reach = Vec<(PathBuf, BitFlags<AccessFs>)>;

/// Directories that the event loop opens files in: limits and states of cgroups, terminals of the host, the log of the
/// console, which is rotated, and the FIFO of lxc-monitord.
fn reach(plan: &Plan) -> Reach {
    let parent = |path: PathBuf| path.parent().map(Path::to_path_buf);
    let files = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::Truncate;
    let mut reach: Reach = vec![
        ("/sys/fs/cgroup".into(), files),
        ("/dev/ptmx".into(), files | AccessFs::IoctlDev),
        ("/dev/pts".into(), files | AccessFs::IoctlDev),
    ];
    let console = &plan.values.console;
    // Otherwise the file that is open will do. The container's own directory may be it.
    if console.rotate && console.size > 0 {
        let directory = console.logfile.clone().and_then(parent);
        let directory = directory.map(|d| if d.as_os_str().is_empty() { ".".into() } else { d });
        reach.extend(directory.map(|d| (d, everything())));
    }
    let fifo = monitord_fifo(&plan.lxcpath).zip(crate::paths::runtime_dir());
    reach.extend(fifo.map(|(fifo, run)| (place_of_fifo(&fifo, &run), AccessFs::WriteFile.into())));
    reach
}

/// All but running a program.
fn everything() -> BitFlags<AccessFs> {
    AccessFs::from_all(KNOWN) & !AccessFs::Execute
}

/// The directory that the FIFO is in, or will be: whoever listens makes it, and that may be after the start.
fn place_of_fifo(fifo: &Path, run: &Path) -> PathBuf {
    let ours = run.join("lxc");
    let _ = std::fs::create_dir(&ours);
    let is_there = |path: &&Path| path.starts_with(&ours) && path.is_dir();
    fifo.ancestors().skip(1).find(is_there).map_or(ours.clone(), Path::to_path_buf)
}

fn ruleset(reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .create()?;
    let mut reach = reach.iter();
    reach.try_fold(rules, |rules, (path, access)| rules.add_rules(path_beneath_rules([path], *access)))
}

/// Does some work in a thread that reaches nothing but this, where the kernel can confine it; else here.
///
/// Not for a container whose filter asks a proxy: the memory of whoever is asked about has to be opened.
pub fn serve<T: Send>(plan: &Plan, work: impl FnOnce() -> T + Send) -> T {
    if plan.values.seccomp.notify_proxy.is_some() || plan.filter.as_ref().is_some_and(|f| f.notifies) {
        return work();
    }
    match ruleset(&reach(plan)) {
        Ok(rules) if is_known(&rules) => {
            let result = confined(rules, work);
            until_alone();
            result
        }
        Ok(_) => work(),
        Err(e) => {
            log::info!("the monitor is not confined: {e}");
            work()
        }
    }
}

/// A kernel without Landlock makes no descriptor of it.
fn is_known(rules: &RulesetCreated) -> bool {
    rules.try_clone().is_ok_and(|copy| Option::<OwnedFd>::from(copy).is_some())
}

fn confined<T: Send>(rules: RulesetCreated, work: impl FnOnce() -> T + Send) -> T {
    // The first thread waits meanwhile.
    lxc_sys::process::share_heap();
    // Kept out of the thread until it runs: it may not begin at all.
    let mut work = Some(work);
    let mut result = None;
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("lxc-serve".into()).stack_size(STACK);
        let (work, result) = (&mut work, &mut result);
        let begun = builder.spawn_scoped(scope, move || {
            if let Err(e) = rules.restrict_self() {
                log::info!("the monitor is not confined: {e}");
            }
            *result = work.take().map(|work| work());
        });
        match begun {
            // A panic is the scope's to pass on.
            Ok(thread) => drop(thread.join()),
            Err(e) => log::info!("the monitor is not confined: {e}"),
        }
    });
    match (result, work) {
        (Some(result), _) => result,
        (None, Some(work)) => work(),
        // The thread panicked, which the scope passes on.
        (None, None) => unreachable!("a thread that ended has left its result"),
    }
}

/// Waits until the kernel has taken the thread that has ended off the process: until then nothing is cloned.
fn until_alone() {
    for _ in 0..20_000 {
        if SingleThreaded::check().is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_fifo_will_be() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fifo = dir.path().join("lxc/var/lib/lxc/monitor-fifo");
        assert_eq!(place_of_fifo(&fifo, dir.path()), dir.path().join("lxc"));
        std::fs::create_dir_all(dir.path().join("lxc/var/lib")).expect("directories");
        assert_eq!(place_of_fifo(&fifo, dir.path()), dir.path().join("lxc/var/lib"));
    }

    #[test]
    fn what_is_out_of_reach() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let rules = ruleset(&vec![(dir.path().to_path_buf(), everything())]).expect("rules");
        let supported = is_known(&rules);
        let file = dir.path().join("file");
        let (inside, outside, run) = confined(rules, || {
            let run = std::process::Command::new("/bin/true").status().is_ok();
            (std::fs::write(&file, "x").is_ok(), std::fs::read("/etc/passwd").is_ok(), run)
        });
        assert!(inside);
        // A kernel without Landlock confines nothing, which is what is expected of it.
        assert_eq!((outside, run), (!supported, !supported));
        assert!(std::fs::read("/etc/passwd").is_ok(), "only the thread is confined");
    }
}

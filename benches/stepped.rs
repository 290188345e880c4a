//! Which places of the program a container's start runs, one instruction after the other, then those of the other
//! commands that are called often: `cargo xtask order` lays the program out by it. Prints each address, as in the
//! file, at its first use.
#![allow(clippy::print_stdout, reason = "the addresses are what it is for")]

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use lxc_testkit::{Lxcpath, Suite};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

fn main() {
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let plain = dir.busybox("stepped").build();
    let on_a_network = dir.busybox("stepped").line("lxc.net.1.type = veth").build();
    let named = |name: &str| ["-P", dir.arg(), "-n", name].map(str::to_string).to_vec();
    let mut steps = Steps::default();
    for name in [&plain, &on_a_network] {
        // A command runs until its last process has ended: the monitor, when the container is stopped.
        std::thread::scope(|scope| {
            let (started, is_started) = std::sync::mpsc::channel();
            let steps = &mut steps;
            let arguments = named(name);
            let suite = &suite;
            scope.spawn(move || {
                steps.follow(suite, "lxc-start", &arguments, || started.send(()).expect("tell"))
            });
            is_started.recv().expect("lxc-start ends");
            std::thread::sleep(lxc_testkit::patience(std::time::Duration::from_secs(1)));
            dir.kill(suite, name);
        });
    }
    dir.start(&suite, &plain);
    let attach = [named(&plain), ["--", "true"].map(str::to_string).to_vec()].concat();
    let list = ["-P", dir.arg(), "-f"].map(str::to_string);
    let stop = [named(&plain), vec!["-k".into()]].concat();
    for (command, arguments) in
        [("lxc-attach", &attach[..]), ("lxc-info", &named(&plain)), ("lxc-ls", &list), ("lxc-stop", &stop)]
    {
        steps.follow(&suite, command, arguments, || ());
    }
    for address in steps.order {
        println!("{address:x}");
    }
}

/// What was run, in order.
#[derive(Default)]
struct Steps {
    seen: HashSet<u64>,
    order: Vec<u64>,
    /// Of each process that runs the program now.
    texts: HashMap<Pid, Text>,
}

impl Steps {
    /// Runs a command under ptrace(2) with all processes that it makes, until they have ended or run another program;
    /// `ended` is called at its own end.
    #[expect(clippy::zombie_processes, reason = "waitpid(2) for all waits for it too")]
    fn follow(&mut self, suite: &Suite, command: &str, arguments: &[String], ended: impl Fn()) {
        let program = suite.path(command);
        // It is seized while it waits, since it cannot ask to be traced by itself without unsafe code.
        let mut shell = Command::new("sh")
            .args(["-c", "read _ && exec \"$@\"", "sh"])
            .arg(&program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("run a shell");
        let first = Pid::from_raw(shell.id().cast_signed());
        let events = Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE;
        ptrace::seize(first, events).expect("seize the shell");
        shell.stdin.take().expect("a pipe").write_all(b"\n").expect("let the shell go on");
        let mut begun = false;
        // Only this thread's: another one stops the container by a command.
        let options = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let status = match waitpid(None, Some(options)) {
                Ok(status) => status,
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) => continue,
                Err(e) => panic!("wait for {command}: {e}"),
            };
            let (pid, signal) = match status {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                    self.texts.remove(&pid);
                    if pid == first {
                        assert_eq!(status, WaitStatus::Exited(first, 0), "{command} {arguments:?}");
                        ended();
                    }
                    continue;
                }
                WaitStatus::PtraceEvent(pid, _, nix::libc::PTRACE_EVENT_EXEC) => {
                    self.texts.remove(&pid);
                    if runs(pid, &program) {
                        begun = true;
                    } else if begun {
                        // An error, here and below: it was killed meanwhile.
                        let _ = ptrace::detach(pid, None);
                        continue;
                    }
                    (pid, None)
                }
                WaitStatus::PtraceEvent(pid, ..) => (pid, None),
                WaitStatus::Stopped(pid, Signal::SIGTRAP) => {
                    self.see(pid);
                    (pid, None)
                }
                WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
                _ => continue,
            };
            let _ = if begun { ptrace::step(pid, signal) } else { ptrace::cont(pid, signal) };
        }
    }

    fn see(&mut self, pid: Pid) {
        if !self.texts.contains_key(&pid)
            && let Some(text) = Text::of(pid)
        {
            self.texts.insert(pid, text);
        }
        if let (Some(text), Some(at)) = (self.texts.get(&pid), self.program_counter(pid))
            && let Some(address) = text.in_file(at)
            && self.seen.insert(address)
        {
            self.order.push(address);
        }
    }

    /// The next instruction of a stopped process.
    #[cfg(target_arch = "x86_64")]
    fn program_counter(&self, pid: Pid) -> Option<u64> {
        ptrace::getregs(pid).ok().map(|registers| registers.rip)
    }

    /// The same on any architecture, slower: the last field of proc_pid_syscall(5).
    #[cfg(not(target_arch = "x86_64"))]
    fn program_counter(&self, pid: Pid) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
        u64::from_str_radix(text.trim_end().rsplit_once("0x")?.1, 16).ok()
    }
}

/// Where the code of a program is in memory.
struct Text {
    base: u64,
    range: std::ops::Range<u64>,
}

impl Text {
    /// Of a process, as proc_pid_maps(5) has it; none when it was killed meanwhile.
    fn of(pid: Pid) -> Option<Text> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let file = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let file = file.to_str()?;
        let mut mapped = maps.lines().filter(|line| line.ends_with(file)).filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (from, to) = range.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some((number(from)?..number(to)?, rest))
        });
        let (first, _) = mapped.next()?;
        let (code, _) = mapped.find(|(_, rest)| rest.starts_with("r-xp"))?;
        Some(Text { base: first.start, range: code })
    }

    fn in_file(&self, address: u64) -> Option<u64> {
        self.range.contains(&address).then(|| address - self.base)
    }
}

/// Whether a process runs the program: all commands are one file, of which lxc-attach runs a sealed copy.
fn runs(pid: Pid, program: &Path) -> bool {
    let own = format!("/proc/{pid}/exe");
    let length = |path: &Path| std::fs::metadata(path).map(|m| m.len()).ok();
    length(Path::new(&own)) == length(program)
        && std::fs::read(own).ok().is_some_and(|copy| std::fs::read(program).is_ok_and(|file| copy == file))
}

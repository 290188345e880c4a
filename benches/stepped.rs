//! Which places of the program a container's start runs, one instruction after the other, then those of the other
//! commands that are called often: `cargo xtask order` lays the program out by it. Prints each address, as in the
//! file, at its first use.
#![allow(clippy::print_stdout, reason = "the addresses are what it is for")]

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use lxc_testkit::{Lxcpath, Suite};
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
        let mut text = None;
        // Only this thread's: another one stops the container by a command.
        let options = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        while let Ok(status) = waitpid(None, Some(options)) {
            let (pid, signal) = match status {
                WaitStatus::Exited(pid, code) => {
                    if pid == first {
                        assert_eq!(code, 0, "{command} {arguments:?}");
                        ended();
                    }
                    continue;
                }
                WaitStatus::PtraceEvent(pid, _, nix::libc::PTRACE_EVENT_EXEC) => {
                    if runs(pid, &program) {
                        text = Some(Text::of(pid));
                    } else if text.is_some() {
                        ptrace::detach(pid, None).expect("let another program go");
                        continue;
                    }
                    (pid, None)
                }
                WaitStatus::PtraceEvent(pid, ..) => (pid, None),
                WaitStatus::Stopped(pid, Signal::SIGTRAP) => {
                    self.see(pid, text.as_ref());
                    (pid, None)
                }
                WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
                _ => continue,
            };
            // An error: it was killed meanwhile.
            let _ = match text {
                Some(_) => ptrace::step(pid, signal),
                None => ptrace::cont(pid, signal),
            };
        }
    }

    fn see(&mut self, pid: Pid, text: Option<&Text>) {
        if let (Some(text), Some(at)) = (text, self.program_counter(pid))
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
    /// Of a process that has just begun to run it; its file is the only one that is mapped.
    fn of(pid: Pid) -> Text {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("read maps");
        let file = maps.lines().filter(|line| line.contains('/'));
        let mut mapped = file.map(|line| {
            let (range, rest) = line.split_once(' ').expect("a range");
            let (from, to) = range.split_once('-').expect("two addresses");
            let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
            (number(from)..number(to), rest)
        });
        let (first, _) = mapped.next().expect("a file is mapped");
        let (code, _) = mapped.find(|(_, rest)| rest.starts_with("r-xp")).expect("code");
        Text { base: first.start, range: code }
    }

    fn in_file(&self, address: u64) -> Option<u64> {
        self.range.contains(&address).then(|| address - self.base)
    }
}

/// Whether a process runs a program: all commands are one file.
fn runs(pid: Pid, program: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    id(Path::new(&format!("/proc/{pid}/exe"))) == id(program)
}

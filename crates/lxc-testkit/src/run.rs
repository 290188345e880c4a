//! Running a command with a time limit, its output kept.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::{PATIENCE, patience};

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The command line, for messages.
    pub what: String,
    /// Exit status as the shell shows it: 128+N when killed by signal N.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The output of a command that had to succeed, and to say nothing on standard error.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0 && self.stderr.is_empty(), "{self}");
        self.stdout
    }

    /// The standard error of a command that had to fail with this status and without output.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert!(self.code == code && self.stdout.is_empty(), "expected status {code} and no output\n{self}");
        self.stderr
    }

    /// The messages on standard error. The peer's have a place in its sources before the text, which no
    /// script can rely on: it is taken out. So are reasons for `could not parse command line`, which only ours
    /// gives.
    pub fn messages(&self) -> Vec<String> {
        self.stderr.lines().map(without_source_location).map(without_reason).collect()
    }

    /// Checks the status only.
    #[track_caller]
    pub fn exits(self, code: i32) -> Output {
        assert!(self.code == code, "expected status {code}\n{self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output { what, code, stdout, stderr } = self;
        write!(f, "{what}\nstatus {code}\n--- stdout ---\n{stdout}--- stderr ---\n{stderr}")
    }
}

/// A command under way.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

impl Running {
    /// Starts a command with /dev/null as its input.
    #[track_caller]
    pub fn spawn(mut command: Command) -> Running {
        command.stdin(Stdio::null());
        Running::start(command)
    }

    /// Starts a command with `input` on a pipe as its input.
    #[track_caller]
    pub fn with_input(mut command: Command, input: &[u8]) -> Running {
        command.stdin(Stdio::piped());
        let mut running = Running::start(command);
        let mut pipe = running.child.stdin.take().expect("standard input is a pipe");
        let input = input.to_vec();
        // Off this thread: the command may want to write before it reads. It may also end before it read all.
        std::thread::spawn(move || pipe.write_all(&input));
        running
    }

    #[track_caller]
    fn start(mut command: Command) -> Running {
        let what = format!("{command:?}");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{what}: {e}"));
        let stdout = Pipe::drain(child.stdout.take().expect("standard output is a pipe"));
        let stderr = Pipe::drain(child.stderr.take().expect("standard error is a pipe"));
        Running { what, child, stdout, stderr }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    /// What it has written to standard output so far.
    pub fn stdout_so_far(&mut self) -> String {
        self.stdout.so_far()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn wait(self) -> Output {
        self.wait_for(patience(PATIENCE))
    }

    /// Waits for its end for at most so long.
    ///
    /// # Panics
    /// When it does not end in time, or when something it left behind keeps its output open.
    #[track_caller]
    pub fn wait_for(mut self, limit: Duration) -> Output {
        let end = Instant::now() + limit;
        let Some(status) = wait_until(&mut self.child, end) else {
            let (out, err) = (self.stdout.so_far(), self.stderr.so_far());
            panic!("{}: not done after {limit:?}\n--- stdout ---\n{out}--- stderr ---\n{err}", self.what);
        };
        let grace = Instant::now() + Duration::from_secs(5);
        let stdout = self.stdout.rest(grace);
        let stderr = self.stderr.rest(grace);
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            panic!("{}: ended, and left a process behind that keeps its output open", self.what);
        };
        Output { what: self.what.clone(), code: code(status), stdout, stderr }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        crate::process::kill(self.pid(), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `P: NAME: TEXT` for `P: NAME: ../src/lxc/FILE.c: FUNCTION: LINE TEXT`.
fn without_source_location(line: &str) -> String {
    let Some((before, rest)) = line.split_once("../src/") else { return line.into() };
    let mut words = rest.splitn(4, ' ');
    let text = words.by_ref().nth(3);
    format!("{before}{}", text.unwrap_or_default())
}

fn without_reason(line: String) -> String {
    const PHRASE: &str = "could not parse command line";
    line.find(PHRASE).map_or(line.clone(), |at| line[..at + PHRASE.len()].to_string())
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Waits without a thread and without missing the end by a polling interval.
fn wait_until(child: &mut Child, end: Instant) -> Option<ExitStatus> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    if let Some(status) = child.try_wait().expect("wait") {
        return Some(status);
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid is positive");
    let fd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd_open");
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return child.try_wait().expect("wait");
        }
        let limit = Timespec::try_from(left).expect("a short time");
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
        if let Some(status) = child.try_wait().expect("wait") {
            return Some(status);
        }
    }
}

/// One end of a pipe that a thread reads, so that the command never waits for us.
#[derive(Debug)]
struct Pipe {
    chunks: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Pipe {
    fn drain(mut from: impl Read + Send + 'static) -> Pipe {
        let (send, chunks) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(n) = from.read(&mut buffer) {
                if n == 0 || send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Pipe { chunks, bytes: Vec::new() }
    }

    fn so_far(&mut self) -> String {
        self.bytes.extend(self.chunks.try_iter().flatten());
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Everything up to the end of the stream, or `None` when the end does not come in time.
    fn rest(&mut self, end: Instant) -> Option<String> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.bytes.extend(chunk),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Some(self.so_far()),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return None,
            }
        }
    }
}

//! A terminal with a person at it.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A command on a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    near: std::fs::File,
    far: OwnedFd,
    child: Child,
    seen: Vec<u8>,
}

impl Terminal {
    /// Starts a command as the leader of a session whose controlling terminal has `rows` × `columns`.
    ///
    /// `setsid --ctty` of util-linux becomes the command, so that no unsafe code runs between fork and exec.
    ///
    /// # Panics
    /// When there is no terminal to be had, or the command cannot be started.
    pub fn spawn(command: &Command, rows: u16, columns: u16) -> Terminal {
        let near =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("open a terminal");
        grantpt(&near).expect("grantpt");
        unlockpt(&near).expect("unlockpt");
        let name = ptsname(&near, Vec::new()).expect("ptsname");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let far = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).expect("open the other end");
        let end = || Stdio::from(far.try_clone().expect("duplicate the terminal"));
        let mut wrapped = Command::new("setsid");
        wrapped.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        let near = std::fs::File::from(near);
        set_size(&near, rows, columns);
        let child = wrapped.stdin(end()).stdout(end()).stderr(end()).spawn().expect("start on the terminal");
        Terminal { near, far, child, seen: Vec::new() }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.near.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Resizes the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.near, rows, columns);
    }

    /// Waits until the terminal shows a text, and returns everything up to and including it, taken off.
    ///
    /// # Panics
    /// When it does not appear within ten seconds.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(at) = find(&self.seen, text.as_bytes()) {
                let rest = self.seen.split_off(at + text.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.seen, rest)).into_owned();
            }
            let shown = self.read(end);
            assert!(shown, "{text:?} does not appear; seen: {:?}", String::from_utf8_lossy(&self.seen));
        }
    }

    /// Everything shown within some time, and not yet taken off.
    pub fn shown(&mut self, time: Duration) -> String {
        let end = Instant::now() + time;
        while self.read(end) {}
        String::from_utf8_lossy(&std::mem::take(&mut self.seen)).into_owned()
    }

    /// Waits for the command's end; returns its exit status and everything shown and not yet taken off.
    ///
    /// # Panics
    /// When it does not end within thirty seconds.
    #[track_caller]
    pub fn wait(mut self) -> (i32, String) {
        use std::os::unix::process::ExitStatusExt;
        let end = Instant::now() + crate::patience(crate::PATIENCE);
        loop {
            // Before the look at the process: what it wrote last is read after its end.
            let status = self.child.try_wait().expect("wait");
            while self.read(Instant::now() + Duration::from_millis(20)) {}
            if let Some(status) = status {
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                return (code, String::from_utf8_lossy(&self.seen).into_owned());
            }
            assert!(
                Instant::now() < end,
                "the command does not end; seen: {:?}",
                String::from_utf8_lossy(&self.seen)
            );
        }
    }

    /// Waits for the command's end; returns its exit status, and whether the terminal is as people need it.
    ///
    /// # Panics
    /// When it does not end within thirty seconds.
    #[track_caller]
    pub fn expect_end_and_mode(self) -> (i32, bool) {
        let far = self.far.try_clone().expect("duplicate the terminal");
        let near = self.near.try_clone().expect("duplicate the terminal");
        let (code, _) = self.wait();
        let cooked = is_cooked(&far);
        drop(near);
        (code, cooked)
    }

    /// The process of the command.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the terminal is in the mode that people need: it edits lines and echoes.
    pub fn is_cooked(&self) -> bool {
        is_cooked(&self.far)
    }

    /// Reads once; false when nothing came in time.
    fn read(&mut self, end: Instant) -> bool {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).expect("a short time");
        let mut fds = [PollFd::new(&self.near, PollFlags::IN)];
        if poll(&mut fds, Some(&left)).unwrap_or(0) == 0 {
            return false;
        }
        let mut buffer = [0; 65536];
        match rustix::io::read(&self.near, &mut buffer) {
            Ok(n) if n > 0 => {
                self.seen.extend(&buffer[..n]);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_cooked(terminal: impl AsFd) -> bool {
    let modes = tcgetattr(terminal).expect("tcgetattr").local_modes;
    modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
}

fn set_size(terminal: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("set the window size");
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|w| w == text)
}

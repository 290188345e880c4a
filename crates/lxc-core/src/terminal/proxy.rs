//! The client's side of a terminal: copies between the caller's stdio and a pty, with an escape
//! sequence, until one side ends. Used by lxc-attach, lxc-console and lxc-execute.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_sys::Errno;
use lxc_sys::signal::{self, SignalSet};
use rustix::event::{PollFd, PollFlags};

use super::pty::copy_window_size;
use crate::error::{Doing, Result};

/// Why the copying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The other side of the pty is gone.
    Terminal,
    /// The caller's input ended.
    Input,
    /// The escape sequence was typed.
    Detached,
    /// SIGTERM came.
    Terminated,
}

/// What is copied where.
#[derive(Debug)]
pub struct Proxy<'a> {
    /// Where typing comes from; `None` for output only.
    pub input: Option<BorrowedFd<'a>>,
    /// Where output goes; `None` discards it.
    pub output: Option<BorrowedFd<'a>>,
    /// The pty.
    pub ptx: BorrowedFd<'a>,
    /// Copy of the output.
    pub log: Option<File>,
    /// Character that, before `q`, detaches. 0x01 is Ctrl-a.
    pub escape: Option<u8>,
    /// The input's end is not the session's end: output goes on until the pty ends.
    pub outlive_input: bool,
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> lxc_sys::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Signals that the proxy takes; blocked while it runs.
fn signals() -> SignalSet {
    SignalSet::empty().with(libc::SIGWINCH).with(libc::SIGTERM)
}

/// Blocks the proxy's signals from now on, so that none is lost before [`Proxy::run`].
/// Returns the mask from before, for children.
pub fn block_signals() -> Result<SignalSet> {
    signal::block(&signals()).doing(|| "block signals")
}

impl Proxy<'_> {
    /// Copies until one side ends.
    pub fn run(mut self) -> Result<Ended> {
        let before = block_signals()?;
        let ended = self.copy(&signal::signalfd(&signals()).doing(|| "make a signalfd")?);
        signal::set_blocked(&before).doing(|| "restore the signal mask")?;
        ended
    }

    fn copy(&mut self, signals: &OwnedFd) -> Result<Ended> {
        let mut escaped = false;
        let mut buffer = [0; 4096];
        let size_from = self.input.or(self.output);
        loop {
            let ptx = self.ptx;
            let mut fds = vec![
                PollFd::from_borrowed_fd(ptx, PollFlags::IN),
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            ];
            fds.extend(self.input.map(|i| PollFd::from_borrowed_fd(i, PollFlags::IN)));
            match rustix::event::poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e).doing(|| "wait for the terminal"),
            }
            let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
            // Output first: what was written before the end is never lost.
            if ready[0] && !self.forward_output(&mut buffer) {
                return Ok(Ended::Terminal);
            }
            if ready[1] {
                while let Ok(Some(received)) = signal::read_signal(signals.as_fd()) {
                    match received.signal {
                        libc::SIGWINCH => {
                            if let Some(from) = size_from {
                                copy_window_size(from, ptx);
                            }
                        }
                        _ => return Ok(Ended::Terminated),
                    }
                }
            }
            if ready.get(2) == Some(&true)
                && let Some(end) = self.forward_input(&mut buffer, &mut escaped)
            {
                return Ok(end);
            }
        }
    }

    /// `false` when the pty ended.
    fn forward_output(&mut self, buffer: &mut [u8]) -> bool {
        match rustix::io::read(self.ptx, &mut *buffer) {
            Ok(0) | Err(Errno::IO) => false,
            Ok(n) => {
                if let Some(log) = &mut self.log {
                    // The session matters more than its log.
                    let _ = log.write_all(&buffer[..n]);
                }
                self.output.is_none_or(|out| write_all(out, &buffer[..n]).is_ok())
            }
            Err(Errno::INTR | Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    fn forward_input(&mut self, buffer: &mut [u8], escaped: &mut bool) -> Option<Ended> {
        let input = self.input?;
        match rustix::io::read(input, &mut *buffer) {
            Ok(0) | Err(Errno::IO) if self.outlive_input => {
                self.input = None;
                // What reads the pty learns of the end as at a keyboard: by Ctrl-d.
                let _ = write_all(self.ptx, &[4]);
                None
            }
            Ok(0) | Err(Errno::IO) => Some(Ended::Input),
            Ok(n) => {
                let (bytes, detach) = match self.escape {
                    Some(escape) => unescape(&buffer[..n], escape, escaped),
                    None => (buffer[..n].to_vec(), false),
                };
                if write_all(self.ptx, &bytes).is_err() {
                    return Some(Ended::Terminal);
                }
                detach.then_some(Ended::Detached)
            }
            Err(Errno::INTR | Errno::AGAIN) => None,
            Err(_) => Some(Ended::Input),
        }
    }
}

/// Takes escape sequences out of typed text: escape `q` detaches, escape twice is one escape,
/// escape and another character is that character.
fn unescape(typed: &[u8], escape: u8, escaped: &mut bool) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(typed.len());
    for &byte in typed {
        match (std::mem::take(escaped), byte) {
            (true, b'q') => return (out, true),
            (true, b) => out.push(b),
            (false, b) if b == escape => *escaped = true,
            (false, b) => out.push(b),
        }
    }
    (out, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let mut state = false;
        assert_eq!(unescape(b"a\x01\x01b\x01xc", 1, &mut state), (b"a\x01bxc".to_vec(), false));
        assert_eq!(unescape(b"z\x01", 1, &mut state), (b"z".to_vec(), false));
        assert_eq!(unescape(b"qrest", 1, &mut state), (b"".to_vec(), true));
    }
}

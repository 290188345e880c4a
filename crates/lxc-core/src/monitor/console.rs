//! The console as the monitor serves it: output goes to the ring buffer, to the log file and to
//! whoever is connected.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use lxc_config::Values;
use lxc_sys::Errno;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use crate::error::{Doing, Error, Result};
use crate::protocol::wire::ConsoleLogRequest;
use crate::terminal::log_file::LogFile;
use crate::terminal::pty::{self, Pty, RawMode};
use crate::terminal::ring::Ring;

/// The terminal at the other side.
#[derive(Debug)]
struct Peer {
    tty: OwnedFd,
    _raw: Option<RawMode>,
}

/// A container's console.
#[derive(Debug, Default)]
pub struct Console {
    pty: Option<Pty>,
    ring: Option<Ring>,
    log: Option<LogFile>,
    peer: Option<Peer>,
    /// A pair whose other side a client has: GET_TTY_FD 0.
    proxy: Option<Pty>,
}

impl Console {
    /// Takes over the pty that init has. The caller's terminal, or that of lxc.console.path, becomes
    /// the peer.
    pub fn new(values: &Values, pty: Option<Pty>, foreground: bool) -> Result<Console> {
        let Some(pty) = pty else { return Ok(Console::default()) };
        let keys = &values.console;
        let ring = usize::try_from(keys.buffer_size).ok().filter(|&s| s > 0).map(Ring::new);
        let log = match &keys.logfile {
            Some(path) => Some(LogFile::open(path, keys.size, keys.rotate)?),
            None => None,
        };
        let tty = match &keys.path {
            Some(path) => Some(open_peer(path)?),
            None if foreground => open_peer(Path::new("/dev/tty")).ok(),
            None => None,
        };
        let peer = tty.map(|tty| {
            pty::copy_window_size(tty.as_fd(), pty.ptx.as_fd());
            Peer { _raw: RawMode::enter(tty.as_fd()), tty }
        });
        let flags = rustix::fs::fcntl_getfl(&pty.ptx).doing(|| "look at the console")?;
        rustix::fs::fcntl_setfl(&pty.ptx, flags | OFlags::NONBLOCK)
            .doing(|| "make the console non-blocking")?;
        Ok(Console { pty: Some(pty), ring, log, peer, proxy: None })
    }

    /// The side to read.
    pub fn ptx(&self) -> Option<BorrowedFd<'_>> {
        self.pty.as_ref().map(|p| p.ptx.as_fd())
    }

    /// Where typing comes from.
    pub fn input(&self) -> Option<BorrowedFd<'_>> {
        let proxy = self.proxy.as_ref().map(|p| p.pty.as_fd());
        proxy.or_else(|| self.peer.as_ref().map(|p| p.tty.as_fd()))
    }

    /// Reads what the container wrote. `false` at the end.
    pub fn read_output(&mut self) -> bool {
        let Some(pty) = &self.pty else { return false };
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&pty.ptx, &mut buffer[..]) {
                Ok(0) => return false,
                Ok(n) => {
                    let chunk = &buffer[..n];
                    if let Some(ring) = &mut self.ring {
                        ring.push(chunk);
                    }
                    if let Some(log) = &mut self.log
                        && let Err(e) = log.write(chunk)
                    {
                        log::warn!("console log: {e}");
                        self.log = None;
                    }
                    if let Some(proxy) = &self.proxy {
                        // A client that does not read loses output; the container is not held up.
                        let _ = rustix::io::write(&proxy.pty, chunk);
                    } else if let Some(peer) = &self.peer {
                        write_patiently(peer.tty.as_fd(), chunk, Duration::from_secs(1));
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return true,
                // Nobody has the terminal open at the moment.
                Err(Errno::IO) => return false,
                Err(e) => {
                    log::warn!("read the console: {e}");
                    return false;
                }
            }
        }
    }

    /// After init's end: everything that was written. With our own copy of the terminal closed the
    /// end of the output is the end of the last process that has it; one that outlives init is not
    /// waited for long.
    pub fn drain(&mut self) {
        let Some(Pty { ptx, pty }) = self.pty.take() else { return };
        drop(pty);
        let Ok(other) = rustix::io::fcntl_dupfd_cloexec(&ptx, 3) else { return };
        // The terminal's place is taken by another descriptor of the same pair.
        self.pty = Some(Pty { ptx, pty: other });
        let patience = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        while self.read_output() {
            let Some(ptx) = self.ptx() else { return };
            let ready =
                rustix::event::poll(&mut [PollFd::from_borrowed_fd(ptx, PollFlags::IN)], Some(&patience));
            if !matches!(ready, Ok(1..)) {
                return;
            }
        }
    }

    /// Passes on what was typed. `false` at the end of the input.
    pub fn read_input(&mut self) -> bool {
        let (Some(input), Some(pty)) = (self.input(), &self.pty) else { return false };
        let mut buffer = [0; 1024];
        match rustix::io::read(input, &mut buffer[..]) {
            Ok(0) => false,
            Ok(n) => {
                // A container that does not read is not waited for.
                write_patiently(pty.ptx.as_fd(), &buffer[..n], Duration::from_millis(50));
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }

    /// The peer's terminal changed its size.
    pub fn resize(&self) {
        if let (Some(peer), Some(ptx)) = (&self.peer, self.ptx()) {
            pty::copy_window_size(peer.tty.as_fd(), ptx);
        }
    }

    /// Opens a terminal for a client of the console; the answer is its side of it.
    pub fn connect(&mut self) -> Result<BorrowedFd<'_>> {
        let free = self.pty.is_some() && self.peer.is_none() && self.proxy.is_none();
        if !free {
            return Err(Error::os("connect to the console", Errno::BADF));
        }
        let pair = Pty::open_host()?;
        pty::make_raw(pair.pty.as_fd()).doing(|| "prepare the console's terminal")?;
        rustix::fs::fcntl_setfl(&pair.pty, OFlags::NONBLOCK).doing(|| "prepare the console's terminal")?;
        Ok(self.proxy.insert(pair).ptx.as_fd())
    }

    /// The client is gone.
    pub fn disconnect(&mut self) {
        self.proxy = None;
    }

    /// Stops reading typed input from the peer: it ended.
    pub fn drop_input(&mut self) {
        if self.proxy.take().is_none() {
            self.peer = None;
        }
    }

    /// CONSOLE_LOG.
    pub fn serve_log(&mut self, request: ConsoleLogRequest) -> lxc_sys::Result<Vec<u8>> {
        let ring = self.ring.as_mut().ok_or(Errno::FAULT)?;
        if request.read && ring.is_empty() {
            return Err(Errno::NODATA);
        }
        let out = if request.read {
            ring.take(usize::try_from(request.read_max).unwrap_or(usize::MAX))
        } else {
            Vec::new()
        };
        if request.clear {
            ring.clear();
        }
        Ok(out)
    }
}

fn open_peer(path: &Path) -> Result<OwnedFd> {
    let what = || format!("lxc.console.path = {}: open it", path.display());
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tty = rustix::fs::open(path, flags, Mode::empty()).doing(what)?;
    if !rustix::termios::isatty(&tty) {
        return Err(Error::os(what(), Errno::NOTTY));
    }
    Ok(tty)
}

/// Writes to a terminal, waiting a moment where it is slow; the rest is lost.
fn write_patiently(tty: BorrowedFd<'_>, mut bytes: &[u8], patience: Duration) {
    let Ok(patience) = Timespec::try_from(patience) else { return };
    while !bytes.is_empty() {
        match rustix::io::write(tty, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let ready = rustix::event::poll(&mut [PollFd::new(&tty, PollFlags::OUT)], Some(&patience));
                if !matches!(ready, Ok(1..)) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

//! Pseudo-terminal pairs: from the host's devpts or from a container's.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios,
};

use crate::error::{Doing, Result};

/// A pseudo-terminal pair.
#[derive(Debug)]
pub struct Pty {
    /// The side that programs outside read and write.
    pub ptx: OwnedFd,
    /// The terminal.
    pub pty: OwnedFd,
}

impl Pty {
    /// A pair of the devpts mounted at /dev/pts here.
    pub fn open_host() -> Result<Pty> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        Pty::finish(rustix::pty::openpt(flags).doing(|| "open /dev/ptmx")?)
    }

    /// A pair of the devpts instance whose root directory is given.
    pub fn open_in(devpts: BorrowedFd<'_>) -> Result<Pty> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let ptx = rustix::fs::openat2(devpts, "ptmx", flags, Mode::empty(), resolve)
            .doing(|| "open ptmx of the container's devpts")?;
        Pty::finish(ptx)
    }

    fn finish(ptx: OwnedFd) -> Result<Pty> {
        rustix::pty::unlockpt(&ptx).doing(|| "unlock a pseudo-terminal")?;
        // By descriptor, not by the name /dev/pts/N, which may mean something else here.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let pty = rustix::pty::ioctl_tiocgptpeer(&ptx, flags).doing(|| "open a pseudo-terminal")?;
        Ok(Pty { ptx, pty })
    }

    /// Its number in its devpts instance.
    pub fn number(&self) -> Result<u32> {
        let name: CString =
            rustix::pty::ptsname(&self.ptx, Vec::new()).doing(|| "name of a pseudo-terminal")?;
        let text = name.to_string_lossy();
        Ok(text.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0))
    }
}

/// Puts a terminal into raw mode and returns what it was before (spec: attach and console, 7.3).
pub fn make_raw(tty: BorrowedFd<'_>) -> lxc_sys::Result<Termios> {
    let before = rustix::termios::tcgetattr(tty)?;
    let mut raw = before.clone();
    raw.input_modes |= InputModes::IGNPAR;
    raw.input_modes -= InputModes::ISTRIP
        | InputModes::INLCR
        | InputModes::IGNCR
        | InputModes::ICRNL
        | InputModes::IXON
        | InputModes::IXANY
        | InputModes::IXOFF
        | InputModes::IUCLC;
    raw.local_modes -= LocalModes::TOSTOP
        | LocalModes::ISIG
        | LocalModes::ICANON
        | LocalModes::ECHO
        | LocalModes::ECHOE
        | LocalModes::ECHOK
        | LocalModes::ECHONL
        | LocalModes::IEXTEN;
    raw.output_modes |= OutputModes::ONLCR | OutputModes::OPOST;
    raw.control_modes |= ControlModes::empty();
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    rustix::termios::tcsetattr(tty, OptionalActions::Flush, &raw)?;
    Ok(before)
}

/// Raw mode for as long as it lives.
#[derive(Debug)]
pub struct RawMode {
    tty: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Enters raw mode; `None` when the descriptor is not a terminal.
    pub fn enter(tty: BorrowedFd<'_>) -> Option<RawMode> {
        if !rustix::termios::isatty(tty) {
            return None;
        }
        // A background process must not be stopped for changing its terminal.
        lxc_sys::signal::ignore(libc::SIGTTOU);
        lxc_sys::signal::ignore(libc::SIGTTIN);
        let own = rustix::io::fcntl_dupfd_cloexec(tty, 3).ok()?;
        let before = make_raw(tty).ok()?;
        Some(RawMode { tty: own, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone already.
        let _ = rustix::termios::tcsetattr(&self.tty, OptionalActions::Flush, &self.before);
    }
}

/// Gives one terminal the size of another.
pub fn copy_window_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    if let Ok(size) = rustix::termios::tcgetwinsize(from) {
        let _ = rustix::termios::tcsetwinsize(to, size);
    }
}

/// The controlling terminal of this process, if it has one.
pub fn controlling_terminal() -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()
}

/// Makes the descriptor the controlling terminal of the caller's new session.
pub fn take_terminal(tty: BorrowedFd<'_>) -> Result<()> {
    rustix::process::setsid().doing(|| "begin a session")?;
    rustix::process::ioctl_tiocsctty(tty).doing(|| "take the controlling terminal")
}

/// Whether any of stdin, stdout and stderr is a terminal.
pub fn any_stdio_is_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
        || rustix::termios::isatty(rustix::stdio::stdout())
        || rustix::termios::isatty(rustix::stdio::stderr())
}

/// stdin, stdout and stderr with their numbers.
pub fn stdio() -> [(BorrowedFd<'static>, i32); 3] {
    [(rustix::stdio::stdin(), 0), (rustix::stdio::stdout(), 1), (rustix::stdio::stderr(), 2)]
}

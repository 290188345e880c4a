//! Signal masks, dispositions and signalfd(2).

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

use crate::{Errno, Result, check};

/// A set of signals.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries((1..=64).filter(|&n| self.contains(n))).finish()
    }
}

impl SignalSet {
    /// No signal.
    pub fn empty() -> SignalSet {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            SignalSet(set.assume_init())
        }
    }

    /// Every signal.
    pub fn all() -> SignalSet {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            SignalSet(set.assume_init())
        }
    }

    /// The set with one signal more.
    pub fn with(mut self, signal: i32) -> SignalSet {
        // SAFETY: the set is initialised.
        unsafe { libc::sigaddset(&mut self.0, signal) };
        self
    }

    /// The set with one signal less.
    pub fn without(mut self, signal: i32) -> SignalSet {
        // SAFETY: the set is initialised.
        unsafe { libc::sigdelset(&mut self.0, signal) };
        self
    }

    /// Whether the signal is in the set.
    pub fn contains(&self, signal: i32) -> bool {
        // SAFETY: the set is initialised.
        unsafe { libc::sigismember(&self.0, signal) == 1 }
    }
}

fn set_mask(how: libc::c_int, set: &SignalSet) -> Result<SignalSet> {
    let mut old = SignalSet::empty();
    // SAFETY: both sets are initialised and live during the call.
    match unsafe { libc::pthread_sigmask(how, &set.0, &mut old.0) } {
        0 => Ok(old),
        e => Err(Errno::from_raw_os_error(e)),
    }
}

/// Blocks the signals too and returns the mask from before.
pub fn block(set: &SignalSet) -> Result<SignalSet> {
    set_mask(libc::SIG_BLOCK, set)
}

/// Makes the set the calling thread's mask and returns the one from before.
pub fn set_blocked(set: &SignalSet) -> Result<SignalSet> {
    set_mask(libc::SIG_SETMASK, set)
}

/// Gives every signal its default disposition. Handlers do not survive exec, ignored signals would.
pub fn reset_dispositions() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition; numbers that may not be changed fail harmlessly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ignores a signal.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is a valid disposition.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// A signalfd (non-blocking, close-on-exec) for signals that the caller has blocked.
pub fn signalfd(set: &SignalSet) -> Result<OwnedFd> {
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &set.0, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
    check(fd.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a signalfd says of one signal.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// Signal number.
    pub signal: i32,
    /// Sending process, or the child for SIGCHLD; 0 when unknown or outside this pid namespace.
    pub pid: i32,
    /// si_code.
    pub code: i32,
}

/// Reads one signal, or `None` when there is none.
pub fn read_signal(fd: BorrowedFd<'_>) -> Result<Option<Received>> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has the size passed.
    let ret = unsafe { libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    match check(ret as libc::c_long) {
        Ok(n) if n as usize == size => {
            // SAFETY: the kernel filled the structure, which is plain data.
            let info = unsafe { info.assume_init() };
            Ok(Some(Received {
                signal: info.ssi_signo as i32,
                pid: info.ssi_pid as i32,
                code: info.ssi_code,
            }))
        }
        Ok(_) | Err(Errno::AGAIN) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Sends a signal by number, real-time ones included (pidfd_send_signal(2)).
pub fn send_to_pidfd(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a null siginfo is allowed; no other pointers.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::c_void>(),
            0,
        )
    })
    .map(drop)
}

/// Sends a signal by number (kill(2)).
pub fn send(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::kill(pid.as_raw_pid(), signal) }.into()).map(drop)
}

/// Sends a signal to every process that the caller may signal, itself excepted.
pub fn send_to_all(signal: i32) -> Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::kill(-1, signal) }.into()).map(drop)
}

/// First and last real-time signal that programs may use (glibc keeps two for itself).
pub fn realtime_range() -> (i32, i32) {
    (libc::SIGRTMIN(), libc::SIGRTMAX())
}

/// Sets the parent-death signal (prctl(2), PR_SET_PDEATHSIG); 0 for none. Cleared by a change of
/// credentials and by executing a setuid program.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0) }.into()).map(drop)
}

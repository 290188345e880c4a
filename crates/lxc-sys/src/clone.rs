//! fork(2) and clone3(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

use crate::{Errno, Result, check};

/// Where a call that makes a process returned.
#[derive(Debug)]
pub enum Fork {
    /// In the new process, which has one thread.
    Child(SingleThreaded),
    /// In the caller, with the new process's pid.
    Parent(Pid),
}

/// Where [`clone3`] returned.
#[derive(Debug)]
pub enum Cloned {
    /// In the new process, which has one thread.
    Child(SingleThreaded),
    /// In the caller: pid in the caller's pid namespace, and a pidfd (close-on-exec).
    Parent(Pid, OwnedFd),
}

/// Proof that the calling process has exactly one thread: raw clones are only made with it, since
/// other threads could hold locks that nobody would ever release in the child. Whoever holds it
/// starts no thread that is still there when it is used.
#[derive(Debug, Clone, Copy)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Looks (one system call). EBUSY when there are other threads.
    ///
    /// `/proc/self/task` is a directory whose link count is two plus the number of threads. Not for
    /// processes that joined another mount namespace, whose /proc may not know them: they have the
    /// proof from the call that made them.
    pub fn check() -> Result<SingleThreaded> {
        match rustix::fs::stat("/proc/self/task")?.st_nlink {
            3 => Ok(SingleThreaded(())),
            _ => Err(Errno::BUSY),
        }
    }
}

/// fork(2). In a process with several threads the child may call only what is safe after fork;
/// glibc keeps its own allocator usable.
pub fn fork() -> Result<Fork> {
    // SAFETY: fork has no memory preconditions; the child continues on a copy of this address
    // space in which only the calling thread exists.
    let pid = unsafe { libc::fork() };
    match check(pid.into())? {
        0 => Ok(Fork::Child(SingleThreaded(()))),
        pid => Ok(Fork::Parent(Pid::from_raw(pid as i32).ok_or(Errno::SRCH)?)),
    }
}

/// A process that is its own parent's sibling: see CLONE_PARENT in clone(2).
pub const SIBLING: u64 = libc::CLONE_PARENT as u64;

/// clone3(2) with fork semantics (own copy of memory, SIGCHLD at exit, a pidfd).
///
/// `namespaces` is a mask of CLONE_NEW* (and [`SIBLING`]); with `cgroup` the child is born in that
/// cgroup v2 directory (kernel 5.7).
pub fn clone3(_proof: SingleThreaded, namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = linux_raw_sys::general::clone_args {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT the exit signal is the one of the caller's own parent.
        exit_signal: if namespaces & SIBLING == 0 { libc::SIGCHLD as u64 } else { 0 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(fd) = cgroup {
        // libc's constant overflows to 0, hence the number of linux/sched.h.
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the size passed and outlives the call; without
    // CLONE_VM and with no stack the child runs on a copy of this one; no other thread exists.
    let ret = unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<linux_raw_sys::general::clone_args>())
    };
    match check(ret)? {
        0 => Ok(Cloned::Child(SingleThreaded(()))),
        pid => {
            // SAFETY: the kernel stored a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent(Pid::from_raw(pid as i32).ok_or(Errno::SRCH)?, pidfd))
        }
    }
}

/// Ends the process at once, without running destructors or exit handlers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

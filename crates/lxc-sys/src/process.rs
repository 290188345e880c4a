//! What a process does to itself: descriptors, namespaces, personality, keyring.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::{Result, check};

/// Closes every descriptor from `first` to `last`, both included (close_range(2)).
pub fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: closing descriptors is memory-safe; the callers close only what no live OwnedFd of
    // theirs refers to (they are about to exec or have forgotten their owners).
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Closes every descriptor above `last` but those listed.
pub fn close_all_but(mut keep: Vec<RawFd>, last: u32) -> Result<()> {
    keep.sort_unstable();
    let mut next = last + 1;
    for fd in keep.into_iter().filter_map(|fd| u32::try_from(fd).ok()).filter(|&fd| fd > last) {
        if fd > next {
            close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    close_range(next, u32::MAX)
}

/// Marks every descriptor from `first` upwards close-on-exec.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: changes descriptor flags only.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Makes `to` a copy of `from`, without close-on-exec (dup2(2)). `to` is a well-known number (0, 1
/// or 2, or one asked for by LISTEN_FDS) that no OwnedFd of this process owns.
pub fn dup_to(from: BorrowedFd<'_>, to: RawFd) -> Result<()> {
    // SAFETY: replaces what is behind the number `to`; see the contract above.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }.into()).map(drop)
}

/// Joins the namespaces `mask` (CLONE_NEW*) of the process behind a pidfd (kernel 5.8), or the one
/// namespace behind a descriptor of /proc/PID/ns (mask may be 0 then). See setns(2).
pub fn setns(fd: BorrowedFd<'_>, mask: u64) -> Result<()> {
    // SAFETY: setns takes no pointers. Joining a mount or user namespace fails in a process with
    // several threads; joining others affects the calling thread alone.
    check(unsafe { libc::setns(fd.as_raw_fd(), mask as libc::c_int) }.into()).map(drop)
}

/// Leaves the shared namespaces in `mask` (CLONE_NEW*) for new ones. See unshare(2).
pub fn unshare(mask: u64) -> Result<()> {
    // SAFETY: only CLONE_NEW* are passed, none of the flags that unshare memory or descriptors
    // behind the back of other threads (CLONE_FILES is not used here).
    check(unsafe { libc::unshare(mask as libc::c_int) }.into()).map(drop)
}

/// Sets the execution domain (personality(2)).
pub fn set_personality(persona: u32) -> Result<()> {
    // SAFETY: takes no pointers; PER_LINUX and PER_LINUX32 change reported names only.
    check(unsafe { libc::personality(libc::c_ulong::from(persona)) }.into()).map(drop)
}

/// Joins a new anonymous session keyring (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING).
pub fn join_new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) }).map(drop)
}

/// Gives memory that is free back to the kernel: of the heap and, on a main thread's own stack, of
/// what lies below the caller, which deep calls of the past have touched. For processes that live
/// long after a busy beginning.
pub fn release_free_memory() {
    /// Left alone below this frame: the red zone and what the calls here need.
    const MARGIN: usize = 8 * 1024;
    /// Deepest that the past may have been.
    const DEPTH: usize = 1024 * 1024;
    /// Furthest that this frame may be from where the main stack begins.
    const NEAR: usize = 256 * 1024;
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
    // A process forked from a thread runs on that thread's stack, with other memory close below.
    let Some(top) = crate::title::stack_start() else { return };
    let page = page_size();
    let here = (&raw const page) as usize;
    if here > top || top - here > NEAR {
        return;
    }
    let end = (here - MARGIN) / page * page;
    let start = end - DEPTH;
    // SAFETY: nothing lives below the stack pointer, and within 1 MiB below this frame there is only
    // the main stack and the gap that the kernel keeps for its growth, so dropping those pages loses
    // nothing; parts of the range that are not mapped are skipped.
    unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
}

/// Threads that are made from now on share the heap of the first: for processes whose threads do not work at the same time.
pub fn share_heap() {
    // SAFETY: sets a number of the allocator.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// The size of a page of memory, in bytes.
pub fn page_size() -> usize {
    rustix::param::page_size()
}

/// Empties the environment of this process. Only for single-threaded processes.
pub fn clear_environment() {
    // SAFETY: no other thread reads the environment: callers are children of clone3 or fork.
    unsafe { libc::clearenv() };
}

//! seccomp(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, check};

/// One instruction of classic BPF: struct sock_filter.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// BPF_* of the operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub if_true: u8,
    /// Instructions to skip when it does not.
    pub if_false: u8,
    /// Operand.
    pub k: u32,
}

#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const Instruction,
}

/// Puts the calling thread, and what it executes and forks, under a filter (SECCOMP_SET_MODE_FILTER). Needs
/// CAP_SYS_ADMIN in its user namespace, or no_new_privs.
pub fn set_filter(program: &[Instruction]) -> Result<()> {
    let length = program.len().try_into().map_err(|_| crate::Errno::TOOBIG)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: a valid sock_fprog, whose instructions outlive the call; the kernel copies and checks them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
        .map(drop)
}

/// The same, for a filter that asks somebody (SECCOMP_RET_USER_NOTIF): returns the descriptor where it does.
pub fn set_filter_with_listener(program: &[Instruction]) -> Result<OwnedFd> {
    let length = program.len().try_into().map_err(|_| crate::Errno::TOOBIG)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: as above.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    })?;
    // SAFETY: the kernel returned a new descriptor that nobody else owns; it is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Sizes in bytes of the structures that the kernel speaks with (SECCOMP_GET_NOTIF_SIZES).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotifSizes {
    /// struct seccomp_notif.
    pub notif: u16,
    /// struct seccomp_notif_resp.
    pub response: u16,
    /// struct seccomp_data.
    pub data: u16,
}

impl NotifSizes {
    /// Asks the kernel.
    pub fn get() -> Result<NotifSizes> {
        const GET_NOTIF_SIZES: libc::c_ulong = 3;
        let mut sizes = NotifSizes::default();
        // SAFETY: the kernel writes a struct seccomp_notif_sizes, three 16-bit numbers.
        check(unsafe { libc::syscall(libc::SYS_seccomp, GET_NOTIF_SIZES, 0, &raw mut sizes) })?;
        // The requests below have these sizes in their numbers.
        if sizes.notif < 80 || sizes.response < 24 { Err(crate::Errno::NOSYS) } else { Ok(sizes) }
    }
}

/// Waits for a question of a filter: a struct seccomp_notif.
pub fn receive_notif(listener: BorrowedFd<'_>, sizes: &NotifSizes) -> Result<Vec<u8>> {
    // SECCOMP_IOCTL_NOTIF_RECV: _IOWR('!', 0, struct seccomp_notif).
    const RECEIVE: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
    // Zeroed, as the kernel wants it.
    let mut notif = vec![0u8; usize::from(sizes.notif)];
    // SAFETY: the buffer is as long as the kernel said that its structure is, and has no alignment that matters: the
    // kernel copies it.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, notif.as_mut_ptr()) }.into())?;
    Ok(notif)
}

/// Answers a question with a struct seccomp_notif_resp. ENOENT when nobody waits for it any more.
///
/// # Panics
/// `response` is shorter than the structure, 24 bytes.
pub fn send_response(listener: BorrowedFd<'_>, response: &[u8]) -> Result<()> {
    // SECCOMP_IOCTL_NOTIF_SEND: _IOWR('!', 1, struct seccomp_notif_resp).
    const SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;
    assert!(response.len() >= 24, "a struct seccomp_notif_resp");
    // SAFETY: the kernel reads the 24 bytes that the number of the request names.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), SEND, response.as_ptr()) }.into()).map(drop)
}

/// Whether the process of a question still waits for its answer. ENOENT when not.
pub fn still_asks(listener: BorrowedFd<'_>, id: u64) -> Result<()> {
    // SECCOMP_IOCTL_NOTIF_ID_VALID: _IOW('!', 2, __u64).
    const VALID: libc::Ioctl = 0x4008_2102;
    // SAFETY: the kernel reads the eight bytes of the number.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), VALID, &raw const id) }.into()).map(drop)
}

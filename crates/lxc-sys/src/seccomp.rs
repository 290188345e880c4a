//! seccomp(2).

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

//! Architectures: their names in policies, their numbers in the kernel, and the calls they have.

use std::str::FromStr;

/// An architecture of system calls that a process on some host can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64 bits.
    X86_64,
    /// 32-bit pointers with the registers of x86_64.
    X32,
    /// 32 bits.
    X86,
    /// 64 bits.
    Aarch64,
    /// 32 bits.
    Arm,
    /// 64 bits.
    Riscv64,
    /// 64 bits, little endian.
    Ppc64le,
    /// 64 bits.
    S390x,
    /// 64 bits.
    LoongArch64,
}

/// Those that processes on this host can have, its own first.
pub const HOST: &[Arch] = if cfg!(target_arch = "x86_64") {
    &[Arch::X86_64, Arch::X86, Arch::X32]
} else if cfg!(target_arch = "aarch64") {
    &[Arch::Aarch64, Arch::Arm]
} else if cfg!(target_arch = "riscv64") {
    &[Arch::Riscv64]
} else if cfg!(target_arch = "powerpc64") {
    &[Arch::Ppc64le]
} else if cfg!(target_arch = "s390x") {
    &[Arch::S390x]
} else if cfg!(target_arch = "loongarch64") {
    &[Arch::LoongArch64]
} else if cfg!(target_arch = "arm") {
    &[Arch::Arm]
} else {
    &[Arch::X86]
};

/// Names of sections. `None`: known, and not to be had on a host that this is built for.
const SECTIONS: &[(&str, Option<Arch>)] = &[
    ("arm", Some(Arch::Arm)),
    ("arm64", Some(Arch::Aarch64)),
    ("loongarch64", Some(Arch::LoongArch64)),
    ("mips", None),
    ("mips64", None),
    ("mips64n32", None),
    ("mipsel", None),
    ("mipsel64", None),
    ("mipsel64n32", None),
    ("ppc", None),
    ("ppc64", None),
    ("ppc64le", Some(Arch::Ppc64le)),
    ("riscv64", Some(Arch::Riscv64)),
    ("s390", None),
    ("s390x", Some(Arch::S390x)),
    ("x32", Some(Arch::X32)),
    ("x86", Some(Arch::X86)),
    ("x86_64", Some(Arch::X86_64)),
];

/// The architecture of a section, written in lower or in upper case; the outer `None`: there is no such section.
pub fn section(name: &str) -> Option<Option<Arch>> {
    let lower = name.to_ascii_lowercase();
    let one_case = lower == name || name.to_ascii_uppercase() == name;
    SECTIONS.iter().find(|(known, _)| *known == lower && one_case).map(|(_, arch)| *arch)
}

/// Set in the number of a call of x32 (kernel: arch/x86/include/uapi/asm/unistd.h).
pub const X32_BIT: u32 = 0x4000_0000;

/// Calls whose x32 variant has a number of its own (kernel: arch/x86/entry/syscalls/syscall_64.tbl), from 512 on.
const X32_CALLS: &[&str] = &[
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

fn in_table<T: FromStr>(name: &str, id: impl Fn(T) -> i32) -> Option<u32> {
    T::from_str(name).ok().and_then(|call| u32::try_from(id(call)).ok())
}

impl Arch {
    /// Its name in policies.
    pub fn name(self) -> &'static str {
        SECTIONS.iter().find(|(_, arch)| *arch == Some(self)).map_or("", |(name, _)| name)
    }

    /// AUDIT_ARCH_* (kernel: include/uapi/linux/audit.h). That of x32 is that of x86_64.
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
            Arch::Riscv64 => 0xc000_00f3,
            Arch::Ppc64le => 0xc000_0015,
            Arch::S390x => 0x8000_0016,
            Arch::LoongArch64 => 0xc000_0102,
        }
    }

    /// The number of a call.
    pub fn number(self, name: &str) -> Option<u32> {
        match self {
            Arch::X86_64 => in_table(name, |c: syscalls::x86_64::Sysno| c.id()),
            Arch::X86 => in_table(name, |c: syscalls::x86::Sysno| c.id()),
            Arch::Aarch64 => in_table(name, |c: syscalls::aarch64::Sysno| c.id()),
            Arch::Arm => in_table(name, |c: syscalls::arm::Sysno| c.id()),
            Arch::Riscv64 => in_table(name, |c: syscalls::riscv64::Sysno| c.id()),
            Arch::Ppc64le => in_table(name, |c: syscalls::powerpc64::Sysno| c.id()),
            Arch::S390x => in_table(name, |c: syscalls::s390x::Sysno| c.id()),
            Arch::LoongArch64 => in_table(name, |c: syscalls::loongarch64::Sysno| c.id()),
            Arch::X32 => {
                let own = X32_CALLS.iter().position(|call| *call == name).map(|at| 512 + at as u32);
                own.or_else(|| Arch::X86_64.number(name)).map(|number| number | X32_BIT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        assert_eq!(Arch::X86_64.number("kexec_load"), Some(246));
        assert_eq!(Arch::X86.number("kexec_load"), Some(283));
        assert_eq!(Arch::X32.number("kexec_load"), Some(528 | X32_BIT));
        assert_eq!(Arch::X32.number("pwritev2"), Some(547 | X32_BIT));
        assert_eq!(Arch::X32.number("open_by_handle_at"), Some(304 | X32_BIT));
        assert_eq!(Arch::Aarch64.number("open"), None);
        assert_eq!(Arch::X86_64.number("nonsense"), None);
    }

    #[test]
    fn sections_are_written_in_one_case() {
        assert_eq!(section("x86_64"), Some(Some(Arch::X86_64)));
        assert_eq!(section("X86_64"), Some(Some(Arch::X86_64)));
        assert_eq!(section("X86_64x"), None);
        assert_eq!(section("Arm"), None);
        assert_eq!(section("mips"), Some(None));
    }
}

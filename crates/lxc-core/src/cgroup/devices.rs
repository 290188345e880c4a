//! The device filter of cgroup v2: a list of rules compiled to an eBPF program.
//!
//! The list is upstream's (spec: cgroups, section 7) with two faults mended: a lone `deny a` blocks,
//! and a deny rule matches any request that asks for one of its kinds of access, as on v1.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_config::device_rule::{
    ACCESS_MKNOD, ACCESS_READ, ACCESS_WRITE, DeviceEntry, DeviceKind, DeviceList, DeviceRule,
};
use lxc_sys::Errno;
use lxc_sys::bpf::{self, Instruction};

use crate::error::{Doing, Error, Result};

/// The program of a list, or `None` when nothing was ever said.
pub fn compile(list: &DeviceList) -> Option<Vec<Instruction>> {
    if !list.is_set {
        return None;
    }
    let mut program = prologue();
    for rule in &list.rules {
        program.extend(compile_rule(rule));
    }
    program.push(move_immediate(0, list.allow_by_default.into()));
    program.push(EXIT);
    Some(program)
}

/// Access bits as in linux/bpf.h: 1 mknod, 2 read, 4 write.
fn kernel_access(access: u8) -> i32 {
    [(ACCESS_MKNOD, 1), (ACCESS_READ, 2), (ACCESS_WRITE, 4)]
        .into_iter()
        .filter(|(ours, _)| access & ours != 0)
        .map(|(_, kernels)| kernels)
        .sum()
}

// Registers: r2 type, r3 access, r4 major, r5 minor; r1 is the context.
const BPF_LDX_MEM_W: u8 = 0x61;
const BPF_AND_K: u8 = 0x54;
const BPF_RSH_K: u8 = 0x74;
const BPF_MOV_K: u8 = 0xb7;
const BPF_MOV32_X: u8 = 0xbc;
const BPF_JNE_K: u8 = 0x55;
const BPF_JEQ_K: u8 = 0x15;
const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };

const fn load_word(to: u8, offset: i16) -> Instruction {
    Instruction { code: BPF_LDX_MEM_W, registers: to | 1 << 4, offset, immediate: 0 }
}

const fn alu32(code: u8, register: u8, immediate: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, immediate }
}

const fn copy32(to: u8, from: u8) -> Instruction {
    Instruction { code: BPF_MOV32_X, registers: to | from << 4, offset: 0, immediate: 0 }
}

const fn move_immediate(to: u8, immediate: i32) -> Instruction {
    Instruction { code: BPF_MOV_K, registers: to, offset: 0, immediate }
}

const fn jump(code: u8, register: u8, immediate: i32, offset: i16) -> Instruction {
    Instruction { code, registers: register, offset, immediate }
}

/// Loads struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }.
fn prologue() -> Vec<Instruction> {
    vec![
        load_word(2, 0),
        alu32(BPF_AND_K, 2, 0xffff),
        load_word(3, 0),
        alu32(BPF_RSH_K, 3, 16),
        load_word(4, 4),
        load_word(5, 8),
    ]
}

/// Instructions of one rule: tests that jump past its end, then the verdict.
fn compile_rule(rule: &DeviceRule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    match rule.kind {
        DeviceKind::Block => tests.push((BPF_JNE_K, 2, 1)),
        DeviceKind::Char => tests.push((BPF_JNE_K, 2, 2)),
        DeviceKind::All => {}
    }
    if let Some(major) = rule.major {
        tests.push((BPF_JNE_K, 4, major as i32));
    }
    if let Some(minor) = rule.minor {
        tests.push((BPF_JNE_K, 5, minor as i32));
    }
    let mask = kernel_access(rule.access);
    let access: Vec<Instruction> = match (mask == 7, rule.allow) {
        (true, _) => vec![],
        // Allowed only if nothing else is asked for.
        (false, true) => {
            vec![copy32(1, 3), alu32(BPF_AND_K, 1, !mask & 7), jump(BPF_JNE_K, 1, 0, 2)]
        }
        // Denied as soon as any of it is asked for.
        (false, false) => vec![copy32(1, 3), alu32(BPF_AND_K, 1, mask), jump(BPF_JEQ_K, 1, 0, 2)],
    };
    let total = tests.len() + access.len() + 2;
    let mut out: Vec<Instruction> = tests
        .into_iter()
        .enumerate()
        .map(|(i, (code, register, value))| jump(code, register, value, (total - i - 1) as i16))
        .collect();
    out.extend(access);
    out.push(move_immediate(0, rule.allow.into()));
    out.push(EXIT);
    out
}

/// A list and the program that enforces it on a cgroup.
#[derive(Debug, Default)]
pub struct DeviceFilter {
    list: DeviceList,
    program: Option<OwnedFd>,
}

impl DeviceFilter {
    /// Adds rules and puts the new program in the place of the old one. On failure the old list and
    /// program stay.
    pub fn update(&mut self, cgroup: BorrowedFd<'_>, rules: &[DeviceEntry]) -> Result<()> {
        let mut list = self.list.clone();
        for rule in rules {
            match rule {
                DeviceEntry::Global { allow } => list.set_default(*allow),
                DeviceEntry::Rule(rule) => list.add(*rule),
                DeviceEntry::Path { path, .. } => {
                    return Err(Error::invalid(format!("{path}: a device rule here needs numbers")));
                }
            }
        }
        let Some(instructions) = compile(&list) else { return Ok(()) };
        let program = bpf::load_device_program(&instructions).doing(|| "load the device filter (bpf)")?;
        let old = self.program.as_ref().map(AsFd::as_fd);
        match bpf::attach_device_program(cgroup, program.as_fd(), old) {
            Err(Errno::INVAL) if old.is_some() => {
                // Kernels before 5.6 cannot replace: for a moment both programs must agree.
                bpf::attach_device_program(cgroup, program.as_fd(), None)
                    .doing(|| "attach the device filter")?;
                if let Some(old) = old {
                    bpf::detach_device_program(cgroup, old).doing(|| "detach the old device filter")?;
                }
            }
            result => result.doing(|| "attach the device filter (bpf)")?,
        }
        self.list = list;
        self.program = Some(program);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
        let type_bits = if kind == DeviceKind::Block { 1 } else { 2 };
        let context = [(kernel_access(access) as u32) << 16 | type_bits, major, minor];
        let (mut r, mut pc) = ([0u32; 6], 0usize);
        loop {
            let i = program[pc];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            pc += 1;
            match i.code {
                BPF_LDX_MEM_W => r[to] = context[i.offset as usize / 4],
                BPF_AND_K => r[to] &= i.immediate as u32,
                BPF_RSH_K => r[to] >>= i.immediate,
                BPF_MOV_K => r[to] = i.immediate as u32,
                BPF_MOV32_X => r[to] = r[from],
                BPF_JNE_K if r[to] != i.immediate as u32 => pc += i.offset as usize,
                BPF_JEQ_K if r[to] == i.immediate as u32 => pc += i.offset as usize,
                BPF_JNE_K | BPF_JEQ_K => {}
                0x95 => return r[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn program(rules: &[(&str, bool)]) -> Vec<Instruction> {
        let mut list = DeviceList::default();
        for (text, allow) in rules {
            match DeviceEntry::parse(text, *allow).expect("a valid rule") {
                DeviceEntry::Global { allow } => list.set_default(allow),
                DeviceEntry::Rule(rule) => list.add(rule),
                DeviceEntry::Path { .. } => panic!("a path"),
            }
        }
        compile(&list).expect("a program")
    }

    #[test]
    fn lone_deny_all_blocks() {
        assert!(!run(&program(&[("a", false)]), DeviceKind::Char, 1, 9, ACCESS_READ));
    }

    #[test]
    fn nothing_said_needs_no_program() {
        assert_eq!(compile(&DeviceList::default()), None);
    }

    #[test]
    fn deny_of_one_access_is_not_bypassed_by_asking_for_more() {
        let p = program(&[("a", true), ("c 1:9 r", false)]);
        assert!(!run(&p, DeviceKind::Char, 1, 9, ACCESS_READ));
        assert!(!run(&p, DeviceKind::Char, 1, 9, ACCESS_READ | ACCESS_WRITE));
        assert!(run(&p, DeviceKind::Char, 1, 9, ACCESS_WRITE));
    }

    #[test]
    fn allowed_is_what_was_named() {
        let p = program(&[
            ("a", false),
            ("c 1:3 rwm", true),
            ("c 1:5 r", true),
            ("c *:* m", true),
            ("b 8:* rw", true),
        ]);
        let all = ACCESS_READ | ACCESS_WRITE | ACCESS_MKNOD;
        for (kind, major, minor, access, verdict) in [
            (DeviceKind::Char, 1, 3, all, true),
            (DeviceKind::Char, 1, 5, ACCESS_READ, true),
            (DeviceKind::Char, 1, 5, ACCESS_WRITE, false),
            (DeviceKind::Char, 1, 9, ACCESS_READ, false),
            (DeviceKind::Char, 1, 9, ACCESS_MKNOD, true),
            (DeviceKind::Block, 8, 7, ACCESS_READ | ACCESS_WRITE, true),
            (DeviceKind::Block, 8, 7, ACCESS_MKNOD, false),
        ] {
            assert_eq!(run(&p, kind, major, minor, access), verdict, "{kind:?} {major}:{minor} {access}");
        }
    }
}

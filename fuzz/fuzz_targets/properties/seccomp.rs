//! What holds for any seccomp policy: it is refused, or becomes a program that the kernel takes and that ends.

use lxc_core::seccomp::compile::compile;
use lxc_core::seccomp::{explain, policy};

/// Instructions of classic BPF (linux/bpf_common.h).
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
/// Most that the kernel takes (BPF_MAXINSNS).
const MOST: usize = 4096;

/// Panics if it does not hold for a text.
pub fn holds(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let policy = match policy::parse(&text) {
        Ok(policy) => policy,
        Err(error) => return drop(format!("{error:?}")),
    };
    let _ = explain(&policy);
    let Ok(program) = compile(&policy) else { return };
    assert!(!program.is_empty() && program.len() <= MOST);
    for (at, instruction) in program.iter().enumerate() {
        let next = |skipped: u32| {
            let to = at + 1 + skipped as usize;
            assert!(to < program.len(), "instruction {at} leads to {to} of {}", program.len());
        };
        match instruction.code {
            JUMP => next(instruction.k),
            code if code & 0x07 == RETURN => {}
            code if code & 0x07 == JUMP => {
                next(instruction.if_true.into());
                next(instruction.if_false.into());
            }
            _ => next(0),
        }
    }
}

//! From rules to a program of classic BPF (kernel: Documentation/userspace-api/seccomp_filter.rst): first the
//! architecture, then for each the rules in their order, then what holds for the rest.

use lxc_sys::Errno;
use lxc_sys::seccomp::Instruction;

use super::arch::{Arch, HOST, X32_BIT};
use super::policy::{Action, Operator, Policy, Rule, Test};

// struct seccomp_data: nr, arch, instruction_pointer, args[6].
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_NOT_LESS: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Most instructions that the kernel takes (BPF_MAXINSNS).
const MOST: usize = 4096;

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, k }
}

const fn branch(code: u16, k: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, k }
}

/// SECCOMP_RET_* of an action.
fn verdict(action: Action) -> Instruction {
    plain(
        RETURN,
        match action {
            Action::Kill => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(number) => 0x0005_0000 | u32::from(number),
            Action::Notify => 0x7fc0_0000,
            Action::Allow => 0x7fff_0000,
        },
    )
}

/// Compiles a policy for all architectures that processes on this host can have. Calls of any other end the
/// thread, as with upstream's library.
///
/// # Errors
/// E2BIG: the program is larger than the kernel takes.
pub fn compile(policy: &Policy) -> lxc_sys::Result<Vec<Instruction>> {
    let mut program = vec![plain(LOAD, ARCH)];
    for &arch in HOST.iter().filter(|a| **a != Arch::X32) {
        let mut part = vec![plain(LOAD, NUMBER)];
        if arch == Arch::X86_64 {
            // The same architecture for the kernel; its calls have a bit of their own.
            let own = rules(policy, arch);
            part.push(branch(IF_NOT_LESS, X32_BIT, 0, 1));
            part.push(plain(JUMP, own.len() as u32));
            part.extend(own);
            part.extend(rules(policy, Arch::X32));
        } else {
            part.extend(rules(policy, arch));
        }
        program.push(branch(IF_EQUAL, arch.audit(), 1, 0));
        program.push(plain(JUMP, part.len() as u32));
        program.extend(part);
    }
    program.push(verdict(Action::Kill));
    if program.len() > MOST { Err(Errno::TOOBIG) } else { Ok(program) }
}

/// The rules of one architecture, with the number of the call loaded, and the default.
fn rules(policy: &Policy, arch: Arch) -> Vec<Instruction> {
    let mut out = Vec::new();
    for rule in policy.rules.iter().filter(|r| r.applies_to(arch)) {
        match rule.call.number(arch) {
            Some(number) => out.extend(one(rule, number)),
            None => log::info!("seccomp: {} has no call {}", arch.name(), rule.call),
        }
    }
    out.push(verdict(policy.default));
    out
}

/// A rule: number, tests, verdict. What does not match goes on behind it.
fn one(rule: &Rule, number: u32) -> Vec<Instruction> {
    let mut body: Vec<Instruction> = Vec::new();
    // Jumps to the end are filled in when it is known where that is.
    for test in &rule.tests {
        body.extend(compare(test));
    }
    body.push(verdict(rule.action));
    // Tests load arguments: the number is loaded again for the next rule.
    let reload = (!rule.tests.is_empty()).then(|| plain(LOAD, NUMBER));
    let length = body.len();
    for (at, instruction) in body.iter_mut().enumerate() {
        let to_end = (length - at - 1) as u8;
        for target in [&mut instruction.if_true, &mut instruction.if_false] {
            if *target == FAIL {
                *target = to_end;
            }
        }
    }
    let mut out = vec![branch(IF_EQUAL, number, 0, length as u8 + u8::from(reload.is_some()))];
    out.extend(body);
    out.extend(reload);
    out
}

/// Stands for the end of the rule.
const FAIL: u8 = u8::MAX;

/// Instructions that go on when the test holds. An argument has 64 bits, the accumulator 32: the upper half first.
fn compare(test: &Test) -> Vec<Instruction> {
    let at = ARGUMENTS + 8 * test.index;
    let (high_at, low_at) = if cfg!(target_endian = "little") { (at + 4, at) } else { (at, at + 4) };
    let (high, low) = ((test.value >> 32) as u32, test.value as u32);
    let load = |at| plain(LOAD, at);
    match test.operator {
        Operator::Equal => {
            vec![load(high_at), branch(IF_EQUAL, high, 0, FAIL), load(low_at), branch(IF_EQUAL, low, 0, FAIL)]
        }
        Operator::MaskedEqual => vec![
            load(high_at),
            plain(AND, (test.mask >> 32) as u32),
            branch(IF_EQUAL, high, 0, FAIL),
            load(low_at),
            plain(AND, test.mask as u32),
            branch(IF_EQUAL, low, 0, FAIL),
        ],
        Operator::NotEqual => {
            vec![load(high_at), branch(IF_EQUAL, high, 0, 2), load(low_at), branch(IF_EQUAL, low, FAIL, 0)]
        }
        Operator::Greater | Operator::GreaterOrEqual => {
            let last = if test.operator == Operator::Greater { IF_GREATER } else { IF_NOT_LESS };
            vec![
                load(high_at),
                branch(IF_GREATER, high, 3, 0),
                branch(IF_EQUAL, high, 0, FAIL),
                load(low_at),
                branch(last, low, 0, FAIL),
            ]
        }
        Operator::Less | Operator::LessOrEqual => {
            // Less is not (greater or equal).
            let last = if test.operator == Operator::Less { IF_NOT_LESS } else { IF_GREATER };
            vec![
                load(high_at),
                branch(IF_GREATER, high, FAIL, 0),
                branch(IF_EQUAL, high, 0, 2),
                load(low_at),
                branch(last, low, FAIL, 0),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::policy::parse;

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(arch.to_ne_bytes());
        data.extend([0; 8]);
        arguments.iter().for_each(|a| data.extend(a.to_ne_bytes()));
        let (mut a, mut at) = (0u32, 0usize);
        loop {
            let i = program[at];
            at += 1;
            let holds = match i.code {
                LOAD => {
                    let k = i.k as usize;
                    a = u32::from_ne_bytes(data[k..k + 4].try_into().expect("four bytes"));
                    continue;
                }
                AND => {
                    a &= i.k;
                    continue;
                }
                JUMP => {
                    at += i.k as usize;
                    continue;
                }
                RETURN => return i.k,
                IF_EQUAL => a == i.k,
                IF_GREATER => a > i.k,
                IF_NOT_LESS => a >= i.k,
                other => panic!("unknown instruction {other:#x}"),
            };
            at += usize::from(if holds { i.if_true } else { i.if_false });
        }
    }

    fn on_host(text: &str, call: &str, arguments: [u64; 6]) -> u32 {
        let program = compile(&parse(text).expect("a policy")).expect("a program");
        run(&program, HOST[0].audit(), HOST[0].number(call).expect("a call"), arguments)
    }

    const ALLOW: u32 = 0x7fff_0000;

    #[test]
    fn calls_are_told_apart() {
        let text = "2\ndenylist\nmkdirat errno 5\nunlinkat trap\nsync kill\n";
        assert_eq!(on_host(text, "mkdirat", [0; 6]), 0x0005_0005);
        assert_eq!(on_host(text, "unlinkat", [0; 6]), 0x0003_0000);
        assert_eq!(on_host(text, "sync", [0; 6]), 0);
        assert_eq!(on_host(text, "read", [0; 6]), ALLOW);
        let program = compile(&parse(text).expect("a policy")).expect("a program");
        assert_eq!(run(&program, 0x1234, 0, [0; 6]), 0, "another architecture");
    }

    #[test]
    fn every_operator_compares_all_64_bits() {
        let big = 0x1_0000_0005u64;
        for (operator, holds) in [
            ("==", [false, false, true, false, false]),
            ("!=", [true, true, false, true, true]),
            ("<", [true, true, false, false, false]),
            ("<=", [true, true, true, false, false]),
            (">", [false, false, false, true, true]),
            (">=", [false, false, true, true, true]),
        ] {
            let text = format!("2\ndenylist\nmkdirat errno 1 [2,{big},{operator}]\n");
            for (value, holds) in [5, big - 1, big, big + 1, 0x2_0000_0000].into_iter().zip(holds) {
                let expected = if holds { 0x0005_0001 } else { ALLOW };
                assert_eq!(
                    on_host(&text, "mkdirat", [0, 0, value, 0, 0, 0]),
                    expected,
                    "{value:#x} {operator}"
                );
            }
        }
        let masked = "2\ndenylist\nmkdirat errno 1 [1,0x8000000000,&=,0xff00000000]\n";
        assert_eq!(on_host(masked, "mkdirat", [0, 0x80_0000_1234, 0, 0, 0, 0]), 0x0005_0001);
        assert_eq!(on_host(masked, "mkdirat", [0, 0x81_0000_1234, 0, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn all_tests_must_hold_and_the_first_rule_decides() {
        let text = "2\ndenylist\nmkdirat errno 1 [0,1,==] [1,2,==]\nmkdirat errno 2 [0,1,==]\nmkdirat errno 3\nunlinkat errno 4\n";
        assert_eq!(on_host(text, "mkdirat", [1, 2, 0, 0, 0, 0]), 0x0005_0001);
        assert_eq!(on_host(text, "mkdirat", [1, 3, 0, 0, 0, 0]), 0x0005_0002);
        assert_eq!(on_host(text, "mkdirat", [0, 2, 0, 0, 0, 0]), 0x0005_0003);
        assert_eq!(on_host(text, "unlinkat", [0; 6]), 0x0005_0004);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn sections_are_about_their_architecture_alone() {
        let text = "2\ndenylist\n[x86]\nmkdir errno 5\n[x32]\nmkdir errno 6\n[x86_64]\nmkdir errno 7\n[all]\nrmdir errno 8\n";
        let program = compile(&parse(text).expect("a policy")).expect("a program");
        for (arch, error) in [(Arch::X86, 5), (Arch::X32, 6), (Arch::X86_64, 7)] {
            let number = |call| arch.number(call).expect("a call");
            assert_eq!(run(&program, arch.audit(), number("mkdir"), [0; 6]), 0x0005_0000 | error, "{arch:?}");
            assert_eq!(run(&program, arch.audit(), number("rmdir"), [0; 6]), 0x0005_0008, "{arch:?}");
            assert_eq!(run(&program, arch.audit(), number("chdir"), [0; 6]), ALLOW, "{arch:?}");
        }
    }
}

//! Seccomp policies (spec: security, section 4): the file is parsed into rules, the rules are compiled into one BPF
//! program for all architectures of the host, and the kernel gets that before init is executed.
//!
//! The compiler is ours and not libseccomp's, which would be the one C library that a build needs; names of calls
//! come from the tables of the crate `syscalls`.

pub mod arch;
pub mod compile;
pub mod notify;
pub mod policy;

use std::path::Path;

use lxc_sys::seccomp::Instruction;

use crate::error::{Doing, Error, Result};
use policy::{Action, Policy};

/// Reads and parses a policy.
///
/// # Errors
/// File, line and what is wrong there.
pub fn read(file: &Path) -> Result<Policy> {
    let text = std::fs::read_to_string(file).doing(|| format!("read {}", file.display()))?;
    policy::parse(&text).map_err(|e| Error::invalid(format!("{}:{}: {}", file.display(), e.line, e.reason)))
}

/// A policy as the kernel takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// It asks somebody about some calls.
    pub notifies: bool,
}

/// Reads a policy as a program for the kernel.
///
/// # Errors
/// The policy cannot be read.
pub fn load(file: &Path) -> Result<Filter> {
    let policy = read(file)?;
    let notifies =
        policy.default == Action::Notify || policy.rules.iter().any(|r| r.action == Action::Notify);
    // The call by which the one who is to be asked gets to know of it.
    let needed = |r: &policy::Rule| r.action == Action::Notify && r.call.to_string() == "sendmsg";
    if policy.default == Action::Notify || policy.rules.iter().any(needed) {
        let text = format!("{}: to ask about sendmsg would stop the start itself", file.display());
        return Err(Error::invalid(text)
            .with_hint("give sendmsg, and what no rule names, another action than notify"));
    }
    let program = compile::compile(&policy).doing(|| format!("compile {}", file.display()))?;
    Ok(Filter { program, notifies })
}

/// Whether the calling process is under a filter already.
pub fn is_confined() -> bool {
    let status = crate::files::read_text("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|l| l.strip_prefix("Seccomp:")).is_some_and(|mode| mode.trim() != "0")
}

/// What a policy comes to on this host, a line each: for people.
pub fn explain(policy: &Policy) -> String {
    let mut out = format!("what no rule names: {}\n", policy.default);
    for arch in arch::HOST {
        out += &format!("\n{} ({:#010x})\n", arch.name(), arch.audit());
        for rule in policy.rules.iter().filter(|r| r.applies_to(*arch)) {
            match rule.call.number(*arch) {
                Some(number) => {
                    out += &format!("  {:<24} {number:>5}  {}{}\n", rule.call, rule.action, rule.tests())
                }
                None => out += &format!("  {:<24}     -  no such call\n", rule.call.to_string()),
            }
        }
    }
    out
}

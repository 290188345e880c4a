//! The text of a policy.

use std::fmt;

use super::arch::{self, Arch};

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ends the thread.
    Kill,
    /// Sends SIGSYS.
    Trap,
    /// Fails the call.
    Errno(u16),
    /// Asks a program.
    Notify,
    /// Carries it out.
    Allow,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// `&=`: the argument under a mask is the value.
    MaskedEqual,
}

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// What it is compared with.
    pub value: u64,
    /// How.
    pub operator: Operator,
    /// For [`Operator::MaskedEqual`].
    pub mask: u64,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// By its name.
    Name(String),
    /// By its number on the host's own architecture.
    Number(u32),
}

/// One rule. The first of a call whose tests all hold decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Line of the file, from 1.
    pub line: u32,
    /// One architecture; `None`: all.
    pub arch: Option<Arch>,
    /// Which call.
    pub call: Call,
    /// What becomes of it.
    pub action: Action,
    /// All must hold.
    pub tests: Vec<Test>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of a call that no rule names.
    pub default: Action,
    /// In their order.
    pub rules: Vec<Rule>,
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// Line of the file, from 1.
    pub line: u32,
    /// What is wrong.
    pub reason: String,
}

const MNT_FORCE: u64 = 1;
const EACCES: u16 = 13;
/// Largest error number that a call can return (kernel: MAX_ERRNO).
const MAX_ERRNO: u64 = 4095;

impl Call {
    /// Its number on an architecture.
    pub fn number(&self, arch: Arch) -> Option<u32> {
        match self {
            Call::Name(name) => arch.number(name),
            Call::Number(number) => (arch == arch::HOST[0]).then_some(*number),
        }
    }
}

impl Rule {
    /// Whether it is about calls of an architecture.
    pub fn applies_to(&self, arch: Arch) -> bool {
        self.arch.is_none_or(|own| own == arch)
    }

    /// Its tests as they are written in policies.
    pub fn tests(&self) -> String {
        self.tests.iter().map(|t| format!(" {t}")).collect()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Name(name) => f.pad(name),
            Call::Number(number) => f.pad(&number.to_string()),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Kill => f.write_str("kill"),
            Action::Trap => f.write_str("trap"),
            Action::Errno(number) => {
                let text = crate::error::strerror_of((*number).into());
                write!(f, "errno {number} ({text})")
            }
            Action::Notify => f.write_str("notify"),
            Action::Allow => f.write_str("allow"),
        }
    }
}

const OPERATORS: &[(&str, &str, Operator)] = &[
    ("SCMP_CMP_NE", "!=", Operator::NotEqual),
    ("SCMP_CMP_LT", "<", Operator::Less),
    ("SCMP_CMP_LE", "<=", Operator::LessOrEqual),
    ("SCMP_CMP_EQ", "==", Operator::Equal),
    ("SCMP_CMP_GE", ">=", Operator::GreaterOrEqual),
    ("SCMP_CMP_GT", ">", Operator::Greater),
    ("SCMP_CMP_MASKED_EQ", "&=", Operator::MaskedEqual),
];

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = OPERATORS.iter().find(|o| o.2 == self.operator).map_or("", |o| o.1);
        match self.operator {
            Operator::MaskedEqual => write!(f, "[arg{} & {:#x} == {:#x}]", self.index, self.mask, self.value),
            _ => write!(f, "[arg{} {sign} {:#x}]", self.index, self.value),
        }
    }
}

/// Reads a policy of version 1 or 2.
///
/// # Errors
/// The first line that is wrong.
pub fn parse(text: &str) -> Result<Policy, PolicyError> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at as u32 + 1, line.trim()));
    let error = |line, reason: &str| PolicyError { line, reason: reason.to_string() };
    let (number, version) = lines.next().ok_or_else(|| error(1, "the policy is empty"))?;
    let (style_line, style) =
        lines.next().ok_or_else(|| error(2, "the second line, the style, is missing"))?;
    match version {
        "1" => version_1(style_line, style, lines),
        "2" => version_2(style_line, style, lines),
        _ => Err(error(number, "the first line must be the version, 1 or 2")),
    }
}

fn version_1<'a>(
    style_line: u32,
    style: &str,
    lines: impl Iterator<Item = (u32, &'a str)>,
) -> Result<Policy, PolicyError> {
    if !style.contains("allowlist") {
        let reason = "version 1 is a list of what is allowed: the second line must be allowlist".to_string();
        return Err(PolicyError { line: style_line, reason });
    }
    let mut rules = Vec::new();
    for (line, text) in lines.filter(|(_, text)| !text.is_empty()) {
        let number = text.parse().map_err(|_| PolicyError {
            line,
            reason: format!("'{text}' is not the number of a system call"),
        })?;
        rules.push(Rule {
            line,
            arch: None,
            call: Call::Number(number),
            action: Action::Allow,
            tests: Vec::new(),
        });
    }
    Ok(Policy { default: Action::Kill, rules })
}

fn version_2<'a>(
    style_line: u32,
    style: &str,
    lines: impl Iterator<Item = (u32, &'a str)>,
) -> Result<Policy, PolicyError> {
    let mut words = style.split_whitespace();
    let style_error = |reason: String| PolicyError { line: style_line, reason };
    let (policy, rule) = match words.next() {
        Some("denylist" | "blacklist") => (Action::Allow, Action::Kill),
        Some("allowlist" | "whitelist") => (Action::Kill, Action::Allow),
        _ => return Err(style_error("the second line must be denylist or allowlist".into())),
    };
    let named = action(&mut words).map_err(style_error)?;
    let default = named.unwrap_or(policy);
    let mut rules = Vec::new();
    // `None`: rules of an architecture that processes here cannot have.
    let mut section: Option<Option<Arch>> = Some(None);
    for (line, text) in lines {
        let fail = |reason: String| PolicyError { line, reason };
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            section = match name {
                "all" | "ALL" => Some(None),
                _ => match arch::section(name) {
                    Some(arch) => arch.filter(|a| arch::HOST.contains(a)).map(Some),
                    None => return Err(fail(format!("there is no architecture '{name}'"))),
                },
            };
            continue;
        }
        let Some(arch) = section else { continue };
        rules.push(rule_of(line, text, arch, rule).map_err(fail)?);
        if rules.last().is_some_and(|last| last.action == default) {
            return Err(fail(format!("the rule says what holds anyway: {default}")));
        }
    }
    Ok(Policy { default, rules })
}

fn rule_of(line: u32, text: &str, arch: Option<Arch>, default: Action) -> Result<Rule, String> {
    let (words, tests) = match text.find('[') {
        Some(at) => (&text[..at], tests(&text[at..])?),
        None => (text, Vec::new()),
    };
    let mut words = words.split_whitespace();
    let name = words.next().ok_or("the name of a system call is missing")?;
    if name.starts_with("reject_force_umount") {
        let forced = Test { index: 1, value: MNT_FORCE, operator: Operator::MaskedEqual, mask: MNT_FORCE };
        let call = Call::Name("umount2".into());
        return Ok(Rule { line, arch, call, action: Action::Errno(EACCES), tests: vec![forced] });
    }
    let named = action(&mut words)?;
    if named.is_none() && !tests.is_empty() {
        return Err("an action must stand before the tests of arguments".into());
    }
    Ok(Rule { line, arch, call: Call::Name(name.into()), action: named.unwrap_or(default), tests })
}

/// The action that the next words name; none at the end and before a comment.
fn action<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Option<Action>, String> {
    let Some(word) = words.next().filter(|w| !w.starts_with('#')) else { return Ok(None) };
    Ok(Some(match word {
        "kill" | "kill_process" | "kill_thread" => Action::Kill,
        "allow" => Action::Allow,
        "trap" => Action::Trap,
        "notify" => Action::Notify,
        "errno" => {
            let number = words.next().ok_or("errno needs a number")?;
            let number = number.split_once('#').map_or(number, |(number, _)| number);
            // Decimal, also with a leading 0. Upstream takes 0x26 for 0, with which a call does nothing and
            // succeeds: no policy can mean that.
            let hexadecimal = number.starts_with("0x") || number.starts_with("0X");
            let parsed = if hexadecimal { unsigned(number) } else { number.parse().ok() };
            let parsed = parsed.filter(|n| *n <= MAX_ERRNO);
            let parsed = parsed.ok_or_else(|| format!("'{number}' is not an error number"))?;
            Action::Errno(parsed as u16)
        }
        other => return Err(format!("'{other}' is not an action: kill, errno N, trap, notify or allow")),
    }))
}

/// `[index,value,op] [index,value,op,mask] …`
fn tests(text: &str) -> Result<Vec<Test>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((inside, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        out.push(
            test(inside)
                .ok_or_else(|| format!("'[{inside}]' is not [index,value,op] or [index,value,op,mask]"))?,
        );
        rest = after.trim_start();
    }
    if rest.starts_with('[') {
        return Err(format!("'{rest}' has no end"));
    }
    if out.len() > 6 {
        return Err("a call has six arguments at most".into());
    }
    Ok(out)
}

fn test(text: &str) -> Option<Test> {
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let (index, value, operator, mask) = match fields.as_slice() {
        [index, value, operator] => (index, value, operator, None),
        [index, value, operator, mask] => (index, value, operator, Some(mask)),
        _ => return None,
    };
    let operator = OPERATORS.iter().find(|(name, sign, _)| name == operator || sign == operator)?.2;
    Some(Test {
        index: index.parse().ok().filter(|i| *i <= 5)?,
        value: unsigned(value)?,
        operator,
        mask: mask.map_or(Some(0), |m| unsigned(m))?,
    })
}

/// Decimal, hexadecimal with 0x, or octal with a leading 0, as in C.
fn unsigned(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

#[cfg(test)]
mod tests_of_policies {
    use super::*;

    fn reason(text: &str) -> (u32, String) {
        let error = parse(text).expect_err(text);
        (error.line, error.reason)
    }

    #[test]
    fn the_default_policy() {
        let text = "2\ndenylist\nreject_force_umount  # comment\n[all]\nkexec_load errno 1\nopen_by_handle_at errno 1\n";
        let policy = parse(text).expect("a policy");
        assert_eq!(policy.default, Action::Allow);
        let calls: Vec<String> = policy.rules.iter().map(|r| r.call.to_string()).collect();
        assert_eq!(calls, ["umount2", "kexec_load", "open_by_handle_at"]);
        assert_eq!(policy.rules[0].tests(), " [arg1 & 0x1 == 0x1]");
        assert_eq!(policy.rules[2].action, Action::Errno(1));
    }

    #[test]
    fn styles_and_actions() {
        let policy = parse("2\nallowlist errno 5\nread\nwrite allow\nmkdir trap [0,1,==] [1,0x10,&=,0xff]\n")
            .expect("a policy");
        assert_eq!(policy.default, Action::Errno(5));
        assert_eq!(policy.rules[0].action, Action::Allow);
        assert_eq!(policy.rules[2].tests(), " [arg0 == 0x1] [arg1 & 0xff == 0x10]");
        for (number, errno) in [("010", 10), ("08", 8), ("0x26", 38), ("7#why", 7)] {
            let policy = parse(&format!("2\ndenylist\nmkdir errno {number}\n")).expect(number);
            assert_eq!(policy.rules[0].action, Action::Errno(errno), "{number}");
        }
        assert_eq!(parse("1\nallowlist\n0\n1\n").expect("version 1").default, Action::Kill);
        assert_eq!(parse("2\ndenylist\nmkdir # why\n").expect("a policy").rules[0].action, Action::Kill);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(reason("3\n\n").0, 1);
        assert_eq!(reason("2\nlist\n").0, 2);
        assert_eq!(reason("1\nwhitelist\n").0, 2);
        for line in [
            "mkdir log",
            "mkdir errno",
            "mkdir errno -1",
            "mkdir [0,1,==]",
            "mkdir kill [6,1,==]",
            "mkdir kill [0,1",
            "[pdp11]",
        ] {
            assert_eq!(reason(&format!("2\ndenylist\n# x\n{line}\n")).0, 4, "{line}");
        }
        assert_eq!(reason("2\ndenylist\nmkdir allow\n").0, 3);
    }

    #[test]
    fn sections_of_other_hosts_are_left_out() {
        let policy = parse("2\ndenylist\n[mips]\nmkdir kill\n[all]\nrmdir kill\n").expect("a policy");
        assert_eq!(policy.rules.len(), 1);
        assert_eq!(policy.rules[0].call.to_string(), "rmdir");
    }
}

//! lxc-attach

use std::ffi::CString;
use std::path::PathBuf;

use lxc_config::NamespaceKind;
use lxc_core::attach::{Options, Payload, protect};
use lxc_core::plan::namespaces::flag;
use lxc_core::terminal::pty::any_stdio_is_terminal;

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "attach",
    about: "Run a command in a running container",
    usage: "NAME [OPTION…] [-- COMMAND [ARG…]]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Runs COMMAND, else the user's shell, in the container's namespaces and cgroups, without capabilities that \
              its init can never have. stdin, stdout and stderr are the command's; those that are terminals are \
              replaced by a terminal of the container's.\n\n\
              The exit status is the command's, 128+n when it was killed by signal n, 126 when it cannot be executed, \
              127 when it is not there.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt(
        'e',
        "elevated-privileges",
        Arg::Optional("LIST"),
        "Keep privileges: CGROUP, CAP, LSM joined by |; all without a list",
    ),
    opt('a', "arch", Arg::Required("ARCH"), "Architecture that the kernel reports to the command"),
    opt(
        's',
        "namespaces",
        Arg::Required("LIST"),
        "Join only these: MOUNT, PID, UTSNAME, IPC, USER, NETWORK joined by |; implies -e",
    ),
    opt(
        'R',
        "remount-sys-proc",
        Arg::No,
        "Mount /proc and /sys anew where the mount namespace is not joined",
    ),
    long("clear-env", Arg::No, "Begin with an empty environment"),
    long("keep-env", Arg::No, "Keep the caller's environment (the default)"),
    opt('L', "pty-log", Arg::Required("FILE"), "Append what appears on the terminal to FILE"),
    opt('v', "set-var", Arg::Required("VAR=VALUE"), "Set a variable"),
    long("keep-var", Arg::Required("VAR"), "Keep this variable with --clear-env"),
    opt(
        'f',
        "rcfile",
        Arg::Required("FILE"),
        "Read the configuration from FILE instead of the container's own",
    ),
    opt('u', "uid", Arg::Required("UID"), "Run as this user of the container"),
    opt('g', "gid", Arg::Required("GID"), "Run as this group of the container"),
    opt('c', "context", Arg::Required("LABEL"), "Security label of the command, where the host has labels"),
];

/// CLONE_NEW* of a list such as `MOUNT|PID` or `net|ipc`.
/// Namespaces of a list such as `MOUNT|PID`, in any case.
pub fn parse_namespaces(list: &str) -> anyhow::Result<u64> {
    list.split('|').try_fold(0, |mask, word| {
        let lower = word.trim().to_ascii_lowercase();
        let name = match lower.as_str() {
            "mount" => "mnt",
            "utsname" => "uts",
            "network" => "net",
            other => other,
        };
        let kind = NamespaceKind::ALL.into_iter().find(|k| k.name() == name);
        kind.map(|k| mask | flag(k))
            .ok_or_else(|| refuse(format!("--namespaces: unknown namespace {word:?}")))
    })
}

struct Elevated {
    cgroup: bool,
    cap: bool,
    lsm: bool,
}

fn parse_elevated(list: Option<&str>) -> anyhow::Result<Elevated> {
    let Some(list) = list else { return Ok(Elevated { cgroup: true, cap: true, lsm: true }) };
    let mut elevated = Elevated { cgroup: false, cap: false, lsm: false };
    for word in list.split('|') {
        match word.trim() {
            "CGROUP" => elevated.cgroup = true,
            "CAP" => elevated.cap = true,
            "LSM" => elevated.lsm = true,
            other => return Err(refuse(format!("--elevated-privileges: unknown privilege {other:?}"))),
        }
    }
    Ok(elevated)
}

/// Whether a name of `lxc.arch` is a 32-bit one.
fn parse_arch(name: &str) -> anyhow::Result<bool> {
    let mut config = lxc_config::Config::new();
    let set = config.set("lxc.arch", name, &lxc_core::source::Files);
    match (set, config.values.arch) {
        (Ok(()), Some(arch)) => Ok(arch.is_32bit),
        _ => Err(refuse(format!("--arch {name}: unknown architecture"))),
    }
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let mut options = Options { terminal: any_stdio_is_terminal(), ..Options::default() };
    if let Some(list) = context.get("namespaces") {
        options.namespaces = Some(parse_namespaces(list)?);
    }
    if context.has("elevated-privileges") || options.namespaces.is_some() {
        let elevated = parse_elevated(context.get("elevated-privileges"))?;
        options.move_to_cgroup = !elevated.cgroup;
        options.drop_capabilities = !elevated.cap;
        options.confine = !elevated.lsm;
        if elevated.lsm && context.has("context") {
            context.error("Cannot combine elevated LSM privileges while requesting LSM profile");
            return Ok(1);
        }
    }
    options.label = context.get("context").map(str::to_string);
    options.personality = context.get("arch").map(parse_arch).transpose()?;
    options.remount_proc_sys = context.has("remount-sys-proc");
    options.clear_env = context.matches.last_of(&["clear-env", "keep-env"]) == Some("clear-env");
    options.keep_vars = context.matches.all("keep-var").map(str::to_string).collect();
    options.extra_vars = context.matches.all("set-var").map(str::to_string).collect();
    options.uid = context.number("uid")?;
    options.gid = context.number("gid")?;
    options.pty_log = context.get("pty-log").map(PathBuf::from);
    if let Some(log) = &options.pty_log {
        open_log(log)?;
    }
    // Before anything is opened: from here on the container can see this process.
    protect::run_protected()?;
    let Some(container) = context.open() else { return Ok(1) };
    let words: Result<Vec<CString>, _> = context.words().iter().map(|w| CString::new(w.as_str())).collect();
    let payload = match words {
        Ok(words) if words.is_empty() => Payload::Shell,
        Ok(words) => Payload::Command(words),
        Err(_) => return Err(refuse("an argument contains a NUL")),
    };
    match container.attach(&options, &payload) {
        Ok(status) => Ok(status),
        Err(e) if e.kind() == lxc_core::Kind::NotRunning => {
            context.error("Connection refused - Failed to get init pid");
            context.error("Connection refused - Failed to get attach context");
            Ok(1)
        }
        Err(e) => Ok(context.fail(&e)),
    }
}

/// Made even where no terminal is used, as upstream does.
fn open_log(path: &std::path::Path) -> Result<(), lxc_core::Error> {
    use lxc_core::error::Doing;
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::File::options().append(true).create(true).mode(0o640).open(path);
    file.doing(|| format!("open {}", path.display())).map(drop)
}

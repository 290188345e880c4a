//! Writes the manual pages and the completions from the tables: `documentation [--check] MAN COMPLETIONS`.
#![allow(clippy::print_stderr, reason = "a program for the terminal of a developer")]

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lxc_cli::getopt::{Arg, Opt};
use lxc_cli::help::all_options;
use lxc_cli::table::{ALIASES, COMMANDS, Command};
use roff::{Roff, bold, italic, roman};

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = arguments.first().is_some_and(|a| a == "--check");
    if check {
        arguments.remove(0);
    }
    let [man, completions] = arguments.as_slice() else {
        bail!("usage: documentation [--check] MAN COMPLETIONS")
    };
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for command in COMMANDS {
        let path = Path::new(man).join("man1").join(format!("lxc-{}.1", command.name));
        files.push((path, command_page(command)));
    }
    for (alias, name) in ALIASES {
        let path = Path::new(man).join(format!("man1/lxc-{alias}.1"));
        files.push((path, format!(".so man1/lxc-{name}.1\n")));
    }
    files.push((Path::new(man).join("man1/lxc.1"), overview_page()));
    files.push((Path::new(man).join("man1/lxc-user-nic.1"), helper_page()));
    files.push((Path::new(man).join("man5/lxc-usernet.5"), usernet_page()));
    files.push((Path::new(man).join("man5/lxc.container.conf.5"), keys_page()));
    files.push((Path::new(man).join("man5/lxc.system.conf.5"), global_page()));
    files.push((Path::new(man).join("man5/lxc.conf.5"), files_page()));
    files.push((Path::new(completions).join("lxc"), bash()));
    for (path, text) in files {
        if check {
            let now = std::fs::read_to_string(&path).unwrap_or_default();
            if now != text {
                bail!("{} is not current: run cargo xtask codegen", path.display());
            }
            continue;
        }
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn begin(title: &str, section: &str, name: &str, about: &str) -> Roff {
    let mut page = Roff::new();
    page.control("TH", [title, section, "", "LXC", ""]);
    page.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
    page
}

fn paragraphs(page: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n") {
        page.control("PP", []).text([roman(paragraph)]);
    }
}

fn helper_page() -> String {
    let about = "network devices for containers of ordinary users";
    let mut page = begin("lxc-user-nic", "1", "lxc-user-nic", about);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("lxc-user-nic create"), roman(" LXCPATH NAME PID veth BRIDGE [INTERFACE]")]);
    page.control("br", []);
    page.text([bold("lxc-user-nic delete"), roman(" LXCPATH NAME NETNS veth BRIDGE DEVICE")]);
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(
        &mut page,
        "A setuid program that lxc-start runs for ordinary users; nobody else needs to. It makes a pair of virtual \
         Ethernet devices, one end a port of BRIDGE (none: of no bridge), the other INTERFACE in the network namespace \
         of process PID, and prints INTERFACE:INDEX:DEVICE:INDEX, or removes the pair whose end on the host is DEVICE.\n\n\
         How many devices a user may have on a bridge is in lxc-usernet(5). The network namespace must belong to a user \
         namespace of the caller's. It is opened with the caller's rights, and whatever is wrong with it, the answer is \
         the same.\n\n\
         The exit status is 0, or 1 with a message.",
    );
    page.control("SH", ["FILES"]);
    page.text([roman("/etc/lxc/lxc-usernet, /run/lxc/nics (the devices that there are)")]);
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("lxc-usernet(5), lxc-start(1), user_namespaces(7)")]);
    page.to_roff()
}

fn usernet_page() -> String {
    let about = "which ordinary users may have network devices";
    let mut page = begin("lxc-usernet", "5", "lxc-usernet", about);
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(
        &mut page,
        "Each line of /etc/lxc/lxc-usernet has four words: a user, or @ and a group; a type of device, veth; a bridge, \
         or none for devices that are ports of no bridge; and how many devices there may be. A line begins in the first \
         column; # begins a comment.\n\n\
         Of several lines for a user and a bridge the first with room is used. The members of a group share what its \
         line gives. Only supplementary groups count.",
    );
    page.control("SH", ["EXAMPLE"]);
    page.control("nf", []).text([roman("alice veth lxcbr0 10")]).text([roman("@users veth lxcbr0 50")]);
    page.control("fi", []);
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("lxc-user-nic(1), subuid(5), subgid(5)")]);
    page.to_roff()
}

fn option_text(o: &Opt) -> Vec<roff::Inline> {
    let mut out = Vec::new();
    if let Some(letter) = o.short {
        out.extend([bold(format!("-{letter}")), roman(", ")]);
    }
    out.push(bold(format!("--{}", o.long)));
    match o.arg {
        Arg::No => {}
        Arg::Required(name) => out.extend([roman("="), italic(name)]),
        Arg::Optional(name) => out.extend([roman("[="), italic(name), roman("]")]),
    }
    out
}

fn command_page(command: &Command) -> String {
    let name = format!("lxc-{}", command.name);
    let mut about = command.about.to_string();
    about[..1].make_ascii_lowercase();
    let mut page = begin(&name, "1", &name, &about);
    page.control("SH", ["SYNOPSIS"]).text([bold(&*name), roman(format!(" {}", command.usage))]);
    page.text([roman("")]).control("br", []);
    page.text([bold(format!("lxc {}", command.name)), roman(format!(" {}", command.usage))]);
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(&mut page, command.details);
    page.control("SH", ["OPTIONS"]);
    for o in all_options(command) {
        page.control("TP", []).text(option_text(&o)).text([roman(format!("{}.", o.help))]);
    }
    see_also(&mut page, &["lxc(1)", "lxc.container.conf(5)", "lxc.system.conf(5)"]);
    page.render()
}

fn overview_page() -> String {
    let mut page = begin("lxc", "1", "lxc", "containers in one program");
    page.control("SH", ["SYNOPSIS"]).text([bold("lxc"), roman(" COMMAND [OPTION…]")]);
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(
        &mut page,
        "Each command is also a program of its own, lxc-COMMAND. Options may be abbreviated as long as they are \
         unambiguous, and may stand before and after other words; -- ends them.",
    );
    page.control("SH", ["COMMANDS"]);
    for command in COMMANDS {
        page.control("TP", []).text([bold(command.name)]).text([roman(format!("{}.", command.about))]);
    }
    page.render()
}

fn keys_page() -> String {
    let mut page = begin("lxc.container.conf", "5", "lxc.container.conf", "configuration of a container");
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(
        &mut page,
        "A line is a key, an equals sign and a value; blanks around them do not count, nor does one pair of quotes around \
         the value. A line that begins with # is a comment. A key that takes a list adds to it with each line; an \
         empty value clears what was said before.\n\nlxc.include reads another file, or all files *.conf of a directory \
         in the order of their names.",
    );
    page.control("SH", ["KEYS"]);
    for key in lxc_config::keys() {
        page.control("TP", []);
        page.text([bold(key.pattern()), roman(" = "), italic(key.value)]);
        page.text([roman(key.doc)]);
        page.control("br", []);
        page.text([roman(format!("Default: {}. Since LXC {}.", key.default, key.since))]);
    }
    page.control("SH", ["NAMES OF LXC 1 AND 2"]);
    paragraphs(
        &mut page,
        "Files that were written for LXC 1 and 2 are read, with a warning for each old name; lxc-update-config(1) gives \
         them the names of today. lxc.network.N.X and lxc.network.X are lxc.net.N.X, and lxc.limit.X is lxc.prlimit.X.",
    );
    for key in lxc_config::LEGACY_KEYS {
        let now = key.replacement.map_or("has no effect any more".to_string(), |new| format!("is now {new}"));
        page.control("TP", []).text([bold(key.name)]).text([roman(format!("{now}."))]);
    }
    see_also(&mut page, &["lxc(1)", "lxc-config(1)", "lxc-update-config(1)", "lxc.system.conf(5)"]);
    page.render()
}

fn global_page() -> String {
    let mut page = begin("lxc.system.conf", "5", "lxc.system.conf", "settings of all containers");
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(
        &mut page,
        "/etc/lxc/lxc.conf for root, ~/.config/lxc/lxc.conf for others. Lines of a key, an equals sign and a value; the \
         first line of a key counts.",
    );
    page.control("SH", ["KEYS"]);
    for key in lxc_config::global::GLOBAL_KEYS {
        page.control("TP", []).text([bold(key.name)]).text([roman(key.doc)]);
    }
    page.render()
}

/// The page that leads to the two others.
fn files_page() -> String {
    let mut page = begin("lxc.conf", "5", "lxc.conf", "configuration files of LXC");
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(
        &mut page,
        "There are two kinds of files, of different grammars.\n\n\
         lxc.system.conf(5) is about the system: where containers are kept, and what holds for all of them. Root's is \
         /etc/lxc/lxc.conf, that of others ~/.config/lxc/lxc.conf.\n\n\
         lxc.container.conf(5) is about one container. Its own is the file config in the directory of the container; \
         a new container begins with a copy of /etc/lxc/default.conf, or ~/.config/lxc/default.conf.",
    );
    page.control("SH", ["FILES"]);
    for (file, text) in [
        ("/etc/lxc/lxc.conf, ~/.config/lxc/lxc.conf", "Settings of the system."),
        ("/etc/lxc/default.conf, ~/.config/lxc/default.conf", "What new containers begin with."),
        ("/var/lib/lxc/NAME/config, ~/.local/share/lxc/NAME/config", "The configuration of a container."),
        (
            "share/lxc/config",
            "What configurations include: common.conf, userns.conf, nesting.conf and others.",
        ),
    ] {
        page.control("TP", []).text([bold(file)]).text([roman(text)]);
    }
    see_also(
        &mut page,
        &["lxc.container.conf(5)", "lxc.system.conf(5)", "lxc-config(1)", "lxc-update-config(1)"],
    );
    page.render()
}

fn see_also(page: &mut Roff, pages: &[&str]) {
    page.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (at, name) in pages.iter().enumerate() {
        let (title, section) = name.split_once('(').unwrap_or((name, ""));
        line.extend([
            bold(title),
            roman(format!("({section}{}", if at + 1 < pages.len() { ", " } else { "" })),
        ]);
    }
    page.text(line);
}

/// Names of keys for completion: those with a name of the user's choice end in a dot.
fn key_names() -> String {
    let names = lxc_config::keys().map(|key| match key.sub {
        lxc_config::Sub::None => key.name.replace("<n>", "0"),
        _ => format!("{}.", key.name),
    });
    names.collect::<Vec<_>>().join(" ")
}

/// Completion of bash(1): options from the tables, names of containers from lxc-ls.
fn bash() -> String {
    let mut out = String::from(
        "# Completion of the lxc commands for bash; written by `cargo xtask codegen`.

_lxc_options() {
    case \"$1\" in
",
    );
    for command in COMMANDS {
        let options: Vec<String> = all_options(command).iter().map(|o| format!("--{}", o.long)).collect();
        let aliases = ALIASES.iter().filter(|(_, name)| *name == command.name);
        let names: Vec<&str> =
            std::iter::once(command.name).chain(aliases.map(|(alias, _)| *alias)).collect();
        out.push_str(&format!("    {}) echo \"{}\" ;;\n", names.join(" | "), options.join(" ")));
    }
    let names: Vec<&str> = COMMANDS.iter().map(|c| c.name).collect();
    out.push_str(&format!(
        "    esac
}}

_lxc() {{
    local current=\"${{COMP_WORDS[COMP_CWORD]}}\" command=\"${{COMP_WORDS[0]##*/}}\" first=1
    COMPREPLY=()
    case \"$command\" in
    lxc-*) command=\"${{command#lxc-}}\" ;;
    *)
        if [ \"$COMP_CWORD\" -eq 1 ]; then
            COMPREPLY=($(compgen -W \"{}\" -- \"$current\"))
            return
        fi
        command=\"${{COMP_WORDS[1]}}\"
        first=2
        ;;
    esac
    case \"${{COMP_WORDS[COMP_CWORD - 1]}}\" in
    -P | --lxcpath | --dir | --rootfs) compopt -o dirnames; return ;;
    -f | --rcfile | -o | --logfile | --config) compopt -o default; return ;;
    esac
    case \"$command ${{COMP_WORDS[COMP_CWORD - 1]}}\" in
    \"config get\" | \"config set\" | \"config unset\" | *\" -s\" | *\" --define\")
        COMPREPLY=($(compgen -W \"{}\" -- \"$current\"))
        [[ ${{COMPREPLY-}} == *. ]] && compopt -o nospace
        return
        ;;
    \"config config\" | \"config lxc-config\")
        COMPREPLY=($(compgen -W \"check show get set unset edit -l $(lxc-config -l 2>/dev/null)\" -- \"$current\"))
        return
        ;;
    *\" -n\" | *\" --name\") COMPREPLY=($(compgen -W \"$(lxc-ls -1 2>/dev/null)\" -- \"$current\")); return ;;
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W \"$(_lxc_options \"$command\")\" -- \"$current\"))
    elif [ \"$COMP_CWORD\" -ge \"$first\" ] && [ \"$command\" != config ]; then
        COMPREPLY=($(compgen -W \"$(lxc-ls -1 2>/dev/null)\" -- \"$current\"))
    fi
}}

complete -F _lxc lxc
",
        names.join(" "),
        key_names()
    ));
    for command in COMMANDS.iter().filter(|c| c.linked) {
        out.push_str(&format!("complete -F _lxc lxc-{}\n", command.name));
    }
    for (alias, _) in ALIASES {
        out.push_str(&format!("complete -F _lxc lxc-{alias}\n"));
    }
    out
}

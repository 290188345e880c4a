//! The layout of an installation.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{HELPER, Profile, build, replace_by_link};
use crate::setup::{self, For};
use crate::shell;

/// `cargo xtask install`.
pub fn command(options: &[&str]) -> Result<()> {
    let (profile, rest) = Profile::take(options);
    let mut prefix = None;
    let mut destdir = None;
    let mut words = rest.iter().copied();
    while let Some(word) = words.next() {
        let (option, value) = word.split_once('=').map_or((word, None), |(o, v)| (o, Some(v)));
        let place = match option {
            "--prefix" => &mut prefix,
            "--destdir" => &mut destdir,
            _ => bail!("install: unknown option {word}"),
        };
        *place = Some(PathBuf::from(
            value.or_else(|| words.next()).with_context(|| format!("{word} needs a value"))?,
        ));
    }
    let prefix = prefix.context("install: --prefix DIR is missing")?;
    let prefix = std::path::absolute(prefix)?;
    setup::run(For::Building)?;
    let place = match destdir {
        Some(dir) => std::path::absolute(dir)?.join(prefix.strip_prefix("/")?),
        None => prefix.clone(),
    };
    install(&build(profile)?, &place, &prefix)?;
    println!("installed below {}", place.display());
    Ok(())
}

/// Stands in files below `share` for the directory that they are installed in.
const DATADIR: &str = "@DATADIR@";
/// What containers are made of that include files with these names, where no package of templates brings them.
const DISTRIBUTIONS: &[&str] = &[
    "almalinux",
    "alpine",
    "archlinux",
    "centos",
    "debian",
    "devuan",
    "fedora",
    "gentoo",
    "kali",
    "opensuse",
    "openwrt",
    "oracle",
    "rockylinux",
    "slackware",
    "ubuntu",
    "ubuntu-cloud",
    "voidlinux",
];

/// Installs the program and its data below `prefix`, for use below `final_prefix`.
pub fn install(program: &Path, prefix: &Path, final_prefix: &Path) -> Result<()> {
    let bin = prefix.join("bin");
    for directory in ["bin", "lib/lxc/rootfs", "libexec/lxc", "share/lxc"] {
        let path = prefix.join(directory);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    }
    // A copy of its own, so that the next build does not change what is installed.
    let new = bin.join(".lxc.copy");
    let _ = std::fs::remove_file(&new);
    std::fs::copy(program, &new)
        .with_context(|| format!("copy {} to {}", program.display(), new.display()))?;
    let installed = bin.join("lxc");
    std::fs::rename(&new, &installed).with_context(|| format!("rename {}", new.display()))?;
    let completions = prefix.join("share/bash-completion/completions");
    copy_tree(&shell::root().join("completions"), &completions)?;
    for command in commands(&installed)? {
        // Not a symbolic link: AppArmor profiles attach to the path of the executable.
        replace_by_link(&installed, &bin.join(format!("lxc-{command}")))?;
        // bash looks for a file that is named after the command.
        replace_by_link(&completions.join("lxc"), &completions.join(format!("lxc-{command}")))?;
    }
    let data = prefix.join("share/lxc");
    copy_tree(&shell::root().join("share"), &data)?;
    name_directory(&data.join("config"), &final_prefix.join("share/lxc"))?;
    replace_by_link(&installed, &prefix.join("libexec/lxc/lxc-net"))?;
    install_helper(&program.with_file_name(HELPER), &prefix.join("libexec/lxc").join(HELPER))?;
    install_units(
        &data.join("systemd"),
        &prefix.join("lib/systemd/system"),
        &final_prefix.join("libexec/lxc"),
    )?;
    copy_tree(&shell::root().join("man"), &prefix.join("share/man"))
}

/// The setuid program: a file of its own, that gets its name when its mode is right.
fn install_helper(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    let _ = std::fs::remove_file(&new);
    std::fs::copy(from, &new).with_context(|| format!("copy {} to {}", from.display(), new.display()))?;
    let mode = if shell::is_root() { 0o4755 } else { 0o755 };
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", new.display()))?;
    std::fs::rename(&new, to).with_context(|| format!("rename {}", new.display()))
}

/// Puts the directory of the data into the configuration files, and adds those of distributions.
fn name_directory(config: &Path, data: &Path) -> Result<()> {
    let data = data.to_str().context("the prefix is not UTF-8")?;
    for entry in std::fs::read_dir(config).with_context(|| format!("read {}", config.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "conf") {
            let text = std::fs::read_to_string(&path)?;
            std::fs::write(&path, text.replace(DATADIR, data))?;
        }
    }
    for name in DISTRIBUTIONS {
        for kind in ["common", "userns"] {
            let path = config.join(format!("{name}.{kind}.conf"));
            if !path.exists() {
                let text = format!(
                    "# For containers that were made of {name}.\nlxc.include = {data}/config/{kind}.conf\n"
                );
                std::fs::write(&path, text)?;
            }
        }
    }
    Ok(())
}

/// Moves the units of systemd to where it looks for them.
fn install_units(from: &Path, to: &Path, libexec: &Path) -> Result<()> {
    let libexec = libexec.to_str().context("the prefix is not UTF-8")?;
    std::fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?.replace("@LIBEXECDIR@", libexec);
        let target = to.join(path.file_name().context("a file has a name")?);
        std::fs::write(&target, text).with_context(|| format!("write {}", target.display()))?;
    }
    std::fs::remove_dir_all(from).with_context(|| format!("remove {}", from.display()))
}

fn commands(lxc: &Path) -> Result<Vec<String>> {
    let text = shell::read(Command::new(lxc).arg("--list-commands"))?;
    let names: Vec<String> = text.lines().map(str::to_string).collect();
    let plain = |n: &String| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if names.is_empty() || !names.iter().all(plain) {
        bail!("{} --list-commands prints {text:?}", lxc.display());
    }
    Ok(names)
}

/// Copies files, if there are any; modes stay.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)
                .with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

//! One static program: it starts in half the time, and runs in any root file system.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::setup::{self, For};
use crate::shell;

/// How much the compiler optimizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What is delivered: fat LTO, some minutes.
    Release,
    /// The same code without LTO.
    Quick,
}

impl Profile {
    /// Its name in Cargo.toml, which is also the name of the directory.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Release => "release",
            Profile::Quick => "quick",
        }
    }

    /// Takes `--release` or `--quick` out of some options.
    pub fn take<'a>(options: &[&'a str]) -> (Profile, Vec<&'a str>) {
        let quick = options.contains(&"--quick");
        let rest = options.iter().copied().filter(|o| !["--quick", "--release"].contains(o)).collect();
        (if quick { Profile::Quick } else { Profile::Release }, rest)
    }
}

/// `cargo xtask build`.
pub fn command(options: &[&str]) -> Result<()> {
    let (profile, rest) = Profile::take(options);
    if !rest.is_empty() {
        bail!("build: unknown options {}", rest.join(" "));
    }
    setup::run(For::Building)?;
    let program = build(profile)?;
    let size = std::fs::metadata(&program)?.len() / 1024;
    println!("{} ({size} KiB)", program.display());
    Ok(())
}

/// The setuid helper, built beside the program.
pub const HELPER: &str = "lxc-user-nic";

/// What names the functions that lie side by side, for the linker.
pub const ORDER: &str = "src/start.ld";

/// Builds; returns the program, `target/PROFILE/lxc`.
pub fn build(profile: Profile) -> Result<PathBuf> {
    build_with(profile, &[])
}

/// Builds with more arguments for the linker.
pub fn build_with(profile: Profile, link: &[String]) -> Result<PathBuf> {
    let triple = shell::host_triple()?;
    let plain = shell::target().join(profile.name()).join("lxc");
    let mut cargo = shell::cargo();
    cargo.args(["build", "--package", "lxc", "--package", HELPER, "--bins", "--profile", profile.name()]);
    if !can_link_statically() {
        println!(
            "the C library cannot be linked statically here: {} will be dynamically linked",
            plain.display()
        );
        shell::run(&mut cargo)?;
        return Ok(plain);
    }
    link_statically(&mut cargo, &triple, link)?;
    shell::run(&mut cargo)?;
    let built = shell::target().join(&triple).join(profile.name());
    replace_by_link(&built.join("lxc"), &plain)?;
    replace_by_link(&built.join(HELPER), &plain.with_file_name(HELPER))?;
    Ok(plain)
}

/// Builds a test, a benchmark or an example (`kind`) as one static program, to be carried to another machine.
pub fn static_program(package: &str, kind: &str, name: &str) -> Result<PathBuf> {
    if !can_link_statically() {
        bail!("the C library cannot be linked statically here: install what Debian calls libc6-dev");
    }
    let mut cargo = shell::cargo();
    cargo.args(["test", "--no-run", "--profile", "quick", "--package", package, kind, name]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    link_statically(&mut cargo, &shell::host_triple()?, &[])?;
    let output = cargo.stderr(Stdio::inherit()).output().context("run cargo")?;
    if !output.status.success() {
        bail!("{}: {}", shell::show(&cargo), output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = messages.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let mut built = messages
        .filter(|m| m["target"]["name"] == name)
        .filter_map(|m| m["executable"].as_str().map(PathBuf::from));
    built.next_back().with_context(|| format!("cargo built no {name}"))
}

/// Has cargo link static programs as well as the linker can, and the program of this project with more arguments.
/// With a target named, flags do not reach build scripts and procedural macros, which must stay dynamic.
fn link_statically(cargo: &mut Command, triple: &str, more: &[String]) -> Result<()> {
    // RUSTFLAGS hides the variable of the target.
    let of_target = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace(['-', '.'], "_"));
    let variable = if std::env::var_os("RUSTFLAGS").is_some() { "RUSTFLAGS".into() } else { of_target };
    let mut flags = std::env::var_os(&variable).unwrap_or_default();
    flags.push(" -C target-feature=+crt-static");
    let can = |name: &str, argument: &str| can_link_with(name, argument, triple, (&variable, &flags));
    let packed = can("packed", PACKED)?;
    let mut more = more.to_vec();
    let order = format!("-T{}", shell::root().join(ORDER).display());
    if can("order", &order)? {
        more.push(order);
    } else {
        println!("the linker takes no order of functions ({ORDER})");
    }
    if packed {
        flags.push(format!(" -C link-arg={PACKED}"));
    }
    // One on each line, for build.rs.
    cargo.args(["--target", triple]).env(variable, flags).env("LXC_LINK_ARGS", more.join("\n"));
    Ok(())
}

/// Puts a hard link to `from` at `to`, in one step: a `to` that is being run is not disturbed.
pub fn replace_by_link(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().context("a file has a directory")?;
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let name = to.file_name().context("a file has a name")?.to_string_lossy();
    let new = dir.join(format!(".{name}.new"));
    let _ = std::fs::remove_file(&new);
    if std::fs::hard_link(from, &new).is_err() {
        // Another file system.
        std::fs::copy(from, &new).with_context(|| format!("copy {} to {}", from.display(), new.display()))?;
    }
    std::fs::rename(&new, to).with_context(|| format!("rename {} to {}", new.display(), to.display()))?;
    // What rename(2) leaves when both are links to the same file.
    let _ = std::fs::remove_file(&new);
    Ok(())
}

/// Asks the C compiler, which the Rust compiler links with.
fn can_link_statically() -> bool {
    let compiler = Command::new("cc")
        .args(["-static-pie", "-fPIE", "-x", "c", "-", "-o", "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut compiler) = compiler else { return false };
    // An error shows in the exit status.
    let _ = compiler.stdin.take().map(|mut input| input.write_all(b"int main(void) { return 0; }\n"));
    compiler.wait().is_ok_and(|status| status.success())
}

/// Relative relocations (DT_RELR): a hundredth of the space, and a start that reads less.
const PACKED: &str = "-Wl,-z,pack-relative-relocs";

/// Whether a program runs that was linked with an argument. A C library that does not know packed relocations, as
/// glibc before 2.36, links and then crashes; some linkers take no script that adds to their own. A package with a
/// pointer in its data is built as all else is, with whatever flags and linker the user has, and run.
fn can_link_with(name: &str, argument: &str, triple: &str, flags: (&str, &OsStr)) -> Result<bool> {
    const TEXT: &str = "static ZERO: i32 = 0;\nstatic THERE: &i32 = &ZERO;\n\n\
                        fn main() {\n    std::process::exit(*std::hint::black_box(THERE));\n}\n";
    let package = std::path::absolute(shell::target().join("link").join(name))?;
    let manifest =
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n");
    std::fs::create_dir_all(package.join("src")).with_context(|| format!("create {}", package.display()))?;
    for (file, text) in [("Cargo.toml", manifest.as_str()), ("src/main.rs", TEXT)] {
        let path = package.join(file);
        if std::fs::read(&path).is_ok_and(|now| now == text.as_bytes()) {
            // With its old time: cargo need not build it again.
            continue;
        }
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let mut cargo = shell::cargo();
    cargo.args(["rustc", "--quiet", "--target", triple, "--manifest-path"]).arg(package.join("Cargo.toml"));
    cargo
        .arg("--target-dir")
        .arg(package.join("target"))
        .args(["--", "-C"])
        .arg(format!("link-arg={argument}"));
    cargo.env(flags.0, flags.1).stdout(Stdio::null()).stderr(Stdio::null());
    let program = package.join("target").join(triple).join("debug").join(name);
    let linked = cargo.status().context("run cargo")?.success();
    Ok(linked && Command::new(&program).status().is_ok_and(|status| status.success()))
}

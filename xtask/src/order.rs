//! The order of the functions in the program.
//!
//! The kernel maps a program's code in windows of 64 KiB as they are touched, and takes the pages out again at the
//! end of each process: a start whose functions lie side by side touches fewer. `src/start.ld` names them for the
//! linker. A name that is no longer there does no harm, so the file is written anew when a measurement asks for it.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{self, Profile};
use crate::install::install;
use crate::setup::{self, For};
use crate::shell;
use crate::vm::Guest;

/// `cargo xtask order`: follows a container's start instruction by instruction, and writes what it runs: in the guest,
/// and then here, where cgroups and the processor are others.
pub fn run() -> Result<()> {
    if !shell::is_root() {
        bail!("order: the containers that are followed need root");
    }
    setup::run(For::Tests)?;
    setup::run(For::Vm)?;
    let [work, out] = ["vm-order", "vm-out"].map(|d| shell::target().join(d));
    for directory in [&work, &out] {
        let _ = std::fs::remove_dir_all(directory);
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    let map = shell::target().join("link.map");
    let program = build::build_with(Profile::Release, &[format!("-Wl,-Map={}", map.display())])?;
    let functions = Functions::read(&map)?;
    let stepped = build::static_program("lxc-testkit", "--example", "stepped")?;
    std::fs::copy(&stepped, work.join("stepped"))?;
    let guest = Guest { work: Some(work), out: Some(out.clone()), ..Guest::default() };
    let script = "LXC_TEST_PREFIX=/usr/local LXC_TEST_PATIENCE=10 ./stepped >/out/addresses";
    match guest.run(script, &program, Box::new(std::io::stdout()), Box::new(std::io::stderr()))? {
        0 => (),
        status => bail!("order: exit status {status}"),
    }
    let mut addresses = std::fs::read_to_string(out.join("addresses"))?;
    let prefix = shell::target().join("order-prefix");
    install(&program, &prefix, &prefix)?;
    addresses += &shell::read(Command::new(&stepped).env("LXC_TEST_PREFIX", prefix))?;
    let patterns = functions.patterns(&addresses)?;
    for part in FOLLOWED {
        if !patterns.iter().any(|p| p.contains(part)) {
            bail!("order: nothing of {part} was seen");
        }
    }
    let file = shell::root().join(build::ORDER);
    let script = script_of(&patterns);
    // A file with a new time is linked again.
    if std::fs::read_to_string(&file).is_ok_and(|now| now == script) {
        println!("{}: no change", file.display());
        return Ok(());
    }
    std::fs::write(&file, script).with_context(|| format!("write {}", file.display()))?;
    println!("{}: {} patterns", file.display(), patterns.len());
    Ok(())
}

/// Parts of mangled names that show that all processes of a start, and of an attach, were followed.
const FOLLOWED: [&str; 5] =
    ["8commands5start", "8lxc_core7monitor", "5spawn5child", "6attach6inside", "8commands2ls"];

/// A script that adds to the linker's own.
fn script_of(patterns: &[String]) -> String {
    let lines: String = patterns.iter().map(|p| format!("    {p}\n")).collect();
    format!(
        "/* The functions that a container's start runs, in that order, and then those of other commands.\n   \
         Written by `cargo xtask order`. */\n\
         SECTIONS\n{{\n  .text.start : {{\n{lines}  }}\n}}\nINSERT BEFORE .text;\n"
    )
}

/// Where the linker put the functions.
struct Functions {
    /// First and last address, and what names it in a script for the linker; in the order of addresses.
    placed: Vec<(u64, u64, String)>,
}

impl Functions {
    /// Reads what lld writes for -Map: lines of addresses, size, alignment, and `FILE:(SECTION)`.
    fn read(map: &Path) -> Result<Functions> {
        let text = std::fs::read_to_string(map).with_context(|| format!("read {}", map.display()))?;
        Functions::parse(&text).with_context(|| format!("{} is not as lld writes it", map.display()))
    }

    fn parse(text: &str) -> Option<Functions> {
        text.lines().next()?.trim_start().strip_prefix("VMA")?;
        let mut placed = Vec::new();
        for line in text.lines().skip(1) {
            let Some((before, name)) = line.split_once(":(.text") else { continue };
            let mut words = before.split_whitespace();
            let address = hexadecimal(words.next()?)?;
            let size = hexadecimal(words.nth(1)?)?;
            let section = format!(".text{}", name.strip_suffix(')')?);
            if let Some(pattern) = pattern(words.next_back()?, &section) {
                placed.push((address, address + size, pattern));
            }
        }
        placed.sort();
        Some(Functions { placed })
    }

    /// The patterns of those that some addresses, one on each line, belong to.
    fn patterns(&self, addresses: &str) -> Result<Vec<String>> {
        let mut seen = HashSet::new();
        let mut patterns = Vec::new();
        for line in addresses.lines() {
            let address = hexadecimal(line).with_context(|| format!("no address: {line}"))?;
            let next = self.placed.partition_point(|(from, ..)| *from <= address);
            let Some((_, to, pattern)) = next.checked_sub(1).map(|i| &self.placed[i]) else { continue };
            if address < *to && seen.insert(pattern) {
                patterns.push(pattern.clone());
            }
        }
        Ok(patterns)
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// What matches a section also when it is built again. The C library has no section for each function: its objects
/// are named, which are small.
fn pattern(file: &str, section: &str) -> Option<String> {
    let library = file.rsplit_once('/').map_or(file, |(_, name)| name);
    if let Some((archive, object)) = library.strip_suffix(')').and_then(|l| l.split_once(".a(")) {
        return Some(format!("*{archive}.a:{object}({section})"));
    }
    // The compiler's start files, which come first anyway.
    if section == ".text" {
        return None;
    }
    Some(format!("*({})", without_hashes(section)))
}

/// With a star for each hash of a mangled name, and a question mark for what has a meaning in a script.
fn without_hashes(section: &str) -> String {
    let mut name = section.replace('$', "?");
    if !name.contains("._R") {
        // Legacy: the last part of a path is `17h` and 16 digits.
        if let Some(at) = name.rfind("17h").filter(|at| name.len() >= at + 19) {
            name.replace_range(at + 3.., "*");
        }
        return name;
    }
    // What the linker counts copies by.
    if let Some((rest, number)) = name.rsplit_once('.')
        && number.bytes().all(|b| b.is_ascii_digit())
    {
        name = format!("{rest}*");
    }
    // v0: `Cs`, digits of a number to the base 62, `_`.
    let mut parts = name.split("Cs");
    let mut result = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let digits = part.chars().take_while(char::is_ascii_alphanumeric).count();
        let is_hash = digits > 6 && part[digits..].starts_with('_');
        result += "Cs";
        if is_hash {
            result += "*";
        }
        result += if is_hash { &part[digits..] } else { part };
    }
    result
}

#[cfg(test)]
mod tests {
    use super::{Functions, script_of};

    const MAP: &str = "             VMA              LMA     Size Align Out     In      Symbol
          135e80           135e80   51d2f8    64 .text
          135e80           135e80       22    16         /usr/lib/gcc/12/rcrt1.o:(.text)
          135f70           135f70      2d9    16         /t/deps/lxc-c8.lxc.67-cgu.0.rcgu.o:(.text._ZN5alloc3vec12Vec$LT$T$GT$4push17h6bf0f1b8060613fdE)
          135f70           135f70      2d9     1                 _ZN5alloc3vec12Vec$LT$T$GT$4push17h6bf0f1b8060613fdE
          136250           136250       27    16         /r/libstd-9f.rlib(std-9f.std.0.rcgu.o):(.text._RNvNtCslNYArtu3iFV_3std2rt7cleanup)
          136280           136280       10    16         /r/libstd-9f.rlib(std-9f.std.0.rcgu.o):(.text._RNvXCslNYArtu3iFV_3std5write.270)
          136300           136300       80    16         /usr/lib/libc.a(malloc.o):(.text)
          136400           136400       80    16         /usr/lib/libc.a(memmove.o):(.text.evex)
";

    #[test]
    fn addresses_become_patterns() {
        let functions = Functions::parse(MAP).expect("a map");
        let patterns =
            functions.patterns("136405\n135e80\n135f80\n1363ff\n136250\n136280\n136300\n135f70\n").unwrap();
        let expected = [
            "*libc.a:memmove.o(.text.evex)",
            "*(.text._ZN5alloc3vec12Vec?LT?T?GT?4push17h*)",
            "*(.text._RNvNtCs*_3std2rt7cleanup)",
            "*(.text._RNvXCs*_3std5write*)",
            "*libc.a:malloc.o(.text)",
        ];
        assert_eq!(patterns, expected);
        assert!(script_of(&patterns).contains("    *libc.a:malloc.o(.text)\n  }\n}\nINSERT"));
        assert!(Functions::parse("Archive member included").is_none());
    }
}

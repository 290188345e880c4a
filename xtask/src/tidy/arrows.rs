//! Who may import whom.

use anyhow::{Context, Result};

use super::files::{code, sources};
use crate::shell;

/// The crates of the workspace that each may depend on.
const CRATES: &[(&str, &[&str])] = &[
    (".", &["lxc-cli", "lxc-sys"]),
    ("crates/lxc-cli", &["lxc-core", "lxc-config", "lxc-sys"]),
    ("crates/liblxc", &["lxc-core", "lxc-config", "lxc-sys"]),
    ("crates/lxc-core", &["lxc-config", "lxc-netlink", "lxc-sys"]),
    ("crates/lxc-user-nic", &["lxc-netlink", "lxc-sys"]),
    ("crates/lxc-netlink", &["lxc-sys"]),
    ("crates/lxc-config", &[]),
    ("crates/lxc-sys", &[]),
    ("crates/lxc-testkit", &[]),
    ("xtask", &["lxc-cli", "lxc-config", "lxc-testkit"]),
];

/// Dependencies in the manifests; those for tests are free.
pub fn crates() -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (directory, allowed) in CRATES {
        let path = shell::root().join(directory).join("Cargo.toml");
        if !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut section = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            let ours = name.starts_with("lxc-") || name == "liblxc";
            if section == "dependencies" && ours && !allowed.contains(&name) {
                wrong.push(format!("{}: depends on {name}", path.display()));
            }
        }
    }
    Ok(wrong)
}

/// The floors of lxc-core, from the ground up. A module imports its own and what is on lower floors, never its
/// neighbours; only on the ground floor, which is data and small tools, neighbours may.
const FLOORS: &[&[&str]] = &[
    &[
        "error", "files", "global", "lock", "log", "paths", "plan", "program", "protocol", "seccomp",
        "source", "state",
    ],
    &["cgroup", "hooks", "lsm", "rootfs", "storage", "terminal"],
    &["mount", "network", "template"],
    &["spawn"],
    &["monitor"],
    &["container", "monitord"],
    &["lifecycle"],
    &["attach", "console", "gc", "unshare"],
];

/// Imports between the modules of lxc-core.
pub fn rooms() -> Result<Vec<String>> {
    let base = shell::root().join("crates/lxc-core/src");
    let floor = |module: &str| FLOORS.iter().position(|f| f.contains(&module));
    let mut wrong = Vec::new();
    for path in sources(&base)? {
        let relative = path.strip_prefix(&base).unwrap_or(&path);
        let first = relative.iter().next().unwrap_or_default().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_string();
        if module == "lib" {
            continue;
        }
        let Some(here) = floor(&module) else {
            wrong.push(format!("{module} has no floor: add it to FLOORS in xtask/src/tidy/arrows.rs"));
            continue;
        };
        for (number, line) in code(&path)? {
            for other in imports(&line) {
                let Some(there) = floor(&other) else { continue };
                let neighbours = there == 0 && here == 0;
                if other != module && there >= here && !neighbours {
                    wrong.push(format!(
                        "lxc-core/src/{}:{number}: {module} imports {other}",
                        relative.display()
                    ));
                }
            }
        }
    }
    Ok(wrong)
}

/// The modules that a line names with `crate::MODULE` or `crate::{MODULE, …}`.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in line.split("crate::").skip(1) {
        let list = part.strip_prefix('{').map_or(part, |p| p.split('}').next().unwrap_or_default());
        let names: Vec<&str> = if part.starts_with('{') { list.split(',').collect() } else { vec![part] };
        for name in names {
            let name: String =
                name.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            found.extend((!name.is_empty()).then_some(name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::imports;

    #[test]
    fn imports_are_found() {
        assert_eq!(imports("use crate::plan::Plan;"), ["plan"]);
        assert_eq!(imports("use crate::{error::Result, state};"), ["error", "state"]);
        assert_eq!(imports("let x = crate::files::read(crate::paths::home());"), ["files", "paths"]);
        assert!(imports("use crate::Error;").is_empty());
    }
}

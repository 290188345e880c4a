//! What may stand in which file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell;

const LONGEST: usize = 600;

/// All Rust files below a directory, sorted; nothing that was built.
pub fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                pending.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The lines of a file with their numbers, up to the tests in it, without comments and text in quotes.
pub fn code(path: &Path) -> Result<Vec<(usize, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let lines = text.lines().enumerate().take_while(|(_, l)| l.trim() != "#[cfg(test)]");
    Ok(lines
        .map(|(n, l)| (n + 1, without_comment_and_text(l)))
        .filter(|(_, l)| !l.trim().is_empty())
        .collect())
}

fn without_comment_and_text(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if !quoted => out.push(c),
            _ => {}
        }
    }
    out
}

/// Lines of code in the workspace that hold one of some words, outside of some places.
fn lines_with(words: &[&str], except: &[&str]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for path in sources(shell::root())? {
        let relative = path.strip_prefix(shell::root()).unwrap_or(&path);
        if except.iter().any(|e| relative.starts_with(e)) {
            continue;
        }
        for (number, line) in code(&path)? {
            if let Some(word) = words.iter().find(|w| has_word(&line, w)) {
                wrong.push(format!("{}:{number}: {word}", relative.display()));
            }
        }
    }
    Ok(wrong)
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// Unsafe code outside of its cellar.
pub fn no_unsafe() -> Result<Vec<String>> {
    lines_with(&["unsafe"], &["crates/lxc-sys"])
}

/// Output from where nobody expects it.
pub fn no_print() -> Result<Vec<String>> {
    let words = ["print!", "println!", "eprint!", "eprintln!", "dbg!"];
    // `print!` ends in a character that is no part of a word.
    lines_with(&words, &["crates/lxc-cli", "xtask", "tests", "benches", "fuzz", "src/bin", "build.rs"])
}

/// Files that nobody wants to read.
pub fn short() -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for path in sources(shell::root())? {
        let count = std::fs::read_to_string(&path)?.lines().count();
        if count > LONGEST {
            wrong.push(format!(
                "{}: {count} lines",
                path.strip_prefix(shell::root()).unwrap_or(&path).display()
            ));
        }
    }
    Ok(wrong)
}

/// tests/cli/NAME.rs for each command, and `mod NAME;` for each of those.
pub fn tested() -> Result<Vec<String>> {
    let tests = shell::root().join("tests/cli");
    let main = std::fs::read_to_string(tests.join("main.rs")).context("read tests/cli/main.rs")?;
    let mut wrong = Vec::new();
    for name in names(&shell::root().join("crates/lxc-cli/src/commands"))? {
        if name != "mod" && !tests.join(format!("{name}.rs")).is_file() {
            wrong.push(format!("the command {name} has no tests/cli/{name}.rs"));
        }
    }
    for name in names(&tests)? {
        if name != "main" && !main.lines().any(|l| l == format!("mod {name};")) {
            wrong.push(format!("tests/cli/main.rs does not have `mod {name};`"));
        }
    }
    Ok(wrong)
}

/// The Rust files directly in a directory, without their suffix.
fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| Some(e.file_name().to_string_lossy().strip_suffix(".rs")?.to_string()))
        .collect();
    names.sort();
    Ok(names)
}

/// Paths of a developer's machine, and hosts that packages are mirrored on, in files that are under control.
pub fn portable() -> Result<Vec<String>> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(shell::root())
        .output();
    let Ok(listed) = listed else { return Ok(Vec::new()) };
    // In two parts, so that this file is not found.
    let words = [["/wo", "rk/"], ["/ho", "me/"], ["artifact", "ory"], ["pkg", ".dev"], ["sparse", "+http"]]
        .map(|w| w.concat());
    let mut wrong = Vec::new();
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        let Ok(text) = std::fs::read_to_string(shell::root().join(name)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|w| line.contains(w.as_str())) {
                wrong.push(format!("{name}:{}: {word}", number + 1));
            }
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::{has_word, without_comment_and_text};

    #[test]
    fn words_are_whole() {
        assert!(has_word("unsafe { x }", "unsafe"));
        assert!(!has_word("forbid(unsafe_code)", "unsafe"));
        assert!(has_word("    println!()", "println!"));
        assert!(!has_word("    eprintln!()", "println!"));
    }

    #[test]
    fn comments_and_texts_do_not_count() {
        assert_eq!(without_comment_and_text(r#"a("unsafe \" x") // unsafe"#), "a() ");
    }
}

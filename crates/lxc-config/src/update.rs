//! Files of LXC 1 and 2 with the names of today.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::keys::LEGACY_KEYS;
use crate::lexer;

/// One line that is written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Number of the line, from 1.
    pub line: u32,
    /// The line, without its end.
    pub old: Vec<u8>,
    /// What it becomes; `None`: it goes.
    pub new: Option<Vec<u8>>,
}

/// The types of storage that LXC 2 knew by a prefix of `lxc.rootfs`.
const STORAGE: &[&str] =
    &["aufs", "btrfs", "dir", "loop", "lvm", "nbd", "overlay", "overlayfs", "rbd", "zfs"];

/// Renames what LXC 1 and 2 called otherwise, also in lines that are commented out, and leaves everything else
/// as it is. Returns the new text and the lines that differ.
pub fn update(text: &[u8]) -> (Vec<u8>, Vec<Change>) {
    let mut updater = Updater { backend: backend(text), networks: BTreeSet::new() };
    let (mut out, mut changes) = (Vec::with_capacity(text.len()), Vec::new());
    for line in lexer::lines(text) {
        let content = &text[line.content.clone()];
        let Some(new) = updater.line(content) else {
            out.extend_from_slice(&text[line.content.start..line.end]);
            continue;
        };
        if let Some(new) = &new {
            out.extend_from_slice(new);
            out.extend_from_slice(&text[line.content.end..line.end]);
        }
        changes.push(Change { line: line.number, old: content.to_vec(), new });
    }
    (out, changes)
}

/// Key and value of a line, which may be commented out.
fn assignment(line: &[u8]) -> Option<(Range<usize>, Range<usize>, bool)> {
    let blank = |b: &&u8| matches!(b, b' ' | b'\t');
    let indentation = line.iter().take_while(blank).count();
    let marks = line[indentation..].iter().take_while(|b| matches!(b, b' ' | b'\t' | b'#')).count();
    let start = indentation + marks;
    let rest = &line[start..];
    let equals = rest.iter().position(|&b| b == b'=')?;
    let key = start..start + equals - rest[..equals].iter().rev().take_while(blank).count();
    let value = start + equals + 1;
    let value = value + line[value..].iter().take_while(blank).count()..line.len();
    Some((key, value, marks > 0))
}

/// The storage type that a line of its own names, wherever it stands.
fn backend(text: &[u8]) -> Option<Vec<u8>> {
    let named = lexer::lines(text).filter_map(|line| {
        let content = &text[line.content];
        let (key, value, commented) = assignment(content)?;
        let named = &content[key] == b"lxc.rootfs.backend" && !commented;
        named.then(|| content[value].trim_ascii().to_vec())
    });
    named.filter(|kind| !kind.is_empty() && kind != b"best").last()
}

struct Updater {
    backend: Option<Vec<u8>>,
    /// Indices of the networks so far.
    networks: BTreeSet<u32>,
}

impl Updater {
    /// `None`: the line stays. `Some(None)`: it goes.
    fn line(&mut self, line: &[u8]) -> Option<Option<Vec<u8>>> {
        let (key, value, commented) = assignment(line)?;
        let name = std::str::from_utf8(&line[key.clone()]).ok()?;
        let is_empty = line[value.clone()].trim_ascii().is_empty();
        if !commented && (name == "lxc.net" || name.starts_with("lxc.net.")) {
            self.count(name, is_empty);
            return None;
        }
        if name == "lxc.rootfs" {
            let prefix = self.storage_prefix(&line[value.clone()]);
            let between = &line[key.end..value.start];
            return Some(Some(
                [&line[..key.start], b"lxc.rootfs.path", between, &prefix, &line[value]].concat(),
            ));
        }
        let new = match self.name(name, is_empty)? {
            Some(new) => new,
            None => return Some(None),
        };
        Some(Some([&line[..key.start], new.as_bytes(), &line[key.end..]].concat()))
    }

    /// `TYPE:`, where the path does not begin with one.
    fn storage_prefix(&self, path: &[u8]) -> Vec<u8> {
        let has_one = STORAGE
            .iter()
            .any(|kind| path.strip_prefix(kind.as_bytes()).is_some_and(|rest| rest.starts_with(b":")));
        if has_one || path.is_empty() {
            return Vec::new();
        }
        let kind = self.backend.as_deref().unwrap_or(b"dir");
        [kind, b":"].concat()
    }

    /// The name of today. `Some(None)`: the key has no effect any more.
    fn name(&mut self, name: &str, is_empty: bool) -> Option<Option<String>> {
        if let Some(rest) = name.strip_prefix("lxc.network.") {
            let new = self.network(rest);
            self.count(&new, is_empty);
            return Some(Some(new));
        }
        if name == "lxc.network" {
            self.count("lxc.net", is_empty);
        }
        if let Some(resource) = name.strip_prefix("lxc.limit.") {
            return Some(Some(format!("lxc.prlimit.{resource}")));
        }
        if name == "lxc.rootfs.backend" {
            return Some(None);
        }
        let at = LEGACY_KEYS.binary_search_by_key(&name, |key| key.name).ok()?;
        Some(LEGACY_KEYS[at].replacement.map(str::to_owned))
    }

    /// What an assignment to a key of today makes of the networks: what takes a value away begins none.
    fn count(&mut self, name: &str, is_empty: bool) {
        let Some(rest) = name.strip_prefix("lxc.net.") else {
            self.networks.clear();
            return;
        };
        let (index, whole) = rest.split_once('.').map_or((rest, true), |(index, _)| (index, false));
        let Ok(index) = index.parse() else { return };
        match (whole, is_empty) {
            (true, true) => _ = self.networks.remove(&index),
            (false, false) => _ = self.networks.insert(index),
            _ => {}
        }
    }

    /// Networks without index are counted by their types; indices that are written are left out.
    fn network(&mut self, rest: &str) -> String {
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| !text.starts_with('+'));
        let (index, field) = match rest.split_once('.') {
            Some((digits, field)) if number(digits).is_some() => (number(digits), field),
            _ => (number(rest), rest),
        };
        let written = index.is_some();
        let last = self.networks.last().copied();
        let index = match index {
            Some(index) => index,
            None if field == "type" => last.map_or(0, |last| last.saturating_add(1)),
            // Before the first type it is the first network that is meant.
            None => last.unwrap_or(0),
        };
        match field {
            _ if written && number(rest).is_some() => format!("lxc.net.{index}"),
            "ipv4" | "ipv6" => format!("lxc.net.{index}.{field}.address"),
            _ => format!("lxc.net.{index}.{field}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updated(text: &str) -> String {
        String::from_utf8(update(text.as_bytes()).0).expect("text stays text")
    }

    #[test]
    fn names_change_and_nothing_else() {
        assert_eq!(
            updated("  lxc.utsname=a # b\r\n\n# lxc.tty = 4\nlxc.uts.name = x"),
            "  lxc.uts.name=a # b\r\n\n# lxc.tty.max = 4\nlxc.uts.name = x"
        );
        assert_eq!(
            updated("lxc.mount = /f\nlxc.mount.entry = a b c\n"),
            "lxc.mount.fstab = /f\nlxc.mount.entry = a b c\n"
        );
        assert_eq!(updated("lxc.kmsg = 0\nlxc.limit.nofile = 3\n"), "lxc.prlimit.nofile = 3\n");
    }

    #[test]
    fn the_storage_type_goes_before_the_path_wherever_it_stands() {
        for text in
            ["lxc.rootfs = /r\nlxc.rootfs.backend = lvm\n", "lxc.rootfs.backend = lvm\nlxc.rootfs = /r\n"]
        {
            assert_eq!(updated(text), "lxc.rootfs.path = lvm:/r\n");
        }
        assert_eq!(updated("lxc.rootfs = overlayfs:/l:/u\n"), "lxc.rootfs.path = overlayfs:/l:/u\n");
        assert_eq!(updated("lxc.rootfs = /r\n"), "lxc.rootfs.path = dir:/r\n");
    }

    #[test]
    fn networks_are_counted_around_those_with_an_index() {
        let old = "lxc.network.type = veth\nlxc.network.ipv4 = 1.2.3.4/8\nlxc.network.5.type = veth\nlxc.network.5.ipv6 = ::1\n\
                   lxc.network.type = phys\nlxc.network.link = x\n";
        let new = "lxc.net.0.type = veth\nlxc.net.0.ipv4.address = 1.2.3.4/8\nlxc.net.5.type = veth\n\
                   lxc.net.5.ipv6.address = ::1\nlxc.net.6.type = phys\nlxc.net.6.link = x\n";
        assert_eq!(updated(old), new);
    }
}

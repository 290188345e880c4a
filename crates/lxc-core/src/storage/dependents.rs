//! Who shares files with whom: `lxc_snapshots` beside a container's configuration names those that build on its root
//! file system, `lxc_rdepends` those that it builds on (spec: storage, section 1).
//!
//! A container is entered in its own file first: whatever a killed process did not come to, both files are read with
//! a look at whether the other one is there.

use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};
use crate::files;
use crate::lock::lock_container;

/// Name of the file with those that build on a container.
pub const DEPENDENTS: &str = "lxc_snapshots";
const DEPENDS_ON: &str = "lxc_rdepends";

/// A container by its lxcpath and name.
pub type Place = (PathBuf, String);

/// What is in a file.
#[derive(Debug, PartialEq, Eq)]
enum Record {
    /// As old versions counted.
    Count(u64),
    Places(Vec<Place>),
}

impl Record {
    fn parse(text: &str) -> Record {
        if let Ok(count) = text.trim().parse() {
            return Record::Count(count);
        }
        let lines: Vec<&str> = text.lines().collect();
        let pairs = lines.chunks_exact(2).map(|pair| (PathBuf::from(pair[0]), pair[1].to_string()));
        Record::Places(pairs.collect())
    }

    fn text(&self) -> String {
        match self {
            Record::Count(count) => count.to_string(),
            Record::Places(places) => {
                places.iter().map(|(path, name)| format!("{}\n{name}\n", path.display())).collect()
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Record::Count(count) => *count == 0,
            Record::Places(places) => places.is_empty(),
        }
    }
}

fn read(file: &Path) -> Result<Record> {
    match files::read_text(file) {
        Ok(text) => Ok(Record::parse(&text)),
        Err(lxc_sys::Errno::NOENT) => Ok(Record::Places(Vec::new())),
        Err(e) => Err(e).doing(|| format!("read {}", file.display())),
    }
}

/// Puts a record in the place of another; an empty one needs no file.
fn write(file: &Path, record: &Record) -> Result<()> {
    if !record.is_empty() {
        return files::replace(file, record.text().as_bytes(), 0o644);
    }
    files::remove(file)
}

/// The containers that a container builds on.
///
/// # Errors
/// The file cannot be read.
pub fn built_on(directory: &Path) -> Result<Vec<Place>> {
    match read(&directory.join(DEPENDS_ON))? {
        Record::Places(places) => Ok(places),
        Record::Count(_) => Ok(Vec::new()),
    }
}

/// The containers that build on a container and are there; `None` where an old version has counted them.
///
/// # Errors
/// The file cannot be read.
pub fn builders(directory: &Path) -> Result<Option<Vec<Place>>> {
    match read(&directory.join(DEPENDENTS))? {
        Record::Count(0) => Ok(Some(Vec::new())),
        Record::Count(_) => Ok(None),
        Record::Places(mut places) => {
            places.retain(|(path, name)| path.join(name).exists() || may_be_elsewhere(path));
            Ok(Some(places))
        }
    }
}

/// Whether a container that is not there may come back: one on a disk that is not mounted does. One that was killed before
/// it was complete, or removed by hand, has others beside it, or what it builds on.
fn may_be_elsewhere(lxcpath: &Path) -> bool {
    std::fs::read_dir(lxcpath).map_or(true, |mut entries| entries.next().is_none())
}

/// Enters a container, in its own file, which is in `directory`, and in those of the containers that it builds on; `quietly` in its own alone.
///
/// # Errors
/// A file cannot be written.
pub fn enter(directory: &Path, (path, name): &Place, on: &[Place], quietly: bool) -> Result<()> {
    if on.is_empty() {
        return Ok(());
    }
    write(&directory.join(DEPENDS_ON), &Record::Places(on.to_vec()))?;
    if quietly { Ok(()) } else { enter_with((path, name), on, 1) }
}

/// Enters the new name of a container with those that it builds on, before it has got it.
///
/// # Errors
/// A file cannot be written.
pub fn enter_renamed((path, name): &Place, on: &[Place]) -> Result<()> {
    // Whoever counts has counted it.
    enter_with((path, name), on, 0)
}

fn enter_with((path, name): (&PathBuf, &String), on: &[Place], more: u64) -> Result<()> {
    for (other_path, other) in on {
        let file = other_path.join(other).join(DEPENDENTS);
        if !other_path.join(other).exists() {
            continue;
        }
        let _lock = lock_container(other_path, other)?;
        let record = match read(&file)? {
            Record::Count(count) if count > 0 => Record::Count(count + more),
            Record::Count(_) => Record::Places(vec![(path.clone(), name.clone())]),
            Record::Places(mut places) => {
                places.retain(|place| (&place.0, &place.1) != (path, name));
                places.push((path.clone(), name.clone()));
                Record::Places(places)
            }
        };
        write(&file, &record).map_err(|e| e.during(format!("enter {name} as a clone of {other}")))?;
    }
    Ok(())
}

/// Strikes a container out of the files of those that it builds on, and its own; those that are gone need nothing.
///
/// # Errors
/// A file cannot be written.
pub fn strike(place: &Place) -> Result<()> {
    let directory = place.0.join(&place.1);
    strike_with(place, &built_on(&directory)?, 1)?;
    // Done once more it does nothing: one that is counted is not named.
    write(&directory.join(DEPENDS_ON), &Record::Places(Vec::new()))
}

/// Strikes the old name of a container out, after it has got another.
///
/// # Errors
/// A file cannot be written.
pub fn strike_renamed(place: &Place, on: &[Place]) -> Result<()> {
    strike_with(place, on, 0)
}

fn strike_with((path, name): &Place, on: &[Place], less: u64) -> Result<()> {
    for (other_path, other) in on {
        let file = other_path.join(other).join(DEPENDENTS);
        // A snapshot is not entered with the container that it is of, whose lock its own destruction may hold.
        if !file.exists() || path.starts_with(other_path.join(other)) {
            continue;
        }
        let _lock = lock_container(other_path, other)?;
        let record = match read(&file)? {
            Record::Count(count) => Record::Count(count.saturating_sub(less)),
            Record::Places(mut places) => {
                places.retain(|place| (&place.0, &place.1) != (path, name));
                Record::Places(places)
            }
        };
        write(&file, &record)
            .map_err(|e: Error| e.during(format!("strike {name} out as a clone of {other}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &Path, name: &str) -> Place {
        std::fs::create_dir_all(path.join(name)).expect("a directory");
        (path.to_path_buf(), name.to_string())
    }

    fn path_of(place: &Place) -> PathBuf {
        place.0.join(&place.1)
    }

    #[test]
    fn clones_come_and_go() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path();
        let (base, one, two) = (place(path, "base"), place(path, "one"), place(path, "two"));
        enter(&path_of(&one), &one, std::slice::from_ref(&base), false).expect("entered");
        enter(&path_of(&two), &two, std::slice::from_ref(&base), false).expect("entered");
        let file = path.join("base/lxc_snapshots");
        let text = std::fs::read_to_string(&file).expect("the file");
        assert_eq!(text, format!("{0}\none\n{0}\ntwo\n", path.display()));
        assert_eq!(built_on(&path.join("one")).expect("read"), std::slice::from_ref(&base));
        std::fs::remove_dir_all(path.join("one")).expect("removed by hand");
        assert_eq!(builders(&path.join("base")).expect("read"), Some(vec![two.clone()]));
        place(path, "one");
        enter(&path_of(&one), &one, std::slice::from_ref(&base), false).expect("entered");
        strike(&one).expect("struck out");
        strike(&two).expect("struck out");
        assert!(!file.exists());
    }

    #[test]
    fn old_counters_go_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (base, one) = (place(dir.path(), "base"), place(dir.path(), "one"));
        let file = dir.path().join("base/lxc_snapshots");
        std::fs::write(&file, "1\n").expect("a counter");
        assert_eq!(builders(&dir.path().join("base")).expect("read"), None);
        enter(&path_of(&one), &one, std::slice::from_ref(&base), false).expect("entered");
        assert_eq!(std::fs::read_to_string(&file).expect("the file"), "2");
        strike(&one).expect("struck out");
        strike(&one).expect("struck out once");
        assert_eq!(std::fs::read_to_string(&file).expect("the file"), "1");
    }

    #[test]
    fn clones_that_may_come_back() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = dir.path().join("disk");
        let (base, one) = (place(dir.path(), "base"), place(&disk, "one"));
        enter(&path_of(&one), &one, std::slice::from_ref(&base), false).expect("entered");
        for away in
            [|disk: &Path| std::fs::remove_dir_all(disk.join("one")), |disk: &Path| std::fs::remove_dir(disk)]
        {
            away(&disk).expect("unmounted");
            assert_eq!(builders(&path_of(&base)).expect("read"), Some(vec![one.clone()]));
        }
        place(&disk, "two");
        assert_eq!(builders(&path_of(&base)).expect("read"), Some(Vec::new()));
    }
}

//! Snapshots: copies that are kept in a container's own directory (spec: storage, section 6).

use std::path::{Path, PathBuf};

use super::copy::CopyOptions;
use super::making::{UNNAMED, identity_of};
use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::lock;
use crate::plan::Storage;
use crate::spawn::isolated::with_ids_of;
use crate::storage::copy::Progress;
use crate::storage::owned::{self, Removal};
use crate::storage::{self, dependents};

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name: `snap` and a number, unless somebody made it by hand.
    pub name: String,
    /// Directory that it is in.
    pub lxcpath: PathBuf,
    /// When it was taken: local time, `YYYY:MM:DD hh:mm:ss`.
    pub time: Option<String>,
    /// File with a comment.
    pub comment: Option<PathBuf>,
}

impl Snapshot {
    /// Bytes that its files take on disk; of what it shares with others nothing is known.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub fn size(&self) -> Result<u64> {
        let directory = self.lxcpath.join(&self.name);
        storage::copy::size_of(&directory).map_err(|e| e.during(directory.display().to_string()))
    }

    /// The number in its name.
    fn number(&self) -> Option<u64> {
        self.name.strip_prefix("snap").and_then(|n| n.parse().ok())
    }
}

const COMMENT: &str = "comment";
const TIME: &str = "ts";

impl Container {
    /// Where its snapshots are: in its directory; where old versions have put some, there.
    pub fn snapshots_path(&self) -> PathBuf {
        let mut old = self.place().0.into_os_string();
        old.push("snaps");
        let old = Path::new(&old);
        if old.is_dir() { old.join(self.name()) } else { self.directory().join(owned::SNAPSHOTS) }
    }

    /// Its snapshots, in the order of their numbers. What is left of one that was interrupted is none.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let lxcpath = self.snapshots_path();
        let mut found = Vec::new();
        for name in super::discover::defined(&lxcpath)? {
            let directory = lxcpath.join(&name);
            if lock::creation(&directory)? != lock::Creation::Complete {
                continue;
            }
            let time = std::fs::read_to_string(directory.join(TIME)).ok();
            let comment = Some(directory.join(COMMENT)).filter(|file| file.is_file());
            found.push(Snapshot { name, lxcpath: lxcpath.clone(), time, comment });
        }
        found.sort_by_key(|s| (s.number().unwrap_or(u64::MAX), s.name.clone()));
        Ok(found)
    }

    /// Takes a snapshot; returns its name. `comment`: a file with a text about it.
    ///
    /// # Errors
    /// Why not; nothing is left of it.
    pub fn snapshot(&self, comment: Option<&Path>, progress: Option<Progress<'_>>) -> Result<String> {
        self.check_source(false)?;
        let storage = Storage::of(&self.config.values)?;
        if storage.as_ref().is_none_or(|s| !storage::can_back_up(s)) {
            return Err(Error::unsupported(format!("{}'s backing store cannot be backed up", self.name()))
                .with_hint("Your container must use another backing store type"));
        }
        let comment = match comment {
            Some(file) => Some(std::fs::read(file).doing(|| format!("read {}", file.display()))?),
            None => None,
        };
        let lxcpath = self.snapshots_path();
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        self.finish_restore()?;
        let taken: Vec<String> = super::discover::candidates(&lxcpath)?
            .into_iter()
            .filter(|name| lock::creation(&lxcpath.join(name)).is_ok_and(|c| c != lock::Creation::Incomplete))
            .collect();
        let free = (0u64..).map(|n| format!("snap{n}")).find(|name| !taken.contains(name));
        let name = free.unwrap_or_default();
        let options = CopyOptions {
            name: Some(name.clone()),
            lxcpath: Some(lxcpath.clone()),
            snapshot: true,
            maybe_snapshot: true,
            keep_kind: true,
            keep_name: true,
            keep_addresses: true,
            progress,
            ..CopyOptions::default()
        };
        let time = jiff::Zoned::now().strftime("%Y:%m:%d %H:%M:%S").to_string();
        self.copy_as(&options, &name, &|copy: &mut Container| {
            let write = |name: &str, bytes: &[u8]| {
                let path = copy.directory().join(name);
                std::fs::write(&path, bytes).doing(|| format!("write {}", path.display()))?;
                crate::files::sync(&path)
            };
            write(TIME, time.as_bytes())?;
            comment.as_ref().map_or(Ok(()), |text| write(COMMENT, text))
        })?;
        Ok(name)
    }

    /// Removes what snapshots have left that were killed.
    pub(super) fn sweep_snapshots(&self) -> Result<()> {
        let lxcpath = self.snapshots_path();
        for name in super::discover::candidates(&lxcpath)? {
            if lock::creation(&lxcpath.join(&name))? == lock::Creation::Incomplete {
                let place = (lxcpath.clone(), name);
                let removal = Removal::of_incomplete(&place)?;
                with_ids_of(&identity_of(self), || removal.run())?;
            }
        }
        // Those that were killed before they had a name: nobody makes one now.
        for entry in std::fs::read_dir(&lxcpath).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            if name.starts_with('.')
                && name.ends_with(UNNAMED)
                && lock::creation(&path)? != lock::Creation::Ongoing
            {
                storage::remove_directory(&path, true)?;
            }
        }
        // Gone if it is empty.
        let _ = std::fs::remove_dir(&lxcpath);
        Ok(())
    }

    /// Whether there is something that [`Container::recover`] would end.
    pub fn is_unfinished(&self) -> bool {
        self.staging().exists() || self.directory().join(crate::container::WAITING).exists()
    }

    /// Ends what a rename or restore has left that was killed.
    ///
    /// # Errors
    /// What could not be done; it is as it was.
    pub fn recover(&self) -> Result<()> {
        self.finish_rename()?;
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        self.finish_restore()
    }

    pub(super) fn open_snapshot(&self, name: &str) -> Result<Container> {
        let lxcpath = self.snapshots_path();
        let snapshot = Container::open(name, &lxcpath)?;
        if snapshot.is_defined() {
            return Ok(snapshot);
        }
        Err(Error::new(Kind::NotDefined, format!("Could not open snapshot {name}")))
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be removed.
    pub fn destroy_snapshot(&self, name: &str) -> Result<()> {
        self.open_snapshot(name)?.destroy()
    }

    /// Removes all snapshots.
    ///
    /// # Errors
    /// There is no directory of snapshots, or one cannot be removed.
    pub fn destroy_snapshots(&self) -> Result<()> {
        let lxcpath = self.snapshots_path();
        if !lxcpath.is_dir() {
            return Err(Error::os(format!("open {}", lxcpath.display()), lxc_sys::Errno::NOENT));
        }
        for name in super::discover::candidates(&lxcpath)? {
            Container::open(&name, &lxcpath)?.destroy().doing(|| format!("destroy snapshot {name}"))?;
        }
        std::fs::remove_dir(&lxcpath).doing(|| format!("remove {}", lxcpath.display()))
    }

    /// Removes the containers that build on this one, those that build on them first.
    ///
    /// # Errors
    /// They are not known by name, or one of them cannot be removed.
    pub fn destroy_clones(&self) -> Result<()> {
        let Some(clones) = dependents::builders(&self.directory())? else {
            return Err(Error::invalid(format!(
                "Destroying {0} failed: {0} has clones, which an old version of LXC has counted, not named",
                self.name()
            )));
        };
        let own = self.place();
        for (lxcpath, name) in clones {
            let directory = lxcpath.join(&name);
            let list = self.directory().join(dependents::DEPENDENTS);
            if !directory.exists() {
                let what = format!("clone {} is not there: its disk may not be mounted", directory.display());
                return Err(Error::invalid(what)
                    .with_hint(format!("only if it is gone for good, take it out of {}", list.display())));
            }
            // Of that name, and not the one that was entered: it says itself what it builds on.
            if !dependents::built_on(&lxcpath.join(&name))?.contains(&own) {
                return Err(Error::invalid(format!(
                    "{} is entered as a clone of {}, and does not build on it",
                    directory.display(),
                    self.name()
                ))
                .with_hint(format!("take it out of {}", list.display())));
            }
            Container::open(&name, &lxcpath)?.destroy().doing(|| format!("destroy clone {name}"))?;
        }
        Ok(())
    }
}

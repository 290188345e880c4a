//! Images on this host: directories with the layout of OCI, archives of them, and what `docker save` makes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::image::{Digest, ImageConfiguration, ImageIndex};

use super::{Image, MAX_DOCUMENT, MAX_LAYERS, Slice, Store, compare, document};
use crate::error::{Doing, Error, Result};
use crate::template::{compressed, digest};

/// Bytes of an archive for each of its compressed form.
const MAX_RATIO: u64 = 300;

/// The annotation by which tools name the images of a layout.
const NAME: &str = "org.opencontainers.image.ref.name";

enum Place {
    Directory(PathBuf),
    Archive(Members),
}

pub(super) struct Layout {
    place: Place,
    tag: Option<String>,
}

impl Layout {
    pub(super) fn directory(directory: &Path, tag: Option<String>) -> Result<Layout> {
        Ok(Layout { place: Place::Directory(directory.to_path_buf()), tag })
    }

    pub(super) fn archive(file: &Path, tag: Option<String>) -> Result<Layout> {
        Ok(Layout { place: Place::Archive(Members::of(file)?), tag })
    }

    fn open(&self, name: &str) -> Result<Slice> {
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(name);
                let what = || format!("open {}", path.display());
                Slice::whole(File::open(&path).doing(what)?).doing(what)
            }
            Place::Archive(members) => members.open(name),
        }
    }
}

impl Store for Layout {
    fn root(&self) -> Result<Vec<u8>> {
        let bytes = document(self.open("index.json")?)?;
        let mut index =
            ImageIndex::from_reader(&*bytes).map_err(|e| Error::invalid(format!("index.json: {e}")))?;
        let name_of =
            |d: &oci_spec::image::Descriptor| d.annotations().as_ref().and_then(|a| a.get(NAME)).cloned();
        if let Some(tag) = &self.tag {
            let chosen: Vec<_> =
                index.manifests().iter().filter(|d| name_of(d).as_ref() == Some(tag)).cloned().collect();
            if chosen.is_empty() {
                let have: Vec<String> = index.manifests().iter().filter_map(name_of).collect();
                return Err(Error::invalid(format!("no image {tag:?} in it, but {}", have.join(", "))));
            }
            index.set_manifests(chosen);
        }
        serde_json::to_vec(&index).map_err(|e| Error::invalid(format!("index.json: {e}")))
    }

    fn blob(&self, digest: &Digest, _: u64) -> Result<Slice> {
        let (algorithm, hash) = (digest.algorithm().to_string(), digest.digest());
        if algorithm != "sha256" {
            return Err(Error::unsupported(format!("{digest}: only sha256 is checked")));
        }
        self.open(&format!("blobs/{algorithm}/{hash}"))
    }
}

/// The members of an archive, where they are in it.
struct Members {
    file: File,
    /// Beginning and end.
    found: BTreeMap<String, (u64, u64)>,
}

/// What is read of an archive without its contents, which are passed over: names that have to be kept in memory.
struct Headers<'a> {
    file: &'a File,
    read: u64,
}

/// Bytes of headers between the contents of two members.
const MAX_HEADERS: u64 = 16 << 20;

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read += n as u64;
        if self.read > MAX_HEADERS {
            return Err(std::io::Error::other("the names of its members are too long"));
        }
        Ok(n)
    }
}

impl Seek for Headers<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.read = 0;
        self.file.seek(to)
    }
}

impl Members {
    fn of(path: &Path) -> Result<Members> {
        let what = || format!("read {}", path.display());
        let mut file = File::open(path).doing(what)?;
        let mut first = [0; 6];
        let n = file.read(&mut first).doing(what)?;
        file.seek(SeekFrom::Start(0)).doing(what)?;
        let is_plain = !matches!(
            &first[..n],
            [0x1f, 0x8b, ..] | [0xfd, b'7', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [b'B', b'Z', b'h', ..]
        );
        if !is_plain {
            // Only in a plain archive members can be found again.
            let mut plain = tempfile(path)?;
            let length = file.metadata().doing(what)?.len();
            let most = length.saturating_mul(MAX_RATIO).max(1 << 30);
            let mut stream = compressed::open(Box::new(file))?.take(most);
            if std::io::copy(&mut stream, &mut plain).doing(what)? == most {
                return Err(Error::invalid(format!("{}: the archive comes to too much", what())));
            }
            file = plain;
            file.seek(SeekFrom::Start(0)).doing(what)?;
        }
        let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut links: Vec<(String, String)> = Vec::new();
        let mut archive = tar::Archive::new(Headers { file: &file, read: 0 });
        for entry in archive.entries_with_seek().doing(what)? {
            let entry = entry.doing(what)?;
            let name = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path_bytes()));
            let name = tidy(&name);
            match entry.header().entry_type() {
                tar::EntryType::Regular => {
                    let at = entry.raw_file_position();
                    found.insert(name, (at, at + entry.size()));
                }
                // Old archives of Docker's name equal layers once.
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let target = PathBuf::from(std::ffi::OsStr::from_bytes(&target));
                    let base = Path::new(&name).parent().unwrap_or(Path::new("")).join(&target);
                    let is_link = entry.header().entry_type() == tar::EntryType::Symlink;
                    links.push((name.clone(), tidy(if is_link { &base } else { &target })));
                }
                _ => {}
            }
        }
        for (name, target) in links {
            if let Some(place) = found.get(&target).copied() {
                found.insert(name, place);
            }
        }
        Ok(Members { file, found })
    }

    fn open(&self, name: &str) -> Result<Slice> {
        let place = self.found.get(name);
        let (at, end) = *place.ok_or_else(|| Error::invalid(format!("{name} is not in the archive")))?;
        let file = self.file.try_clone().doing(|| "open the archive")?;
        Ok(Slice { file, at, end })
    }
}

/// A name without `.` and `..`.
fn tidy(path: &Path) -> String {
    use std::path::Component;
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out.display().to_string()
}

/// A file without name beside another, else in the directory for temporary files.
fn tempfile(near: &Path) -> Result<File> {
    let open = |directory: &Path| {
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true).write(true), libc::O_TMPFILE);
        options.open(directory)
    };
    let beside = near.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    open(beside).or_else(|_| open(&std::env::temp_dir())).doing(|| "make a temporary file")
}

/// An image of an archive that `docker save` has made: its manifest.json names the files.
pub(super) fn docker_archive(path: &Path, name: Option<&str>) -> Result<Image> {
    let members = Members::of(path)?;
    let bytes = document(members.open("manifest.json")?)?;
    let bad = || Error::invalid("manifest.json is not what docker save writes");
    let images: Vec<serde_json::Value> = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let tags = |image: &serde_json::Value| -> Vec<String> {
        let list = image["RepoTags"].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|t| t.as_str().map(String::from)).collect()
    };
    let image = match name {
        Some(name) => images.iter().find(|image| tags(image).iter().any(|t| t == name)),
        None if images.len() == 1 => images.first(),
        None => None,
    };
    let image = image.ok_or_else(|| {
        let all: Vec<String> = images.iter().flat_map(tags).collect();
        Error::invalid(format!("which of its images: {}", all.join(", ")))
    })?;
    let config = members.open(image["Config"].as_str().ok_or_else(bad)?)?;
    if config.length() > MAX_DOCUMENT {
        return Err(bad());
    }
    let bytes = document(config)?;
    let config = ImageConfiguration::from_reader(&*bytes)
        .map_err(|e| Error::invalid(format!("the configuration of the image: {e}")))?;
    let names = image["Layers"].as_array().ok_or_else(bad)?;
    if names.len() > MAX_LAYERS {
        return Err(bad());
    }
    let sums = config.rootfs().diff_ids();
    if sums.len() != names.len() {
        return Err(Error::invalid(format!("{} layers, and the sums of {}", names.len(), sums.len())));
    }
    let mut layers = Vec::new();
    for (name, sum) in names.iter().zip(sums) {
        let layer = members.open(name.as_str().ok_or_else(bad)?)?;
        check_content(&layer, sum)?;
        layers.push(layer);
    }
    Ok(Image { layers, config })
}

/// Whether the archive in a layer, without compression, is the one of a digest.
fn check_content(layer: &Slice, digest: &str) -> Result<()> {
    let mut stream = compressed::open(Box::new(layer.again().doing(|| "read a layer")?))?;
    compare(&digest, &digest::of(&mut stream).doing(|| "read a layer")?)
}

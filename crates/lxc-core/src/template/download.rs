//! Images of a public server: an index, and for each image a directory with archives and their sums.
//!
//! What is unpacked is what the sums of the image's directory say, and these are the server's by TLS; where keys for them
//! are at hand their signature is checked as well. All of it is kept, and used again until it expires.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Request;
use super::fetch::{Client, sha256_of};
use super::image::{self, Image};
use super::options::{Parsed, Spec};
use super::unpack::small_files;
use crate::error::{Doing, Error, Kind, Result};
use crate::{files, paths, program};

/// Options of this template.
pub const HELP: &str = "Template options of download:
  -d, --dist=NAME       distribution
  -r, --release=NAME    release of it
  -a, --arch=NAME       architecture (default: the host's)
      --variant=NAME    variant (default: default)
      --server=HOST     server of images (default: images.linuxcontainers.org)
  -l, --list            list the images and make no container
      --json            with --list: as JSON
      --flush-cache     download again what is kept
      --force-cache     use what is kept, whatever its age
      --keyring=FILE    keys that the sums must be signed with (default: /etc/lxc/images.gpg, if it is there)
      --no-verify       do not check the sums of what is downloaded
      --verbose         show addresses
";

const SPEC: Spec = Spec {
    template: "download",
    help: HELP,
    with_value: &[
        ('d', "dist"),
        ('r', "release"),
        ('a', "arch"),
        ('\0', "variant"),
        ('\0', "server"),
        ('\0', "keyring"),
    ],
    flags: &[
        ('l', "list"),
        ('\0', "json"),
        ('\0', "flush-cache"),
        ('\0', "force-cache"),
        ('\0', "no-verify"),
        ('\0', "verbose"),
    ],
};

const SERVER: &str = "images.linuxcontainers.org";
const KEYRING: &str = "/etc/lxc/images.gpg";
const ROOTFS: &str = "rootfs.tar.xz";
const METADATA: &str = "meta.tar.xz";
const SUMS: &str = "SHA256SUMS";

/// One image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Distribution.
    pub dist: String,
    /// Release.
    pub release: String,
    /// Architecture, as Debian calls it.
    pub arch: String,
    /// Variant.
    pub variant: String,
    /// When it was built.
    pub build: String,
    path: String,
}

/// Reads an index: `dist;release;arch;variant;build;/path` a line. Other lines are of other versions.
pub fn parse_index(text: &str) -> Vec<Entry> {
    let line = |line: &str| {
        let mut fields = line.trim().split(';').map(String::from);
        let mut next = || fields.next().filter(|f| !f.is_empty() && !f.contains(['/', '\0']) && f != "..");
        let (dist, release, arch, variant, build) = (next()?, next()?, next()?, next()?, next()?);
        let path = line.trim().splitn(6, ';').nth(5)?.to_string();
        let is_plain = !path.split('/').any(|part| part == "..");
        is_plain.then_some(Entry { dist, release, arch, variant, build, path })
    };
    text.lines().filter_map(line).collect()
}

struct Server {
    client: Client,
    base: String,
    verbose: bool,
}

impl Server {
    fn new(options: &Parsed) -> Result<Server> {
        let host = options.get("server").unwrap_or(SERVER).trim_end_matches('/');
        // Only by TLS, unless somebody says otherwise in so many letters.
        let base = if host.contains("://") { host.to_string() } else { format!("https://{host}") };
        let client = Client::with_plain_http(base.starts_with("http://"))?;
        Ok(Server { client, base, verbose: options.has("verbose") })
    }

    fn url(&self, path: &str, request: &Request<'_>) -> String {
        let url = format!("{}/{}", self.base, path.trim_start_matches('/'));
        if self.verbose {
            request.say(&url);
        }
        url
    }

    fn index(&self, user: bool, request: &Request<'_>) -> Result<Vec<Entry>> {
        let mode = if user { "user" } else { "system" };
        for suffix in [".7", ""] {
            let url = self.url(&format!("meta/1.0/index-{mode}{suffix}"), request);
            if let Some(bytes) = self.client.text(&url)? {
                return Ok(parse_index(&String::from_utf8_lossy(&bytes)));
            }
        }
        Err(Error::new(Kind::Failed, format!("{} has no index of images", self.base)))
    }
}

/// The names of architectures that Debian and the index use.
fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

/// What a call of the template comes to.
#[derive(Debug)]
pub enum Outcome {
    /// An image to unpack.
    Image(Image),
    /// What was asked for is printed; no container is made.
    Listed,
}

/// Finds the image, in the cache or at the server.
///
/// # Errors
/// There is none, the server does not answer, or what it sends is not what it should be.
pub fn prepare(request: &Request<'_>) -> Result<Outcome> {
    let options = Parsed::of(&SPEC, request.arguments)?;
    if options.has("list") {
        let server = Server::new(&options)?;
        let index = server.index(request.mapped, request)?;
        request.say(&if options.has("json") { as_json(&index) } else { as_table(&index) });
        return Ok(Outcome::Listed);
    }
    let missing = |name: &str| {
        Error::invalid(format!("template download: --{name} is missing"))
            .with_hint("lxc-create -t download -n x -- --list shows what there is")
    };
    let (dist, release) = (options.get("dist"), options.get("release"));
    let (dist, release) = (dist.ok_or_else(|| missing("dist"))?, release.ok_or_else(|| missing("release"))?);
    let arch = options.get("arch").unwrap_or(host_arch());
    let variant = options.get("variant").unwrap_or("default");
    for word in [dist, release, arch, variant] {
        if word.is_empty() || word.contains(['/', '\0']) || word == ".." || word == "." {
            return Err(Error::invalid(format!("template download: {word:?} is no name")));
        }
    }
    let wanted =
        |e: &&Entry| e.dist == dist && e.release == release && e.arch == arch && e.variant == variant;
    let cache = Cache::open(&[dist, release, arch, variant])?;
    if options.has("flush-cache") {
        cache.clear()?;
    }
    let kept = cache.complete();
    if kept && options.has("force-cache") {
        request.say("Using image from local cache");
        return cache.image().map(Outcome::Image);
    }
    let server = Server::new(&options)?;
    if kept && !cache.has_expired() {
        // The same build is not downloaded again; where the server cannot be reached what is kept is good enough.
        let newest = server.index(request.mapped, request);
        let is_same = match &newest {
            Ok(index) => index.iter().find(wanted).is_none_or(|e| Some(&e.build) == cache.build().as_ref()),
            Err(e) => {
                log::warn!("{e}; using what is kept");
                true
            }
        };
        if is_same {
            request.say("Using image from local cache");
            return cache.image().map(Outcome::Image);
        }
    } else if kept {
        request.say("The cached copy has expired, re-downloading...");
    }
    request.say("Downloading the image index");
    let index = server.index(request.mapped, request)?;
    let entry = index.iter().find(wanted).ok_or_else(|| {
        Error::invalid(format!("Couldn't find a matching image: {dist} {release} {arch} {variant}"))
            .with_hint("lxc-create -t download -n x -- --list shows what there is")
    })?;
    download(&server, &cache, entry, &options, request)?;
    request.say("The image cache is now ready");
    cache.image().map(Outcome::Image)
}

fn download(
    server: &Server,
    cache: &Cache,
    entry: &Entry,
    options: &Parsed,
    request: &Request<'_>,
) -> Result<()> {
    let url = |name: &str| server.url(&format!("{}/{name}", entry.path.trim_end_matches('/')), request);
    let sums = if options.has("no-verify") { None } else { Some(checked_sums(server, &url, options)?) };
    // What is left of another build is no beginning of this one.
    cache.prepare_for(&entry.build)?;
    for (name, text) in [(ROOTFS, "Downloading the rootfs"), (METADATA, "Downloading the metadata")] {
        request.say(text);
        let part = cache.directory.join(format!("{name}.part"));
        let sum = server.client.file(&url(name), &part, &[])?;
        if let Some(sums) = &sums {
            let wanted = sums.get(name).ok_or_else(|| {
                Error::invalid(format!("{SUMS} of the server does not name {name}"))
                    .with_hint("--no-verify takes it all the same")
            })?;
            if *wanted != sum {
                // Nobody goes on from that.
                let _ = std::fs::remove_file(&part);
                return Err(Error::invalid(format!(
                    "{}: its SHA-256 is {sum}, and {SUMS} says {wanted}: it was changed on the way or at the server",
                    url(name)
                )));
            }
        }
        let path = cache.directory.join(name);
        std::fs::rename(&part, &path).doing(|| format!("rename {}", part.display()))?;
    }
    cache.finish(&entry.build)
}

/// The sums of an image, and their signature where it can be checked.
fn checked_sums(
    server: &Server,
    url: &impl Fn(&str) -> String,
    options: &Parsed,
) -> Result<BTreeMap<String, String>> {
    let text = server.client.text(&url(SUMS))?.ok_or_else(|| {
        Error::invalid(format!("the server has no {SUMS} beside the image"))
            .with_hint("--no-verify takes the image all the same")
    })?;
    let named = options.get("keyring").map(PathBuf::from);
    let keyring = named.clone().or_else(|| Some(PathBuf::from(KEYRING)).filter(|k| k.exists()));
    if let Some(keyring) = keyring {
        let name = format!("{SUMS}.asc");
        let signature = server.client.text(&url(&name))?.ok_or_else(|| {
            Error::invalid(format!("the server has no signature of {SUMS}: {}", url(&name)))
        })?;
        verify(&text, &signature, &keyring)?;
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| {
            let (sum, name) = line.split_once(char::is_whitespace)?;
            let name = name.trim_start_matches([' ', '*']);
            Some((name.rsplit('/').next()?.to_string(), sum.to_ascii_lowercase()))
        })
        .collect())
}

/// Has gpgv(1) check a signature.
fn verify(text: &[u8], signature: &[u8], keyring: &Path) -> Result<()> {
    let directory = paths::runtime_dir().unwrap_or_else(|| PathBuf::from("/tmp"));
    let base = directory.join(format!("lxc-sums-{}", rustix::process::getpid().as_raw_nonzero()));
    let (data, sign) = (base.with_extension("txt"), base.with_extension("asc"));
    let write = |path: &Path, bytes: &[u8]| {
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        let mut file = options.open(path).doing(|| format!("write {}", path.display()))?;
        std::io::Write::write_all(&mut file, bytes).doing(|| format!("write {}", path.display()))
    };
    let done = write(&data, text).and_then(|()| write(&sign, signature)).and_then(|()| {
        let path = |p: &Path| p.display().to_string();
        program::run("gpgv", &["--keyring", &path(keyring), &path(&sign), &path(&data)])
            .map_err(|e| e.during(format!("the signature of {SUMS} is refused")))
    });
    for path in [data, sign] {
        let _ = std::fs::remove_file(path);
    }
    done.map(drop)
}

/// What is kept of one image.
struct Cache {
    directory: PathBuf,
    /// Held while it is looked at or filled.
    _lock: File,
}

impl Cache {
    fn open(words: &[&str; 4]) -> Result<Cache> {
        let directory = words.iter().fold(super::cache_dir().join("download"), |path, word| path.join(word));
        std::fs::create_dir_all(&directory).doing(|| format!("create {}", directory.display()))?;
        let lock = File::open(&directory).doing(|| format!("open {}", directory.display()))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .doing(|| format!("lock {}", directory.display()))?;
        Ok(Cache { directory, _lock: lock })
    }

    fn read(&self, name: &str) -> Option<String> {
        files::read_text(self.directory.join(name)).ok().map(|text| text.trim().to_string())
    }

    fn build(&self) -> Option<String> {
        self.read("build_id")
    }

    fn complete(&self) -> bool {
        [ROOTFS, "build_id"].iter().all(|name| self.directory.join(name).is_file())
            && [METADATA, "config"].iter().any(|name| self.directory.join(name).is_file())
    }

    /// Metadata may say until when it is good, in seconds since 1970.
    fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let metadata = self.metadata().unwrap_or_default();
        let expiry = metadata.get("expiry").map(|b| String::from_utf8_lossy(b).trim().to_string());
        expiry.and_then(|e| e.parse::<u64>().ok()).is_some_and(|expiry| expiry < now)
    }

    fn clear(&self) -> Result<()> {
        for entry in
            std::fs::read_dir(&self.directory).doing(|| format!("read {}", self.directory.display()))?
        {
            let path = entry.doing(|| format!("read {}", self.directory.display()))?.path();
            if path.is_file() {
                std::fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn prepare_for(&self, build: &str) -> Result<()> {
        if self.read("build_id.part").as_deref() != Some(build) {
            self.clear()?;
            files::replace(&self.directory.join("build_id.part"), build.as_bytes(), 0o644)?;
        }
        Ok(())
    }

    fn finish(&self, build: &str) -> Result<()> {
        let sum = sha256_of(&self.directory.join(ROOTFS))?;
        files::replace(&self.directory.join("rootfs.sha256"), sum.as_bytes(), 0o644)?;
        files::replace(&self.directory.join("build_id"), build.as_bytes(), 0o644)?;
        let _ = std::fs::remove_file(self.directory.join("build_id.part"));
        Ok(())
    }

    /// The archive of metadata, or the files that upstream's script has unpacked of it.
    fn metadata(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let archive = self.directory.join(METADATA);
        if archive.is_file() {
            return small_files(Box::new(image::open(&archive)?))
                .map_err(|e| e.during(archive.display().to_string()));
        }
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if let (Ok(name), Ok(bytes)) = (entry.file_name().into_string(), files::read_small(&entry.path()))
                && !name.ends_with(".xz")
            {
                found.insert(name, bytes);
            }
        }
        Ok(found)
    }

    fn image(&self) -> Result<Image> {
        let path = self.directory.join(ROOTFS);
        if let Some(sum) = self.read("rootfs.sha256")
            && sha256_of(&path)? != sum
        {
            return Err(Error::invalid(format!("{}: it is not what was downloaded", path.display()))
                .with_hint("--flush-cache downloads it again"));
        }
        Ok(Image { rootfs: image::open(&path)?, metadata: self.metadata()?, without_dev: false })
    }
}

fn as_table(index: &[Entry]) -> String {
    let rows = index.iter().map(|e| [&e.dist, &e.release, &e.arch, &e.variant, &e.build].map(String::as_str));
    let all: Vec<[&str; 5]> =
        std::iter::once(["DIST", "RELEASE", "ARCH", "VARIANT", "BUILD"]).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[&str; 5]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_string()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn as_json(index: &[Entry]) -> String {
    let entry = |e: &Entry| {
        serde_json::json!({
            "dist": e.dist, "release": e.release, "arch": e.arch, "variant": e.variant, "build": e.build,
        })
    };
    serde_json::Value::Array(index.iter().map(entry).collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes() {
        let text = "debian;trixie;amd64;default;20260101_05:24;/images/debian/trixie/amd64/default/20260101_05:24/\n\
                    # no\nx;y\ndebian;../x;amd64;default;1;/p\na;b;c;d;e;/images/../../etc\n";
        let index = parse_index(text);
        assert_eq!(index.len(), 1);
        assert_eq!(index[0].build, "20260101_05:24");
        assert!(as_table(&index).starts_with("DIST    RELEASE"));
        assert!(as_json(&index).contains("\"release\":\"trixie\""));
    }
}

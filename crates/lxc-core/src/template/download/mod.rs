//! Images of a public server: an index, and for each image a directory with archives and their sums.
//!
//! What is unpacked is what the sums of the image's directory say, and these are the server's by TLS; where keys for them
//! are at hand their signature is checked as well. All of it is kept, and used again until it expires.

mod cache;
mod index;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::fetch::Client;
use super::image::Image;
use super::options::{Parsed, Spec};
use super::{Request, digest};
use crate::error::{Doing, Error, Kind, Result};
use crate::{paths, program};
use cache::{Cache, Check, Origin};
pub use index::Entry;

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
/// Largest archive.
const MAX_BYTES: u64 = 16 << 30;

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
                return Ok(index::parse(&String::from_utf8_lossy(&bytes)));
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

/// What image is wanted.
struct Wanted {
    dist: String,
    release: String,
    arch: String,
    variant: String,
}

impl Wanted {
    /// What the options say, and whoever is asked for what they do not say.
    fn of(options: &Parsed, server: &Server, request: &Request<'_>) -> Result<Wanted> {
        let mut asked = [("dist", "Distribution: "), ("release", "Release: ")].into_iter();
        let missing = ["dist", "release"].iter().any(|name| options.get(name).is_none());
        if missing && request.can_ask() {
            request.say(&index::as_table(&server.index(request.mapped, request)?));
        }
        let mut next = || {
            let (name, question) = asked.next().unwrap_or_default();
            let said = options.get(name).map(String::from).or_else(|| request.ask(question));
            said.ok_or_else(|| {
                Error::invalid(format!("template download: --{name} is missing"))
                    .with_hint("lxc-create -t download -n x -- --list shows what there is")
            })
        };
        let (dist, release) = (next()?, next()?);
        let arch = options.get("arch").unwrap_or(host_arch()).to_string();
        let variant = options.get("variant").unwrap_or("default").to_string();
        for word in [&dist, &release, &arch, &variant] {
            if word.is_empty() || word.contains(['/', '\0']) || word == ".." || word == "." {
                return Err(Error::invalid(format!("template download: {word:?} is no name")));
            }
        }
        Ok(Wanted { dist, release, arch, variant })
    }

    fn is(&self, e: &Entry) -> bool {
        e.dist == self.dist && e.release == self.release && e.arch == self.arch && e.variant == self.variant
    }

    fn find<'a>(&self, index: &'a [Entry]) -> Result<&'a Entry> {
        index.iter().find(|e| self.is(e)).ok_or_else(|| {
            let Wanted { dist, release, arch, variant } = self;
            Error::invalid(format!("Couldn't find a matching image: {dist} {release} {arch} {variant}"))
                .with_hint("lxc-create -t download -n x -- --list shows what there is")
        })
    }
}

/// The keys that sums must be signed with.
fn keyring(options: &Parsed) -> Option<PathBuf> {
    let named = options.get("keyring").map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(KEYRING)).filter(|k| k.exists()))
}

/// How files are checked.
fn check(options: &Parsed) -> Result<Check> {
    if options.has("no-verify") {
        return Ok(Check::None);
    }
    keyring(options).map_or(Ok(Check::Sums), |keyring| digest::of_file(&keyring).map(Check::Signed))
}

/// Finds the image, in the cache or at the server.
///
/// # Errors
/// There is none, the server does not answer, or what it sends is not what it should be.
pub fn prepare(request: &Request<'_>) -> Result<Outcome> {
    let options = Parsed::of(&SPEC, request.arguments)?;
    let server = Server::new(&options)?;
    if options.has("list") {
        let index = server.index(request.mapped, request)?;
        request.say(&if options.has("json") { index::as_json(&index) } else { index::as_table(&index) });
        return Ok(Outcome::Listed);
    }
    let wanted = Wanted::of(&options, &server, request)?;
    let origin = Origin { server: server.base.clone(), check: check(&options)? };
    let cache = Cache::open(&[&wanted.dist, &wanted.release, &wanted.arch, &wanted.variant])?;
    if options.has("flush-cache") {
        cache.clear()?;
    }
    let kept = cache.is_complete();
    let is_good = kept && cache.is_of(&origin);
    if kept && !is_good {
        request.say("The cached copy is of another server, or was not checked like that: re-downloading...");
    }
    if is_good && options.has("force-cache") {
        request.say("Using image from local cache");
        return cache.image().map(Outcome::Image);
    }
    if is_good && !cache.has_expired() {
        // The same build is not downloaded again; where the server cannot be reached what is kept is good enough.
        let newest = server.index(request.mapped, request);
        let is_same = match &newest {
            Ok(index) => wanted.find(index).map_or(true, |e| Some(&e.build) == cache.build().as_ref()),
            Err(e) => {
                log::warn!("{e}; using what is kept");
                true
            }
        };
        if is_same {
            request.say("Using image from local cache");
            return cache.image().map(Outcome::Image);
        }
    } else if is_good {
        request.say("The cached copy has expired, re-downloading...");
    }
    request.say("Downloading the image index");
    let index = server.index(request.mapped, request)?;
    download(&server, &cache, wanted.find(&index)?, &origin, &options, request)?;
    request.say("The image cache is now ready");
    cache.image().map(Outcome::Image)
}

fn download(
    server: &Server,
    cache: &Cache,
    entry: &Entry,
    origin: &Origin,
    options: &Parsed,
    request: &Request<'_>,
) -> Result<()> {
    let url = |name: &str| server.url(&format!("{}/{name}", entry.path.trim_end_matches('/')), request);
    let wanted = match origin.check {
        Check::None => None,
        _ => Some(checked_sums(server, &url, keyring(options).as_deref())?),
    };
    cache.prepare_for(&entry.build, origin)?;
    let mut sums = Vec::new();
    for (name, text) in [(ROOTFS, "Downloading the rootfs"), (METADATA, "Downloading the metadata")] {
        request.say(text);
        let part = cache.directory.join(format!("{name}.part"));
        let sum = server.client.file(&url(name), &part, &[], MAX_BYTES, &|have, all| {
            request.received(have, all);
        })?;
        if let Some(wanted) = &wanted {
            let wanted = wanted.get(name).ok_or_else(|| {
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
        sums.push((name, sum));
    }
    cache.finish(&entry.build, origin, &sums)
}

/// The sums of an image, and their signature where it can be checked.
fn checked_sums(
    server: &Server,
    url: &impl Fn(&str) -> String,
    keyring: Option<&Path>,
) -> Result<BTreeMap<String, String>> {
    let text = server.client.text(&url(SUMS))?.ok_or_else(|| {
        Error::invalid(format!("the server has no {SUMS} beside the image"))
            .with_hint("--no-verify takes the image all the same")
    })?;
    if let Some(keyring) = keyring {
        let name = format!("{SUMS}.asc");
        let signature = server.client.text(&url(&name))?.ok_or_else(|| {
            Error::invalid(format!("the server has no signature of {SUMS}: {}", url(&name)))
        })?;
        verify(&text, &signature, keyring)?;
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

//! Images of the Open Container Initiative and of Docker: from a registry, a directory or an archive (OCI image and
//! distribution specifications).

mod layout;
mod reference;
mod registry;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use super::Request;
use super::digest;
use super::options::{Parsed, Spec};
use super::unpack::{Options, Totals, unpack};
use crate::error::{Doing, Error, Result};
use crate::paths;
use crate::rootfs::Root;
use oci_spec::image::{Arch, Digest, ImageConfiguration, ImageIndex, ImageManifest, Os};

pub use reference::Reference;

/// Options of this template.
pub const HELP: &str = "Template options of oci:
  -u, --url=IMAGE          docker://[HOST/]NAME[:TAG|@DIGEST], oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG] or
                           docker-archive:FILE[:NAME]
      --username=NAME      of an account at the registry (default: what containers-auth.json(5) has)
      --password=PASSWORD  its password
      --platform=OS/ARCH   one of several platforms (default: the host's)
      --no-cache           download also what is kept
";

const SPEC: Spec = Spec {
    template: "oci",
    help: HELP,
    with_value: &[('u', "url"), ('\0', "username"), ('\0', "password"), ('\0', "platform")],
    flags: &[('\0', "no-cache")],
};

/// Largest manifest, index or configuration (distribution specification: 4 MiB).
const MAX_DOCUMENT: u64 = 4 << 20;
/// More layers than any tool makes.
const MAX_LAYERS: usize = 512;

/// A part of a file: the content of one blob.
#[derive(Debug)]
struct Slice {
    file: File,
    at: u64,
    end: u64,
}

impl Slice {
    fn whole(file: File) -> std::io::Result<Slice> {
        let end = file.metadata()?.len();
        Ok(Slice { file, at: 0, end })
    }

    fn length(&self) -> u64 {
        self.end - self.at
    }

    fn again(&self) -> std::io::Result<Slice> {
        Ok(Slice { file: self.file.try_clone()?, at: self.at, end: self.end })
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(&mut buffer[..rest], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Where blobs come from.
trait Store {
    /// The document that a reference names: an index or a manifest.
    fn root(&self) -> Result<Vec<u8>>;

    /// The content of a digest, not checked yet.
    fn blob(&self, digest: &Digest, size: u64) -> Result<Slice>;

    /// A manifest or index below the first one.
    fn manifest(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        document(self.blob(digest, size)?)
    }
}

fn document(blob: Slice) -> Result<Vec<u8>> {
    if blob.length() > MAX_DOCUMENT {
        return Err(Error::invalid(format!("a document of {} bytes is too large", blob.length())));
    }
    let mut bytes = Vec::new();
    let mut blob = blob;
    blob.read_to_end(&mut bytes).doing(|| "read a document")?;
    Ok(bytes)
}

/// An image whose layers are at hand.
#[derive(Debug)]
pub struct Image {
    layers: Vec<Slice>,
    config: ImageConfiguration,
}

/// Gets an image: everything that it is made of is checked against its digest.
///
/// # Errors
/// There is none, or what is there is not what it should be.
pub fn prepare(request: &Request<'_>) -> Result<Image> {
    let options = Parsed::of(&SPEC, request.arguments)?;
    let url = options.get("url");
    let url = url.ok_or_else(|| Error::invalid("template oci: --url=IMAGE is missing").with_hint(HELP))?;
    if options.get("password").is_some() && options.get("username").is_none() {
        return Err(Error::invalid("template oci: --password needs --username"));
    }
    let account = options
        .get("username")
        .map(|name| (name.to_string(), options.get("password").unwrap_or_default().to_string()));
    let what = |e: Error| e.during(url.to_string());
    match Reference::parse(url)? {
        Reference::Registry(name) => {
            let store = registry::Registry::connect(&name, account, options.has("no-cache"), request)?;
            load(&store, &options).map_err(what)
        }
        Reference::Layout { directory, tag } => {
            load(&layout::Layout::directory(&directory, tag)?, &options).map_err(what)
        }
        Reference::OciArchive { file, tag } => {
            load(&layout::Layout::archive(&file, tag)?, &options).map_err(what)
        }
        Reference::DockerArchive { file, name } => {
            layout::docker_archive(&file, name.as_deref()).map_err(what)
        }
    }
}

fn load(store: &dyn Store, options: &Parsed) -> Result<Image> {
    let mut bytes = store.root()?;
    // An index may name others; a few steps are enough for all that make sense.
    for _ in 0..4 {
        let is_index = serde_json::from_slice::<serde_json::Value>(&bytes)
            .map_err(|e| Error::invalid(format!("the manifest is no JSON: {e}")))?
            .get("manifests")
            .is_some();
        if !is_index {
            return of_manifest(store, &bytes);
        }
        let index =
            ImageIndex::from_reader(&*bytes).map_err(|e| Error::invalid(format!("the index: {e}")))?;
        let chosen = choose(&index, options.get("platform"))?;
        let (digest, size) = (chosen.digest().clone(), chosen.size());
        bytes = store.manifest(&digest, size)?;
        check(&bytes, &digest, size)?;
    }
    Err(Error::invalid("indexes in indexes without end"))
}

/// The manifest of a platform.
fn choose<'a>(index: &'a ImageIndex, platform: Option<&str>) -> Result<&'a oci_spec::image::Descriptor> {
    let wanted = platform.unwrap_or(match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "x86" => "linux/386",
        "aarch64" => "linux/arm64",
        "arm" => "linux/arm/v7",
        "powerpc64" => "linux/ppc64le",
        "loongarch64" => "linux/loong64",
        other => return Err(Error::invalid(format!("{other}: say --platform"))),
    });
    let mut parts = wanted.split('/');
    let (os, arch, variant) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let fits = |d: &&oci_spec::image::Descriptor| match d.platform() {
        // A layout with one image need not say for what it is.
        None => index.manifests().len() == 1,
        Some(p) => {
            p.os() == &Os::from(os)
                && p.architecture() == &Arch::from(arch)
                && (variant.is_none() || p.variant().is_none() || p.variant().as_deref() == variant)
        }
    };
    index.manifests().iter().find(fits).ok_or_else(|| {
        let have: Vec<String> = index
            .manifests()
            .iter()
            .filter_map(|d| d.platform().as_ref())
            .map(|p| format!("{}/{}", p.os(), p.architecture()))
            .collect();
        Error::invalid(format!("the image is not there for {wanted}, but for {}", have.join(", ")))
    })
}

fn of_manifest(store: &dyn Store, bytes: &[u8]) -> Result<Image> {
    let manifest =
        ImageManifest::from_reader(bytes).map_err(|e| Error::invalid(format!("the manifest: {e}")))?;
    if manifest.layers().len() > MAX_LAYERS {
        return Err(Error::invalid(format!("{} layers are too many", manifest.layers().len())));
    }
    let described = manifest.config();
    let config = document(store.blob(described.digest(), described.size())?)?;
    check(&config, described.digest(), described.size())?;
    let config = ImageConfiguration::from_reader(&*config)
        .map_err(|e| Error::invalid(format!("the configuration of the image: {e}")))?;
    let mut layers = Vec::new();
    for layer in manifest.layers() {
        let kind = layer.media_type().to_string();
        if !kind.contains("tar") {
            return Err(Error::unsupported(format!(
                "a layer of type {kind}: only tar archives are unpacked"
            )));
        }
        let blob = store.blob(layer.digest(), layer.size())?;
        check_slice(&blob, layer.digest(), layer.size())?;
        layers.push(blob);
    }
    Ok(Image { layers, config })
}

/// Whether a document is the one of a digest.
fn check(bytes: &[u8], digest: &Digest, size: u64) -> Result<()> {
    if bytes.len() as u64 != size {
        return Err(Error::invalid(format!("{digest}: {} bytes, and not {size}", bytes.len())));
    }
    compare(digest, &digest::of_bytes(bytes))
}

/// The same of a blob that is not kept in memory.
fn check_slice(blob: &Slice, digest: &Digest, size: u64) -> Result<()> {
    if blob.length() != size {
        return Err(Error::invalid(format!("{digest}: {} bytes, and not {size}", blob.length())));
    }
    let found = blob.again().and_then(|mut blob| digest::of(&mut blob)).doing(|| format!("read {digest}"))?;
    compare(digest, &found)
}

fn compare(digest: &impl std::fmt::Display, found: &str) -> Result<()> {
    let found = format!("sha256:{found}");
    if found == digest.to_string() {
        return Ok(());
    }
    Err(Error::invalid(format!("{digest}: what is there has the digest {found}: it was changed")))
}

impl Image {
    /// Unpacks the layers, one above the other; returns the configuration.
    ///
    /// # Errors
    /// A layer is refused, or a file cannot be written.
    pub fn fill(&self, request: &Request<'_>) -> Result<String> {
        let root = Root::open(request.rootfs)?;
        let options = Options { layer: true, ..Options::default() };
        let mut totals = Totals::default();
        for (number, layer) in self.layers.iter().enumerate() {
            request.say(&format!("Unpacking layer {} of {}", number + 1, self.layers.len()));
            let blob = layer.again().doing(|| "read a layer")?;
            unpack(Box::new(blob), &root, &options, &mut totals)
                .map_err(|e| e.during(format!("layer {}", number + 1)))?;
        }
        self.configuration(request, &root)
    }

    fn configuration(&self, request: &Request<'_>, root: &Root) -> Result<String> {
        let config = self.config.config().clone().unwrap_or_default();
        let command = command(config.entrypoint(), config.cmd())?;
        let share = paths::share_dir().join("config");
        let include = |name: &str| format!("lxc.include = {}\n", share.join(name).display());
        let mut out =
            format!("lxc.execute.cmd = '{command}'\nlxc.mount.auto = proc:mixed sys:mixed cgroup:mixed\n");
        for variable in config.env().iter().flatten() {
            one_line(variable)?;
            // A name alone would be the variable of whoever starts the container.
            match variable.split_once('=') {
                Some((name, _)) if !name.is_empty() => {
                    out.push_str(&format!("lxc.environment = \"{variable}\"\n"));
                }
                _ => log::info!("the image's environment has {variable:?}, which is no variable"),
            }
        }
        out.push_str(&include("common.conf"));
        if request.mapped {
            out.push_str(&include("userns.conf"));
        }
        out.push_str(&include("oci.common.conf"));
        out.push_str(&format!("lxc.uts.name = {}\n", request.name));
        let (uid, gid) = user_of(config.user().as_deref().unwrap_or_default(), root)?;
        out.push_str(&format!("lxc.init.uid = {uid}\nlxc.init.gid = {gid}\n"));
        let cwd = config.working_dir().as_deref().filter(|d| !d.is_empty()).unwrap_or("/");
        one_line(cwd)?;
        drop(root.make_dir(cwd.trim_start_matches('/'), 0o755)?);
        out.push_str(&format!("lxc.init.cwd = {cwd}\n"));
        if let Some(signal) =
            config.stop_signal().as_deref().filter(|s| s.chars().all(|c| c.is_ascii_alphanumeric()))
        {
            out.push_str(&format!("lxc.signal.halt = {signal}\n"));
        }
        for volume in config.volumes().iter().flatten() {
            one_line(volume)?;
            // The root file system stays as it is between two starts: a volume is a directory of it.
            drop(root.make_dir(volume.trim_start_matches('/'), 0o755)?);
            out.push_str(&format!("# Volume of the image: {volume}\n"));
        }
        root.put_file("etc/hostname", 0o644, format!("{}\n", request.name).as_bytes())?;
        if !root.exists("etc/hosts") {
            let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {}\n", request.name);
            root.put_file("etc/hosts", 0o644, hosts.as_bytes())?;
        }
        Ok(out)
    }
}

/// Entry point and arguments as `lxc.execute.cmd` has them: in quotes, for which there are no escapes.
fn command(entry: &Option<Vec<String>>, words: &Option<Vec<String>>) -> Result<String> {
    let quoted = |words: &Option<Vec<String>>| -> Result<String> {
        let mut out = String::new();
        for word in words.iter().flatten() {
            one_line(word)?;
            // A word with both kinds of quotes is put together of parts.
            let parts = word.split('"').map(|part| format!("\"{part}\"")).collect::<Vec<_>>();
            out.push_str(&parts.join("'\"'"));
            out.push(' ');
        }
        Ok(out)
    };
    let (entry, words) = (quoted(entry)?, quoted(words)?);
    Ok(match (entry.is_empty(), words.is_empty()) {
        (true, true) => "\"/bin/sh\" ".to_string(),
        (true, false) => words,
        (false, _) => format!("{entry} {words}"),
    })
}

/// A value that would become another line of the configuration.
fn one_line(value: &str) -> Result<()> {
    if value.contains(['\n', '\r', '\0']) {
        return Err(Error::invalid(format!("{value:?} in the configuration of the image has a line break")));
    }
    Ok(())
}

/// `USER[:GROUP]`, names or numbers, as the image's own passwd and group say.
fn user_of(text: &str, root: &Root) -> Result<(u32, u32)> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let read = |file: &str| {
        let bytes = if root.is_file(file) { root.read_file(file, 1 << 20)? } else { Vec::new() };
        Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let missing = |what: &str, file: &str| Error::invalid(format!("the image's {what} is not in its {file}"));
    let passwd = read("etc/passwd")?;
    let line = |text: &str, name: &str, field: usize| {
        let found =
            text.lines().find(|l| l.split(':').next() == Some(name) || l.split(':').nth(2) == Some(name));
        found.and_then(|l| l.split(':').nth(field)?.parse::<u32>().ok())
    };
    let (uid, default_gid) = match user {
        "" => (0, 0),
        user => {
            let uid = user.parse().ok().or_else(|| line(&passwd, user, 2));
            let uid = uid.ok_or_else(|| missing(&format!("user {user}"), "etc/passwd"))?;
            (uid, line(&passwd, user, 3).unwrap_or(0))
        }
    };
    let gid = match group {
        None | Some("") => default_gid,
        Some(group) => {
            let file = read("etc/group")?;
            let gid = group.parse().ok().or_else(|| line(&file, group, 2));
            gid.ok_or_else(|| missing(&format!("group {group}"), "etc/group"))?
        }
    };
    Ok((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back() {
        for words in [&["/bin/sh", "-c", "exit 4"][..], &["a", "", "b'c", "d\"e", "'\"'", "\\n $x"]] {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            let text = command(&Some(words[..1].to_vec()), &Some(words[1..].to_vec())).expect("a command");
            assert_eq!(lxc_config::split_command(&text).expect("words"), words, "{text}");
        }
        assert_eq!(command(&None, &None).expect("a shell"), "\"/bin/sh\" ");
        assert!(command(&None, &Some(vec!["a\nb".into()])).is_err());
    }
}

//! Registries (OCI distribution specification).

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::Digest;

use super::reference::Name;
use super::{MAX_DOCUMENT, Slice, Store, compare};
use crate::error::{Doing, Error, Kind, Result};
use crate::template::fetch::{self, Client};
use crate::template::{Request, digest};
use crate::{files, paths};

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

pub(super) struct Registry<'a> {
    client: Client,
    name: Name,
    account: Option<(String, String)>,
    /// The header that the registry wants.
    authorization: RefCell<Option<String>>,
    cache: PathBuf,
    fresh: bool,
    request: &'a Request<'a>,
}

impl<'a> Registry<'a> {
    pub(super) fn connect(
        name: &Name,
        account: Option<(String, String)>,
        fresh: bool,
        request: &'a Request<'a>,
    ) -> Result<Registry<'a>> {
        let cache = crate::template::cache_dir().join("oci/blobs/sha256");
        crate::template::make_cache(&cache)?;
        let account = account.or_else(|| known_account(&name.host));
        Ok(Registry {
            client: Client::new()?,
            name: name.clone(),
            account,
            authorization: RefCell::default(),
            cache,
            fresh,
            request,
        })
    }

    fn url(&self, kind: &str, what: &str) -> String {
        format!("https://{}/v2/{}/{kind}/{what}", self.name.host, self.name.repository)
    }

    fn headers(&self, accept: Option<&str>) -> Vec<(&'static str, String)> {
        let accept = accept.map(|a| ("Accept", a.to_string()));
        let authorization = self.authorization.borrow().clone().map(|a| ("Authorization", a));
        accept.into_iter().chain(authorization).collect()
    }

    fn basic(&self) -> Option<String> {
        let (user, password) = self.account.as_ref()?;
        Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// Does as a registry says that wants to know who asks.
    fn authorize(&self, challenge: &str) -> Result<()> {
        let refuse = |text: String| Error::new(Kind::Denied, format!("{}: {text}", self.name.host));
        let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            let basic = self.basic().ok_or_else(|| {
                refuse("it wants a name and a password".into())
                    .with_hint("--username and --password, or auth.json")
            })?;
            *self.authorization.borrow_mut() = Some(basic);
            return Ok(());
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refuse(format!("it wants {scheme}, which is not known")));
        }
        let parameters = parameters(rest);
        let get =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let realm = get("realm").ok_or_else(|| refuse("it does not say where to ask".into()))?;
        if !realm.starts_with("https://") {
            return Err(refuse(format!("it wants the password sent to {realm}, without TLS")));
        }
        let default = format!("repository:{}:pull", self.name.repository);
        let scope = get("scope").unwrap_or(&default);
        let service = get("service").map(|s| format!("&service={}", escape(s))).unwrap_or_default();
        let url =
            format!("{realm}{}scope={}{service}", if realm.contains('?') { "&" } else { "?" }, escape(scope));
        let headers: Vec<(&str, String)> = self.basic().into_iter().map(|b| ("Authorization", b)).collect();
        let mut answer = self.client.get(&url, &headers)?;
        if !answer.status().is_success() {
            return Err(refuse(format!("the account is refused: {}", answer.status())));
        }
        let body: serde_json::Value = serde_json::from_slice(&fetch::body(&mut answer, &url)?)
            .map_err(|_| refuse("the token is no JSON".into()))?;
        let token = body["token"].as_str().or(body["access_token"].as_str());
        let token = token.ok_or_else(|| refuse("there is no token in the answer".into()))?;
        *self.authorization.borrow_mut() = Some(format!("Bearer {token}"));
        Ok(())
    }

    /// Asks, and asks again as somebody.
    fn ask(&self, url: &str, accept: Option<&str>) -> Result<fetch::Answer> {
        let answer = self.client.get(url, &self.headers(accept))?;
        if answer.status().as_u16() != 401 {
            return Ok(answer);
        }
        let challenge = answer.headers().get("www-authenticate").and_then(|v| v.to_str().ok());
        self.authorize(challenge.unwrap_or_default())?;
        self.client.get(url, &self.headers(accept))
    }

    fn document(&self, reference: &str) -> Result<Vec<u8>> {
        let url = self.url("manifests", reference);
        let mut answer = self.ask(&url, Some(ACCEPTED))?;
        match answer.status().as_u16() {
            200 => {}
            401 | 403 => return Err(Error::new(Kind::Denied, format!("{url}: the registry refuses"))),
            404 => return Err(Error::invalid(format!("{url}: the registry has no such image"))),
            status => return Err(Error::new(Kind::Failed, format!("{url}: the registry answers {status}"))),
        }
        let bytes = fetch::body(&mut answer, &url)?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Error::invalid(format!("{url}: {} bytes are too much for a manifest", bytes.len())));
        }
        Ok(bytes)
    }
}

impl Store for Registry<'_> {
    fn root(&self) -> Result<Vec<u8>> {
        let bytes = self.document(&self.name.reference)?;
        if self.name.reference.starts_with("sha256:") {
            compare(&self.name.reference, &digest::of_bytes(&bytes))?;
        }
        Ok(bytes)
    }

    fn manifest(&self, digest: &Digest, _: u64) -> Result<Vec<u8>> {
        self.document(digest.as_ref())
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Slice> {
        if digest.algorithm().to_string() != "sha256" {
            return Err(Error::unsupported(format!("{digest}: only sha256 is checked")));
        }
        let path = self.cache.join(digest.digest());
        let open = |path: &Path| {
            File::open(path).and_then(Slice::whole).doing(|| format!("open {}", path.display()))
        };
        if path.exists() && !self.fresh {
            return open(&path);
        }
        self.request.say(&format!("Downloading {digest}, {} KiB", size.div_ceil(1024)));
        let url = self.url("blobs", digest.as_ref());
        // Registries want to know of everything who asks; the token may have been given out for another thing.
        if self.authorization.borrow().is_none() {
            drop(self.ask(&self.url("manifests", &self.name.reference), Some(ACCEPTED))?);
        }
        let part = path.with_extension(format!("part-{}", rustix::process::getpid().as_raw_nonzero()));
        let _ = std::fs::remove_file(&part);
        let get = || {
            let progress = |have: u64, _| self.request.received(have, Some(size));
            self.client.file(&url, &part, &self.headers(None), size, &progress)
        };
        let sum = match get() {
            // Tokens are good for minutes only.
            Err(e) if e.kind() == Kind::Denied => {
                *self.authorization.borrow_mut() = None;
                drop(self.ask(&self.url("manifests", &self.name.reference), Some(ACCEPTED))?);
                get()
            }
            sum => sum,
        };
        let done = sum.and_then(|sum| {
            compare(digest, &sum)?;
            std::fs::rename(&part, &path).doing(|| format!("rename {}", part.display()))
        });
        done.inspect_err(|_| drop(std::fs::remove_file(&part)))?;
        open(&path)
    }
}

/// `name="value",name=value`
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        out.push((name.trim().to_ascii_lowercase(), value.to_string()));
        rest = next.trim_start_matches([',', ' ']);
    }
    out
}

/// For the query of an address.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The account of a registry that the user's own files know (containers-auth.json(5)).
fn known_account(host: &str) -> Option<(String, String)> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let places = [
        variable("REGISTRY_AUTH_FILE"),
        variable("XDG_RUNTIME_DIR").map(|d| d.join("containers/auth.json")),
        Some(paths::home().join(".config/containers/auth.json")),
        Some(paths::home().join(".docker/config.json")),
    ];
    let host = if host == "registry-1.docker.io" { "https://index.docker.io/v1/" } else { host };
    places.into_iter().flatten().find_map(|path| {
        let json: serde_json::Value = serde_json::from_slice(&files::read_small(&path).ok()?).ok()?;
        let auths = json.get("auths")?;
        let entry = auths
            .get(host)
            .or_else(|| auths.get("docker.io").filter(|_| host == "https://index.docker.io/v1/"))?;
        let decoded = STANDARD.decode(entry.get("auth")?.as_str()?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        text.split_once(':').map(|(user, password)| (user.to_string(), password.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let found = parameters("realm=\"https://a/t\",service=\"b, c\",scope=x");
        let pairs: Vec<(&str, &str)> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("realm", "https://a/t"), ("service", "b, c"), ("scope", "x")]);
        assert_eq!(escape("repository:a/b:pull&x"), "repository:a/b:pull%26x");
    }
}

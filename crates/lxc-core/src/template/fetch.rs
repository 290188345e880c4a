//! Files of servers, by HTTPS: resumed where they were cut off, checked while they arrive.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, http};

use super::digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::program;

/// Largest answer that is kept in memory: indexes, manifests.
const MAX_TEXT: u64 = 64 << 20;
/// Until a server has answered, and between two parts of what it sends.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often something is tried that the network may have spoilt.
const TRIES: u32 = 3;
/// Bundles of root certificates of distributions.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// A client of HTTPS servers.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
}

/// What a server has answered.
pub type Answer = http::Response<Body>;

impl Client {
    /// A client that trusts the host's root certificates, or those of the file that SSL_CERT_FILE names.
    ///
    /// # Errors
    /// That file cannot be read.
    pub fn new() -> Result<Client> {
        Client::with_plain_http(false)
    }

    /// The same; with `plain` it asks servers without TLS too, and goes where they send it.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_plain_http(plain: bool) -> Result<Client> {
        let mut roots = RootCerts::WebPki;
        let named = std::env::var_os("SSL_CERT_FILE").filter(|f| !f.is_empty());
        let bundle = match &named {
            Some(file) => {
                Some(std::fs::read(file).doing(|| format!("read SSL_CERT_FILE = {}", file.display()))?)
            }
            None => BUNDLES.iter().find_map(|file| std::fs::read(file).ok()),
        };
        if let Some(bundle) = bundle {
            let items = ureq::tls::parse_pem(&bundle).filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            roots = RootCerts::Specific(Arc::new(items.collect()));
        }
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .https_only(!plain)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(format!("lxc/{} compat:7", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Client { agent: Agent::with_parts(config, DefaultConnector::default(), HostNames) })
    }

    /// Asks for something; answers of every status are answers. What the network spoils is tried again.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get(&self, url: &str, headers: &[(&str, String)]) -> Result<Answer> {
        let mut last = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(Duration::from_secs(u64::from(attempt)));
            }
            let mut request = self.agent.get(url);
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            match request.call() {
                Ok(answer) if answer.status().is_server_error() => {
                    last = format!("the server answers {}", answer.status());
                }
                Ok(answer) => return Ok(answer),
                Err(e) => {
                    last = e.to_string();
                    // Certificates and names that are wrong stay wrong.
                    if matches!(e, ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::BadUri(_)) {
                        break;
                    }
                }
            }
        }
        Err(Error::new(Kind::Failed, format!("Failed to download {url}: {last}")))
    }

    /// The text behind an address; `None` where the server has none.
    ///
    /// # Errors
    /// No answer, another status than 200 or 404, or more text than such a thing has.
    pub fn text(&self, url: &str) -> Result<Option<Vec<u8>>> {
        let mut answer = self.get(url, &[])?;
        match answer.status().as_u16() {
            200 => body(&mut answer, url).map(Some),
            403 | 404 | 410 => Ok(None),
            status => Err(Error::new(
                Kind::Failed,
                format!("Failed to download {url}: the server answers {status}"),
            )),
        }
    }

    /// Downloads a file; what is there of it already is gone on from. Returns its SHA-256. `progress` is told how many
    /// bytes are here, and how many it will be.
    ///
    /// # Errors
    /// No answer, another status (of kind Denied: 401), more than `most` bytes, or the file cannot be written. What has
    /// arrived stays, to go on from.
    pub fn file(
        &self,
        url: &str,
        path: &Path,
        headers: &[(&str, String)],
        most: u64,
        progress: &dyn Fn(u64, Option<u64>),
    ) -> Result<String> {
        let what = || format!("write {}", path.display());
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).doing(what)?;
        let mut sum = Sha256::new();
        let mut have = digest::add(&mut file, &mut sum).doing(what)?;
        let mut failed = None;
        for _ in 0..TRIES {
            let mut headers = headers.to_vec();
            if have > 0 {
                headers.push(("Range", format!("bytes={have}-")));
            }
            let mut answer = self.get(url, &headers)?;
            match answer.status().as_u16() {
                206 => {}
                200 => {
                    // From the beginning.
                    file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).doing(what)?;
                    sum = Sha256::new();
                    have = 0;
                }
                // Nothing is behind what is there.
                416 if have > 0 => return Ok(digest::digits(sum)),
                status => {
                    let text = format!("Failed to download {url}: the server answers {status}");
                    return Err(Error::new(if status == 401 { Kind::Denied } else { Kind::Failed }, text));
                }
            }
            match receive(&mut answer, &mut file, &mut sum, &mut have, most, progress) {
                Ok(()) => {
                    file.sync_all().doing(what)?;
                    return Ok(digest::digits(sum));
                }
                Err(Fault::Here(e)) => return Err(e.during(what())),
                // Cut off: go on from there.
                Err(Fault::Network(text)) => failed = Some(text),
            }
        }
        Err(Error::new(Kind::Failed, format!("Failed to download {url}: {}", failed.unwrap_or_default())))
    }
}

enum Fault {
    Network(String),
    Here(Error),
}

fn receive(
    answer: &mut Answer,
    file: &mut File,
    sum: &mut Sha256,
    have: &mut u64,
    most: u64,
    progress: &dyn Fn(u64, Option<u64>),
) -> std::result::Result<(), Fault> {
    let length: Option<u64> =
        answer.headers().get("content-length").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let mut reader = answer.body_mut().with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 128 * 1024];
    let mut got = 0;
    let all = length.map(|length| *have + length);
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) => return Err(Fault::Network(e.to_string())),
        };
        if *have + n as u64 > most {
            return Err(Fault::Here(Error::invalid(format!("the server sends more than {most} bytes"))));
        }
        file.write_all(&buffer[..n]).doing(|| "write").map_err(Fault::Here)?;
        sum.update(&buffer[..n]);
        *have += n as u64;
        got += n as u64;
        progress(*have, all);
    }
    match length {
        Some(length) if got < length => Err(Fault::Network(format!("cut off after {got} of {length} bytes"))),
        _ => Ok(()),
    }
}

/// The whole of an answer that is kept in memory.
///
/// # Errors
/// It is cut off, or too much.
pub fn body(answer: &mut Answer, url: &str) -> Result<Vec<u8>> {
    answer
        .body_mut()
        .with_config()
        .limit(MAX_TEXT)
        .read_to_vec()
        .map_err(|e| Error::new(Kind::Failed, format!("Failed to download {url}: {e}")))
}

/// Addresses of names as the host finds them. This program is linked statically: the C library's own look-up would need
/// its modules at run time.
#[derive(Debug)]
struct HostNames;

impl Resolver for HostNames {
    fn resolve(
        &self,
        uri: &http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(default);
        let found: Vec<IpAddr> = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => {
                let said = program::run("getent", &["ahosts", host]).unwrap_or_default();
                said.lines().filter_map(|l| l.split_whitespace().next()?.parse().ok()).collect()
            }
        };
        let mut addresses = self.empty();
        for address in found {
            if addresses.len() < 16 && !addresses.iter().any(|a| a.ip() == address) {
                addresses.push(SocketAddr::new(address, port));
            }
        }
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

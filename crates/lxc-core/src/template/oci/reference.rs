//! Names of images, as containers-transports(5) has them.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// At a registry.
    Registry(Name),
    /// In a directory with the layout of OCI.
    Layout {
        /// The directory.
        directory: PathBuf,
        /// Which of its images; the only one.
        tag: Option<String>,
    },
    /// In an archive of such a directory.
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// Which of its images; the only one.
        tag: Option<String>,
    },
    /// In an archive that `docker save` has made.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// Which of its images; the only one.
        name: Option<String>,
    },
}

/// An image at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Host, with a port.
    pub host: String,
    /// What the registry knows it by.
    pub repository: String,
    /// Tag or digest.
    pub reference: String,
}

impl Reference {
    /// Reads a name with its transport.
    ///
    /// # Errors
    /// The transport is not known, or the rest is no name.
    pub fn parse(url: &str) -> Result<Reference> {
        let tagged = |rest: &str| match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !path.is_empty() => {
                (PathBuf::from(path), Some(tag.to_string()))
            }
            _ => (PathBuf::from(rest), None),
        };
        let bad = || {
            Error::invalid(format!("{url}: no name of an image")).with_hint(
                "docker://[HOST/]NAME[:TAG|@DIGEST], oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG] or \
                 docker-archive:FILE[:NAME]",
            )
        };
        if let Some(rest) = url.strip_prefix("docker://") {
            return Name::parse(rest).map(Reference::Registry).ok_or_else(bad);
        }
        let (transport, rest) = url.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or_else(bad)?;
        Ok(match transport {
            "oci" => {
                let (directory, tag) = tagged(rest);
                Reference::Layout { directory, tag }
            }
            "oci-archive" => {
                let (file, tag) = tagged(rest);
                Reference::OciArchive { file, tag }
            }
            "docker-archive" => {
                // The name has a colon of its own.
                let (file, name) =
                    rest.split_once(':').map_or((rest, None), |(f, n)| (f, Some(n.to_string())));
                Reference::DockerArchive { file: file.into(), name }
            }
            _ => return Err(bad()),
        })
    }
}

impl Name {
    fn parse(text: &str) -> Option<Name> {
        // The first part is a host if it looks like one.
        let (host, path) = match text.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => ("docker.io", text),
        };
        let (path, reference) = match path.split_once('@') {
            // No other digest is checked.
            Some((_, digest)) if !digest.starts_with("sha256:") => return None,
            Some((path, digest)) => {
                let path = path.rsplit_once(':').map_or(path, |(path, _)| path);
                (path, digest.to_string())
            }
            None => match path.rsplit_once(':') {
                Some((path, tag)) => (path, tag.to_string()),
                None => (path, "latest".to_string()),
            },
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let well_formed = !path.is_empty()
            && path.chars().all(plain)
            && !path.split('/').any(|part| part.is_empty() || part == "..")
            && !reference.is_empty()
            && reference.chars().all(|c| c.is_ascii_alphanumeric() || "._-:+".contains(c))
            && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
        if !well_formed {
            return None;
        }
        let (host, repository) = match host {
            "docker.io" | "index.docker.io" => {
                let official = if path.contains('/') { path.to_string() } else { format!("library/{path}") };
                ("registry-1.docker.io", official)
            }
            host => (host, path.to_string()),
        };
        Some(Name { host: host.to_string(), repository, reference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let registry = |text: &str| match Reference::parse(text) {
            Ok(Reference::Registry(n)) => (n.host, n.repository, n.reference),
            other => panic!("{text}: {other:?}"),
        };
        let is = |text: &str, host: &str, repository: &str, reference: &str| {
            assert_eq!(registry(text), (host.to_string(), repository.to_string(), reference.to_string()));
        };
        is("docker://debian", "registry-1.docker.io", "library/debian", "latest");
        is("docker://me/app:1", "registry-1.docker.io", "me/app", "1");
        is("docker://localhost:5000/a/b:x", "localhost:5000", "a/b", "x");
        is("docker://quay.io/a/b:x@sha256:00ff", "quay.io", "a/b", "sha256:00ff");
        for bad in [
            "docker://",
            "docker://a/../b",
            "docker://a b",
            "docker://a@sha512:00",
            "docker://a@SHA256:00",
            "x:y",
            "oci:",
            "plain",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Reference::parse("oci:/a/b:tag").expect("a layout"),
            Reference::Layout { directory: "/a/b".into(), tag: Some("tag".into()) }
        );
        assert_eq!(
            Reference::parse("docker-archive:/a.tar:app:1").expect("an archive"),
            Reference::DockerArchive { file: "/a.tar".into(), name: Some("app:1".into()) }
        );
    }
}

//! A container of archives on this host: one of the root file system, and one of files about it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Request;
use super::image::{self, Image};
use super::options::{Parsed, Spec};
use super::unpack::small_files;
use crate::error::{Error, Result};

/// Options of this template.
pub const HELP: &str = "Template options of local:
  -f, --fstree=TAR    archive of the root file system
  -m, --metadata=TAR  archive of files about it: config, fstab, templates, excludes
      --no-dev        leave out the device nodes in dev
";

const SPEC: Spec = Spec {
    template: "local",
    help: HELP,
    with_value: &[('f', "fstree"), ('m', "metadata")],
    flags: &[('\0', "no-dev")],
};

/// Opens the archives.
///
/// # Errors
/// The options are none, or an archive cannot be read.
pub fn prepare(request: &Request<'_>) -> Result<Image> {
    let options = Parsed::of(&SPEC, request.arguments)?;
    let tree = options.get("fstree").map(PathBuf::from);
    let tree =
        tree.ok_or_else(|| Error::invalid("template local: --fstree=TAR is missing").with_hint(HELP))?;
    let metadata = match options.get("metadata") {
        Some(file) => {
            request.say(&format!("Using metadata file: {file}"));
            small_files(Box::new(image::open(file.as_ref())?)).map_err(|e| e.during(file.to_string()))?
        }
        None => BTreeMap::new(),
    };
    request.say(&format!("Using rootfs file: {}", tree.display()));
    let without_dev = options.has("no-dev");
    Ok(Image { rootfs: image::open(&tree)?, metadata, without_dev, needs_config: false })
}

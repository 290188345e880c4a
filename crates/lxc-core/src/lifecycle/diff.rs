//! What has changed in a container's root file system.

use super::copy::open_to_read;
use super::making::identity_of;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::plan::Storage;
use crate::spawn::isolated::with_ids_of;
use crate::storage::compare::{Difference, Look, compare};
use crate::storage::overlay;

impl Container {
    /// What has changed since a snapshot; without one since the lower layers of an overlay, or the last snapshot.
    /// `show` gets the differences.
    ///
    /// # Errors
    /// There is nothing to compare with, or a file cannot be looked at.
    pub fn differences(&self, snapshot: Option<&str>, show: &mut dyn FnMut(Vec<Difference>)) -> Result<()> {
        let own = Storage::of(&self.config.values)?.ok_or_else(|| Error::invalid("No rootfs specified"))?;
        let old = match (snapshot, &own) {
            (Some(name), _) => self.storage_of_snapshot(name)?,
            (None, Storage::Overlay { lower, .. }) => overlay::lower_only(lower),
            (None, _) => {
                let last = self.snapshots()?.pop().ok_or_else(|| {
                    Error::invalid(format!("{} has no snapshot to compare with", self.name()))
                        .with_hint("lxc-snapshot takes one; an overlay is compared with what is below it")
                })?;
                self.storage_of_snapshot(&last.name)?
            }
        };
        with_ids_of(&identity_of(self), || {
            let ((old, _held), (new, _too)) = (open_to_read(&old)?, open_to_read(&own)?);
            show(compare(old.fd(), new.fd(), Look::Quick)?);
            Ok(())
        })
    }

    fn storage_of_snapshot(&self, name: &str) -> Result<Storage> {
        let snapshot = self.open_snapshot(name)?;
        Storage::of(&snapshot.config.values)?.ok_or_else(|| Error::invalid("No rootfs specified"))
    }
}

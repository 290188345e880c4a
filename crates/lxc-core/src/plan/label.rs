//! The security label that init runs under (spec: security, section 3).

use std::path::Path;

use lxc_config::Values;

use super::host::Host;
use crate::error::{Error, Result};

/// Label of a process that no profile confines.
pub const UNCONFINED: &str = "unconfined";
/// Longest name of a generated profile, in bytes; the kernel takes 255 with a namespace in front.
const LONGEST_NAME: usize = 246;
/// The profile of lxc-start itself: whoever has it may change to those of containers.
const OF_THIS_PROGRAM: [&str; 2] = [UNCONFINED, "/usr/bin/lxc-start"];

/// What becomes of the label of whoever starts the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LabelPlan {
    /// It stays.
    #[default]
    Keep,
    /// Init changes to an AppArmor profile that is loaded.
    Profile(String),
    /// Init changes to an AppArmor profile that is made for this container.
    Generated(GeneratedProfile),
    /// Init is executed in a context of SELinux.
    Context(String),
}

/// A label, and of which module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// An AppArmor profile.
    AppArmor(String),
    /// A context of SELinux.
    SeLinux(String),
}

/// Names of a profile that is made for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedProfile {
    /// Name of the profile.
    pub name: String,
    /// Name of its file, and of the policy namespace.
    pub file: String,
    /// The container gets a policy namespace of its own, where it can load profiles.
    pub stacked: bool,
}

impl GeneratedProfile {
    fn of(lxcpath: &Path, container: &str, stacked: bool) -> GeneratedProfile {
        let full = format!("lxc-{container}_<{}>", lxcpath.display());
        let name = if full.len() > LONGEST_NAME { format!("{:016x}", fnv1a(full.as_bytes())) } else { full };
        GeneratedProfile { file: name.replace('/', "-"), name, stacked }
    }

    /// The label: the profile, and with it whatever the container's own namespace confines it to.
    pub fn label(&self) -> String {
        if self.stacked { format!("{}//&:{}:", self.name, self.file) } else { self.name.clone() }
    }
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): what upstream shortens names with.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl LabelPlan {
    /// Decides from the keys and the host.
    pub fn resolve(values: &Values, lxcpath: &Path, container: &str, host: &Host) -> Result<LabelPlan> {
        const KEY: &str = "lxc.apparmor.profile";
        // One of them labels: AppArmor where both are there.
        let Some(apparmor) = &host.apparmor else {
            let context = context(values).filter(|_| host.selinux);
            return Ok(context.map_or(LabelPlan::Keep, |c| LabelPlan::Context(c.clone())));
        };
        let values = &values.apparmor;
        let profile = values.profile.as_deref();
        let free = OF_THIS_PROGRAM.contains(&apparmor.label.as_str());
        match profile {
            Some("unchanged") => return Ok(LabelPlan::Keep),
            Some(UNCONFINED) if apparmor.label == UNCONFINED => return Ok(LabelPlan::Keep),
            Some(UNCONFINED) => return Ok(LabelPlan::Profile(UNCONFINED.into())),
            _ => {}
        }
        if !apparmor.mediates_mounts && !values.allow_incomplete {
            return Err(Error::unsupported(format!(
                "{KEY}: this kernel's AppArmor does not mediate mounts, which every profile for containers relies on"
            ))
            .with_hint("set lxc.apparmor.allow_incomplete = 1 to start all the same"));
        }
        match profile {
            Some("generated") => {
                Ok(LabelPlan::Generated(GeneratedProfile::of(lxcpath, container, apparmor.can_stack)))
            }
            Some(name) if !free && !apparmor.can_stack && name != apparmor.label => {
                Err(Error::invalid(format!(
                    "{KEY} = {name}: this process is confined by {} and its kernel cannot stack profiles",
                    apparmor.label
                ))
                .with_hint("set lxc.apparmor.profile = unchanged to keep that profile"))
            }
            Some(name) => Ok(LabelPlan::Profile(name.to_string())),
            // In a container whose kernel cannot stack there is nothing to change to.
            None if !free && !apparmor.can_stack => Ok(LabelPlan::Keep),
            None => Ok(LabelPlan::Profile(default_profile(host).into())),
        }
    }

    /// Whether init's label is another than that of whoever starts it.
    pub fn changes(&self) -> bool {
        *self != LabelPlan::Keep
    }

    /// What init's label becomes; `None` when it stays.
    pub fn label(&self) -> Option<Label> {
        match self {
            LabelPlan::Keep => None,
            LabelPlan::Profile(name) => Some(Label::AppArmor(name.clone())),
            LabelPlan::Generated(profile) => Some(Label::AppArmor(profile.label())),
            LabelPlan::Context(context) => Some(Label::SeLinux(context.clone())),
        }
    }
}

/// The context of `lxc.selinux.context`, unless it is to stay.
fn context(values: &Values) -> Option<&String> {
    values.selinux_context.as_ref().filter(|c| c.as_str() != "unconfined_t")
}

/// The context of keys that are made where SELinux labels containers: their own, or else that of init.
pub fn key_context(values: &Values, host: &Host) -> Option<String> {
    let context = values.selinux_keyring.as_ref().or_else(|| context(values));
    context.filter(|_| host.selinux && host.apparmor.is_none()).cloned()
}

fn default_profile(host: &Host) -> &'static str {
    if host.cgroup_namespaces { "lxc-container-default-cgns" } else { "lxc-container-default" }
}

#[cfg(test)]
mod tests {
    use lxc_config::AppArmor;

    use super::super::host::AppArmorHost;
    use super::*;

    fn resolve(profile: Option<&str>, label: &str, can_stack: bool) -> Result<LabelPlan> {
        let apparmor = AppArmor { profile: profile.map(str::to_string), ..AppArmor::default() };
        let values = Values { apparmor, ..Values::default() };
        let apparmor = AppArmorHost { label: label.into(), can_stack, mediates_mounts: true };
        let host = Host { apparmor: Some(apparmor), ..Host::for_tests() };
        LabelPlan::resolve(&values, Path::new("/c"), "web", &host)
    }

    #[test]
    fn the_label_of_init() {
        let label = |profile, own, stack| resolve(profile, own, stack).ok().map(|p| p.label());
        let some = |text: &str| Some(Some(Label::AppArmor(text.to_string())));
        assert_eq!(label(None, UNCONFINED, true), some("lxc-container-default-cgns"));
        assert_eq!(label(None, "/usr/bin/lxc-start", false), some("lxc-container-default-cgns"));
        assert_eq!(label(None, "other", false), Some(None));
        assert_eq!(label(Some("unchanged"), "other", false), Some(None));
        assert_eq!(label(Some(UNCONFINED), UNCONFINED, true), Some(None));
        assert_eq!(label(Some(UNCONFINED), "/usr/bin/lxc-start", true), some(UNCONFINED));
        assert_eq!(label(Some("mine"), "other", true), some("mine"));
        assert_eq!(label(Some("mine"), "other", false), None);
        assert_eq!(label(Some("generated"), UNCONFINED, true), some("lxc-web_</c>//&:lxc-web_<-c>:"));
        assert_eq!(label(Some("generated"), UNCONFINED, false), some("lxc-web_</c>"));
    }

    #[test]
    fn contexts() {
        let label = |context: &str, selinux, apparmor: bool| {
            let values = Values { selinux_context: Some(context.into()), ..Values::default() };
            let own = AppArmorHost { label: UNCONFINED.into(), can_stack: true, mediates_mounts: true };
            let host = Host { selinux, apparmor: apparmor.then_some(own), ..Host::for_tests() };
            LabelPlan::resolve(&values, Path::new("/c"), "web", &host).expect("a plan").label()
        };
        let context = "system_u:system_r:lxc_t:s0:c1,c2";
        assert_eq!(label(context, true, false), Some(Label::SeLinux(context.into())));
        assert_eq!(label(context, false, false), None);
        assert_eq!(label("unconfined_t", true, false), None);
        assert!(matches!(label(context, true, true), Some(Label::AppArmor(_))));
    }

    #[test]
    fn long_names_are_hashed() {
        let profile = GeneratedProfile::of(Path::new("/c"), &"x".repeat(250), false);
        assert_eq!(profile.name.len(), 16);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}

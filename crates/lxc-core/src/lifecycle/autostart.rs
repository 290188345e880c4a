//! Which containers a host starts and stops with itself, and in which order (spec: autostart, section 2).

use std::path::Path;

use super::discover;
use crate::container::Container;
use crate::error::Result;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Groups in their order; `None` stands for the containers that are in none.
    pub groups: Vec<Option<String>>,
    /// Whatever the groups.
    pub all: bool,
    /// Also containers without `lxc.start.auto`.
    pub ignore_auto: bool,
    /// The highest order first, as for stopping.
    pub reverse: bool,
}

/// Groups as `-g` names them, joined by commas: an empty one means the containers without a group. One that was
/// named before is left out.
pub fn parse_groups<'a>(lists: impl Iterator<Item = &'a str>) -> Vec<Option<String>> {
    let mut groups = Vec::new();
    for group in lists.flat_map(|list| list.split(',')).map(str::trim) {
        let group = (!group.is_empty()).then(|| group.to_string());
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    if groups.is_empty() { vec![None] } else { groups }
}

/// What the selection looks at.
trait Candidate {
    fn name(&self) -> &str;
    fn order(&self) -> i32;
    fn is_automatic(&self) -> bool;
    fn groups(&self) -> &[String];
}

impl Candidate for Container {
    fn name(&self) -> &str {
        Container::name(self)
    }

    fn order(&self) -> i32 {
        self.config.values.start.order
    }

    fn is_automatic(&self) -> bool {
        self.config.values.start.auto
    }

    fn groups(&self) -> &[String] {
        &self.config.values.groups
    }
}

/// By order and name; a container comes with the first of the groups that it is in.
fn select<C: Candidate>(mut all: Vec<C>, selection: &Selection) -> Vec<C> {
    all.retain(|c| selection.ignore_auto || c.is_automatic());
    all.sort_by(|a, b| (a.order(), a.name()).cmp(&(b.order(), b.name())));
    if selection.reverse {
        all.reverse();
    }
    if selection.all {
        return all;
    }
    let mut out = Vec::new();
    for group in &selection.groups {
        let (of_group, rest): (Vec<C>, Vec<C>) = all.into_iter().partition(|c| match group {
            Some(group) => c.groups().contains(group),
            None => c.groups().is_empty(),
        });
        out.extend(of_group);
        all = rest;
    }
    out
}

/// The containers of an lxcpath that are meant, in the order in which it is their turn. One whose configuration
/// cannot be read is logged and left out.
///
/// # Errors
/// The directory cannot be read.
pub fn selected(lxcpath: &Path, selection: &Selection) -> Result<Vec<Container>> {
    let names = discover::defined(lxcpath)?;
    let opened = discover::open_many(&names, lxcpath, |opened| {
        opened.inspect_err(|e| log::error!("{e}")).ok().filter(Container::is_defined)
    });
    Ok(select(opened.into_iter().flatten().collect(), selection))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(&'static str, i32, bool, Vec<String>);

    impl Candidate for Fake {
        fn name(&self) -> &str {
            self.0
        }
        fn order(&self) -> i32 {
            self.1
        }
        fn is_automatic(&self) -> bool {
            self.2
        }
        fn groups(&self) -> &[String] {
            &self.3
        }
    }

    fn names(groups: Option<&str>, all: bool, ignore_auto: bool, reverse: bool) -> Vec<&'static str> {
        let fake = |name, order, auto, groups: &str| {
            Fake(name, order, auto, groups.split_whitespace().map(str::to_string).collect())
        };
        let containers = vec![
            fake("ct-1", 10, true, ""),
            fake("ct-2", 5, true, "onboot"),
            fake("ct-3", 20, true, "web db"),
            fake("ct-4", 1, false, "web"),
            fake("ct-5", 5, true, "db"),
            fake("ct-6", 0, true, "webx"),
        ];
        let groups = parse_groups(groups.into_iter());
        select(containers, &Selection { groups, all, ignore_auto, reverse }).iter().map(|c| c.0).collect()
    }

    #[test]
    fn the_order_of_the_specification() {
        assert_eq!(names(None, false, false, false), ["ct-1"]);
        assert_eq!(names(None, true, false, false), ["ct-6", "ct-2", "ct-5", "ct-1", "ct-3"]);
        assert_eq!(names(None, true, true, false), ["ct-6", "ct-4", "ct-2", "ct-5", "ct-1", "ct-3"]);
        assert_eq!(names(Some("onboot,"), false, false, false), ["ct-2", "ct-1"]);
        assert_eq!(names(Some("web"), false, true, false), ["ct-4", "ct-3"]);
        assert_eq!(names(Some("web,db"), false, false, false), ["ct-3", "ct-5"]);
        assert_eq!(names(Some("db,web"), false, false, false), ["ct-5", "ct-3"]);
        assert_eq!(names(None, true, false, true), ["ct-3", "ct-1", "ct-5", "ct-2", "ct-6"]);
        assert_eq!(names(Some(",onboot"), false, false, false), ["ct-1", "ct-2"]);
        assert_eq!(names(Some("web,,onboot,web"), false, false, false), ["ct-3", "ct-1", "ct-2"]);
    }
}

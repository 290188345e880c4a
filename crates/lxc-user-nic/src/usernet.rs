//! Who may have how many devices: the lines of lxc-usernet(5).

/// What the caller is called in such lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Name of the user.
    pub login: String,
    /// Names of its supplementary groups.
    pub groups: Vec<String>,
}

impl Caller {
    /// Whether an owner in a line or a record is this user, or one of its groups with `@`.
    pub fn is(&self, owner: &str) -> bool {
        match owner.strip_prefix('@') {
            Some(group) => self.groups.iter().any(|g| g == group),
            None => owner == self.login,
        }
    }
}

/// One line that lets the caller have devices of a type on a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Whom the devices are counted for: a user, or `@` and a group.
    pub owner: String,
    /// How many.
    pub count: u64,
}

/// Longest word of a line.
const LONGEST: usize = 99;

/// The lines for a caller, a type and a bridge, in their order. A line that is not four words from its first column on
/// is none.
pub fn allowances(text: &str, caller: &Caller, kind: &str, bridge: &str) -> Vec<Allowance> {
    text.lines()
        .filter_map(|line| {
            if line.starts_with([' ', '\t', '#']) {
                return None;
            }
            let mut words = line.split([' ', '\t']).filter(|w| !w.is_empty());
            let (owner, its_kind, its_bridge, count) =
                (words.next()?, words.next()?, words.next()?, words.next()?);
            if [owner, its_kind, its_bridge].iter().any(|w| w.len() > LONGEST) {
                return None;
            }
            let for_caller = caller.is(owner) && its_kind == kind && its_bridge == bridge;
            let count = count.parse().ok().filter(|_| for_caller)?;
            Some(Allowance { owner: owner.to_string(), count })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller { login: "me".into(), groups: vec!["net".into()] }
    }

    #[test]
    fn lines() {
        let text = "# me veth br0 9\nme veth br0 2\n me veth br0 3\n@net\tveth  br0\t4\n@other veth br0 5\n\
                    me veth br0\nme veth br0 x\nme veth br1 6\nmehr veth br0 7\nme macvlan br0 8\n@me veth br0 9\n";
        let counts: Vec<u64> = allowances(text, &caller(), "veth", "br0").iter().map(|a| a.count).collect();
        assert_eq!(counts, [2, 4]);
        assert!(allowances(text, &caller(), "veth", "br").is_empty());
        let long = format!("me veth {} 1", "b".repeat(100));
        assert!(allowances(&long, &caller(), "veth", &"b".repeat(100)).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_there(text in "(?s).{0,200}", login in "[a-z@# ]{0,4}") {
            let caller = Caller { login: login.clone(), groups: vec![] };
            for allowance in allowances(&text, &caller, "veth", "br0") {
                proptest::prop_assert_eq!(allowance.owner, login.clone());
            }
        }
    }
}

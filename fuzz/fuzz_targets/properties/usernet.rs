//! What holds for any file lxc-usernet or nics: nobody gets what no line gives, and what was read is written alike.

use lxc_user_nic::registry::{format, parse};
use lxc_user_nic::usernet::{Caller, allowances};

/// Panics if it does not hold for a text.
pub fn holds(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let caller = Caller { login: "me".into(), groups: vec!["net".into(), String::new()] };
    for allowance in allowances(&text, &caller, "veth", "br0") {
        let owner = &allowance.owner;
        assert!(owner == "me" || owner == "@net" || owner == "@", "{owner}");
        let line = |l: &str| {
            let words: Vec<&str> = l.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
            l.starts_with(owner.as_str())
                && words.len() >= 4
                && words[..3] == [owner.as_str(), "veth", "br0"]
                && words[3].parse() == Ok(allowance.count)
        };
        assert!(text.lines().any(line), "{allowance:?} is given by no line");
    }
    let entries = parse(&text);
    assert_eq!(parse(&format(&entries)), entries);
}

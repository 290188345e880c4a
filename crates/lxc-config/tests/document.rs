//! What edits do to the text.

use std::path::Path;

use lxc_config::{Config, MemorySource};

fn loaded(text: &str, source: &MemorySource) -> Config {
    let mut config = Config::new();
    config.load_text(text.as_bytes(), Path::new("config"), source).unwrap();
    config
}

/// Applies edits (`key = value`, `key` alone clears), compares the text, and checks that it reads as the same
/// values.
#[track_caller]
fn edited(before: &str, edits: &[&str], after: &str) {
    edited_with(&MemorySource::new(), before, edits, after);
}

#[track_caller]
fn edited_with(source: &MemorySource, before: &str, edits: &[&str], after: &str) {
    let mut config = loaded(before, source);
    for edit in edits {
        match edit.split_once(" = ") {
            Some((key, value)) => config.set(key, value, source).unwrap(),
            None => config.clear(edit).unwrap(),
        }
    }
    assert_eq!(String::from_utf8(config.text()).unwrap(), after);
    assert_eq!(loaded(after, source).values, config.values, "the text reads differently");
}

#[test]
fn untouched_text_is_kept() {
    for text in [
        "",
        "\n\n",
        "# only a comment",
        "lxc.uts.name = a",
        "\r\n lxc.uts.name=a \r\n\r\nforeign line\r\n",
        "lxc.uts.name = a\rlxc.tty.max = 2",
        "#\n\tlxc.uts.name   =   'a'   \n\n",
    ] {
        assert_eq!(loaded(text, &MemorySource::new()).text(), text.as_bytes());
    }
    let latin1 = b"# caf\xe9\nlxc.uts.name = a\n";
    let mut config = Config::new();
    config.load_text(latin1, Path::new("config"), &MemorySource::new()).unwrap();
    assert_eq!(config.text(), latin1);
}

#[test]
fn scalars_are_replaced_in_place() {
    edited(
        "# head\nlxc.uts.name=a\n\n  lxc.uts.name  =  'b'\n# tail",
        &["lxc.uts.name = c"],
        "# head\n\n  lxc.uts.name  =  c\n# tail",
    );
    edited("lxc.uts.name =\n", &["lxc.uts.name = a"], "lxc.uts.name = a\n");
    edited("# x", &["lxc.uts.name = a"], "# x\nlxc.uts.name = a\n");
    edited("# x\r\n", &["lxc.tty.max = 1", "lxc.tty.max = 2"], "# x\r\nlxc.tty.max = 2\r\n");
    edited(
        "lxc.sysctl.a = 1\nlxc.sysctl.b = 1\n",
        &["lxc.sysctl.a = 2"],
        "lxc.sysctl.a = 2\nlxc.sysctl.b = 1\n",
    );
}

#[test]
fn lists_grow() {
    edited(
        "lxc.cap.drop = kill\n# x\n",
        &["lxc.cap.drop = chown", "lxc.mount.auto = proc"],
        "lxc.cap.drop = kill\n# x\nlxc.cap.drop = chown\nlxc.mount.auto = proc\n",
    );
}

#[test]
fn quotes_protect_what_reading_would_remove() {
    edited("", &["lxc.environment = A=\" b\""], "lxc.environment = A=\" b\"\n");
    let source = MemorySource::new();
    for value in ["'x'", " x", "x\t", "\"", "\"\""] {
        let mut config = Config::new();
        config.set("lxc.selinux.context", value, &source).unwrap();
        let again = loaded(std::str::from_utf8(&config.text()).unwrap(), &source);
        assert_eq!(again.values.selinux_context.as_deref(), Some(value));
    }
}

#[test]
fn clearing_removes_indented_and_legacy_lines() {
    edited("  lxc.uts.name = a\nlxc.utsname = b\n# x\n", &["lxc.uts.name"], "# x\n");
    edited(
        "lxc.cgroup2.a = 1\nlxc.cgroup2.b = 1\nlxc.cgroup.relative = 1\n",
        &["lxc.cgroup2"],
        "lxc.cgroup.relative = 1\n",
    );
    edited("lxc.sysctl.a = 1\nlxc.sysctl.b = 1\n", &["lxc.sysctl.a = "], "lxc.sysctl.b = 1\n");
    edited("lxc.hook.start = a\nlxc.hook.version = 1\n", &["lxc.hook"], "lxc.hook.version = 1\n");
    edited("lxc.cap.drop = kill\n", &["lxc.cap.keep"], "");
    edited(
        "lxc.environment = A=1\nlxc.environment.hooks = B=2\n",
        &["lxc.environment"],
        "lxc.environment.hooks = B=2\n",
    );
}

#[test]
fn networks_are_told_apart_by_their_whole_index() {
    let text = "lxc.net.1.type = veth\nlxc.net.1.link = a\nlxc.net.10.type = empty\nlxc.net.01.name = b\n";
    edited(text, &["lxc.net.1"], "lxc.net.10.type = empty\n");
    edited(text, &["lxc.net"], "");
    edited(text, &["lxc.net.1.name = c"], &text.replace("lxc.net.01.name = b", "lxc.net.1.name = c"));
}

#[test]
fn a_new_type_takes_the_other_keys_with_it() {
    edited(
        "lxc.net.0.type = veth\nlxc.net.0.link = a\nlxc.net.1.type = empty\n",
        &["lxc.net.0.type = macvlan"],
        "lxc.net.0.type = macvlan\nlxc.net.1.type = empty\n",
    );
}

#[test]
fn a_line_that_a_later_one_overrides_moves_to_the_end() {
    edited(
        "lxc.net.0.link = a\nlxc.net =\n# x\n",
        &["lxc.net.0.link = b"],
        "lxc.net =\n# x\nlxc.net.0.link = b\n",
    );
    let source = MemorySource::new().file("common", "lxc.uts.name = common\n");
    edited_with(
        &source,
        "lxc.uts.name = a\nlxc.include = common\n",
        &["lxc.uts.name = b"],
        "lxc.include = common\nlxc.uts.name = b\n",
    );
}

#[test]
fn what_an_include_assigns_is_cleared_after_it() {
    let source = MemorySource::new()
        .file("common", "lxc.cap.drop = kill\nlxc.autodev = 0\nlxc.net.0.type = veth\nlxc.net.0.link = a\n");
    edited_with(
        &source,
        "lxc.include = common\n",
        &["lxc.cap.drop", "lxc.autodev", "lxc.net.0.link"],
        "lxc.include = common\nlxc.cap.drop =\nlxc.autodev = 1\nlxc.net.0.link =\n",
    );
}

#[test]
fn the_empty_value_of_autodev_is_written_out() {
    edited("lxc.autodev = 1\n", &["lxc.autodev = "], "lxc.autodev = 0\n");
    edited("lxc.autodev = 0\n", &["lxc.autodev"], "");
}

#[test]
fn a_bare_path_keeps_the_storage_type() {
    edited(
        "lxc.rootfs.path = overlay:/l:/u\n",
        &["lxc.rootfs.path = /other"],
        "lxc.rootfs.path = overlay:/other\n",
    );
    edited(
        "lxc.rootfs.backend = zfs\nlxc.rootfs = a/b\n",
        &["lxc.rootfs.path = c/d"],
        "lxc.rootfs.path = zfs:c/d\n",
    );
}

#[test]
fn legacy_networks_get_an_index_before_one_goes() {
    edited(
        "lxc.network.type = veth\nlxc.network.link = a\nlxc.network.type = empty\nlxc.network.ipv4 = 10.0.0.1/8\n",
        &["lxc.net.0"],
        "lxc.net.1.type = empty\nlxc.net.1.ipv4.address = 10.0.0.1/8\n",
    );
}

#[test]
fn old_names_are_written_as_new_ones() {
    edited(
        "lxc.rootfs = /a\n",
        &["lxc.rootfs = /b", "lxc.utsname = n", "lxc.network.type = veth", "lxc.network.0.ipv4 = 10.0.0.1/8"],
        "lxc.rootfs.path = /b\nlxc.uts.name = n\nlxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.0.1/8\n",
    );
}

#[test]
fn random_digits_survive_a_save() {
    let source =
        MemorySource::new().file("common", "lxc.net.0.type = veth\nlxc.net.0.hwaddr = xx:xx:xx:xx:xx:xx\n");
    let mut config = loaded("lxc.include = common\n lxc.net.1.hwaddr = 'xx:16:3E:Xx:xx:xx'\n", &source);
    config.set("lxc.net.2.hwaddr", "10:66:6a:xx:xx:xx", &source).unwrap();
    let text = String::from_utf8(config.text()).unwrap();
    let (include, rest) = text.split_once('\n').unwrap();
    assert_eq!(include, "lxc.include = common");
    assert_eq!(rest.matches(['x', 'X']).count(), 2, "only those of the two names lxc are left: {rest}");
    for index in 0..3 {
        let address = config.get(&format!("lxc.net.{index}.hwaddr")).unwrap();
        assert!(!address.contains(['x', 'X']), "{address}");
        let second = address.chars().nth(1).unwrap().to_digit(16).unwrap();
        assert_eq!(second % 2, 0, "{address} is a multicast address");
    }
    assert!(text.contains(&config.get("lxc.net.1.hwaddr").unwrap()));
    assert!(text.contains(&config.get("lxc.net.2.hwaddr").unwrap()));
}

#[test]
fn failures_change_nothing() {
    let source = MemorySource::new().file("bad", "lxc.tty.max = 4\nlxc.bogus = 1\n");
    let mut config = loaded("lxc.tty.max = 1\nlxc.cap.drop = kill\n", &source);
    let before = (config.values.clone(), config.text());
    for (key, value) in [
        ("lxc.tty.max", "x"),
        ("lxc.cap.drop", "chown bogus"),
        ("lxc.mount.auto", "proc bogus"),
        ("lxc.init.groups", "1,x"),
        ("lxc.uts.name", "a\nlxc.tty.max = 9"),
        ("lxc.uts.name", "a\rb"),
        ("lxc.uts.name", "a\0b"),
        ("lxc.include", "bad"),
        ("lxc.include", "missing"),
        ("lxc.bogus", "1"),
        ("lxc.sysctl", "1"),
        ("lxc.net.0.veth.pair", "v"),
    ] {
        assert!(config.set(key, value, &source).is_err(), "{key} = {value:?}");
    }
    assert!(config.clear("lxc.bogus").is_err());
    assert_eq!((config.values.clone(), config.text()), before);
}

#[test]
fn includes_of_programs_are_read_at_once() {
    let source = MemorySource::new().file("common", "lxc.tty.max = 4\n");
    edited_with(&source, "", &["lxc.include = common"], "lxc.include = common\n");
    let mut config = loaded("", &source);
    config.set("lxc.include", "common", &source).unwrap();
    config.clear("lxc.include").unwrap();
    assert_eq!((config.values.tty_max, config.text()), (4, Vec::new()));
}

#[test]
fn loading_twice_adds() {
    let source = MemorySource::new();
    let mut config = loaded("lxc.group = a", &source);
    config.load_text(b"lxc.group = b\n", Path::new("other"), &source).unwrap();
    assert_eq!(config.values.groups, ["a", "b"]);
    assert_eq!(config.text(), b"lxc.group = a\nlxc.group = b\n");
    assert_eq!(config.file(), Some(Path::new("config")));
}

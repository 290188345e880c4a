//! Reading of files: errors and where they are, includes, old names.

use std::path::{Path, PathBuf};

use lxc_config::{Config, ConfigError, Diagnostic, GetError, MemorySource, NetType, Problem, check};

fn load(text: &str, source: &MemorySource) -> (Config, Result<(), ConfigError>) {
    let mut config = Config::new();
    let result = config.load_text(text.as_bytes(), Path::new("config"), source);
    (config, result)
}

#[track_caller]
fn error(text: &str) -> Diagnostic {
    match load(text, &MemorySource::new()).1 {
        Err(ConfigError::Invalid(diagnostic)) => *diagnostic,
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, message) in [
        (
            "\n\nlxc.net.0.tpye = veth\n",
            "config:3:1: unknown key 'lxc.net.0.tpye', did you mean 'lxc.net.0.type'?",
        ),
        ("lxc.tty.max = x", "config:1:15: lxc.tty.max: 'x' is not a number"),
        ("# a\r\nlxc.uts.name\r\n", "config:2:1: missing '=' after the key"),
        ("lxc.arch =", "config:1:1: lxc.arch: the value is missing"),
        ("lxc.uts.name = a\0b", "config:1:17: zero byte in the file"),
        ("lxc.include = missing.conf", "config:1:15: cannot include missing.conf: entity not found"),
        (
            "lxc.net.0.type = macvlan\nlxc.net.0.veth.pair = a",
            "config:2:23: lxc.net.0.veth.pair: network 0 is not of type veth",
        ),
        ("lxc.sysctl = 1", "config:1:14: lxc.sysctl: only an empty value can be assigned without a sub-key"),
        ("lxc.hook = 1", "config:1:12: lxc.hook: only the empty value, which clears, can be assigned"),
    ] {
        assert_eq!(error(text).to_string(), message);
    }
    let latin1 = Config::new().load_text(b"lxc.uts.name = caf\xe9\n", Path::new("c"), &MemorySource::new());
    assert_eq!(latin1.unwrap_err().to_string(), "c:1:19: the line is not valid UTF-8");
    let missing = Config::new().load(Path::new("c"), &MemorySource::new()).unwrap_err();
    assert_eq!(missing.to_string(), "c: entity not found");
}

#[test]
fn rendered_errors_mark_the_place() {
    assert_eq!(
        error("\tlxc.start.auto = yes\n").render(),
        "error: lxc.start.auto: 'yes' is neither 0 nor 1\n --> config:1:19\n  |\n1 | \tlxc.start.auto = yes\n  | \
         \t                 ^^^\n  expected: 0 or 1"
    );
}

#[test]
fn what_stands_before_an_error_is_applied() {
    let (config, result) = load("lxc.tty.max = 1\nlxc.bogus = 1\nlxc.tty.max = 2\n", &MemorySource::new());
    assert!(result.is_err());
    assert_eq!(config.values.tty_max, 1);
    assert_eq!(config.text(), b"lxc.tty.max = 1\nlxc.bogus = 1\nlxc.tty.max = 2\n");
}

#[test]
fn check_finds_all_errors_and_warnings() {
    let source = MemorySource::new()
        .file("main", "lxc.bogus = 1\nlxc.include = part\nlxc.tty.max = x\n")
        .file("part", "lxc.utsname = a\nlxc.start.auto = 7\n");
    let found = check(Path::new("main"), &source).unwrap();
    let found: Vec<_> =
        found.iter().map(|d| (d.to_string(), d.is_warning(), d.included_from.len())).collect();
    assert_eq!(
        found,
        [
            ("main:1:1: unknown key 'lxc.bogus'".to_owned(), false, 0),
            ("part:1:1: 'lxc.utsname' is now called 'lxc.uts.name'".to_owned(), true, 1),
            ("part:2:18: lxc.start.auto: '7' is neither 0 nor 1".to_owned(), false, 1),
            ("main:3:15: lxc.tty.max: 'x' is not a number".to_owned(), false, 0),
        ]
    );
}

#[test]
fn includes_are_read_at_their_place() {
    let source = MemorySource::new()
        .file("d/b.conf", "lxc.group = b\n")
        .file("d/a.conf", "lxc.group = a\nlxc.tty.max = 1\n")
        .file("d/.x.conf", "lxc.group = x\n")
        .file("d/.conf", "lxc.bogus = 1\n")
        .file("d/c.txt", "lxc.bogus = 1\n")
        .file("d/sub.conf/c.conf", "lxc.bogus = 1\n");
    for include in ["d", "d/"] {
        let (config, result) =
            load(&format!("lxc.group = 1\nlxc.include = {include}\nlxc.group = 2\n"), &source);
        result.unwrap();
        assert_eq!(config.values.groups, ["1", "x", "a", "b", "2"]);
        assert_eq!(config.origin("lxc.tty.max"), Some((PathBuf::from("d/a.conf"), 2)));
        assert_eq!(config.origin("lxc.group"), Some((PathBuf::from("config"), 3)));
    }
    load("lxc.include = none/\nlxc.include =\n", &source).1.unwrap();
    assert!(load("lxc.include = none\n", &source).1.is_err());
}

#[test]
fn endless_includes_are_refused() {
    let source = MemorySource::new().file("a", "lxc.include = b\n").file("b", "\nlxc.include = a\n");
    let error = load("lxc.include = a\n", &source).1.unwrap_err();
    assert_eq!(error.to_string(), "b:2:15: cannot include a: it includes itself");
    let ConfigError::Invalid(diagnostic) = error else { panic!() };
    assert_eq!(diagnostic.included_from.len(), 2);

    let deep = (0..100).fold(MemorySource::new(), |source, n| {
        source.file(format!("f{n}"), format!("lxc.include = f{}\n", n + 1))
    });
    assert!(load("lxc.include = f0\n", &deep).1.unwrap_err().to_string().ends_with("nested too deeply"));

    let wide = (0..20).fold(MemorySource::new().file("f20", ""), |source, n| {
        source.file(format!("f{n}"), format!("lxc.include = f{}\n", n + 1).repeat(2))
    });
    assert!(
        load("lxc.include = f0\n", &wide).1.unwrap_err().to_string().ends_with("too many files are included")
    );
}

#[test]
fn old_names_are_read_with_a_warning() {
    let text = "lxc.utsname = a\nlxc.rootfs = /r\nlxc.rootfs.backend = btrfs\nlxc.tty = 2\nlxc.pts = 1024\n\
                lxc.id_map = u 0 100000 65536\nlxc.network.type = veth\nlxc.network.link = br0\n\
                lxc.network.ipv4 = 10.0.3.2/24\nlxc.network.type = macvlan\nlxc.network.macvlan.mode = bridge\n\
                lxc.kmsg = 0\nlxc.pivotdir = x\nlxc.limit.nofile = 10\nlxc.aa_profile = unconfined\n\
                lxc.cgroup.memory.limit_in_bytes = 1G\n";
    let (config, result) = load(text, &MemorySource::new());
    result.unwrap();
    let values = &config.values;
    assert_eq!(values.uts_name.as_deref(), Some("a"));
    assert_eq!((values.rootfs.kind.as_deref(), values.rootfs.path.as_deref()), (Some("btrfs"), Some("/r")));
    assert_eq!((values.tty_max, values.pty_max, values.idmap.len()), (2, 1024, 1));
    assert_eq!(values.networks[&0].link.as_deref(), Some("br0"));
    assert_eq!(values.networks[&0].ipv4_addresses[0].to_string(), "10.0.3.2/24");
    assert_eq!(values.networks[&1].kind, Some(NetType::Macvlan));
    assert_eq!(config.get("lxc.prlimit.nofile").unwrap(), "10");
    assert_eq!(values.apparmor.profile.as_deref(), Some("unconfined"));
    assert_eq!(values.cgroup1_items, [("memory.limit_in_bytes".to_owned(), "1G".to_owned())]);
    assert_eq!(config.text(), text.as_bytes());
    // Every line but the last has an old name.
    assert_eq!(config.warnings().len(), 15);
    assert_eq!(config.warnings()[0].to_string(), "config:1:1: 'lxc.utsname' is now called 'lxc.uts.name'");
    assert_eq!(config.warnings()[11].to_string(), "config:12:1: 'lxc.kmsg' has no effect any more");

    for (old, text) in [("lxc.rootfs", "/r"), ("lxc.utsname", "a"), ("lxc.network.0.link", "br0")] {
        assert_eq!(config.get(old).as_deref(), Ok(text));
    }
    assert_eq!(config.get("lxc.network").as_deref(), Ok("veth\nmacvlan\n"));
    assert_eq!(config.get("lxc.tty"), Err(GetError::Invalid));
}

#[test]
fn doubtful_values_are_warned_about() {
    let (config, result) = load("lxc.autodev.tmpfs.size = lots\n", &MemorySource::new());
    result.unwrap();
    assert_eq!(config.values.autodev_tmpfs_size, Some(500_000));
    assert!(matches!(config.warnings()[0].problem, Problem::DoubtfulValue { .. }));
}

#[test]
fn environment_is_copied_from_the_caller() {
    let source = MemorySource::new().var("LANG", "C");
    let (config, result) = load("lxc.environment = LANG\nlxc.environment = A=B=C\n", &source);
    result.unwrap();
    assert_eq!(config.values.environment, ["LANG=C", "A=B=C"]);
    assert!(load("lxc.environment = TERM\n", &source).1.is_err());
}

#[test]
fn definitions_are_lines() {
    let source = MemorySource::new();
    let mut config = Config::new();
    config.define(" lxc.uts.name = \" a \" ", &source).unwrap();
    config.define("lxc.tty=3", &source).unwrap();
    assert_eq!((config.values.uts_name.as_deref(), config.values.tty_max), (Some(" a "), 3));
    assert_eq!(config.text(), b"lxc.uts.name = \" a \"\nlxc.tty.max = 3\n");
    assert!(config.define("uts.name=a", &source).is_err());
    assert!(config.define("lxc.uts.name", &source).is_err());
    assert!(config.define("lxc.uts.nmae=a", &source).is_err());
}

#[test]
fn error_numbers_of_the_api() {
    let (config, result) = load("lxc.net.0.link = br0\n", &MemorySource::new());
    result.unwrap();
    for (key, errno) in [
        ("lxc.bogus", 22),
        ("lxc.hook", 22),
        ("lxc.include", 38),
        ("lxc.net.0", 2),
        ("lxc.net.0.bogus", 2),
        ("lxc.net.1", 22),
        ("lxc.net.1.link", 22),
        ("lxc.net.1.bogus", 22),
        ("lxc.net.0.veth.pair", 22),
        ("lxc.namespace.share.bogus", 22),
    ] {
        assert_eq!(config.get(key).map_err(GetError::errno), Err(errno), "{key}");
    }
    assert_eq!(config.get("lxc.net.0.type").as_deref(), Ok("empty"));
    assert_eq!(config.keys(Some("lxc.net.0")).as_deref(), Ok("type\nscript.up\nscript.down\n"));
    assert_eq!(config.keys(Some("lxc.net.1")), Err(GetError::Invalid));
    assert_eq!(config.keys(Some("lxc.net")), Err(GetError::Invalid));
    assert_eq!(config.keys(Some("lxc.environment")).as_deref(), Ok("runtime\nhooks\n"));
}

#[test]
fn configurations_cross_threads() {
    fn is_send<T: Send + Sync + Clone + std::fmt::Debug>() {}
    is_send::<Config>();
}

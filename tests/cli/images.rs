//! The templates that make containers of images: download, local, oci.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lxc_testkit::container::busybox_rootfs;
use lxc_testkit::{Lxcpath, Output, Suite, needs};

const SERVER: &str = include_str!("server.py");

#[track_caller]
pub fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("ASCII")
}

/// An HTTPS server of files and images, which ends with this.
pub struct Server {
    child: Child,
    /// `localhost:PORT`
    host: String,
    root: PathBuf,
    certificate: PathBuf,
}

impl Server {
    fn new(dir: &Lxcpath, account: &str) -> Server {
        let root = dir.join(".server");
        std::fs::create_dir_all(&root).unwrap();
        let (certificate, key) = (dir.join(".cert.pem"), dir.join(".key.pem"));
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                text(&key),
                "-out",
                text(&certificate),
            ],
        );
        let mut child = Command::new("python3")
            .args(["-c", SERVER, text(&root), text(&certificate), text(&key), account])
            .stdout(Stdio::piped())
            .spawn()
            .expect("run the server");
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        lines.read_line(&mut line).expect("its port");
        let log = root.join("requests");
        std::thread::spawn(move || {
            use std::io::Write;
            let mut log = std::fs::File::create(log).expect("a log");
            for line in lines.lines().map_while(Result::ok) {
                writeln!(log, "{line}").expect("write the log");
            }
        });
        Server { child, host: format!("localhost:{}", line.trim()), root, certificate }
    }

    fn requests(&self) -> String {
        std::fs::read_to_string(self.root.join("requests")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// lxc-create with a cache of the test's own.
pub fn create(dir: &Lxcpath, server: Option<&Server>, name: &str, template: &str, words: &[&str]) -> Output {
    let ours = Suite::ours();
    let config = dir.join(".plain.conf");
    std::fs::write(&config, "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\n").unwrap();
    let mut command = ours.command("lxc-create");
    command.args(["-P", dir.arg(), "-n", name, "-f", text(&config), "-t", template, "--"]).args(words);
    command
        .env("LXC_CACHE_PATH", dir.join(".cache"))
        .env("XDG_RUNTIME_DIR", dir.path())
        .env("HOME", dir.path());
    if let Some(server) = server {
        command.env("SSL_CERT_FILE", &server.certificate);
    }
    lxc_testkit::Running::spawn(command).wait()
}

pub fn containers(dir: &Lxcpath) -> Vec<String> {
    dir.listing().into_iter().filter(|n| !n.starts_with('.')).collect()
}

/// Archives as an image server has them, in a directory.
fn archives(place: &Path) {
    std::fs::create_dir_all(place).unwrap();
    let (root, meta) = (place.join("root"), place.join("meta"));
    busybox_rootfs(&root);
    std::fs::write(root.join("etc/motd"), "I am LXC_NAME\n").unwrap();
    std::fs::write(root.join("dev/bad"), "").unwrap();
    std::fs::create_dir_all(&meta).unwrap();
    for (name, content) in [
        ("config", "lxc.pty.max = 1024\nlxc.init.cmd = /sbin/quick\nlxc.tty.max = 1\n"),
        ("config-user", "lxc.pty.max = 77\nlxc.init.cmd = /sbin/quick\n"),
        ("templates", "/etc/motd\n"),
        ("excludes", "./dev/*\n"),
        ("create-message", "You just made LXC_NAME.\n"),
        ("expiry", "4102444800\n"),
    ] {
        std::fs::write(meta.join(name), content).unwrap();
    }
    for (name, of) in [("rootfs.tar.xz", &root), ("meta.tar.xz", &meta)] {
        run("tar", &["-C", text(of), "--numeric-owner", "--xattrs", "-cJf", text(&place.join(name)), "."]);
        std::fs::remove_dir_all(of).unwrap();
    }
    run("sh", &["-c", &format!("cd {} && sha256sum rootfs.tar.xz meta.tar.xz >SHA256SUMS", place.display())]);
}

/// A server with one image.
fn image_server(dir: &Lxcpath) -> (Server, PathBuf) {
    let server = Server::new(dir, "");
    let place = server.root.join("images/test/one/amd64/default/build1");
    archives(&place);
    publish(&server, "build1");
    (server, place)
}

fn publish(server: &Server, build: &str) {
    let index = server.root.join("meta/1.0");
    std::fs::create_dir_all(&index).unwrap();
    let line = format!("test;one;amd64;default;{build};/images/test/one/amd64/default/build1/\n");
    std::fs::write(index.join("index-system"), &line).unwrap();
    std::fs::write(index.join("index-user"), &line).unwrap();
}

const WANTED: [&str; 3] = ["--dist=test", "-rone", "--arch=amd64"];

fn boots(dir: &Lxcpath, name: &str, script: &str) -> String {
    let ours = Suite::ours();
    dir.start(&ours, name);
    let said = dir.sh(&ours, name, script);
    dir.kill(&ours, name);
    said
}

#[test]
fn from_a_server() {
    needs!(root, ours, program "openssl", program "python3", program "xz");
    let dir = Lxcpath::new();
    let (server, _) = image_server(&dir);
    let from = format!("--server={}", server.host);
    let name = dir.name("image");
    let output = create(&dir, Some(&server), &name, "download", &[&WANTED[..], &[&from]].concat());
    let said = output.ok();
    let expected = format!(
        "Downloading the image index\nDownloading the rootfs\nDownloading the metadata\n\
         The image cache is now ready\nUnpacking the rootfs\n\n---\nYou just made {name}.\n"
    );
    assert_eq!(said, expected);
    let shown = boots(&dir, &name, "cat /etc/motd; ls /dev/bad 2>/dev/null; hostname");
    assert_eq!(shown, format!("I am {name}\n{name}\n"));
    let lines = std::fs::read_to_string(dir.join(&name).join("config")).unwrap();
    let position = |line: &str| lines.find(line).unwrap_or_else(|| panic!("{line}: {lines}"));
    let order = [
        "# Distribution configuration\nlxc.pty.max = 1024\n",
        "# Container specific configuration\n",
        "lxc.apparmor.profile = unconfined\n",
        &format!("lxc.uts.name = {name}\n"),
        "# Network configuration\nlxc.net.0.type = empty\n",
    ]
    .map(position);
    assert!(order.is_sorted(), "{lines}");
    // Again: nothing but the index is asked for; and without a server nothing at all.
    let before = server.requests().lines().count();
    let again = dir.name("again");
    let said = create(&dir, Some(&server), &again, "download", &[&WANTED[..], &[&from]].concat()).ok();
    assert!(said.starts_with("Using image from local cache\n"), "{said}");
    assert_eq!(server.requests().lines().skip(before).filter(|l| !l.contains("/meta/")).count(), 0);
    let listed = create(&dir, Some(&server), "list", "download", &["-l", &from]).ok();
    assert_eq!(listed, "DIST  RELEASE  ARCH   VARIANT  BUILD\ntest  one      amd64  default  build1\n");
    let listed = create(&dir, Some(&server), "list", "download", &["-l", "--json", &from]).ok();
    assert!(listed.contains("\"variant\":\"default\""), "{listed}");
    drop(server);
    let offline = dir.name("offline");
    create(&dir, None, &offline, "download", &[&WANTED[..], &[&from]].concat()).ok();
    assert_eq!(containers(&dir), {
        let mut all = vec![name, again, offline];
        all.sort();
        all
    });
}

#[test]
fn into_a_user_namespace() {
    needs!(root, ours, userns, program "openssl", program "python3", program "xz");
    use std::os::unix::fs::MetadataExt;
    let dir = Lxcpath::new();
    let place = dir.join(".archives");
    archives(&place);
    let ours = Suite::ours();
    let config = dir.join(".mapped.conf");
    std::fs::write(
        &config,
        "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\nlxc.idmap = u 0 300000 65536\n\
         lxc.idmap = g 0 300000 65536\n",
    )
    .unwrap();
    let name = dir.name("mapped");
    let (tree, meta) = (place.join("rootfs.tar.xz"), place.join("meta.tar.xz"));
    let words = ["-f", text(&config), "-t", "local", "--", "-f", text(&tree), "-m", text(&meta)];
    let said = dir.run(&ours, "lxc-create", &name, &words).ok();
    assert!(said.starts_with(&format!("Using metadata file: {}\n", meta.display())), "{said}");
    let owner = std::fs::metadata(dir.join(&name).join("rootfs/bin/busybox")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (300_000, 300_000));
    let text = std::fs::read_to_string(dir.join(&name).join("config")).unwrap();
    assert!(text.contains("lxc.pty.max = 77"), "the configuration for user namespaces: {text}");
    assert_eq!(boots(&dir, &name, "cat /etc/motd"), format!("I am {name}\n"));
}

/// Whatever was changed of what a server should have sent is refused, and nothing is left of the container.
#[test]
fn what_was_changed() {
    needs!(root, ours, program "openssl", program "python3", program "xz", program "gpg", program "gpgv");
    let dir = Lxcpath::new();
    let (server, place) = image_server(&dir);
    let from = format!("--server={}", server.host);
    let attempt = |more: &[&str]| {
        let words = [&WANTED[..], &[&from, "--flush-cache"], more].concat();
        create(&dir, Some(&server), "changed", "download", &words)
    };
    let refused = |output: Output, why: &str| {
        assert_eq!(output.code, 1, "{output}");
        assert!(output.stderr.contains(why), "{why}: {output}");
        assert_eq!(containers(&dir), [] as [&str; 0]);
    };
    let good = std::fs::read(place.join("rootfs.tar.xz")).unwrap();
    let mut bad = good.clone();
    bad[1000] ^= 1;
    std::fs::write(place.join("rootfs.tar.xz"), &bad).unwrap();
    refused(attempt(&[]), "its SHA-256 is");
    std::fs::write(place.join("rootfs.tar.xz"), &good).unwrap();
    let sums = std::fs::read_to_string(place.join("SHA256SUMS")).unwrap();
    std::fs::write(place.join("SHA256SUMS"), sums.replacen(|c: char| c.is_ascii_digit(), "f", 3)).unwrap();
    refused(attempt(&[]), "SHA-256");
    std::fs::remove_file(place.join("SHA256SUMS")).unwrap();
    refused(attempt(&[]), "--no-verify");
    std::fs::write(place.join("SHA256SUMS"), &sums).unwrap();
    // What was not checked is not taken by somebody who wants it checked, be it ever so complete.
    let words = |more: &[&str]| {
        create(&dir, Some(&server), "changed", "download", &[&WANTED[..], &[&from], more].concat())
    };
    std::fs::rename(place.join("SHA256SUMS"), place.join("away")).unwrap();
    let gone = || Suite::ours().run("lxc-destroy", &["-P", dir.arg(), "-n", "changed"]).ok();
    assert!(words(&["--no-verify"]).ok().contains("Downloading"));
    gone();
    assert!(words(&["--no-verify"]).ok().starts_with("Using image from local cache\n"));
    gone();
    refused(words(&[]), "--no-verify");
    refused(words(&["--force-cache"]), "--no-verify");
    std::fs::rename(place.join("away"), place.join("SHA256SUMS")).unwrap();
    words(&[]).ok();
    gone();
    // A server that nobody knows.
    let unknown =
        create(&dir, None, "changed", "download", &[&WANTED[..], &[&from, "--flush-cache"]].concat());
    refused(unknown, "Failed to download");
    // An index that leads elsewhere, and one that is none.
    let index = server.root.join("meta/1.0/index-system");
    std::fs::write(&index, "test;one;amd64;default;b;/images/../../../etc/\n").unwrap();
    refused(attempt(&[]), "Couldn't find a matching image");
    publish(&server, "build1");
    // Signatures.
    let home = dir.join(".gnupg");
    std::fs::create_dir(&home).unwrap();
    let gpg = |words: &[&str]| run("gpg", &[&["--batch", "-q", "--homedir", text(&home)], words].concat());
    gpg(&["--passphrase", "", "--quick-gen-key", "test@example.org", "ed25519", "sign", "never"]);
    let keyring = dir.join(".keys.gpg");
    gpg(&["--output", text(&keyring), "--export"]);
    let key = format!("--keyring={}", keyring.display());
    refused(attempt(&[&key]), "no signature");
    words(&[]).ok();
    gone();
    refused(words(&[&key]), "no signature");
    gpg(&["--armor", "--detach-sign", text(&place.join("SHA256SUMS"))]);
    attempt(&[&key]).ok();
    gone();
    // Signed, it is good for everybody.
    assert!(words(&[]).ok().starts_with("Using image from local cache\n"));
    gone();
    std::fs::write(place.join("SHA256SUMS"), sums.clone() + "# more\n").unwrap();
    refused(attempt(&[&key]), "signature of SHA256SUMS is refused");
}

/// Who does not say what image it shall be is shown what there is, and asked.
#[test]
fn asked_for() {
    needs!(root, ours, program "openssl", program "python3", program "xz");
    let dir = Lxcpath::new();
    let (server, _) = image_server(&dir);
    let ours = Suite::ours();
    let attempt = |answers: &str| {
        let mut command = ours.command("lxc-create");
        command
            .args(["-P", dir.arg(), "-n", "asked", "-f", "/dev/null", "-t", "download", "--"])
            .args(["--server", &server.host, "--arch=amd64"])
            .env("LXC_CACHE_PATH", dir.join(".cache"))
            .env("SSL_CERT_FILE", &server.certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answers.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = attempt("test\n");
    assert_eq!(code, Some(1), "{said}");
    let table = "DIST  RELEASE  ARCH   VARIANT  BUILD\ntest  one      amd64  default  build1\n";
    assert_eq!(said, format!("{table}Distribution: Release: "));
    assert_eq!(containers(&dir), [] as [&str; 0]);
    let (code, said) = attempt("test\none\n");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(containers(&dir), ["asked"]);
}

/// The configuration of an image does not say whose files they are, nor where.
#[test]
fn configurations_that_say_too_much() {
    needs!(root, ours, program "xz");
    let dir = Lxcpath::new();
    let place = dir.join(".archives");
    archives(&place);
    let tree = place.join("rootfs.tar.xz");
    for line in ["lxc.rootfs.path = dir:/", "  lxc.idmap=u 0 0 1", "lxc.rootfs.options = x"] {
        let meta = place.join("meta.tar");
        std::fs::write(place.join("config"), format!("lxc.tty.max = 1\n{line}\n")).unwrap();
        run("tar", &["-C", text(&place), "-cf", text(&meta), "config"]);
        let output = create(&dir, None, "much", "local", &["-f", text(&tree), "-m", text(&meta)]);
        assert!(output.code == 1 && output.stderr.contains("line 2: lxc."), "{output}");
        assert_eq!(containers(&dir), [] as [&str; 0]);
    }
}

/// A download that is cut off goes on where it was.
#[test]
fn cut_off() {
    needs!(root, ours, program "openssl", program "python3", program "xz");
    let dir = Lxcpath::new();
    let (server, place) = image_server(&dir);
    std::fs::write(place.join("rootfs.tar.xz.cut"), "").unwrap();
    let name = dir.name("cut");
    let from = format!("--server={}", server.host);
    create(&dir, Some(&server), &name, "download", &[&WANTED[..], &[&from]].concat()).ok();
    assert!(server.requests().contains("rootfs.tar.xz bytes="), "{}", server.requests());
    assert_eq!(boots(&dir, &name, "hostname"), format!("{name}\n"));
}

/// An image of several layers, made by umoci.
pub fn layered(dir: &Lxcpath, layout: &Path) {
    let bundle = dir.join(".bundle");
    let umoci = |words: &[&str]| run("umoci", words);
    let tag = format!("{}:app", layout.display());
    umoci(&["init", "--layout", text(layout)]);
    umoci(&["new", "--image", &tag]);
    umoci(&["unpack", "--image", &tag, text(&bundle)]);
    let root = bundle.join("rootfs");
    busybox_rootfs(&root);
    std::fs::create_dir_all(root.join("opaque")).unwrap();
    std::fs::write(root.join("opaque/old"), "old").unwrap();
    std::fs::write(root.join("gone"), "x").unwrap();
    std::fs::write(root.join("first"), "same").unwrap();
    umoci(&["repack", "--image", &tag, text(&bundle)]);
    std::fs::remove_dir_all(&bundle).unwrap();
    umoci(&["unpack", "--image", &tag, text(&bundle)]);
    std::fs::remove_file(root.join("gone")).unwrap();
    std::fs::remove_dir_all(root.join("opaque")).unwrap();
    std::fs::create_dir(root.join("opaque")).unwrap();
    std::fs::write(root.join("opaque/new"), "new").unwrap();
    std::fs::hard_link(root.join("first"), root.join("second")).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    umoci(&["repack", "--image", &tag, text(&bundle)]);
    umoci(&[
        "config",
        "--image",
        &tag,
        "--config.entrypoint",
        "/bin/sh",
        "--config.entrypoint",
        "-c",
        "--config.cmd",
        "cat /opaque/*; ls /gone 2>/dev/null; echo $GREETING; pwd; id -u; exit 4",
        "--config.env",
        "GREETING=hello there",
        "--config.workingdir",
        "/tmp",
        "--config.user",
        "user",
        "--config.volume",
        "/data",
    ]);
    std::fs::remove_dir_all(&bundle).unwrap();
}

fn executes(dir: &Lxcpath, name: &str) {
    let ours = Suite::ours();
    let output = dir.run(&ours, "lxc-execute", name, &[]);
    assert_eq!((output.code, output.stdout.as_str()), (4, "newhello there\n/tmp\n1000\n"), "{output}");
    let root = dir.join(name).join("rootfs");
    use std::os::unix::fs::MetadataExt;
    let meta = |file: &str| std::fs::metadata(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert_eq!(meta("first").ino(), meta("second").ino(), "one file across two layers");
    assert!(meta("sparse").blocks() < 100 && meta("sparse").len() == 50 << 20);
    assert!(root.join("data").is_dir());
}

#[test]
fn layers_of_a_directory() {
    needs!(root, ours, program "umoci", program "tar");
    let dir = Lxcpath::new();
    let layout = dir.join(".layout");
    layered(&dir, &layout);
    let name = dir.name("layers");
    create(&dir, None, &name, "oci", &["-u", &format!("oci:{}:app", layout.display())]).ok();
    executes(&dir, &name);
    // The same as an archive, compressed or not.
    for compress in ["-cf", "-czf"] {
        let archive = dir.join(".archive.tar");
        run("tar", &["-C", text(&layout), compress, text(&archive), "."]);
        let name = dir.name("archive");
        create(&dir, None, &name, "oci", &["-u", &format!("oci-archive:{}:app", archive.display())]).ok();
        executes(&dir, &name);
    }
    let other = create(&dir, None, "other", "oci", &["-u", &format!("oci:{}:nothing", layout.display())]);
    assert!(other.code == 1 && other.stderr.contains("but app"), "{other}");
}

#[test]
fn layers_of_a_registry() {
    needs!(root, ours, program "umoci", program "openssl", program "python3");
    let dir = Lxcpath::new();
    let server = Server::new(&dir, "me:secret");
    layered(&dir, &server.root.join("layout"));
    let name = dir.name("registry");
    let url = format!("--url=docker://{}/some/app:app", server.host);
    let refused = create(&dir, Some(&server), &name, "oci", &[&url]);
    assert!(refused.code == 1 && refused.stderr.contains("the account is refused"), "{refused}");
    create(&dir, Some(&server), &name, "oci", &[&url, "--username=me", "--password=secret"]).ok();
    executes(&dir, &name);
    // By the account that the user's file has; what is there already is not downloaded again.
    let auth = dir.join(".config/containers");
    std::fs::create_dir_all(&auth).unwrap();
    std::fs::write(
        auth.join("auth.json"),
        format!("{{\"auths\": {{\"{}\": {{\"auth\": \"bWU6c2VjcmV0\"}}}}}}", server.host),
    )
    .unwrap();
    let before = server.requests().matches("/blobs/").count();
    let again = dir.name("again");
    create(&dir, Some(&server), &again, "oci", &[&url]).ok();
    executes(&dir, &again);
    assert_eq!(server.requests().matches("/blobs/").count(), before);
}

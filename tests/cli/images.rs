//! The templates that make containers of images: download, local, oci.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lxc_testkit::container::busybox_rootfs;
use lxc_testkit::{Lxcpath, Output, Suite, needs};

const SERVER: &str = include_str!("server.py");

#[track_caller]
fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("ASCII")
}

/// An HTTPS server of files and images, which ends with this.
struct Server {
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
fn create(dir: &Lxcpath, server: Option<&Server>, name: &str, template: &str, words: &[&str]) -> Output {
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

fn containers(dir: &Lxcpath) -> Vec<String> {
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
    gpg(&["--armor", "--detach-sign", text(&place.join("SHA256SUMS"))]);
    attempt(&[&key]).ok();
    Suite::ours().run("lxc-destroy", &["-P", dir.arg(), "-n", "changed"]).ok();
    std::fs::write(place.join("SHA256SUMS"), sums.clone() + "# more\n").unwrap();
    refused(attempt(&[&key]), "signature of SHA256SUMS is refused");
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
fn layered(dir: &Lxcpath, layout: &Path) {
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

/// A blob that was changed is refused, wherever it is.
#[test]
fn changed_blobs() {
    needs!(root, ours, program "umoci");
    let dir = Lxcpath::new();
    let layout = dir.join(".layout");
    layered(&dir, &layout);
    let url = format!("oci:{}:app", layout.display());
    let blobs: Vec<PathBuf> =
        std::fs::read_dir(layout.join("blobs/sha256")).unwrap().flatten().map(|e| e.path()).collect();
    let mut refused = 0;
    for blob in &blobs {
        let good = std::fs::read(blob).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(blob, &bad).unwrap();
        let output = create(&dir, None, "changed", "oci", &["-u", &url]);
        // Blobs of earlier states of the image are nobody's any more.
        if output.code == 0 {
            Suite::ours().run("lxc-destroy", &["-P", dir.arg(), "-n", "changed"]).ok();
        } else {
            assert!(output.stderr.contains("it was changed"), "{output}");
            refused += 1;
        }
        std::fs::write(blob, good).unwrap();
        assert_eq!(containers(&dir), [] as [&str; 0]);
    }
    assert!(refused >= 4, "a manifest, a configuration and two layers: {refused}");
}

/// Archives that somebody has made to get out, or to fill the host.
#[test]
fn hostile_archives() {
    needs!(root, ours, processor, program "python3");
    let dir = Lxcpath::new();
    let outside = dir.join("outside");
    std::fs::write(&outside, "precious").unwrap();
    let make = |body: &str| {
        let file = dir.join(".bad.tar");
        let script = format!(
            "import io, tarfile, sys\nt = tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT)\n\
             def add(name, kind=tarfile.REGTYPE, data=b'owned', link='', major=0, minor=0, **pax):\n\
             \x20i = tarfile.TarInfo(name); i.type = kind; i.linkname = link; i.devmajor = major; i.devminor = minor\n\
             \x20i.mode = 0o755; i.pax_headers = pax\n\
             \x20i.size = len(data) if kind == tarfile.REGTYPE else 0\n\
             \x20t.addfile(i, io.BytesIO(data) if kind == tarfile.REGTYPE else None)\n\
             {body}\nt.close()\n"
        );
        run("python3", &["-c", &script, text(&file)]);
        file
    };
    let depth = "../".repeat(12);
    let out = format!("{depth}{}", outside.display());
    for (what, body, why) in [
        ("dots", format!("add('{out}')"), "leads outside"),
        ("an absolute path", format!("add('{}')", outside.display()), "absolute path"),
        (
            "behind an absolute link",
            format!("add('l', tarfile.SYMTYPE, link='{0}'); add('l/outside')", dir.arg()),
            "behind the link",
        ),
        (
            "behind a relative link",
            format!(
                "add('d', tarfile.DIRTYPE); add('d/l', tarfile.SYMTYPE, link='{depth}{0}'); add('d/l/outside')",
                dir.arg()
            ),
            "behind the link",
        ),
        (
            "a second name of a file outside",
            format!("add('x', tarfile.LNKTYPE, link='{out}')"),
            "leads outside",
        ),
        (
            "a second name by a link",
            format!(
                "add('l', tarfile.SYMTYPE, link='{0}'); add('x', tarfile.LNKTYPE, link='l/outside'); add('x')",
                dir.arg()
            ),
            "behind the link",
        ),
        ("a disk", "add('disk', tarfile.BLKTYPE, major=8, minor=0)".into(), "a disk of the host"),
        ("the memory", "add('mem', tarfile.CHRTYPE, major=9, minor=1)".into(), "none that containers have"),
        (
            "attributes of the kernel's overlay",
            "add('x', **{'SCHILY.xattr.trusted.overlay.opaque': 'y'})".into(),
            "the kernel's own",
        ),
        (
            "a file in the place of a directory",
            "add('d', tarfile.DIRTYPE); add('d/f'); add('d')".into(),
            "in the place of a directory",
        ),
    ] {
        let archive = make(&body);
        let output = create(&dir, None, "hostile", "local", &["-f", text(&archive)]);
        assert_eq!(output.code, 1, "{what}: {output}");
        assert!(output.stderr.contains(why), "{what}: {output}");
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious", "{what}");
        assert_eq!(containers(&dir), ["outside"], "{what}");
    }
    // A name of some gigabytes, which would have to be kept in memory.
    let name = dir.join(".name.tar.gz");
    let script = format!(
        "import gzip, tarfile\nz = gzip.open('{}', 'wb', compresslevel=1)\ni = tarfile.TarInfo('././@LongLink')\n\
         i.type = b'L'; i.size = 3 << 30\nz.write(i.tobuf(tarfile.GNU_FORMAT))\n\
         for n in range(3 << 7): z.write(b'a' * (8 << 20))\nz.close()",
        name.display()
    );
    run("python3", &["-c", &script]);
    let output = create(&dir, None, "name", "local", &["-f", text(&name)]);
    assert!(output.code == 1 && output.stderr.contains("are too long"), "{output}");
    assert_eq!(containers(&dir), ["outside"]);
    // Two gigabytes of zeros in three megabytes.
    let bomb = dir.join(".bomb.tar.gz");
    let script = format!(
        "import gzip, tarfile, io\n\
         class Zeros(io.RawIOBase):\n def readinto(self, b): b[:] = bytes(len(b)); return len(b)\n def readable(self): return True\n\
         t = tarfile.open('{}', 'w:gz', compresslevel=9)\n\
         for n in range(5):\n i = tarfile.TarInfo('zeros%d' % n); i.size = 450 << 20; t.addfile(i, io.BufferedReader(Zeros()))\n\
         t.close()",
        bomb.display()
    );
    run("python3", &["-c", &script]);
    let output = create(&dir, None, "bomb", "local", &["-f", text(&bomb)]);
    assert!(output.code == 1 && output.stderr.contains("comes to too much"), "{output}");
    assert_eq!(containers(&dir), ["outside"]);
}

/// A layer may not lie behind its own links either; behind those of lower layers it stays inside.
#[test]
fn hostile_layers() {
    needs!(root, ours, program "python3");
    let dir = Lxcpath::new();
    let outside = dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let layout = dir.join(".layout");
    let script = format!(
        r#"
import hashlib, io, json, os, sys, tarfile
out = sys.argv[1]
os.makedirs(out + '/blobs/sha256')
def blob(data):
    h = hashlib.sha256(data).hexdigest()
    open(out + '/blobs/sha256/' + h, 'wb').write(data)
    return {{'digest': 'sha256:' + h, 'size': len(data)}}
def layer(fill):
    b = io.BytesIO(); t = tarfile.open(fileobj=b, mode='w')
    def add(name, link=None):
        i = tarfile.TarInfo(name)
        if link: i.type = tarfile.SYMTYPE; i.linkname = link; t.addfile(i)
        else: i.size = 5; t.addfile(i, io.BytesIO(b'owned'))
    fill(add); t.close(); return b.getvalue()
images = []
def image(tag, layers):
    config = json.dumps({{'architecture': 'amd64', 'os': 'linux', 'config': {{}}, 'rootfs': {{'type': 'layers', 'diff_ids': []}}}}).encode()
    kind = 'application/vnd.oci.image.'
    manifest = json.dumps({{'schemaVersion': 2, 'mediaType': kind + 'manifest.v1+json', 'config': dict(blob(config), mediaType=kind + 'config.v1+json'), 'layers': [dict(blob(l), mediaType=kind + 'layer.v1.tar') for l in layers]}}).encode()
    images.append(dict(blob(manifest), mediaType=kind + 'manifest.v1+json', annotations={{'org.opencontainers.image.ref.name': tag}}))
link = '{0}'
image('same', [layer(lambda add: (add('l', link), add('l/file')))])
image('lower', [layer(lambda add: add('l', link)), layer(lambda add: add('l/file'))])
image('contained', [layer(lambda add: (add(link[1:] + '/inside'), add('l', link))), layer(lambda add: add('l/file'))])
image('whiteout', [layer(lambda add: add('l', link)), layer(lambda add: add('l/.wh.precious'))])
image('dots', [layer(lambda add: add('.wh...'))])
json.dump({{'schemaVersion': 2, 'manifests': images}}, open(out + '/index.json', 'w'))
"#,
        outside.display()
    );
    run("python3", &["-c", &script, text(&layout)]);
    std::fs::write(outside.join("precious"), "x").unwrap();
    for (tag, code) in [("same", 1), ("lower", 1), ("contained", 0), ("whiteout", 0), ("dots", 1)] {
        let name = dir.name("hostile");
        let output = create(&dir, None, &name, "oci", &["-u", &format!("oci:{}:{tag}", layout.display())]);
        assert_eq!(output.code, code, "{tag}: {output}");
        let inside = std::fs::read_dir(&outside).unwrap().count();
        assert_eq!(inside, 1, "{tag}: something was written outside, or removed");
        let below = format!("rootfs{}/file", outside.display());
        assert_eq!(dir.join(&name).join(below).exists(), tag == "contained", "{tag}");
    }
}

//! File systems of the tests' own, in images.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Lxcpath;

/// An lxcpath on a file system of its own, which goes with it.
#[derive(Debug)]
pub struct Disk {
    /// The directory of containers.
    pub dir: Lxcpath,
    // After the directory, which unmounts it.
    _image: Option<Image>,
}

impl Disk {
    /// Makes a file system of a kind and size; `tmpfs` needs no image.
    ///
    /// # Panics
    /// When it cannot be made or mounted; guard with `needs!(file_system "KIND")`.
    pub fn new(kind: &str, megabytes: u32) -> Disk {
        let dir = Lxcpath::new();
        if kind == "tmpfs" {
            run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=755"), "tmpfs", dir.arg()]);
            return Disk { dir, _image: None };
        }
        let image = Image(dir.path().with_extension("img"));
        let name = image.0.to_str().expect("the path is ASCII").to_string();
        let file = std::fs::File::create(&image.0).expect("make an image");
        file.set_len(u64::from(megabytes) << 20).expect("give the image its size");
        run(&format!("mkfs.{kind}"), &["-q", &name]);
        run("mount", &["-o", "loop", &name, dir.arg()]);
        Disk { dir, _image: Some(image) }
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.dir.path()).expect("look at the file system");
        stat.f_bavail * stat.f_frsize
    }
}

/// A file that goes when this is dropped: after the file system in it was unmounted.
#[derive(Debug)]
struct Image(PathBuf);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Everything that can be seen of a directory tree, for comparison: one line for each file, sorted. Hard links are told by
/// the first of their names; contents by a sum; times to the nanosecond.
///
/// # Panics
/// When a file cannot be read.
pub fn fingerprint(root: &Path) -> Vec<String> {
    // find(1) and its kin do not show all of it in one go; python3 does, and is there for other tests.
    let output = Command::new("python3").args(["-c", FINGERPRINT]).arg(root).output().expect("run python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

/// Compares a directory tree with an earlier fingerprint.
///
/// # Panics
/// When they differ: with the lines that do.
#[track_caller]
pub fn assert_same(before: &[String], root: &Path) {
    let now = fingerprint(root);
    assert!(before == now, "{}:\n{}", root.display(), difference(before, &now));
}

/// The lines that only one of two fingerprints has, some of them.
pub fn difference(before: &[String], after: &[String]) -> String {
    let only = |a: &[String], b: &[String]| {
        a.iter().filter(|l| !b.contains(l)).take(10).cloned().collect::<Vec<_>>().join("\n")
    };
    format!("before:\n{}\nafter:\n{}", only(before, after), only(after, before))
}

/// Files below a directory that loop devices hold.
pub fn held_by_loops(directory: &Path) -> Vec<String> {
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|d| std::fs::read_to_string(d.path().join("loop/backing_file")).ok());
    let below = format!("{}/", directory.display());
    files.map(|f| f.trim().to_string()).filter(|f| f.starts_with(&below)).collect()
}

const FINGERPRINT: &str = r#"
import hashlib, os, stat, sys
root = os.fsencode(sys.argv[1])
names, lines = {}, []
def look(path):
    s = os.lstat(path)
    shown = os.path.relpath(path, root)
    what = [oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns]
    if stat.S_ISREG(s.st_mode):
        with open(path, 'rb') as f: what += [s.st_size, hashlib.sha1(f.read()).hexdigest()]
        what.append('sparse' if s.st_size > 1 << 20 and s.st_blocks * 512 < s.st_size // 2 else 'full')
    elif stat.S_ISLNK(s.st_mode): what.append(os.readlink(path))
    elif stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode): what.append(s.st_rdev)
    if not stat.S_ISDIR(s.st_mode) and s.st_nlink > 1:
        what.append(names.setdefault((s.st_dev, s.st_ino), shown))
    what += sorted((n, os.getxattr(path, n, follow_symlinks=False)) for n in os.listxattr(path, follow_symlinks=False))
    lines.append((shown, what))
    if stat.S_ISDIR(s.st_mode):
        for name in sorted(os.listdir(path)): look(os.path.join(path, name))
look(root)
for line in lines: print(*line)
"#;

/// Fills a directory with files of every kind: contents with and without holes, several names, owners, modes, times,
/// attributes, ACLs, capabilities, links, nodes, sockets and FIFOs.
///
/// # Panics
/// When one cannot be made.
pub fn every_kind(root: &Path) {
    let output = Command::new("python3").args(["-c", EVERY_KIND]).arg(root).output().expect("run python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const EVERY_KIND: &str = r#"
import os, socket, stat, sys
root = sys.argv[1]
os.makedirs(root, exist_ok=True)
os.umask(0)
p = lambda name: os.path.join(root, name)
def attribute(path, name, value):
    try: os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as e:
        if e.errno != 95: raise
for d, mode in [('plain', 0o755), ('sticky', 0o1777), ('group', 0o2775), ('closed', 0o000), ('deep', 0o755)]:
    os.mkdir(p(d)); os.chmod(p(d), mode)
os.makedirs(p('deep/' + '/'.join('d%d' % i for i in range(60))))
for i, mode in enumerate([0o644, 0o4755, 0o2711, 0o6755, 0o1644, 0o400, 0o000]):
    path = p('plain/mode%d' % i)
    with open(path, 'wb') as f: f.write(os.urandom(i * 9000))
    os.chown(path, 1000 + i, 2000 + i); os.chmod(path, mode)
with open(p('plain/large'), 'wb') as f: f.write(os.urandom(3 << 20))
with open(p('plain/holes'), 'wb') as f:
    f.seek(3 << 20); f.write(b'data'); f.seek(9 << 20); f.truncate()
with open(p('plain/hole'), 'wb') as f: f.truncate(8 << 20)
with open(p('plain/one'), 'wb') as f: f.write(b'x')
open(p('plain/empty'), 'wb').close()
for n in ['plain/second', 'group/third', 'deep/d0/fourth']: os.link(p('plain/one'), p(n))
os.symlink('one', p('plain/link')); os.symlink('/nowhere', p('plain/dangling')); os.link(p('plain/link'), p('plain/link2'), follow_symlinks=False)
os.lchown(p('plain/link'), 5, 6)
os.mknod(p('plain/char'), 0o620 | stat.S_IFCHR, os.makedev(1, 3)); os.mknod(p('plain/block'), 0o660 | stat.S_IFBLK, os.makedev(7, 99))
os.mknod(p('plain/whiteout'), stat.S_IFCHR, 0)
os.mkfifo(p('plain/fifo'), 0o640); os.chown(p('plain/fifo'), 7, 8)
s = socket.socket(socket.AF_UNIX); here = os.getcwd(); os.chdir(p('plain')); s.bind('socket'); os.chdir(here)
attribute(p('plain/mode0'), 'user.note', b'\0\1note'); attribute(p('plain'), 'user.dir', b'd')
attribute(p('plain/mode0'), 'trusted.t', b't'); attribute(p('plain/link'), 'trusted.link', b'l')
attribute(p('plain/mode1'), 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))
acl = bytes.fromhex('0200000001000600ffffffff02000400e803000004000400ffffffff10000600ffffffff20000000ffffffff')
attribute(p('plain/one'), 'system.posix_acl_access', acl)
attribute(p('group'), 'system.posix_acl_default', acl)
with open(p('plain/' + '\xe4\n\t "x\\'), 'wb') as f: f.write(b'odd name')
for i in range(400):
    with open(p('sticky/file%d' % i), 'wb') as f: f.write(b'%d' % i)
for base, dirs, files in os.walk(root, topdown=False):
    for n in files + dirs:
        os.utime(os.path.join(base, n), ns=(10**18 + 7, 10**18 + len(n) * 1001), follow_symlinks=False)
os.utime(root, ns=(10**18, 10**18 + 999))
"#;

/// A tree of many files of every kind, in directories of very different size, the same every time.
///
/// # Panics
/// When a file cannot be made.
pub fn large_tree(root: &Path, files: u32, bytes: u64) {
    let output = Command::new("python3")
        .args(["-c", LARGE_TREE])
        .arg(root)
        .args([files.to_string(), bytes.to_string()])
        .output()
        .expect("run python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const LARGE_TREE: &str = r#"
import os, random, stat, sys
root, n, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(7)
os.makedirs(root)
data = os.urandom(1 << 20)
average = total // n
dirs, files = [root], []
def attribute(path, name, value):
    try: os.setxattr(path, name, value)
    except OSError as e:
        if e.errno != 95: raise
acl = bytes.fromhex('0200000001000600ffffffff02000400e803000004000400ffffffff10000600ffffffff20000000ffffffff')
for i in range(n // 12):
    path = os.path.join(random.choice(dirs[-200:]), 'd%d' % i)
    os.mkdir(path); dirs.append(path)
for i in range(n - len(dirs)):
    path = os.path.join(random.choice(dirs), 'f%d' % i)
    kind = i % 100
    if kind < 80:
        size = int(random.expovariate(1 / (average * 1.1)))
        with open(path, 'wb') as f:
            while size > 0: size -= f.write(data[:size])
        files.append(path)
        if i % 5 == 0: os.chown(path, random.randrange(2000), random.randrange(2000))
        if i % 7 == 0: os.chmod(path, random.choice([0o755, 0o4755, 0o2711, 0o600, 0o1644]))
        if i % 11 == 0: attribute(path, 'user.test', b'v%d' % i)
        if i % 13 == 0: attribute(path, 'system.posix_acl_access', acl)
        if i % 50 == 0: attribute(path, 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))
    elif kind < 90: os.symlink('../' * (i % 5) + 'x%d' % i, path)
    elif kind < 95: os.link(random.choice(files), path)
    elif kind == 95: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, i % 10))
    elif kind == 96: os.mkfifo(path)
    elif kind == 97:
        with open(path, 'wb') as f: f.seek(5 << 20); f.write(b'x' * 100); f.seek(9 << 20); f.truncate()
    elif kind == 98: os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(7, i % 10))
    else: open(path, 'w').close()
    if kind < 95: os.utime(path, ns=(10**18 + i * 1001, 10**18 + i * 7919), follow_symlinks=False)
for path in dirs[::9]: os.chmod(path, random.choice([0o750, 0o1777, 0o2775]))
"#;

//! Images that somebody has changed, or made to get out: all of it is refused, and nothing is left.

use std::path::PathBuf;

use lxc_testkit::{Lxcpath, Suite, needs};

use super::images::{containers, create, layered, run, text};

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
    // Values have lengths: what looks like the next record is still of this one.
    let archive = make(&format!("add('a\\nb'); add('x', comment='1\\n{} path={out}\\n')", out.len() + 9));
    create(&dir, None, "values", "local", &["-f", text(&archive)]).ok();
    let mut names: Vec<_> =
        std::fs::read_dir(dir.join("values/rootfs")).unwrap().flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["a\nb", "dev", "x"]);
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious");
    Suite::ours().run("lxc-destroy", &["-P", dir.arg(), "-n", "values"]).ok();
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

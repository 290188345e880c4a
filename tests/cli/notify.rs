//! Seccomp policies that ask a proxy.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lxc_testkit::{Lxcpath, Suite, eventually, needs, process};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::process::Signal;

/// What a proxy answers.
#[derive(Clone, Copy)]
enum Answer {
    /// This error.
    Fail(i32),
    /// As if there were no filter (SECCOMP_USER_NOTIF_FLAG_CONTINUE).
    Continue,
    /// Something that is no answer.
    Nonsense,
    /// The end of the connection.
    HangUp,
    /// Nothing, and what came with the question is kept.
    Silence,
}

/// A proxy, and what it was asked: the sizes, the cookie, the number of the call, and what the descriptors are.
struct Proxy {
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn listen(path: &Path, answer: Answer) -> Proxy {
        Proxy::at(&SocketAddrUnix::new(path).unwrap(), answer)
    }

    fn at(address: &SocketAddrUnix, answer: Answer) -> Proxy {
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        rustix::net::bind(&listener, address).unwrap();
        rustix::net::listen(&listener, 8).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            while let Ok(socket) = rustix::net::accept_with(&listener, SocketFlags::CLOEXEC) {
                let record = record.clone();
                std::thread::spawn(move || serve(&socket, answer, &record));
            }
        });
        Proxy { seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(socket: &OwnedFd, answer: Answer, record: &Mutex<Vec<String>>) {
    loop {
        let mut buffer = [0; 512];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags);
        let length = received.map_or(0, |r| r.bytes);
        if length == 0 {
            return;
        }
        let fds: Vec<OwnedFd> = control
            .drain()
            .filter_map(|m| if let RecvAncillaryMessage::ScmRights(fds) = m { Some(fds) } else { None })
            .flatten()
            .collect();
        let path = |fd: &OwnedFd| {
            use std::os::fd::AsRawFd;
            std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().display().to_string()
        };
        let pid = i32::from_ne_bytes(buffer[40..44].try_into().unwrap());
        let sizes: Vec<u16> =
            buffer[16..22].chunks(2).map(|c| u16::from_ne_bytes(c.try_into().unwrap())).collect();
        let call = i32::from_ne_bytes(buffer[48..52].try_into().unwrap());
        let cookie = String::from_utf8_lossy(&buffer[136..length]).into_owned();
        let descriptors = fds;
        let fds: Vec<String> =
            descriptors.iter().map(|fd| path(fd).replace(&pid.to_string(), "PID")).collect();
        assert_eq!(buffer[32..40], buffer[112..120], "the answer has the question's id");
        record.lock().unwrap().push(format!("{sizes:?} {cookie} {call} {fds:?}"));
        let mut reply = buffer[..136].to_vec();
        match answer {
            Answer::Fail(errno) => reply[128..132].copy_from_slice(&(-errno).to_ne_bytes()),
            Answer::Continue => reply[132..136].copy_from_slice(&1u32.to_ne_bytes()),
            Answer::Nonsense => reply.truncate(100),
            Answer::HangUp => return,
            Answer::Silence => {
                std::mem::forget(descriptors);
                continue;
            }
        }
        let _ = rustix::net::send(socket, &reply, SendFlags::NOSIGNAL);
    }
}

const POLICY: &str = "2\ndenylist\nmkdir notify\nmkdirat notify\n";

fn container(dir: &Lxcpath, proxy: Option<&Path>) -> String {
    asking(dir, proxy.map(|path| path.display().to_string()).as_deref())
}

fn asking(dir: &Lxcpath, proxy: Option<&str>) -> String {
    let policy = dir.join("policy");
    std::fs::write(&policy, POLICY).unwrap();
    let builder = dir.busybox("ask").quick().line(format!("lxc.seccomp.profile = {}", policy.display()));
    let builder = builder.line("lxc.seccomp.notify.cookie = chocolate");
    match proxy {
        Some(address) => builder.line(format!("lxc.seccomp.notify.proxy = unix:{address}")).build(),
        None => builder.build(),
    }
}

/// What becomes of a directory that a command in the container makes.
fn make(dir: &Lxcpath, suite: &Suite, name: &str, path: &str) -> String {
    let output = dir.run(suite, "lxc-attach", name, &["--", "mkdir", path]);
    format!("{} {}", output.code, output.stderr.trim())
}

#[test]
fn a_proxy_decides() {
    needs!(root, ours);
    for (answer, text) in [
        (Answer::Fail(18), "1 mkdir: can't create directory '/d': Invalid cross-device link"),
        (Answer::Continue, "0 "),
        (Answer::Nonsense, "1 mkdir: can't create directory '/d': Function not implemented"),
        (Answer::HangUp, "1 mkdir: can't create directory '/d': Function not implemented"),
    ] {
        Suite::compare(|suite| {
            let dir = Lxcpath::new();
            let socket = dir.join("proxy");
            let proxy = Proxy::listen(&socket, answer);
            let name = container(&dir, Some(&socket));
            dir.start(suite, &name);
            assert_eq!(make(&dir, suite, &name, "/d"), text, "{suite}");
            assert_eq!(dir.join(&name).join("rootfs/d").exists(), text.starts_with('0'), "{suite}");
            dir.kill(suite, &name);
            dir.gone(suite, &name);
            let mut seen = proxy.seen();
            // The peer asks again on a new connection.
            seen.dedup();
            seen
        });
    }
}

/// A name that is in no file system. The peer loses its last letter.
#[test]
fn a_proxy_with_an_abstract_name() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let address = format!("lxc-test-proxy-{}", std::process::id());
    let proxy = Proxy::at(&SocketAddrUnix::new_abstract_name(address.as_bytes()).unwrap(), Answer::Fail(18));
    let name = asking(&dir, Some(&format!("@{address}")));
    dir.start(&suite, &name);
    assert!(make(&dir, &suite, &name, "/d").ends_with("Invalid cross-device link"));
    assert_eq!(proxy.seen().len(), 1);
    dir.kill(&suite, &name);
}

/// One that ends, and another at its address later: nobody waits meanwhile, and the new one is asked.
#[test]
fn a_proxy_that_is_started_anew() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let socket = dir.join("proxy");
    let first = Proxy::listen(&socket, Answer::HangUp);
    let name = container(&dir, Some(&socket));
    dir.start(&suite, &name);
    assert!(make(&dir, &suite, &name, "/d").ends_with("Function not implemented"));
    assert_eq!(first.seen().len(), 1);
    std::fs::remove_file(&socket).unwrap();
    assert!(make(&dir, &suite, &name, "/d").ends_with("Function not implemented"));
    let second = Proxy::listen(&socket, Answer::Continue);
    assert_eq!(make(&dir, &suite, &name, "/d"), "0 ");
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    dir.kill(&suite, &name);
}

/// init's own filter, and the hooks that run under it.
#[test]
fn a_start_hook_may_ask() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let socket = dir.join("proxy");
    let proxy = Proxy::listen(&socket, Answer::Continue);
    let policy = dir.join("policy");
    std::fs::write(&policy, POLICY).unwrap();
    let name = dir
        .busybox("hook")
        .init("/sbin/asks")
        .line(format!("lxc.seccomp.profile = {}", policy.display()))
        .line(format!("lxc.seccomp.notify.proxy = unix:{}", socket.display()))
        .line("lxc.hook.start = /sbin/hook")
        .build();
    dir.script(&name, "sbin/hook", "mkdir /of-hook");
    dir.script(&name, "sbin/asks", "mkdir /of-init; exec sleep 1000");
    dir.start(&suite, &name);
    let made = |path: &str| dir.join(&name).join("rootfs").join(path).exists();
    eventually("both are made", || made("of-hook") && made("of-init"));
    assert_eq!(proxy.seen().len(), 2, "{:?}", proxy.seen());
    dir.kill(&suite, &name);
}

/// Without a proxy there is nobody to ask; one that does not listen keeps the container from starting.
#[test]
fn without_a_proxy() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, None);
        dir.start(suite, &name);
        let made = make(&dir, suite, &name, "/d");
        dir.kill(suite, &name);
        dir.gone(suite, &name);
        let name = container(&dir, Some(&dir.join("nobody")));
        dir.run(suite, "lxc-start", &name, &["-d"]);
        // The peer says first that it runs.
        eventually("it does not run", || dir.state(suite, &name) == "STOPPED");
        made
    });
    let dir = Lxcpath::new();
    let name = container(&dir, Some(&dir.join("nobody")));
    let output = dir.run(&Suite::ours(), "lxc-start", &name, &["-d"]);
    assert!(output.stderr.contains("lxc.seccomp.notify.proxy"), "{output}");
    dir.gone(&Suite::ours(), &name);
}

/// A proxy that is asked and says nothing holds up the process that asks, and nobody else. When that is killed, others
/// are asked about, and the monitor has nothing to do, though the proxy keeps what it was given.
#[test]
fn a_silent_proxy_does_not_stop_the_monitor() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let socket = dir.join("proxy");
    let proxy = Proxy::listen(&socket, Answer::Silence);
    let name = container(&dir, Some(&socket));
    dir.start(&suite, &name);
    let waits = dir.spawn(&suite, "lxc-attach", &name, &["--", "mkdir", "/silence"]);
    eventually("it asks", || proxy.seen().len() == 1);
    assert_eq!(dir.state(&suite, &name), "RUNNING");
    assert_eq!(dir.sh(&suite, &name, "echo alive"), "alive\n");
    assert_eq!(proxy.seen().len(), 1, "nothing was answered meanwhile");
    let asks = process::all().into_iter().find(|pid| process::command_line(*pid) == "mkdir /silence");
    process::kill(asks.expect("the process that asks"), Signal::KILL);
    waits.wait().exits(137);
    let again = dir.spawn(&suite, "lxc-attach", &name, &["--", "mkdir", "/again"]);
    eventually("the next one is asked about", || proxy.seen().len() == 2);
    let monitor = dir.monitor_pid(&name).expect("a monitor");
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{monitor}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // utime and stime, in hundredths of a second.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(ticks() - before < 50, "the monitor is busy: {} of 200", ticks() - before);
    // Half a minute is too long for an answer.
    let output = again.wait_for(lxc_testkit::patience(std::time::Duration::from_secs(60)));
    assert!(output.code == 1 && output.stderr.contains("Function not implemented"), "{output}");
    dir.kill(&suite, &name);
    dir.gone(&suite, &name);
}

/// The listener could not be handed over.
#[test]
fn what_cannot_be_asked_about() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    for policy in ["2\ndenylist\nsendmsg notify\n", "2\nallowlist notify\nread\n"] {
        let file = dir.join("policy");
        std::fs::write(&file, policy).unwrap();
        let name = dir.busybox("ask").line(format!("lxc.seccomp.profile = {}", file.display())).build();
        let output = dir.run(&suite, "lxc-start", &name, &["-d"]);
        assert!(output.code == 1 && output.stderr.contains("sendmsg"), "{policy}: {output}");
    }
}

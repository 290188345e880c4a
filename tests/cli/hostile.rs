//! Clients of the command socket that do not behave: the monitor goes on serving the others.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lxc_testkit::client::{self, GET_STATE};
use lxc_testkit::{Lxcpath, Suite, needs, process};

/// A running container, and the number of files its monitor had open before anything was done to it.
struct Victim {
    dir: Lxcpath,
    name: String,
    files: usize,
}

impl Victim {
    fn new() -> Victim {
        let dir = Lxcpath::new();
        let name = dir.busybox("victim").quick().build();
        dir.start(&Suite::ours(), &name);
        let mut victim = Victim { dir, name, files: 0 };
        victim.answers();
        victim.files = victim.open_files();
        victim
    }

    fn connect(&self) -> UnixStream {
        client::connect(self.dir.path(), &self.name).expect("connect to the command socket")
    }

    fn open_files(&self) -> usize {
        let monitor = self.dir.monitor_pid(&self.name).expect("the monitor is alive");
        std::fs::read_dir(format!("/proc/{monitor}/fd")).expect("read the descriptors").count()
    }

    /// The monitor answers, soon.
    #[track_caller]
    fn answers(&self) {
        let begin = Instant::now();
        let (result, _, state) =
            client::ask(&mut self.connect(), GET_STATE, &[]).expect("the state is answered");
        assert_eq!((result, state), (0, 2), "RUNNING");
        assert!(begin.elapsed() < Duration::from_secs(1), "after {:?}", begin.elapsed());
    }

    /// After the clients have gone everything is as before, and the container can be used and stopped.
    #[track_caller]
    fn recovers(self) {
        self.answers();
        process::eventually("its files are closed", || self.open_files() <= self.files);
        let suite = Suite::ours();
        assert_eq!(self.dir.sh(&suite, &self.name, "echo alive"), "alive\n");
        self.dir.kill(&suite, &self.name);
        self.dir.gone(&suite, &self.name);
    }
}

#[test]
fn silent_clients() {
    needs!(root, ours);
    let victim = Victim::new();
    let silent: Vec<UnixStream> = (0..20).map(|_| victim.connect()).collect();
    victim.answers();
    drop(silent);
    victim.recovers();
}

#[test]
fn clients_that_stop_in_the_middle() {
    needs!(root, ours);
    let victim = Victim::new();
    let mut partial: Vec<UnixStream> = (0..16).map(|_| victim.connect()).collect();
    for (n, stream) in partial.iter_mut().enumerate() {
        stream.write_all(&client::header(GET_STATE, 0, 0)[..n]).unwrap();
    }
    // A header that promises a payload which does not come.
    let mut promising: Vec<UnixStream> = (0..16).map(|_| victim.connect()).collect();
    for (n, stream) in promising.iter_mut().enumerate() {
        stream.write_all(&client::header(7, 100, 0)).unwrap();
        stream.write_all(&vec![b'x'; n]).unwrap();
    }
    victim.answers();
    drop((partial, promising));
    victim.recovers();
}

/// Who sends a byte now and then has no more time for it than others.
#[test]
fn slow_clients() {
    needs!(root, ours);
    let victim = Victim::new();
    let mut slow: Vec<UnixStream> = (0..8).map(|_| victim.connect()).collect();
    let begin = Instant::now();
    // A byte less than a request: nothing is ever answered.
    for byte in &client::header(GET_STATE, 0, 0)[1..] {
        std::thread::sleep(Duration::from_millis(600));
        slow.iter_mut().for_each(|stream| drop(stream.write_all(&[*byte])));
    }
    for stream in &mut slow {
        stream.set_read_timeout(Some(lxc_testkit::patience(Duration::from_secs(6)))).unwrap();
        let end = stream.read(&mut [0; 64]).map_err(|e| e.kind());
        assert_ne!(end, Err(std::io::ErrorKind::WouldBlock), "after {:?}", begin.elapsed());
    }
    assert!(begin.elapsed() > Duration::from_secs(9), "after {:?}", begin.elapsed());
    victim.answers();
    drop(slow);
    victim.recovers();
}

#[test]
fn lengths_that_are_none() {
    needs!(root, ours);
    let victim = Victim::new();
    for length in [-1, i32::MIN, i32::MAX, 8193, 1 << 30] {
        let mut stream = victim.connect();
        stream.write_all(&client::header(7, length, 0)).unwrap();
        // Refused or cut off at once; nothing is allocated for it.
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let answer = stream.read(&mut [0; 64]).map_err(|e| e.kind());
        assert_ne!(answer, Err(std::io::ErrorKind::WouldBlock), "{length}");
        victim.answers();
    }
    victim.recovers();
}

#[test]
fn garbage() {
    needs!(root, ours);
    let victim = Victim::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..600 {
        let mut stream = victim.connect();
        let length = (random() % 200) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        // Half of them with a header that gets past the first checks; never 2, which is the request to stop.
        if random() % 2 == 0 {
            // All that there are, and two that are none.
            let command = match (random() % 29) as u32 {
                2 => 999,
                command => command,
            };
            bytes.splice(0..0, client::header(command, length as i32, random()));
        } else if let Some(first) = bytes.first_mut() {
            *first |= 0x80;
        }
        // The monitor may close the connection first.
        let _ = stream.write_all(&bytes);
        if random() % 3 == 0 {
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let _ = stream.read(&mut [0; 256]);
        }
    }
    victim.recovers();
}

#[test]
fn three_hundred_connections() {
    needs!(root, ours);
    let victim = Victim::new();
    let mut streams: Vec<UnixStream> = (0..300).map(|_| victim.connect()).collect();
    // Who is too many waits to be accepted. What would accept them all is done at once.
    process::eventually("the first are accepted", || victim.open_files() >= victim.files + 200);
    std::thread::sleep(Duration::from_millis(100));
    assert!(victim.open_files() < victim.files + 280, "{} files", victim.open_files());
    for stream in &mut streams {
        stream.write_all(&client::header(GET_STATE, 0, 0)).unwrap();
    }
    for stream in &mut streams {
        assert_eq!(client::response(stream).expect("each is answered"), (0, 0, 2));
    }
    drop(streams);
    victim.recovers();
}

/// Answers that nobody reads must not block the monitor.
#[test]
fn clients_that_do_not_read() {
    needs!(root, ours);
    let victim = Victim::new();
    let mut deaf: Vec<UnixStream> = (0..10).map(|_| victim.connect()).collect();
    for stream in &mut deaf {
        stream.set_nonblocking(true).unwrap();
        for _ in 0..2000 {
            if stream.write(&client::header(GET_STATE, 0, 0)).is_err() {
                break;
            }
        }
    }
    victim.answers();
    drop(deaf);
    victim.recovers();
}

/// Clients that wait for a state, and go away: the next ones must not get their messages.
#[test]
fn waiting_clients_that_disappear() {
    needs!(root, ours);
    let victim = Victim::new();
    let mut frozen = [0_u8; 32];
    frozen[24] = 1;
    for _ in 0..50 {
        let mut stream = victim.connect();
        let (result, _, _) = client::ask(&mut stream, 10, &frozen).expect("the registration is answered");
        assert_eq!(result, 8, "registered");
    }
    let suite = Suite::ours();
    victim.dir.run(&suite, "lxc-freeze", &victim.name, &[]).ok();
    victim.dir.run(&suite, "lxc-unfreeze", &victim.name, &[]).ok();
    victim.recovers();
}

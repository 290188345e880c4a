//! lxc-monitord: fans state messages out to everybody who watches (spec: command protocol, section 5).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use lxc_sys::signal::{self, SignalSet};
use lxc_sys::{Errno, lock, socket};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use crate::error::{Doing, Error, Kind, Result};
use crate::monitor::states::monitord_fifo;
use crate::protocol::address::monitord_socket;
use crate::protocol::wire::STATE_MESSAGE_LEN;

/// Without anybody watching the daemon ends after this time.
const IDLE: Duration = Duration::from_secs(30);
/// Watchers at a time.
const MAX_CLIENTS: usize = 1024;

fn address(lxcpath: &Path) -> Result<Vec<u8>> {
    monitord_socket(lxcpath).ok_or_else(|| {
        Error::invalid(format!("{}: the path is too long for lxc-monitord", lxcpath.display()))
    })
}

/// Connects to the daemon of an lxcpath.
pub fn connect(lxcpath: &Path) -> Result<OwnedFd> {
    socket::connect_abstract(&address(lxcpath)?).doing(|| "connect to lxc-monitord")
}

/// Tells the daemon to end.
pub fn quit(lxcpath: &Path) -> Result<()> {
    let socket = connect(lxcpath)?;
    socket::send(socket.as_fd(), b"quit", &[], false).doing(|| "write to lxc-monitord").map(drop)
}

/// Serves until told to end, or until nobody watches for a while unless `stay`. `ready` is called
/// when others can connect.
///
/// # Errors
/// Another daemon serves this lxcpath, or the FIFO or socket cannot be made.
pub fn serve(lxcpath: &Path, stay: bool, ready: impl FnOnce()) -> Result<()> {
    let path =
        monitord_fifo(lxcpath).ok_or_else(|| Error::new(Kind::Failed, "there is no runtime directory"))?;
    let what = || format!("make {}", path.display());
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).doing(what)?;
    }
    match rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(Error::os(what(), e)),
    }
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fifo = rustix::fs::open(&path, flags, Mode::empty()).doing(what)?;
    lock::try_lock_posix(fifo.as_fd())
        .doing(|| format!("lock {}: another lxc-monitord runs", path.display()))?;
    let listener = socket::listen_abstract(&address(lxcpath)?).doing(|| "make the socket of lxc-monitord")?;
    let ending = SignalSet::empty().with(libc::SIGTERM);
    signal::block(&SignalSet::all().without(libc::SIGSEGV).without(libc::SIGBUS).without(libc::SIGILL))
        .doing(|| "block signals")?;
    let signals = signal::signalfd(&ending).doing(|| "make a signalfd")?;
    ready();
    let result = watch(&fifo, &listener, &signals, stay);
    let _ = std::fs::remove_file(&path);
    result
}

fn watch(fifo: &OwnedFd, listener: &OwnedFd, signals: &OwnedFd, stay: bool) -> Result<()> {
    let mut clients: Vec<OwnedFd> = Vec::new();
    loop {
        let mut fds: Vec<PollFd<'_>> = [fifo, listener, signals]
            .into_iter()
            .chain(&clients)
            .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
            .collect();
        let idle = !stay && clients.is_empty();
        let limit = Timespec { tv_sec: IDLE.as_secs() as i64, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, idle.then_some(&limit)) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(e) => return Err(Error::os("wait for messages", e)),
        }
        let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
        if ready[2] {
            return Ok(());
        }
        let mut gone = Vec::new();
        for (i, client) in clients.iter().enumerate().filter(|(i, _)| ready[i + 3]) {
            let mut text = [0; 16];
            match rustix::io::read(client, &mut text[..]) {
                Ok(n) if text[..n].starts_with(b"quit") => return Ok(()),
                Ok(0) => gone.push(i),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => gone.push(i),
            }
        }
        gone.into_iter().rev().for_each(|i| drop(clients.swap_remove(i)));
        if ready[0] {
            forward(fifo, &mut clients);
        }
        if ready[1]
            && let Ok(client) = socket::accept(listener.as_fd())
            && clients.len() < MAX_CLIENTS
            && may_watch(&client)
        {
            clients.push(client);
        }
    }
}

/// Copies messages to everybody; whoever does not read them is dropped.
fn forward(fifo: &OwnedFd, clients: &mut Vec<OwnedFd>) {
    let mut message = [0; STATE_MESSAGE_LEN];
    while let Ok(n) = rustix::io::read(fifo, &mut message[..]) {
        if n != STATE_MESSAGE_LEN {
            return;
        }
        clients.retain(|c| socket::send(c.as_fd(), &message, &[], false) == Ok(STATE_MESSAGE_LEN));
    }
}

fn may_watch(client: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_peercred(client)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

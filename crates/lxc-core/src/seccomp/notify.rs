//! System calls that the container's filter asks about (seccomp_unotify(2)), and the proxy that decides them (spec:
//! command protocol, section 6).
//!
//! One question is with the proxy at a time, and the monitor does not wait for the answer: it serves others meanwhile.
//! Whatever goes wrong is answered with ENOSYS, as is everything where no proxy is configured.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use lxc_config::Seccomp;
use lxc_sys::seccomp::{NotifSizes, receive_notif, send_response, still_asks};
use lxc_sys::{Errno, socket};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::Pid;

use crate::error::{Doing, Error, Result};

/// How long a proxy may take for its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether a process still waits for its answer.
const LOOK: Duration = Duration::from_secs(1);
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Length of what comes before the kernel's structures in a message.
const PREFIX: usize = 32;
/// Offsets of `id` and `pid` in struct seccomp_notif, of `error` in struct seccomp_notif_resp (linux/seccomp.h).
const PID: usize = 8;
const ERROR: usize = 16;

const PROXY: u64 = 0;
const FIRST_LISTENER: u64 = 1;

/// A question that is with the proxy.
#[derive(Debug)]
struct Asked {
    listener: u64,
    id: u64,
    until: Instant,
    /// When to look whether whoever asked still waits.
    look: Instant,
}

/// All that asks, and whom.
#[derive(Debug)]
pub struct Notifier {
    epoll: OwnedFd,
    sizes: NotifSizes,
    init: Pid,
    address: Option<String>,
    cookie: Vec<u8>,
    proxy: Option<OwnedFd>,
    listeners: BTreeMap<u64, OwnedFd>,
    next: u64,
    asked: Option<Asked>,
}

impl Notifier {
    /// Begins with the listener of init's filter.
    ///
    /// # Errors
    /// There is a proxy, and it does not listen.
    pub fn new(keys: &Seccomp, init: Pid, listener: OwnedFd) -> Result<Notifier> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing(|| "make an epoll instance")?;
        let address = keys.notify_proxy.as_deref().and_then(|a| a.strip_prefix("unix:")).map(String::from);
        let mut notifier = Notifier {
            epoll,
            sizes: NotifSizes::get().doing(|| "ask for the sizes of seccomp's messages")?,
            init,
            address,
            cookie: keys.notify_cookie.clone().unwrap_or_default().into_bytes(),
            proxy: None,
            listeners: BTreeMap::new(),
            next: FIRST_LISTENER,
            asked: None,
        };
        notifier.connect().map_err(|e| e.during("lxc.seccomp.notify.proxy"))?;
        notifier.add(listener)?;
        Ok(notifier)
    }

    /// Readable when there is something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// When there is something to do without anything to read.
    pub fn deadline(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.until.min(asked.look))
    }

    /// The listener of init's filter.
    pub fn first_listener(&self) -> Option<BorrowedFd<'_>> {
        self.listeners.get(&FIRST_LISTENER).map(AsFd::as_fd)
    }

    /// One more filter: that of a process that was attached.
    pub fn add(&mut self, listener: OwnedFd) -> Result<()> {
        let token = self.next;
        self.next += 1;
        let flags = if self.asked.is_some() { EventFlags::empty() } else { EventFlags::IN };
        epoll::add(&self.epoll, &listener, EventData::new_u64(token), flags)
            .doing(|| "watch the listener of a seccomp filter")?;
        self.listeners.insert(token, listener);
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let Some(address) = &self.address else { return Ok(()) };
        let what = || format!("connect to {address}");
        let name = match address.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(address.as_str()),
        };
        let connect = || {
            let flags = SocketFlags::CLOEXEC;
            let proxy = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
            // One that is busy with others; while the container runs nobody is to wait for it.
            let patience = if self.listeners.is_empty() { PATIENCE } else { Duration::from_millis(100) };
            sockopt::set_socket_timeout(&proxy, sockopt::Timeout::Send, Some(patience))?;
            rustix::net::connect(&proxy, &name?)?;
            rustix::io::ioctl_fionbio(&proxy, true)?;
            Ok::<_, Errno>(proxy)
        };
        let proxy = connect().doing(what)?;
        epoll::add(&self.epoll, &proxy, EventData::new_u64(PROXY), EventFlags::IN).doing(what)?;
        self.proxy = Some(proxy);
        Ok(())
    }

    /// Does all that can be done at once.
    pub fn turn(&mut self) {
        let now = Instant::now();
        if self.asked.as_ref().is_some_and(|asked| asked.look <= now) {
            self.look_again();
        }
        if self.asked.as_ref().is_some_and(|asked| asked.until <= now) {
            log::warn!("the proxy for system calls takes too long");
            // A late answer must not be taken for that of another question.
            self.proxy = None;
            self.decide(None);
        }
        let mut events = Vec::with_capacity(8);
        if epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&NOW)).is_err() {
            return;
        }
        for event in &events {
            let (token, flags) = (event.data.u64(), event.flags);
            match token {
                PROXY => self.answered(),
                // Nobody is under that filter any more.
                token if flags.intersects(EventFlags::HUP | EventFlags::ERR) => self.forget(token),
                token if self.asked.is_none() => self.question(token),
                _ => {}
            }
        }
    }

    /// A listener that says nothing more. Others may hold it too, the proxy for one: what is watched is the open file.
    fn forget(&mut self, token: u64) {
        if let Some(listener) = self.listeners.remove(&token) {
            let _ = epoll::delete(&self.epoll, &listener);
        }
        if self.asked.as_ref().is_some_and(|asked| asked.listener == token) {
            self.abandon();
        }
    }

    /// Whoever asked is gone. A late answer must not be taken for that of another question.
    fn abandon(&mut self) {
        self.asked = None;
        self.proxy = None;
        self.watch_listeners(true);
    }

    /// Looks whether whoever asked still waits.
    fn look_again(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        asked.look = Instant::now() + LOOK;
        let listener = self.listeners.get(&asked.listener);
        if listener.is_some_and(|l| still_asks(l.as_fd(), asked.id) == Err(Errno::NOENT)) {
            self.abandon();
        }
    }

    /// A process asks.
    fn question(&mut self, token: u64) {
        let Some(listener) = self.listeners.get(&token) else { return };
        // Somebody else who holds it may have been quicker: the kernel would wait for the next question.
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        if poll(&mut fds, Some(&NOW)).is_err() || !fds[0].revents().contains(PollFlags::IN) {
            return;
        }
        let notif = match receive_notif(listener.as_fd(), &self.sizes) {
            Ok(notif) => notif,
            // It was killed meanwhile.
            Err(Errno::NOENT | Errno::INTR) => return,
            Err(e) => {
                log::warn!("read what a seccomp filter asks: {e}");
                return self.forget(token);
            }
        };
        let id = number::<8>(&notif, 0).map_or(0, u64::from_ne_bytes);
        let now = Instant::now();
        self.asked = Some(Asked { listener: token, id, until: now + PATIENCE, look: now + LOOK });
        self.watch_listeners(false);
        match self.forward(token, id, &notif) {
            Ok(true) => {}
            Ok(false) => self.decide(None),
            Err(e) => {
                log::warn!("pass a system call on to the proxy: {e}");
                self.decide(None);
            }
        }
    }

    /// Passes a question on; false where there is no proxy.
    fn forward(&mut self, token: u64, id: u64, notif: &[u8]) -> Result<bool> {
        if self.address.is_none() {
            return Ok(false);
        }
        let Some(listener) = self.listeners.get(&token) else { return Ok(false) };
        let pid = number::<4>(notif, PID).map_or(0, i32::from_ne_bytes);
        let path = format!("/proc/{pid}");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&*path, flags, Mode::empty()).doing(|| format!("open {path}"))?;
        let memory = rustix::fs::openat(&directory, "mem", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("open {path}/mem"))?;
        // The pid may be another process's by now.
        still_asks(listener.as_fd(), id).doing(|| "look again at who asks")?;
        let listener = rustix::io::fcntl_dupfd_cloexec(listener, 3).doing(|| "copy a descriptor")?;
        let message = self.message(notif, id);
        let send = |notifier: &mut Notifier| {
            if notifier.proxy.is_none() {
                notifier.connect()?;
            }
            let proxy = notifier.proxy.as_ref().ok_or_else(|| Error::os("the proxy", Errno::NOTCONN))?;
            let fds = [directory.as_fd(), memory.as_fd(), listener.as_fd()];
            socket::send(proxy.as_fd(), &message, &fds, false).doing(|| "send to the proxy").map(drop)
        };
        if send(self).is_err() {
            // It may have been started anew.
            self.proxy = None;
            send(self)?;
        }
        Ok(true)
    }

    fn message(&self, notif: &[u8], id: u64) -> Vec<u8> {
        let mut out = vec![0; 8];
        out.extend(rustix::process::getpid().as_raw_nonzero().get().to_ne_bytes());
        out.extend(self.init.as_raw_nonzero().get().to_ne_bytes());
        let sizes = [self.sizes.notif, self.sizes.response, self.sizes.data, 0];
        out.extend(sizes.iter().flat_map(|size| size.to_ne_bytes()));
        out.extend((self.cookie.len() as u64).to_ne_bytes());
        out.extend(notif);
        let response = out.len();
        out.resize(response + usize::from(self.sizes.response), 0);
        out[response..response + 8].copy_from_slice(&id.to_ne_bytes());
        out.extend(&self.cookie);
        out
    }

    /// The proxy has said something, or has gone.
    fn answered(&mut self) {
        let Some(proxy) = &self.proxy else { return };
        let (notif, response) = (usize::from(self.sizes.notif), usize::from(self.sizes.response));
        // One byte more tells a message that is too long.
        let mut buffer = vec![0; PREFIX + notif + response + 1];
        let length = match socket::receive(proxy.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
            Ok(message) => message.len,
            Err(Errno::AGAIN) => return,
            Err(_) => 0,
        };
        if length == 0 {
            log::warn!("the proxy for system calls has closed the connection");
            self.proxy = None;
            return self.decide(None);
        }
        let Some(asked) = &self.asked else { return };
        let answer = &buffer[PREFIX + notif..PREFIX + notif + response];
        let valid = length == PREFIX + notif + response
            && buffer[..8] == [0; 8]
            && answer.get(..8) == Some(&asked.id.to_ne_bytes()[..]);
        if !valid {
            log::warn!("the proxy for system calls has sent what is no answer");
        }
        let answer = answer.to_vec();
        self.decide(valid.then_some(&answer));
    }

    /// Tells the kernel the answer, ENOSYS where there is none, and listens again.
    fn decide(&mut self, answer: Option<&[u8]>) {
        let Some(asked) = self.asked.take() else { return };
        let mut refusal = vec![0; usize::from(self.sizes.response)];
        refusal[..8].copy_from_slice(&asked.id.to_ne_bytes());
        refusal[ERROR..ERROR + 4].copy_from_slice(&(-libc::ENOSYS).to_ne_bytes());
        if let Some(listener) = self.listeners.get(&asked.listener) {
            match send_response(listener.as_fd(), answer.unwrap_or(&refusal)) {
                // Whoever asked was killed.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => {
                    log::warn!("answer a system call: {e}");
                    // Something that the kernel does not take: the process must not hang.
                    let _ = send_response(listener.as_fd(), &refusal);
                }
            }
        }
        self.watch_listeners(true);
    }

    fn watch_listeners(&self, watch: bool) {
        let flags = if watch { EventFlags::IN } else { EventFlags::empty() };
        for (token, listener) in &self.listeners {
            let _ = epoll::modify(&self.epoll, listener, EventData::new_u64(*token), flags);
        }
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

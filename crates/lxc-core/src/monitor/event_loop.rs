//! The monitor's main loop, from the execution of init to its end.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use lxc_config::Config;
use lxc_sys::{Errno, signal, socket};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{WaitId, WaitIdOptions};

use super::Exit;
use super::console::Console;
use super::requests;
use super::server::{Connection, Kept, MAX_CONNECTIONS, MAX_STRANGERS, Step};
use super::states::Publisher;
use crate::cgroup::{GroupSet, Layout, Version, freezer};
use crate::error::{Doing, Result};
use crate::plan::Plan;
use crate::protocol::wire::StateMessage;
use crate::spawn::Spawned;
use crate::state::State;

const SIGNALS: u64 = 0;
const INIT: u64 = 1;
const LISTENER: u64 = 2;
const CONSOLE_OUTPUT: u64 = 3;
const CONSOLE_INPUT: u64 = 4;
const NOTIFIER: u64 = 5;
const FIRST_CLIENT: u64 = 16;

/// A container that runs, in the hands of its monitor.
#[derive(Debug)]
pub struct Running<'a> {
    /// What was started.
    pub plan: &'a Plan,
    /// Its configuration, with what the start filled in.
    pub config: &'a Config,
    /// The host's cgroups.
    pub layout: &'a Layout,
    /// The container's cgroups.
    pub payload: &'a GroupSet,
    /// init, terminals, namespaces, network.
    pub spawned: &'a mut Spawned,
    /// The console.
    pub console: Console,
    publisher: &'a Publisher,
    state: State,
    clients: BTreeMap<u64, Connection>,
    next_client: u64,
    epoll: OwnedFd,
    paused: bool,
}

/// What outlives one run of the container.
#[derive(Debug, Default)]
pub struct Clients {
    kept: Vec<Connection>,
}

impl Clients {
    /// Tells who waits of a state; they are closed with it.
    pub fn notify(&mut self, name: &str, state: State) {
        let message = StateMessage::state(name, state).encode();
        self.kept.retain(|c| match c.kept() {
            Some(Kept::States(mask)) if mask[state as usize] != 0 => {
                c.send_state(&message);
                false
            }
            _ => true,
        });
    }

    /// Before a reboot: only those stay who wait for the next RUNNING (2) or for the very end.
    pub fn retain_over_reboot(&mut self) {
        self.kept
            .retain(|c| matches!(c.kept(), Some(Kept::States(mask)) if mask[State::Running as usize] == 2));
    }
}

impl<'a> Running<'a> {
    /// Everything of a container that was just started.
    #[allow(clippy::too_many_arguments)] // they are the fields
    pub fn new(
        plan: &'a Plan,
        config: &'a Config,
        layout: &'a Layout,
        payload: &'a GroupSet,
        spawned: &'a mut Spawned,
        console: Console,
        publisher: &'a Publisher,
        clients: Clients,
    ) -> Result<Running<'a>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing(|| "make an epoll instance")?;
        let mut running = Running {
            plan,
            config,
            layout,
            payload,
            spawned,
            console,
            publisher,
            state: State::Starting,
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            epoll,
            paused: false,
        };
        for client in clients.kept {
            running.adopt(client)?;
        }
        Ok(running)
    }

    fn adopt(&mut self, client: Connection) -> Result<()> {
        let token = self.next_client;
        self.next_client += 1;
        let data = EventData::new_u64(token);
        epoll::add(&self.epoll, client.fd(), data, EventFlags::IN).doing(|| "watch a client")?;
        self.clients.insert(token, client);
        Ok(())
    }

    fn watch(&self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        match epoll::add(&self.epoll, fd, EventData::new_u64(token), EventFlags::IN) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(e).doing(|| "watch a descriptor"),
        }
    }

    /// Serves everybody until init ends. Returns how it ended, and who is still connected.
    pub fn serve(mut self, listener: BorrowedFd<'_>, signals: BorrowedFd<'_>) -> Result<(Exit, Clients)> {
        self.watch(signals, SIGNALS)?;
        let pidfd = rustix::io::fcntl_dupfd_cloexec(&self.spawned.pidfd, 3).doing(|| "copy a descriptor")?;
        self.watch(pidfd.as_fd(), INIT)?;
        self.watch(listener, LISTENER)?;
        let console = self.console.ptx().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3));
        if let Some(Ok(ptx)) = &console {
            self.watch(ptx.as_fd(), CONSOLE_OUTPUT)?;
        }
        self.watch_console_input();
        if let Some(notifier) = &self.spawned.notifier {
            self.watch(notifier.fd(), NOTIFIER)?;
        }
        let mut events = Vec::with_capacity(32);
        loop {
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e).doing(|| "wait for events"),
            }
            self.expire(listener);
            self.turn_notifier();
            for event in &events {
                let (token, flags) = (event.data.u64(), event.flags);
                match token {
                    SIGNALS => self.signals(signals),
                    INIT => {
                        // Whatever init wrote before it died.
                        self.console.drain();
                        let exit = self.reap()?;
                        let kept = std::mem::take(&mut self.clients).into_values();
                        let kept = kept.filter(|c| c.kept().is_some()).collect();
                        return Ok((exit, Clients { kept }));
                    }
                    LISTENER => self.accept(listener),
                    CONSOLE_OUTPUT => {
                        if !self.console.read_output()
                            && let Some(Ok(ptx)) = &console
                        {
                            // Nobody has it open: it would be reported for ever.
                            self.rearm_console(ptx.as_fd());
                        }
                    }
                    CONSOLE_INPUT => {
                        if !self.console.read_input() {
                            self.unwatch_console_input();
                            self.console.drop_input();
                        }
                    }
                    // Done above.
                    NOTIFIER => {}
                    client => self.client(client, flags),
                }
            }
        }
    }

    /// Only new output wakes us up from now on.
    fn rearm_console(&self, ptx: BorrowedFd<'_>) {
        let flags = EventFlags::IN | EventFlags::ET;
        let _ = epoll::modify(&self.epoll, ptx, EventData::new_u64(CONSOLE_OUTPUT), flags);
    }

    fn watch_console_input(&self) {
        if let Some(input) = self.console.input() {
            // A peer that cannot be watched is written to only.
            let _ = self.watch(input, CONSOLE_INPUT);
        }
    }

    fn unwatch_console_input(&self) {
        if let Some(input) = self.console.input() {
            let _ = epoll::delete(&self.epoll, input);
        }
    }

    /// What the container's filters ask.
    fn turn_notifier(&mut self) {
        if let Some(notifier) = &mut self.spawned.notifier {
            notifier.turn();
        }
    }

    /// Until the first deadline of a client, or of the proxy for system calls.
    fn timeout(&self) -> Option<Timespec> {
        let notifier = self.spawned.notifier.as_ref().and_then(|n| n.deadline());
        let first = self.clients.values().filter_map(Connection::deadline).chain(notifier).min()?;
        Timespec::try_from(first.saturating_duration_since(Instant::now())).ok()
    }

    /// Closes clients whose time is up; with room again, new ones are accepted.
    fn expire(&mut self, listener: BorrowedFd<'_>) {
        if self.clients.is_empty() {
            return;
        }
        let now = Instant::now();
        let late: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, c)| c.deadline().is_some_and(|d| d <= now))
            .map(|(t, _)| *t)
            .collect();
        for token in late {
            log::info!("a client took too long and is closed");
            self.close(token);
        }
        if self.paused && self.places_taken() < MAX_CONNECTIONS {
            self.paused = self.watch(listener, LISTENER).is_err();
        }
    }

    fn accept(&mut self, listener: BorrowedFd<'_>) {
        if self.places_taken() >= MAX_CONNECTIONS {
            self.paused = epoll::delete(&self.epoll, listener).is_ok();
            return;
        }
        match socket::accept(listener) {
            Ok(socket) => {
                let token = self.next_client;
                let connection = Connection::new(socket);
                if connection.is_stranger() {
                    self.make_room_for_stranger();
                }
                if let Err(e) = self.adopt(connection) {
                    log::warn!("{e}");
                    return;
                }
                // The request is usually there already.
                self.client(token, EventFlags::IN);
            }
            Err(Errno::AGAIN | Errno::CONNABORTED) => {}
            Err(e) => log::warn!("accept a client: {e}"),
        }
    }

    fn places_taken(&self) -> usize {
        self.clients.values().filter(|c| !c.is_stranger()).count()
    }

    /// The stranger that has waited longest gives way.
    fn make_room_for_stranger(&mut self) {
        let strangers: Vec<u64> =
            self.clients.iter().filter(|(_, c)| c.is_stranger()).map(|(token, _)| *token).collect();
        if strangers.len() >= MAX_STRANGERS {
            self.close(strangers[0]);
        }
    }

    fn client(&mut self, token: u64, flags: EventFlags) {
        let Some(connection) = self.clients.get_mut(&token) else { return };
        let mut step =
            if flags.contains(EventFlags::OUT) { connection.writable() } else { connection.readable() };
        loop {
            step = match step {
                Step::Answer(request) => {
                    let reply = requests::answer(self, request);
                    let connects = reply.keep == Some(Kept::Console);
                    let Some(connection) = self.clients.get_mut(&token) else { return };
                    let next = connection.answer(reply);
                    if connects {
                        self.watch_console_input();
                    }
                    next
                }
                Step::Deny => {
                    let Some(connection) = self.clients.get_mut(&token) else { return };
                    connection.answer(super::server::Reply::errno(Errno::PERM))
                }
                Step::WaitReadable => return self.interest(token, EventFlags::IN),
                Step::WaitWritable => return self.interest(token, EventFlags::OUT),
                Step::Close => return self.close(token),
            };
        }
    }

    fn interest(&self, token: u64, flags: EventFlags) {
        if let Some(connection) = self.clients.get(&token) {
            let _ = epoll::modify(&self.epoll, connection.fd(), EventData::new_u64(token), flags);
        }
    }

    /// Closes a client and frees what it held.
    fn close(&mut self, token: u64) {
        let Some(connection) = self.clients.remove(&token) else { return };
        if connection.kept() == Some(&Kept::Console) {
            self.unwatch_console_input();
            self.console.disconnect();
        }
    }

    /// Whether a client holds the tty.
    pub fn tty_is_taken(&self, number: usize) -> bool {
        self.clients.values().any(|c| c.kept() == Some(&Kept::Tty(number)))
    }

    fn signals(&mut self, signals: BorrowedFd<'_>) {
        while let Ok(Some(received)) = signal::read_signal(signals) {
            match received.signal {
                // init's end is seen through its pidfd; other children are hooks, waited for elsewhere.
                libc::SIGCHLD => {}
                libc::SIGWINCH => self.console.resize(),
                number => {
                    let number = if number == libc::SIGHUP { libc::SIGTERM } else { number };
                    log::info!("forwarding signal {number} to init");
                    let _ = signal::send_to_pidfd(self.spawned.pidfd.as_fd(), number);
                }
            }
        }
    }

    fn reap(&self) -> Result<Exit> {
        let status =
            rustix::process::waitid(WaitId::PidFd(self.spawned.pidfd.as_fd()), WaitIdOptions::EXITED)
                .doing(|| "wait for init")?;
        let signal = status.as_ref().and_then(|s| s.terminating_signal());
        Ok(match signal {
            Some(signal) => Exit::Signal(signal),
            None => Exit::Status(status.and_then(|s| s.exit_status()).unwrap_or(1)),
        })
    }

    /// A change of state: whoever waits for it is told, and lxc-monitord.
    pub fn set_state(&mut self, state: State) {
        self.state = if state == State::Thawed { State::Running } else { state };
        self.publisher.state(state);
        let message = StateMessage::state(&self.plan.name, state).encode();
        let told: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, c)| matches!(c.kept(), Some(Kept::States(mask)) if mask[state as usize] != 0))
            .map(|(token, c)| {
                c.send_state(&message);
                *token
            })
            .collect();
        told.into_iter().for_each(|token| self.close(token));
    }

    /// The state, with FROZEN taken from the cgroup: whoever froze it need not have told us.
    pub fn actual_state(&self) -> State {
        match (self.state, self.is_frozen()) {
            (State::Running, Some(true)) => State::Frozen,
            (State::Frozen, Some(false)) => State::Running,
            (state, _) => state,
        }
    }

    fn is_frozen(&self) -> Option<bool> {
        let group = self.freezer()?;
        Some(match group.version {
            Version::V2 => freezer::is_frozen_v2(group.limit_dir.as_fd()),
            Version::V1 => freezer::is_frozen_v1(group.limit_dir.as_fd()),
        })
    }

    fn freezer(&self) -> Option<&crate::cgroup::Group> {
        self.payload.groups.iter().find(|g| match g.version {
            Version::V2 => self.layout.is_unified(),
            Version::V1 => self.layout.hierarchies[g.hierarchy].controllers.iter().any(|c| c == "freezer"),
        })
    }

    /// Lets a frozen container take the signal that kills it.
    pub fn thaw(&mut self) {
        let Some(group) = self.freezer() else { return };
        let dir = group.limit_dir.as_fd();
        let now = Some(std::time::Duration::ZERO);
        let thawed = match group.version {
            Version::V2 => freezer::set_frozen_v2(dir, false, now),
            Version::V1 if !freezer::is_frozen_v1(dir) => Ok(()),
            Version::V1 => freezer::set_frozen_v1(dir, false, now),
        };
        if let Err(e) = thawed {
            log::debug!("thaw: {e}");
        }
    }
}

//! The caller, and with whose rights this process acts.
//!
//! The program begins with the caller's real and root's effective ids. It becomes root altogether, so that the caller
//! can neither signal nor trace it, and takes the caller's effective ids for what is to be done
//! with the caller's rights: the kernel takes all capabilities away with them.

use std::process::{Command, Stdio};

use lxc_sys::signal::{self, SignalSet};
use rustix::fs::Mode;
use rustix::process::{Gid, Resource, Rlimit, Uid, getegid, getgid, getgroups, getuid, setrlimit};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::Result;
use crate::usernet::Caller;

/// Where programs are looked for.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The user who called.
#[derive(Debug)]
pub struct User {
    /// Real user id.
    pub uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl User {
    /// Looks at who called, and becomes root in a surrounding of its own: nothing that the caller has set is left in
    /// force but the network and mount namespaces, which the kernel lets nobody choose who runs a setuid program.
    ///
    /// # Errors
    /// The program is not setuid root.
    pub fn take_rights() -> Result<User> {
        let user = User { uid: getuid(), gid: getgid(), groups: getgroups().unwrap_or_default() };
        lxc_sys::process::clear_environment();
        let root = (Uid::ROOT, Gid::ROOT);
        set_thread_res_uid(root.0, root.0, root.0)
            .map_err(|e| format!("become root: {e}: this program must be owned by root, with mode 4755"))?;
        set_thread_res_gid(root.1, root.1, root.1).map_err(|e| format!("become root: {e}"))?;
        // What the terminal sends does not stop it in the middle; what the caller may not send, nobody does.
        signal::reset_dispositions();
        signal::block(&SignalSet::all()).map_err(|e| format!("block signals: {e}"))?;
        lxc_sys::process::close_range(3, u32::MAX).map_err(|e| format!("close descriptors: {e}"))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        rustix::process::chdir("/").map_err(|e| format!("change to /: {e}"))?;
        let unlimited = Rlimit { current: None, maximum: None };
        for resource in [Resource::Fsize, Resource::Cpu, Resource::As, Resource::Data] {
            setrlimit(resource, unlimited).map_err(|e| format!("lift a limit: {e}"))?;
        }
        let files = Rlimit { current: Some(64), maximum: Some(64) };
        setrlimit(Resource::Nofile, files).map_err(|e| format!("set a limit: {e}"))?;
        Ok(user)
    }

    /// Does something with the caller's rights, and with no others.
    pub fn act<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let change = |e| format!("take the caller's rights: {e}");
        let root = getegid();
        set_thread_res_gid(None, self.gid, None).map_err(change)?;
        let done = match set_thread_res_uid(None, self.uid, None) {
            Ok(()) => Ok(work()),
            Err(e) => Err(change(e)),
        };
        set_thread_res_uid(None, Uid::ROOT, None).map_err(|e| format!("become root again: {e}"))?;
        set_thread_res_gid(None, root, None).map_err(|e| format!("become root again: {e}"))?;
        done
    }

    /// The names of the user and of its supplementary groups.
    pub fn names(&self) -> Result<Caller> {
        let uid = self.uid.as_raw();
        let login = name_of("passwd", uid).ok_or_else(|| format!("user {uid} has no name"))?;
        let groups = self.groups.iter().filter_map(|g| name_of("group", g.as_raw())).collect();
        Ok(Caller { login, groups })
    }
}

/// The name of a user or group: from the file, else from what else getent(1) knows.
fn name_of(database: &str, id: u32) -> Option<String> {
    let number = id.to_string();
    let find = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let line = text.lines().find(|l| l.split(':').nth(2) == Some(&number))?;
        line.split(':').next().filter(|name| !name.is_empty()).map(String::from)
    };
    let local = std::fs::read(format!("/etc/{database}")).unwrap_or_default();
    find(&local).or_else(|| find(&run("getent", &[database, &number])?))
}

/// What a program of the host prints; nothing where it fails.
pub fn run(program: &str, words: &[&str]) -> Option<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", PATH).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    output.status.success().then_some(output.stdout)
}

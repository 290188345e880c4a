//! Hooks: programs of the administrator that run at points of a container's life
//! (spec: life cycle, section 8).

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lxc_config::{HookType, Values};
use lxc_sys::Errno;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags};

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::Plan;

/// Output of a hook that is logged at most.
const MAX_OUTPUT: usize = 40 * 1024;

/// Reads what a hook prints until it exits. What it left in the background may keep the pipe open
/// for ever: that is not waited for. What is too much is read and dropped, so that the hook does not
/// die of a closed pipe.
fn read_until_exit(pipe: &OwnedFd, child: &Child) -> lxc_sys::Result<Vec<u8>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let exited = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK)?;
    let mut output = Vec::new();
    loop {
        let mut fds = [PollFd::new(pipe, PollFlags::IN), PollFd::new(&exited, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
        let ended = !fds[1].revents().is_empty();
        let mut chunk = [0; 4096];
        loop {
            match rustix::io::read(pipe, &mut chunk[..]) {
                Ok(0) if ended => return Ok(output),
                // It closed its output and goes on.
                Ok(0) => {
                    rustix::io::retry_on_intr(|| {
                        rustix::event::poll(&mut [PollFd::new(&exited, PollFlags::IN)], None)
                    })?;
                    return Ok(output);
                }
                Ok(n) => {
                    let room = MAX_OUTPUT.saturating_sub(output.len());
                    output.extend_from_slice(&chunk[..n.min(room)]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if ended => return Ok(output),
                Err(Errno::AGAIN) => break,
                Err(e) => return Err(e),
            }
        }
    }
}

/// What hooks are told of the container.
#[derive(Debug, Clone)]
pub struct HookContext {
    name: String,
    version: u32,
    variables: Vec<(String, OsString)>,
    /// Begin from an empty environment: for hooks that run inside the container.
    clean: bool,
}

impl HookContext {
    /// The context of a planned container. `init_pid` is known once there is one.
    pub fn new(plan: &Plan) -> HookContext {
        let mount = plan.rootfs.as_ref().map(|r| r.mount.as_path());
        HookContext::of(&plan.name, plan.config_file.as_deref(), mount, &plan.values)
    }

    /// The context of a container that need not be startable.
    pub fn of(name: &str, config_file: Option<&Path>, mount: Option<&Path>, values: &Values) -> HookContext {
        let mut variables: Vec<(String, OsString)> = vec![("LXC_NAME".into(), name.into())];
        let mut set = |name: &str, value: Option<&Path>| {
            if let Some(value) = value {
                variables.push((name.to_string(), value.into()));
            }
        };
        set("LXC_CONFIG_FILE", config_file);
        set("LXC_ROOTFS_MOUNT", mount);
        set("LXC_ROOTFS_PATH", values.rootfs.path.as_deref().map(Path::new));
        set("LXC_CONSOLE", values.console.path.as_deref());
        set("LXC_CONSOLE_LOGPATH", values.console.logfile.as_deref());
        let level = values.log.level.unwrap_or(lxc_config::LogLevel::Error);
        variables.push(("LXC_CGNS_AWARE".into(), "1".into()));
        variables.push(("LXC_LOG_LEVEL".into(), level.name().into()));
        variables.push(("LXC_HOOK_VERSION".into(), values.hook_version.to_string().into()));
        HookContext { name: name.to_string(), version: values.hook_version, variables, clean: false }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        let value = value.into();
        match self.variables.iter_mut().find(|(n, _)| n == name) {
            Some(old) => old.1 = value,
            None => self.variables.push((name.to_string(), value)),
        }
    }

    /// For hooks inside the container: they see nothing of the environment of whoever started it.
    pub fn inside(mut self) -> HookContext {
        self.clean = true;
        self
    }

    /// Runs the command lines of a hook in order; the first failure ends it. `extra` are arguments
    /// for hooks of version 0.
    pub fn run(&self, kind: HookType, lines: &[String], extra: &[String]) -> Result<()> {
        for line in lines {
            let mut arguments = Vec::new();
            if self.version == 0 {
                arguments.extend([self.name.clone(), "lxc".into(), kind.name().into()]);
                arguments.extend(extra.iter().cloned());
            }
            self.execute(kind.name(), "lxc", line, &arguments, &[])?;
        }
        Ok(())
    }

    /// Runs a network script. `arguments`: type, link, peer; `variables`: what version 1 adds.
    pub fn run_network(
        &self,
        event: &str,
        line: &str,
        arguments: &[String],
        variables: &[(&str, String)],
    ) -> Result<()> {
        let mut all = Vec::new();
        if self.version == 0 {
            all.extend([self.name.clone(), "net".into(), event.into()]);
        }
        all.extend(arguments.iter().cloned());
        self.execute(event, "net", line, &all, variables)
    }

    /// One hook: `sh -c "exec LINE \"$@\"" sh ARGS…`, so that no argument is read by the shell.
    fn execute(
        &self,
        hook: &str,
        section: &str,
        line: &str,
        arguments: &[String],
        variables: &[(&str, String)],
    ) -> Result<()> {
        log::info!("running hook {hook}: {line}");
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("exec {line} \"$@\"")).arg("sh").args(arguments);
        if self.clean {
            command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        }
        command.envs(self.variables.iter().map(|(n, v)| (n, v)));
        if self.version == 1 {
            command.env("LXC_HOOK_TYPE", hook).env("LXC_HOOK_SECTION", section);
            command.envs(variables.iter().map(|(n, v)| (n, v)));
        }
        let what = || format!("{hook} hook {line:?}");
        let mut child = command.stdout(Stdio::piped()).spawn().doing(what)?;
        let output = match child.stdout.take() {
            Some(stdout) => read_until_exit(&OwnedFd::from(stdout), &child).doing(what)?,
            None => Vec::new(),
        };
        for text in String::from_utf8_lossy(&output).lines() {
            log::debug!("hook {hook}: {text}");
        }
        let status = child.wait().doing(what)?;
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => Err(Error::new(Kind::Failed, format!("{} exited with status {code}", what()))),
            (None, signal) => Err(Error::new(
                Kind::Failed,
                format!("{} was killed by signal {}", what(), signal.unwrap_or(0)),
            )),
        }
    }
}

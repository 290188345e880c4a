//! The life of a container, shown.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{Profile, build};
use crate::install::install;
use crate::setup::{self, For};
use crate::shell;

/// One command, and words that its output must have.
struct Step {
    command: &'static str,
    arguments: &'static [&'static str],
    shows: &'static [&'static str],
}

const LIFE: &[Step] = &[
    Step { command: "lxc-create", arguments: &["-t", "host"], shows: &[] },
    Step { command: "lxc-start", arguments: &[], shows: &[] },
    Step { command: "lxc-ls", arguments: &["-f"], shows: &["NAME", "STATE", "RUNNING"] },
    Step { command: "lxc-info", arguments: &[], shows: &["State:          RUNNING"] },
    Step { command: "lxc-attach", arguments: &["--", "sh", "-c", "id; hostname"], shows: &["uid=0", "demo"] },
    Step { command: "lxc-stop", arguments: &[], shows: &[] },
    Step { command: "lxc-info", arguments: &["-s"], shows: &["STOPPED"] },
    Step { command: "lxc-destroy", arguments: &[], shows: &[] },
];

/// `cargo xtask demo`.
pub fn run() -> Result<()> {
    setup::run(For::Building)?;
    let prefix = shell::target().join("demo/prefix");
    install(&build(Profile::Release)?, &prefix, &prefix)?;
    let demo = Demo::new(prefix.join("bin"))?;
    println!();
    for step in LIFE {
        demo.step(step)?;
    }
    let script = "id; hostname; ps";
    demo.show(Command::new("lxc").args(["run", "--", "sh", "-c", script]), &["uid=0", "PID"])?;
    if std::fs::read_dir(&demo.lxcpath)?.next().is_some() {
        bail!("something is left in {}", demo.lxcpath.display());
    }
    let target = shell::target();
    let target = target.strip_prefix(shell::root()).unwrap_or(&target);
    println!("\nAll of it worked. Now try: sudo {}/release/lxc run -- sh", target.display());
    Ok(())
}

struct Demo {
    bin: PathBuf,
    lxcpath: PathBuf,
    config: PathBuf,
    name: String,
}

impl Demo {
    /// Containers of their own, in a place that the mapped root user of a container can reach.
    fn new(bin: PathBuf) -> Result<Demo> {
        let name = format!("demo{}", std::process::id());
        let lxcpath = std::env::temp_dir().join(format!("lxc-{name}"));
        std::fs::create_dir(&lxcpath).with_context(|| format!("create {}", lxcpath.display()))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&lxcpath, mode)?;
        let config = shell::target().join("demo/demo.conf");
        std::fs::write(&config, "lxc.net.0.type = empty\n")?;
        Ok(Demo { bin, lxcpath, config, name })
    }

    fn step(&self, step: &Step) -> Result<()> {
        let mut command = Command::new(step.command);
        if step.command == "lxc-ls" {
            command.arg("-P").arg(&self.lxcpath);
        } else {
            command.arg("-P").arg(&self.lxcpath).args(["-n", &self.name]);
        }
        if step.command == "lxc-create" {
            // Whatever /etc/lxc/default.conf says of bridges.
            command.arg("-f").arg(&self.config);
        }
        self.show(command.args(step.arguments), step.shows)
    }

    /// Shows a command and its output, and checks that output.
    fn show(&self, command: &Command, wanted: &[&str]) -> Result<()> {
        println!("$ {}", shell::show(command));
        let output = self.found(command).output().with_context(|| format!("run {}", shell::show(command)))?;
        let text = String::from_utf8_lossy(&output.stdout);
        print!("{text}{}", String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{}: {}", shell::show(command), output.status);
        }
        match wanted.iter().find(|w| !text.contains(**w)) {
            Some(word) => bail!("{}: its output should have {word:?}", shell::show(command)),
            None => Ok(()),
        }
    }

    /// The same command from the staged installation, as root.
    fn found(&self, command: &Command) -> Command {
        let program = Path::new(&self.bin).join(command.get_program());
        let mut found = if shell::is_root() {
            Command::new(program)
        } else {
            let mut sudo = Command::new("sudo");
            sudo.arg(program);
            sudo
        };
        found.args(command.get_args());
        found
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let name = Path::new(&self.lxcpath).join(&self.name);
        if name.exists() {
            let mut command = Command::new("lxc-destroy");
            command.arg("-P").arg(&self.lxcpath).args(["-f", "-n", &self.name]);
            // It reports its own failure.
            let _ = self.found(&command).status();
        }
        let _ = std::fs::remove_dir(&self.lxcpath);
        // Lock files are not removed with a container. Errors: this is not root.
        let _ = std::fs::remove_dir_all(format!("/run/lxc/lock/{}", self.lxcpath.display()));
    }
}

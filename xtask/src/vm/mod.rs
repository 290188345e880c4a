//! A second kind of host: a throw-away Debian with systemd, cgroup v2 alone and AppArmor, in an emulated machine.
//!
//! [`image`] builds the disk and the state of the machine just before it takes a command; [`machine`] resumes
//! that state, so that a command runs some seconds after the call. The guest's end is `xtask/guest/agent`.

mod image;
mod machine;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build::{Profile, build};
use crate::install::install;
use crate::setup::{self, For};
use crate::shell;
use image::Image;
pub use image::TEST_CACHE;
use machine::{Boot, Machine, Ports};

/// What the emulator's failure is told apart by, as env(1) and timeout(1) do.
const VM_FAILED: u8 = 125;

/// Releases before the first that serves as a guest.
const EARLIER: [&str; 5] = ["stretch", "buster", "bullseye", "bookworm", "oldstable"];

pub const USAGE: &str = "\
cargo xtask vm [OPTIONS] -- COMMAND [ARGUMENT...]

Runs a command as root in a throw-away guest, which has this project installed below /usr/local and the LXC of
the distribution below /usr. One word is a line for the shell, several are a command and its arguments. Standard
input is empty. The exit status is the command's; 124 after the time limit, 125 when the machine failed.

  --suite S       the guest's release of Debian: trixie, which is the default, or a later one
  --user          as the user \"tester\", in a session of its own, with subordinate ids and a quota of veth devices
  -d DIR          copy DIR to /work, where the command runs
  -o DIR          copy what the command leaves in /out to DIR
  -t SECONDS      time limit (3600)
  --log FILE      what the guest's kernel prints
  --cold          boot, instead of resuming the saved state
  --kernel WORDS  boot, with more on the command line of the kernel (lsm=selinux)
  --counted       boot, with a clock that counts instructions: slow, but what is timed takes the same time each time
  --accel NAME    the emulator's accelerator (tcg, which needs nothing of the machine; kvm is faster)
  --clean         remove all images, and nothing else

The images are kept below $LXC_VM_CACHE (~/.cache/lxc-vm), one for each content.
";

/// What to run in a guest, and how.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The release of Debian.
    pub suite: String,
    /// As an ordinary user.
    pub user: bool,
    /// What `/work` holds.
    pub work: Option<PathBuf>,
    /// Where the contents of `/out` go.
    pub out: Option<PathBuf>,
    /// How long the command may take.
    pub limit: Duration,
    /// Where the serial console is written.
    pub log: Option<PathBuf>,
    /// Boot anew.
    pub cold: bool,
    /// Boot anew, with more on the command line of the kernel.
    pub kernel: String,
    /// Boot anew, with a clock that counts instructions.
    pub counted: bool,
    /// The accelerator of the emulator.
    pub accel: String,
}

impl Default for Guest {
    fn default() -> Guest {
        Guest {
            suite: "trixie".into(),
            user: false,
            work: None,
            out: None,
            limit: Duration::from_secs(3600),
            log: None,
            cold: false,
            kernel: String::new(),
            counted: false,
            accel: "tcg".into(),
        }
    }
}

/// `cargo xtask vm`.
pub fn command(words: &[&str]) -> ExitCode {
    let result = match words {
        ["-h" | "--help"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        ["--clean"] => image::clean().map(|()| 0),
        _ => parse(words).and_then(|(guest, script)| {
            setup::run(For::Vm)?;
            let program = build(Profile::Quick)?;
            guest.run(&script, &program, Box::new(std::io::stdout()), Box::new(std::io::stderr()))
        }),
    };
    result.map_or_else(
        |error| {
            println!("xtask: {error:#}");
            ExitCode::from(VM_FAILED)
        },
        ExitCode::from,
    )
}

/// The options, and the command as a script.
fn parse(words: &[&str]) -> Result<(Guest, String)> {
    let mut guest = Guest::default();
    let mut rest = words.iter().copied();
    let mut script = Vec::new();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("vm: {word} needs a value"));
        match word {
            "--suite" => guest.suite = value()?.into(),
            "--user" => guest.user = true,
            "-d" => guest.work = Some(value()?.into()),
            "-o" => guest.out = Some(value()?.into()),
            "-t" => guest.limit = Duration::from_secs(value()?.parse().context("vm: -t takes seconds")?),
            "--log" => guest.log = Some(value()?.into()),
            "--cold" => guest.cold = true,
            "--kernel" => guest.kernel = value()?.into(),
            "--counted" => guest.counted = true,
            "--accel" => guest.accel = value()?.into(),
            "--" => script.extend(rest.by_ref()),
            _ if word.starts_with('-') => bail!("vm: unknown option {word}\n\n{USAGE}"),
            _ => script.extend([word].into_iter().chain(rest.by_ref())),
        }
    }
    if EARLIER.contains(&guest.suite.as_str()) {
        bail!("vm: --suite {}: the guest is made of packages that Debian has since trixie", guest.suite);
    }
    if guest.counted && guest.accel != "tcg" {
        bail!("vm: --counted: only an emulated processor counts its instructions");
    }
    match script.as_slice() {
        [] => bail!("vm: no command\n\n{USAGE}"),
        [line] => Ok((guest, (*line).to_string())),
        [program, arguments @ ..] => Ok((guest, shell::show(Command::new(program).args(arguments)))),
    }
}

impl Guest {
    /// Builds the image when it is missing, runs a script beside an installed program and returns its exit status.
    pub fn run(
        &self,
        script: &str,
        program: &Path,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
    ) -> Result<u8> {
        let prefix = shell::target().join("vm-prefix");
        let _ = std::fs::remove_dir_all(&prefix);
        install(program, &prefix, Path::new("/usr/local"))?;
        let image = Image::get(&self.suite, &self.accel)?;
        let scratch = image::Scratch::new()?;
        self.pack(&scratch, &prefix, script)?;
        let ports = Ports { stdout, stderr, console: self.log.clone() };
        let boot = Boot { kernel: &self.kernel, counted: self.counted };
        let mut machine = if self.cold || self.counted || !self.kernel.is_empty() {
            Machine::boot(&image, &scratch, boot, ports)?
        } else {
            Machine::resume(&image, &scratch, ports)?
        };
        let status = machine.command(self.limit)?;
        machine.end();
        if let Some(out) = &self.out {
            scratch.unpack_result(out)?;
        }
        Ok(status)
    }

    /// Writes the work disk, a tar archive: /work, the installation, and the command.
    fn pack(&self, scratch: &image::Scratch, prefix: &Path, script: &str) -> Result<()> {
        let disk = scratch.work_disk();
        let to_run = scratch.join("run");
        std::fs::create_dir(&to_run)?;
        std::fs::write(to_run.join("command"), format!("{script}\n"))?;
        if self.user {
            std::fs::write(to_run.join("user"), "")?;
        }
        let add = |from: &Path, to: &str| {
            // Hard links are rewritten too; the targets of symbolic ones are not.
            let names = format!("--transform=flags=rh;s,^\\.,{to},");
            shell::run(Command::new("tar").arg("-C").arg(from).arg(names).arg("-rf").arg(&disk).arg("."))
        };
        if let Some(work) = &self.work {
            add(work, "work")?;
        }
        add(prefix, "usr/local")?;
        add(&to_run, "run/vm")?;
        scratch.size_work_disk()
    }
}

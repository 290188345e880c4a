//! One emulated machine and the ports to its guest.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::io::FdFlags;

use super::image::{Image, Scratch};

/// What `timeout(1)` says.
const TIMED_OUT: u8 = 124;

/// What a saved state depends on. Copying and clearing byte by byte, which the kernel does where a processor says that it
/// is fast at it, is what emulation is slow at; and so is a fifth level of page tables.
pub const HARDWARE: &[&str] = &[
    "-machine",
    "q35",
    "-cpu",
    "max,-erms,-fsrm,-la57",
    "-smp",
    "2",
    "-m",
    "2048",
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
    "-display",
    "none",
    "-device",
    "virtio-rng-pci",
    "-device",
    "virtio-serial-pci,ioeventfd=off",
];
const KERNEL: &str = "console=ttyS0 quiet panic=-1 mitigations=off systemd.show_status=0";

/// Where what comes out of the guest goes.
pub struct Ports {
    /// The command's standard output.
    pub stdout: Box<dyn Write + Send>,
    /// The command's standard error.
    pub stderr: Box<dyn Write + Send>,
    /// A file for the serial console.
    pub console: Option<PathBuf>,
}

/// How a machine boots.
#[derive(Debug, Clone, Copy, Default)]
pub struct Boot<'a> {
    /// More words for the kernel.
    pub kernel: &'a str,
    /// The guest's clock counts the instructions that were executed, 4 ns each. One processor waits for the other, but
    /// what computes takes the same time whatever else the host does.
    pub counted: bool,
}

/// A running machine, which ends with this value.
pub struct Machine {
    emulator: Child,
    errors: PathBuf,
    control: BufReader<UnixStream>,
    /// The emulator's own command line.
    monitor: UnixStream,
    /// Threads that copy the guest's output.
    copying: Vec<JoinHandle<()>>,
}

impl Machine {
    /// Goes on where the state was saved.
    pub fn resume(image: &Image, scratch: &Scratch, ports: Ports) -> Result<Machine> {
        let disk = scratch.root_disk(&image.file("root.qcow2"), "qcow2")?;
        let state = format!("exec:cat '{}'", image.file("state").display());
        Machine::start(image, scratch, &disk, (Boot::default(), &["-incoming".into(), state.into()]), ports)
    }

    /// Boots, and waits until the guest takes a command.
    pub fn boot(image: &Image, scratch: &Scratch, boot: Boot<'_>, ports: Ports) -> Result<Machine> {
        let disk = scratch.root_disk(&image.file("root.raw"), "raw")?;
        let mut machine = Machine::start(image, scratch, &disk, (boot, &[]), ports)?;
        machine.ready(Duration::from_secs(600))?;
        Ok(machine)
    }

    /// Starts the emulator with a root disk and more options.
    pub fn start(
        image: &Image,
        scratch: &Scratch,
        disk: &Path,
        (boot, options): (Boot<'_>, &[OsString]),
        ports: Ports,
    ) -> Result<Machine> {
        let errors = scratch.join("emulator.log");
        // The machine ends with this program, however that ends.
        let mut emulator = Command::new("setpriv");
        emulator.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]).args(HARDWARE);
        match image.accel.as_str() {
            _ if boot.counted => {
                emulator.args(["-accel", "tcg,thread=single", "-icount", "shift=2,sleep=on"])
            }
            "tcg" => emulator.args(["-accel", "tcg,thread=multi"]),
            other => emulator.args(["-accel", other]),
        };
        emulator.arg("-kernel").arg(image.file("vmlinuz")).arg("-initrd").arg(image.file("initrd"));
        emulator.arg("-append").arg(format!("{KERNEL} {}", boot.kernel));
        let console = ports.console.unwrap_or_else(|| "/dev/null".into());
        emulator.arg("-serial").arg(concat("file:", &std::path::absolute(console)?));
        for (name, path, format) in [("root", disk, "qcow2"), ("work", &scratch.work_disk(), "raw")] {
            let drive = format!("if=none,id={name},format={format},cache=unsafe,discard=unmap,file=");
            emulator.arg("-drive").arg(concat(&drive, path));
            emulator.arg("-device").arg(format!("virtio-blk-pci,drive={name}"));
        }
        emulator.arg("-chardev").arg(concat("file,id=result,path=", &scratch.join("result")));
        emulator.args(["-device", "virtserialport,chardev=result,name=result"]);
        let mut theirs = Vec::new();
        let mut port = |name: &str, device: &str| -> Result<UnixStream> {
            let (ours, other) = UnixStream::pair().context("make a pair of sockets")?;
            rustix::io::fcntl_setfd(other.as_fd(), FdFlags::empty())?;
            emulator.arg("-chardev").arg(format!("socket,id={name},fd={}", other.as_raw_fd()));
            emulator.args(device.split(' '));
            theirs.push(other);
            Ok(ours)
        };
        let monitor = port("monitor", "-mon chardev=monitor,mode=readline")?;
        let control = port("control", "-device virtserialport,chardev=control,name=control")?;
        let stdout = port("stdout", "-device virtserialport,chardev=stdout,name=stdout")?;
        let stderr = port("stderr", "-device virtserialport,chardev=stderr,name=stderr")?;
        let log = std::fs::File::create(&errors)?;
        emulator.args(options).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = emulator.spawn().context("run qemu-system-x86_64")?;
        drop(theirs);
        control.set_read_timeout(Some(Duration::from_millis(200)))?;
        let copying =
            vec![copy(stdout, ports.stdout), copy(stderr, ports.stderr), discard(monitor.try_clone()?)];
        Ok(Machine { emulator: child, errors, control: BufReader::new(control), monitor, copying })
    }

    /// Waits until the guest has booted.
    pub fn ready(&mut self, limit: Duration) -> Result<()> {
        match self.line(limit)? {
            Some(line) if line == "READY" => Ok(()),
            Some(line) => bail!("the guest says {line:?}"),
            None => bail!("not there after {} s", limit.as_secs()),
        }
    }

    /// Has the guest run the command on its work disk; returns the exit status.
    pub fn command(&mut self, limit: Duration) -> Result<u8> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let mut seed = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
        let seed: String = seed.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(self.control.get_mut(), "go {now} {seed}").context("speak to the guest")?;
        let Some(line) = self.line(limit)? else {
            println!("xtask: vm: not done after {} s", limit.as_secs());
            return Ok(TIMED_OUT);
        };
        let status = line.strip_prefix("EXIT ").and_then(|s| s.parse().ok());
        status.with_context(|| format!("the guest says {line:?}"))
    }

    /// Writes the machine's state to a file, and ends it.
    pub fn save(mut self, state: &Path) -> Result<()> {
        let commands = format!(
            "migrate_set_parameter max-bandwidth 100g\nmigrate \"exec:cat >'{}'\"\nquit\n",
            state.display()
        );
        self.monitor.write_all(commands.as_bytes())?;
        let status = self.emulator.wait()?;
        if !status.success() || std::fs::metadata(state).map_or(0, |m| m.len()) == 0 {
            bail!("the machine's state was not saved: {}", self.complaint());
        }
        Ok(())
    }

    /// Ends the machine, of which nothing is kept, and waits for the last of its output.
    pub fn end(mut self) {
        self.kill();
        for thread in self.copying.drain(..) {
            // A panic of the thread was reported by itself.
            let _ = thread.join();
        }
    }

    /// The next line on the control port.
    fn line(&mut self, limit: Duration) -> Result<Option<String>> {
        let end = Instant::now() + limit;
        let mut line = Vec::new();
        while Instant::now() < end {
            match self.control.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => {
                    return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_string()));
                }
                Ok(_) => bail!("the emulator ended: {}", self.complaint()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // What it left unread comes back as a reset.
                Err(error) => bail!("the emulator ended ({error}): {}", self.complaint()),
            }
        }
        Ok(None)
    }

    fn complaint(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default().trim_end().to_string()
    }

    fn kill(&mut self) {
        // Errors: it has ended.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Copies to the end of the stream. A sink that is gone does not stop it: the guest must not wait.
fn copy(mut from: UnixStream, mut to: Box<dyn Write + Send>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let _ = to.write_all(&buffer[..n]).and_then(|()| to.flush());
        }
    })
}

fn discard(from: UnixStream) -> JoinHandle<()> {
    copy(from, Box::new(std::io::sink()))
}

fn concat(prefix: &str, path: &Path) -> OsString {
    let mut out = OsString::from(prefix);
    out.push::<&OsStr>(path.as_os_str());
    out
}

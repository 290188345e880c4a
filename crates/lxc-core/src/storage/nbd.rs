//! Disk images in QEMU's formats, by network block devices (qemu-nbd(8)).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Backend, DEFAULT_SIZE, Mounted, Target, block, wrong_kind};
use crate::error::{Error, Result};
use crate::plan::Storage;
use crate::program;

pub(super) struct Nbd;

const PATIENCE: Duration = Duration::from_secs(5);

/// An image that is connected to a device; disconnected when this is dropped.
#[derive(Debug)]
pub struct Connection {
    device: PathBuf,
}

impl Connection {
    fn of(image: &Path) -> Result<Connection> {
        let devices = (0..).map(|n| format!("nbd{n}"));
        let known = devices.take_while(|name| Path::new("/sys/block").join(name).exists());
        let known: Vec<String> = known.collect();
        if known.is_empty() {
            return Err(Error::unsupported("this host has no network block devices")
                .with_hint("modprobe nbd max_part=8 loads the kernel module"));
        }
        let image = image.display().to_string();
        let mut last = Error::invalid("all network block devices are in use");
        for name in known.iter().filter(|n| !Path::new("/sys/block").join(n).join("pid").exists()) {
            let device = Path::new("/dev").join(name);
            match program::run("qemu-nbd", &["-c", &device.display().to_string(), &image]) {
                Ok(_) => return Ok(Connection { device }),
                // Somebody else may have been faster.
                Err(e) => last = e,
            }
        }
        Err(last.during(format!("connect {image}")))
    }

    /// The block device of the disk or of a partition, when it is there: the kernel learns of both a moment after the
    /// program has returned.
    fn device(&self, partition: Option<u8>) -> Result<PathBuf> {
        let name = self.device.file_name().unwrap_or_default();
        let size = Path::new("/sys/block").join(name).join("size");
        let is_ready = || crate::files::read_text(&size).is_ok_and(|text| !matches!(text.trim(), "" | "0"));
        let device = match partition {
            Some(number) => PathBuf::from(format!("{}p{number}", self.device.display())),
            None => self.device.clone(),
        };
        let begin = Instant::now();
        while !is_ready() || !device.exists() {
            if begin.elapsed() > PATIENCE {
                return Err(Error::invalid(format!("{} does not appear", device.display()))
                    .with_hint("the image may have no such partition, or the module nbd no max_part"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(device)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Err(e) = program::run("qemu-nbd", &["-d", &self.device.display().to_string()]) {
            log::error!("{e}");
        }
    }
}

impl Backend for Nbd {
    fn place(&self, target: &Target<'_>) -> Result<Storage> {
        Ok(Storage::Nbd { image: target.directory.join("rootdev"), partition: None })
    }

    fn exists(&self, storage: &Storage) -> Result<bool> {
        Ok(matches!(storage, Storage::Nbd { image, .. } if image.exists()))
    }

    fn create(&self, storage: &Storage, target: &Target<'_>) -> Result<()> {
        let Storage::Nbd { image, .. } = storage else { return Err(wrong_kind(storage)) };
        let size = target.options.size.unwrap_or(DEFAULT_SIZE).to_string();
        program::run("qemu-img", &["create", "-q", "-f", "qcow2", &image.display().to_string(), &size])?;
        Connection::of(image)
            .and_then(|connection| block::make_file_system(&connection.device(None)?, target.options))
            .inspect_err(|_| drop(std::fs::remove_file(image)))
    }

    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted> {
        let Storage::Nbd { image, partition } = storage else { return Err(wrong_kind(storage)) };
        let connection = Connection::of(image)?;
        let device = connection.device(*partition)?;
        let tree = block::mount(&device, data, false)?;
        Ok(Mounted { tree, connection: Some(connection) })
    }

    fn destroy(&self, storage: &Storage) -> Result<()> {
        let Storage::Nbd { image, .. } = storage else { return Err(wrong_kind(storage)) };
        crate::files::remove(image)
    }

    /// A new image that holds what changes against the source.
    fn snapshot(&self, source: &Storage, new: &Storage, _: &Target<'_>) -> Result<()> {
        let (Storage::Nbd { image: from, .. }, Storage::Nbd { image: to, .. }) = (source, new) else {
            return Err(wrong_kind(new));
        };
        let described = program::run("qemu-img", &["info", "--output=json", &from.display().to_string()])?;
        let described: serde_json::Value = serde_json::from_str(&described).unwrap_or_default();
        let format = described["format"]
            .as_str()
            .ok_or_else(|| Error::invalid(format!("{source}: qemu-img does not tell its format")))?;
        let (from, to) = (from.display().to_string(), to.display().to_string());
        program::run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &from, "-F", format, &to]).map(drop)
    }
}

//! Network devices of the host, for one test or measurement.

use std::process::Command;

/// Devices of the host, removed with the value.
#[derive(Debug)]
pub struct HostDevices(Vec<String>);

impl HostDevices {
    /// A pair of virtual Ethernet devices: one to put devices on, and where its cable ends.
    pub fn pair(tag: &str) -> HostDevices {
        let (a, b) = (device_name(tag, "a"), device_name(tag, "b"));
        sh(&format!("ip link add {a} type veth peer name {b} && ip link set {a} up && ip link set {b} up"));
        HostDevices(vec![a])
    }

    /// A bridge that is up, with options of ip-link(8).
    pub fn bridge(tag: &str, options: &str) -> HostDevices {
        let bridge = device_name(tag, "r");
        sh(&format!("ip link add {bridge} type bridge {options} && ip link set {bridge} up"));
        HostDevices(vec![bridge])
    }

    /// The first one's name.
    pub fn name(&self) -> &str {
        &self.0[0]
    }
}

impl Drop for HostDevices {
    fn drop(&mut self) {
        for device in &self.0 {
            let _ = Command::new("ip").args(["link", "del", device]).output();
        }
    }
}

/// A name for a device that no other test has.
pub fn device_name(tag: &str, end: &str) -> String {
    format!("lx{:x}{tag}{end}", std::process::id() & 0xff_ffff)
}

/// What a shell of the host says.
///
/// # Panics
/// When the script fails.
#[track_caller]
pub fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().expect("run sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

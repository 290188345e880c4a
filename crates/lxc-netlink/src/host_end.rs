//! The host's end of a pair: what it is called when nobody named it, and how it is brought up.

use super::{Device, Netlink};

/// `prefix` and `count` letters or digits.
pub fn random_device_name(prefix: &str, count: usize) -> String {
    const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut bytes = vec![0u8; count];
    // Without random numbers the names collide and the caller tries again.
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    let tail = bytes.iter().map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()]));
    prefix.chars().chain(tail).collect()
}

impl Netlink {
    /// Brings the host's end of a pair up: as a port of the kernel's bridge `controller`, of another bridge (`is_port`),
    /// or as an interface of the host.
    pub fn bring_up_host_end(
        &mut self,
        device: &Device,
        is_port: bool,
        controller: Option<u32>,
    ) -> lxc_sys::Result<()> {
        if is_port {
            // The bridge speaks IPv6, not its port. Absent where IPv6 is off.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", device.name), "1");
        }
        // A bridge takes the lowest address of its ports: this one must not be it.
        let address = <[u8; 6]>::try_from(device.hardware_address.as_slice()).ok();
        let address = address.map(|a| [0xfe, a[1], a[2], a[3], a[4], a[5]]);
        self.set_up(device.index, controller, address)
    }
}

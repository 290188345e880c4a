//! Wireless devices: what moves is their radio.

use std::os::fd::BorrowedFd;

use lxc_sys::Errno;

use lxc_netlink::{Device, Netlink, Radios};

/// Moves a device between network namespaces, with its radio where it has one, and returns its index there, where it is
/// down and has `name`, or one that the kernel makes of a template such as `phys%d`.
///
/// # Errors
/// EEXIST when the name is taken there: the device stays where it is, but for a wireless one.
pub(crate) fn move_device(
    device: &Device,
    from: (&mut Netlink, Option<&mut Radios>),
    to: (&mut Netlink, BorrowedFd<'_>),
    name: &str,
) -> lxc_sys::Result<u32> {
    let ((netlink, radios), (there, namespace)) = (from, to);
    let radio = radios.and_then(|radios| Some((radios.of_device(device.index)?, radios)));
    let before: Vec<u32> = there.devices()?.into_iter().map(|d| d.index).collect();
    match radio {
        None => netlink.move_to(device.index, (there, namespace), name)?,
        Some(_) if there.index_of(name).is_ok() => return Err(Errno::EXIST),
        Some((radio, radios)) => {
            radios.move_to(radio, namespace)?;
        }
    }
    // A radio may have several devices, the kernel may have chosen the name, and udev may just have changed the address.
    let new: Vec<Device> = there.devices()?.into_iter().filter(|d| !before.contains(&d.index)).collect();
    let named = |wanted: &str| new.iter().find(|d| d.name == wanted);
    let addressed = || new.iter().find(|d| d.hardware_address == device.hardware_address);
    let moved = named(name).or_else(|| named(&device.name)).or_else(addressed).or(new.first());
    let moved = moved.ok_or(Errno::NODEV)?;
    if moved.name != name && !name.contains('%') {
        there.rename(moved.index, name)?;
    }
    Ok(moved.index)
}

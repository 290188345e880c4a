//! Subvolumes of btrfs (linux/btrfs.h, btrfs-ioctl(2)).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use crate::{Errno, Result, check};

/// f_type of btrfs (linux/magic.h).
const SUPER_MAGIC: u64 = 0x9123_683e;
/// Inode of the root directory of every subvolume (BTRFS_FIRST_FREE_OBJECTID).
const ROOT_INODE: u64 = 256;
const MAGIC: u32 = 0x94;
/// All arguments here but one have this size.
const SIZE: usize = 4096;
const FS_INFO_SIZE: usize = 1024;

/// struct btrfs_ioctl_vol_args
#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

/// struct btrfs_ioctl_vol_args_v2
#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// struct btrfs_ioctl_get_subvol_rootref_args
#[repr(C)]
struct RootRefs {
    min_treeid: u64,
    /// Tree of the child, and inode of the directory that it is in.
    refs: [(u64, u64); 255],
    count: u8,
    align: [u8; 7],
}

/// struct btrfs_ioctl_ino_lookup_user_args
#[repr(C)]
struct InoLookupUser {
    dirid: u64,
    treeid: u64,
    name: [u8; 256],
    path: [u8; 3824],
}

/// struct btrfs_ioctl_fs_info_args
#[repr(C)]
struct FsInfo {
    max_id: u64,
    num_devices: u64,
    fsid: [u8; 16],
    rest: [u64; 124],
}

const _: () = assert!(
    size_of::<FsInfo>() == FS_INFO_SIZE
        && size_of::<VolArgs>() == SIZE
        && size_of::<VolArgsV2>() == SIZE
        && size_of::<RootRefs>() == SIZE
        && size_of::<InoLookupUser>() == SIZE
);

/// _IOC of asm-generic/ioctl.h; `direction`: 1 writes, 2 reads, 3 does both.
const fn request_of(direction: u32, number: u32, size: usize) -> libc::c_ulong {
    ((direction << 30) | ((size as u32) << 16) | (MAGIC << 8) | number) as libc::c_ulong
}

const fn request(direction: u32, number: u32) -> libc::c_ulong {
    request_of(direction, number, SIZE)
}

const SUBVOL_CREATE: libc::c_ulong = request(1, 14);
const SNAP_DESTROY: libc::c_ulong = request(1, 15);
const SNAP_CREATE_V2: libc::c_ulong = request(1, 23);
const FS_INFO: libc::c_ulong = request_of(2, 31, FS_INFO_SIZE);
const GET_SUBVOL_ROOTREF: libc::c_ulong = request(3, 61);
const INO_LOOKUP_USER: libc::c_ulong = request(3, 62);

fn ioctl<T>(fd: BorrowedFd<'_>, request: libc::c_ulong, argument: &mut T) -> Result<()> {
    // SAFETY: each request above belongs to one of the structures above, each of the size that it encodes, which the
    // kernel reads and writes within; `T` is a plain structure of integers.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, std::ptr::from_mut(argument)) };
    check(libc::c_long::from(ret)).map(drop)
}

fn copy_name<const N: usize>(name: &CStr) -> Result<[u8; N]> {
    let bytes = name.to_bytes();
    // BTRFS_SUBVOL_NAME_MAX leaves room for the end.
    if bytes.len() >= N || bytes.is_empty() || bytes.contains(&b'/') {
        return Err(Errno::INVAL);
    }
    let mut out = [0; N];
    out[..bytes.len()].copy_from_slice(bytes);
    Ok(out)
}

/// Whether a descriptor names the root directory of a subvolume.
pub fn is_subvolume(fd: BorrowedFd<'_>) -> Result<bool> {
    let is_root = rustix::fs::fstat(fd)?.st_ino == ROOT_INODE;
    Ok(is_root && is_on_btrfs(fd)?)
}

/// Whether a descriptor names something on btrfs.
pub fn is_on_btrfs(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type as u64 == SUPER_MAGIC)
}

/// Which file system of btrfs something is on. Subvolumes have numbers of devices, and even numbers of file systems
/// (statfs(2)), of their own.
pub fn file_system_id(fd: BorrowedFd<'_>) -> Result<[u8; 16]> {
    let mut info = FsInfo { max_id: 0, num_devices: 0, fsid: [0; 16], rest: [0; 124] };
    ioctl(fd, FS_INFO, &mut info)?;
    Ok(info.fsid)
}

/// Makes an empty subvolume in a directory.
pub fn create_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    ioctl(parent, SUBVOL_CREATE, &mut VolArgs { fd: 0, name: copy_name(name)? })
}

/// Makes a writable snapshot of a subvolume in a directory. Subvolumes inside are empty directories in it.
pub fn snapshot(subvolume: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let fd = i64::from(subvolume.as_raw_fd());
    let mut argument = VolArgsV2 { fd, transid: 0, flags: 0, unused: [0; 4], name: copy_name(name)? };
    ioctl(parent, SNAP_CREATE_V2, &mut argument)
}

/// Removes a subvolume with what is in it. ENOTEMPTY: there are subvolumes inside. EPERM: an ordinary user, and the file
/// system is mounted without user_subvol_rm_allowed.
pub fn destroy_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    ioctl(parent, SNAP_DESTROY, &mut VolArgs { fd: 0, name: copy_name(name)? })
}

/// Paths of the subvolumes directly inside a subvolume, relative to its root directory, which the descriptor names
/// (kernel 4.18).
pub fn subvolumes_inside(root: BorrowedFd<'_>) -> Result<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStringExt;
    let mut out = Vec::new();
    let mut refs = RootRefs { min_treeid: 0, refs: [(0, 0); 255], count: 0, align: [0; 7] };
    loop {
        let more = match ioctl(root, GET_SUBVOL_ROOTREF, &mut refs) {
            Ok(()) => false,
            // More than fit; the next call goes on after them.
            Err(Errno::OVERFLOW) => true,
            Err(e) => return Err(e),
        };
        for &(treeid, dirid) in &refs.refs[..usize::from(refs.count)] {
            let mut lookup = InoLookupUser { dirid, treeid, name: [0; 256], path: [0; 3824] };
            ioctl(root, INO_LOOKUP_USER, &mut lookup)?;
            let text = |bytes: &[u8]| CStr::from_bytes_until_nul(bytes).map(|c| c.to_bytes().to_vec());
            let (Ok(mut path), Ok(name)) = (text(&lookup.path), text(&lookup.name)) else {
                return Err(Errno::NAMETOOLONG);
            };
            path.extend(name);
            out.push(PathBuf::from(std::ffi::OsString::from_vec(path)));
        }
        if !more {
            return Ok(out);
        }
    }
}

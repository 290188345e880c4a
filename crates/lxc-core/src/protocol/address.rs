//! Names of the abstract sockets (without the leading NUL).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest name that upstream uses as it is.
const MAX_PLAIN: usize = 105;

/// FNV-1a, 64 bits.
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Name of a container's command socket.
pub fn command_socket(lxcpath: &Path, name: &str) -> Vec<u8> {
    let mut base = lxcpath.as_os_str().as_bytes().to_vec();
    base.push(b'/');
    base.extend(name.as_bytes());
    if base.len() + "/command".len() <= MAX_PLAIN {
        base.extend(b"/command");
        base
    } else {
        format!("lxc/{:016x}/command", fnv1a64(&base)).into_bytes()
    }
}

/// Name of lxc-monitord's socket, or `None` when the path is too long for one.
pub fn monitord_socket(lxcpath: &Path) -> Option<Vec<u8>> {
    let path = lxcpath.as_os_str().as_bytes();
    let hash = fnv1a64(&[b"lxc/", path, b"/monitor-sock"].concat());
    let name = [format!("lxc/{hash:016x}/").as_bytes(), path].concat();
    (name.len() <= MAX_PLAIN).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_upstream() {
        assert_eq!(fnv1a64(b"lxc//srv/c/monitor-sock"), 0x9aa2_3ec4_064c_7805);
        assert_eq!(fnv1a64(b"/var/lib/lxc/c1"), 0x594c_f657_8e76_045e);
    }

    #[test]
    fn long_names_are_hashed() {
        let base = "/".to_string() + &"p".repeat(95);
        assert_eq!(command_socket(Path::new(&base), "").len(), 105);
        let long = "/".to_string() + &"p".repeat(96);
        assert!(command_socket(Path::new(&long), "").starts_with(b"lxc/"));
    }
}

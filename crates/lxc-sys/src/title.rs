//! The title of a process, as /proc/PID/cmdline shows it.

use std::ffi::CString;

use crate::{Errno, Result, check};

/// Field of /proc/self/stat, numbered as in proc_pid_stat(5).
fn stat_fields() -> Result<Vec<u64>> {
    use rustix::fs::{Mode, OFlags};
    let file = rustix::fs::open("/proc/self/stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // One line, far below a page, which the kernel hands over at once.
    let mut buffer = [0; 4096];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[..]))?;
    let stat = String::from_utf8_lossy(&buffer[..length]);
    // The second field is in parentheses and may contain anything.
    let (_, rest) = stat.rsplit_once(") ").ok_or(Errno::INVAL)?;
    let mut fields = vec![0, 0, 0];
    fields.extend(rest.split_ascii_whitespace().map(|f| f.parse().unwrap_or(0)));
    Ok(fields)
}

/// Where the main thread's stack begins, at its high end.
pub(crate) fn stack_start() -> Option<usize> {
    stat_fields().ok()?.get(28).copied().and_then(|a| usize::try_from(a).ok()).filter(|&a| a != 0)
}

/// Replaces the command line that /proc/PID/cmdline shows by `title`.
///
/// Uses PR_SET_MM_MAP (kernel 3.18 with CONFIG_CHECKPOINT_RESTORE), which needs no privilege.
pub fn set(title: &str) -> Result<()> {
    let title = CString::new(title).map_err(|_| Errno::INVAL)?;
    let len = title.as_bytes_with_nul().len() as u64;
    // The kernel reads the text from this process whenever somebody asks: it lives as long as we do.
    let start = title.into_raw() as u64;
    let fields = stat_fields()?;
    let field = |number: usize| fields.get(number).copied().unwrap_or(0);
    // SAFETY: sbrk(0) only reports the end of the heap.
    let brk = unsafe { libc::sbrk(0) } as u64;
    let map = linux_raw_sys::prctl::prctl_mm_map {
        start_code: field(26),
        end_code: field(27),
        start_data: field(45),
        end_data: field(46),
        start_brk: field(47),
        brk,
        start_stack: field(28),
        arg_start: start,
        arg_end: start + len,
        env_start: field(50),
        env_end: field(51),
        auxv: std::ptr::null_mut(),
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    // SAFETY: the map repeats what the kernel said of this process, but for the arguments, which
    // point to memory that is never freed.
    let ret = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP as libc::c_ulong,
            &raw const map,
            size_of_val(&map) as libc::c_ulong,
            0,
        )
    };
    check(ret.into()).map(drop)
}

//! Where the program begins: without Rust's runtime, whose preparations (a handler for overflows of the stack,
//! the address of the stack from /proc/self/maps) take more system calls than some commands need in all.

use crate::check;

/// Makes `$run`, a function from arguments to an exit status, the program. In a crate with `#![no_main]`.
#[macro_export]
macro_rules! main {
    ($run:path) => {
        /// The C library's way in. A panic ends the process here: it cannot leave an extern function.
        // SAFETY: the name is the C library's for this function, and a program has only one.
        #[unsafe(no_mangle)]
        extern "C" fn main() -> std::ffi::c_int {
            $crate::entry::prepare();
            // The C library hands the arguments to std before; exit writes out what std has buffered.
            std::process::exit($run(std::env::args_os().collect()))
        }
    };
}

/// What of the runtime's preparations is needed: descriptors 0 to 2 are open, so that no file that is opened
/// later becomes somebody's standard output, and a command whose reader went away ends quietly.
pub fn prepare() {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array has the length that is passed.
    let polled = check(unsafe { libc::poll(fds.as_mut_ptr(), 3, 0) }.into());
    if polled.is_ok_and(|n| n > 0) {
        for fd in fds.iter().filter(|fd| fd.revents & libc::POLLNVAL != 0) {
            // SAFETY: a valid string; nobody owns a number that is closed, and the lowest one is given out first.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            debug_assert_eq!(opened, fd.fd);
        }
    }
    // SAFETY: SIG_DFL is a valid disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

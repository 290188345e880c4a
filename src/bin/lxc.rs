//! The door: all lxc-* commands in one program.

fn main() -> std::process::ExitCode {
    let status = lxc_cli::run(std::env::args_os().collect());
    std::process::ExitCode::from(u8::try_from(status).unwrap_or(1))
}

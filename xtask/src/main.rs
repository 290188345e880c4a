//! `cargo xtask TASK`: what is done with the project, beyond what cargo does.
#![allow(clippy::print_stdout, reason = "a program for the terminal of a developer")]

mod bench;
mod build;
mod codegen;
mod defences;
mod demo;
mod install;
mod order;
mod setup;
mod shell;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask TASK [OPTIONS]

  setup                       install the Debian packages that the tests need
  build [--release|--quick]   build target/release/lxc, statically linked; --quick without fat LTO (target/quick/lxc)
  install --prefix DIR [--destdir DIR] [--quick]
                              build, and install the commands and their data
  demo                        create, start, look into, stop and destroy a container
  test [--vm [--kernel WORDS]] [FILTER]
                              build, install to a staging directory, run all tests; --vm: the end-to-end ones in a
                              guest, whose kernel gets WORDS on its command line (lsm=selinux, for selinux::)
  bench [--vm] [--quick]      measure beside the LXC of the distribution, here or in a guest
  vm [OPTIONS] -- COMMAND     run a command in a throw-away guest with systemd, cgroup v2 and AppArmor (vm --help)
  order                       write src/start.ld, the order of functions in the program, from what a start runs (with
                              lld, whose map it reads; ten minutes)
  defences [FILTER]…          take each defence out of a copy of the sources: a test of security must notice
  codegen [--check]           write man/ and completions/ from the tables, or check that they are current
  tidy                        rules that neither compiler nor clippy checks
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Some((&"vm", options)) = words.split_first() {
        return vm::command(options);
    }
    let result = match words.split_first() {
        Some((&"setup", [])) => setup::run(setup::For::Tests),
        Some((&"build", options)) => build::command(options),
        Some((&"install", options)) => install::command(options),
        Some((&"demo", [])) => demo::run(),
        Some((&"test", filter)) => test::run(filter),
        Some((&"bench", options)) => bench::run(options),
        Some((&"order", [])) => order::run(),
        Some((&"defences", options)) => defences::run(options),
        Some((&"codegen", options)) => codegen::run(options),
        Some((&"tidy", [])) => tidy::run(),
        Some((&("-h" | "--help"), [])) => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

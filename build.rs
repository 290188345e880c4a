//! Hands the linker what `cargo xtask` has found that it takes, an argument on each line of LXC_LINK_ARGS; nothing, when
//! cargo is called by hand.

fn main() {
    println!("cargo::rerun-if-changed=src/start.ld");
    println!("cargo::rerun-if-env-changed=LXC_LINK_ARGS");
    for argument in std::env::var("LXC_LINK_ARGS").unwrap_or_default().lines() {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}

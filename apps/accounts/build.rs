//! Tells the compiler that a file put into `web/` changes the crate, which embeds that folder.

fn main() {
    println!("cargo::rerun-if-changed=web");
}

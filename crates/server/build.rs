//! Makes sure that the folder of the built screens exists, so that the crate compiles before they are built, and that a new build
//! of them is embedded anew.

fn main() {
    let dist = std::path::Path::new("../../ui/dist");
    if let Err(error) = std::fs::create_dir_all(dist) {
        println!("cargo::warning=ui/dist cannot be created: {error}; build the screens first with `make ui`");
    }
    println!("cargo::rerun-if-changed=../../ui/dist");
    println!("cargo::rerun-if-changed=build.rs");
}

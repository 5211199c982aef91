//! What is built into the program is looked at again when it changes: macros that read directories cannot say so.
fn main() {
    for path in ["../images", "../labs", "../Vagrantfile.tera"] {
        println!("cargo::rerun-if-changed={path}");
    }
}

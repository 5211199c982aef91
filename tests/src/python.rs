//! Programs from PyPI, each in a virtual environment that is made once and kept under the target directory.
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use crate::tools;

/// The directory of an environment's programs; `packages` are what pip is to install.
#[track_caller]
pub fn bin(name: &str, packages: &[&str]) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let dir = tools::target_dir().join(name);
    let made = dir.join("made");
    let wanted = packages.join(" ");
    if fs::read_to_string(&made).is_ok_and(|text| text == wanted) {
        return dir.join("bin");
    }
    let venv = tools::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir));
    assert!(venv.status.success(), "python3 -m venv: {}", tools::outputs(&venv));
    let mut pip = Command::new(dir.join("bin/pip"));
    let pip = tools::run(
        pip.args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages),
    );
    assert!(pip.status.success(), "pip install {wanted}: {}", tools::outputs(&pip));
    fs::write(made, wanted).expect("mark it made");
    dir.join("bin")
}

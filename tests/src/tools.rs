//! The programs that tests run: ours beside the test's binary, others from the system.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace around the crate")
}

/// The labnode that was built in the same profile as the test.
#[track_caller]
pub fn labnode() -> PathBuf {
    profile_dir("labnode").join("labnode")
}

/// Where cargo put the binaries of this profile; `wanted` has to be among them.
#[track_caller]
fn profile_dir(wanted: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    let found = test.ancestors().find(|dir| dir.join(wanted).is_file());
    match found {
        Some(dir) => dir.to_path_buf(),
        None => panic!("no {wanted} beside {}: run `cargo build -p labnode`", test.display()),
    }
}

/// The target directory, for what is to stay between runs.
pub fn target_dir() -> PathBuf {
    let dir = profile_dir("labnode");
    dir.parent()
        .expect("a profile lies in the target directory")
        .to_path_buf()
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!(
            "{:?}: {error}: `make test` installs what the tests need",
            command.get_program()
        )
    })
}

/// Both outputs of a command, for messages.
pub fn outputs(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}\nstdout:\n{}\nstderr:\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// The programs of a Python virtual environment with these packages, made once and kept under the target directory.
#[track_caller]
pub fn venv(name: &str, packages: &[&str]) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let dir = target_dir().join(name);
    let made = dir.join("made");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&made).is_ok_and(|there| there == wanted) {
        return dir.join("bin");
    }
    let venv = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir));
    assert!(venv.status.success(), "python3 -m venv: {}", outputs(&venv));
    let mut pip = Command::new(dir.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages);
    let pip = run(&mut pip);
    assert!(pip.status.success(), "pip install {packages:?}: {}", outputs(&pip));
    std::fs::write(made, wanted).expect("mark it made");
    dir.join("bin")
}

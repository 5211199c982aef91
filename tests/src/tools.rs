//! The programs that tests run: ours beside the test's binary, others from the system.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

/// The lab that was built in the same profile as the test.
#[track_caller]
pub fn lab() -> PathBuf {
    profile_dir("lab").join("lab")
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

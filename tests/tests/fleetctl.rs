//! fleetctl as a program: over TLS to etcd, and completed by a shell.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use corelab_tests::ca::Ca;
use corelab_tests::cluster::Setup;
use corelab_tests::{eventually, tools};

const HELLO: &str = "[Unit]\nDescription=Hello\n\n[Service]\nExecStart=/bin/sleep 3600\n";

fn fleetctl(dir: &Path, env: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(tools::labnode());
    command.arg("fleetctl").args(args).current_dir(dir);
    command.envs(env.iter().copied());
    tools::run(&mut command)
}

#[track_caller]
fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", tools::outputs(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn etcd_is_reached_over_tls_with_a_certificate_of_its_own_and_the_shell_completes_its_units() {
    let ca = Ca::default();
    let host = ca.host("host", "127.0.0.1");
    let cluster = Setup::members(1).certified_clients(&ca, &host).publish();
    let url = cluster.members[0].url();
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("hello.service"), HELLO).expect("a unit file");
    let (crt, key, ca_file) = (
        host.crt.display().to_string(),
        host.key.display().to_string(),
        ca.crt.display().to_string(),
    );
    let files = ["--ca-file", &ca_file, "--cert-file", &crt, "--key-file", &key];
    let over = |driver: &str, args: &[&str]| {
        let begin = [driver, "--endpoint", &url];
        fleetctl(dir.path(), &[], &[&begin[..], &files, args].concat())
    };
    let with = |args: &[&str]| over("--driver=etcd", args);
    eventually("etcd answers", || {
        with(&["list-unit-files"]).status.success().then_some(())
    });
    assert_eq!(
        out(&with(&["submit", "hello.service"])),
        "Unit hello.service inactive\n"
    );
    // The variables say the same as the flags, old names of them as well.
    let env = [
        ("FLEETCTL_DRIVER", "etcd"),
        ("FLEETCTL_ENDPOINT", url.as_str()),
        ("FLEETCTL_ETCD_CAFILE", &ca_file),
        ("FLEETCTL_ETCD_CERTFILE", &crt),
        ("FLEETCTL_ETCD_KEYFILE", &key),
    ];
    assert_eq!(out(&fleetctl(dir.path(), &env, &["cat", "hello"])), HELLO);
    let without = fleetctl(dir.path(), &env[..3], &["list-unit-files"]);
    assert_eq!(without.status.code(), Some(1), "{}", tools::outputs(&without));
    // The API's own connection: what answers is etcd, over TLS, and fleet's paths are not there.
    let answered = over("--driver=API", &["list-machines"]);
    let text = String::from_utf8_lossy(&answered.stderr).into_owned();
    assert!(text.contains("googleapi: got HTTP response code 404"), "{text}");
    let refused = fleetctl(dir.path(), &[], &["--driver=API", "--endpoint", &url, "list-machines"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        text.starts_with(&format!(
            "Error retrieving list of active machines: Get \"{url}/fleet/v1/machines?alt=json\": "
        )),
        "{text}"
    );
    let half = fleetctl(dir.path(), &[], &["--cert-file", &crt, "list-machines"]);
    assert_eq!(
        String::from_utf8_lossy(&half.stderr),
        "Unable to initialize client: --cert-file needs --key-file\n"
    );

    symlink(tools::labnode(), dir.path().join("fleetctl")).expect("a link");
    let completed = |words: &str, at: usize| {
        let script = format!(
            "source <(fleetctl completion bash); COMP_WORDS=({words}); COMP_CWORD={at}; _fleetctl; echo \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap_or_default());
        bash.args(["-c", &script]).current_dir(dir.path()).env("PATH", path);
        bash.envs(env.iter().copied());
        out(&tools::run(&mut bash)).trim_end().to_string()
    };
    assert_eq!(completed("fleetctl list-m", 1), "list-machines");
    assert_eq!(completed("fleetctl --debug stop --no", 3), "--no-block");
    assert_eq!(completed("fleetctl --strict", 1), "--strict-host-key-checking");
    assert_eq!(completed("fleetctl cat h", 2), "hello.service");
    assert_eq!(completed("fleetctl completion z", 2), "zsh");
}

#[test]
fn zsh_and_fish_complete_it_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = |shell: &str| {
        let path = dir.path().join(shell);
        fs::write(&path, out(&fleetctl(dir.path(), &[], &["completion", shell]))).expect("a script");
        path.display().to_string()
    };
    let said = |shell: &str, args: &[&str]| {
        let mut command = Command::new(shell);
        command.args(args).current_dir(dir.path()).env("HOME", dir.path());
        out(&tools::run(&mut command))
    };
    // zsh's own functions are for its line editor: what would be added is printed instead.
    let zsh = format!(
        "compdef() {{ : }}; source {}; compadd() {{ print -r -- $@ }}; words=(fleetctl stop --n); CURRENT=3; PREFIX=--n; _fleetctl",
        script("zsh")
    );
    assert_eq!(said("zsh", &["-f", "-c", &zsh]), "-- --block-attempts --no-block\n");
    let fish = format!(
        "source {}; complete -C 'fleetctl list-m'; complete -C 'fleetctl stop --no'",
        script("fish")
    );
    let fish = said("fish", &["--no-config", "-c", &fish]);
    let words: Vec<&str> = fish.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(words, ["list-machines", "--no-block"], "{fish}");
}

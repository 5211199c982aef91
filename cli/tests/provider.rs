//! A lab whose machines are vagrant's: the real one where no machine has to run, a stand-in for the words it is called with.
use std::fs;
use std::os::unix::fs::PermissionsExt;

mod common;

use common::Dir;

/// No hypervisor is here, whoever runs this: what the provider looks for is where nothing is.
fn lab(provider: &str) -> Dir {
    let dir = Dir::new();
    fs::create_dir_all(dir.path().join("user")).expect("a home");
    dir.write("lab.yaml", "num_instances: 2\nupdate_channel: beta\n");
    dir.program("VBoxManage", "#!/bin/sh\nexit 127\n");
    let (code, said) = dir.fails(&["up", "--provider", provider]);
    assert_eq!(code, 10, "{said}");
    for part in ["error: vagrant up", "  where: ", "  why:   ", "  do:    "] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(said.contains("doctor"), "{said}");
    dir
}

#[test]
fn a_missing_hypervisor_is_told_and_the_lab_keeps_its_provider() {
    let dir = lab("virtualbox");
    // It says so whatever is asked: VirtualBox's version comes first.
    let (code, said) = dir.fails(&["status"]);
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("isn't usable on this system"), "{said}");
    dir.ok(&["destroy", "-f"]);

    let dir = lab("libvirt");
    let status = dir.ok(&["status", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let nodes = status["nodes"].as_array().expect("nodes");
    let seen: Vec<_> = nodes
        .iter()
        .map(|node| (node["name"].as_str(), node["state"].as_str(), node["provider"].as_str()))
        .collect();
    let expected = |name| (Some(name), Some("not_created"), Some("libvirt"));
    assert_eq!(seen, [expected("core-01"), expected("core-02")]);
    let table = dir.ok(&["status", "core-02"]);
    assert!(
        table.contains("core-02") && table.contains("not created") && !table.contains("core-01"),
        "{table}"
    );
    // What was rendered is what plain vagrant sees.
    assert!(dir.read("vagrant/config.rb").contains("$update_channel='beta'"));
}

#[test]
fn what_needs_a_machine_fails_as_vagrant_does_and_what_needs_none_works() {
    let dir = lab("libvirt");
    let (code, said) = dir.fails(&["ssh-config"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("not yet ready for SSH") && said.contains("error: vagrant ssh-config failed"),
        "{said}"
    );
    assert_eq!(dir.fails(&["exec", "all", "--", "true"]).0, 1);
    let (code, said) = dir.fails(&["ssh", "core-01"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(dir.fails(&["status", "core-09"]).0, 2);
    for verb in ["logs", "console"] {
        let (code, said) = dir.fails(&[verb, "core-01"]);
        assert_eq!(code, 13, "{said}");
        assert!(said.contains("libvirt"), "{said}");
    }
    let said = dir.ok(&["validate"]);
    assert!(said.contains("Vagrantfile validated successfully."), "{said}");
    let said = dir.ok(&["halt"]);
    assert!(said.contains("core-01"), "{said}");
    // Boxes are vagrant's here.
    assert!(dir.ok(&["box", "list"]).contains("no installed boxes"));
    let (code, said) = dir.fails(&["box", "remove", "nothing"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("could not be found"), "{said}");
    // A broken config.rb is vagrant's error, with its place.
    dir.write("config.rb", "$num_instances=2\n");
    dir.ok(&["validate"]);
    dir.ok(&["destroy", "-f"]);
    assert!(!dir.path().join(".lab").exists(), "nothing is left to remember");
    assert!(
        dir.path().join("vagrant/Vagrantfile").exists(),
        "what was rendered stays"
    );
}

#[test]
fn another_provider_is_taken_while_there_are_no_machines() {
    let dir = lab("virtualbox");
    let (code, said) = dir.fails(&["up", "--provider", "vmware_fusion"]);
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("'vmware_fusion' could not be found"), "{said}");
    let machine = dir.path().join("vagrant/.vagrant/machines/core-01/virtualbox");
    fs::create_dir_all(&machine).expect("a machine");
    fs::write(machine.join("id"), "1").expect("its id");
    let (code, said) = dir.fails(&["up", "--provider", "libvirt"]);
    assert_eq!(code, 11, "{said}");
    assert!(said.contains("vmware_fusion") && said.contains("libvirt"), "{said}");
    let (code, _) = dir.fails(&["up", "--provider", "nothing"]);
    assert_eq!(code, 2);
}

#[test]
fn without_vagrant_the_lab_says_what_to_install() {
    let dir = Dir::new();
    fs::create_dir_all(dir.path().join("bin")).expect("a directory");
    let mut lab = dir.command(env!("CARGO_BIN_EXE_lab"));
    lab.env("PATH", dir.path().join("bin"))
        .args(["up", "--provider", "vagrant"]);
    let output = lab.output().expect("run lab");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(10), "{said}");
    assert!(said.contains("apt-get install -y vagrant"), "{said}");
}

#[test]
fn doctor_says_what_each_provider_lacks() {
    let dir = Dir::new();
    dir.program("VBoxManage", "#!/bin/sh\nexit 0\n");
    let output = dir.lab(&["doctor", "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = answer["checks"].as_array().expect("checks");
    let of = |name: &str| {
        checks
            .iter()
            .find(|check| check["check"] == name)
            .unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(of("virtualbox")["ok"], true);
    assert_eq!(of("vagrant")["ok"], true);
    assert_eq!(of("vagrant-libvirt")["ok"], true);
    assert_eq!(of("parallels")["ok"], false);
    assert!(
        of("parallels")["why"]
            .as_str()
            .is_some_and(|why| why.contains("vagrant-parallels"))
    );
    assert_eq!(of("libvirtd")["blocks"], "--provider libvirt");
}

/// Notes what it is called with; there is a machine as soon as one was asked for.
const STAND_IN: &str = r#"#!/bin/sh
echo "$VAGRANT_DEFAULT_PROVIDER: $*" >> "$CALLS"
case "$1" in
up) mkdir -p .vagrant/machines/core-01/libvirt; echo 1 > .vagrant/machines/core-01/libvirt/id ;;
destroy) rm -rf .vagrant/machines ;;
ssh-config) printf 'Host core-01\n  HostName 127.0.0.1\n' ;;
ssh) exit 7 ;;
esac
"#;

#[test]
fn each_verb_is_vagrants_with_its_nodes_and_flags() {
    let dir = Dir::new();
    dir.program("vagrant", STAND_IN);
    let calls = dir.path().join("calls");
    let run = |words: &[&str]| {
        let mut lab = dir.command(env!("CARGO_BIN_EXE_lab"));
        let output = lab.env("CALLS", &calls).args(words).output().expect("run lab");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let mut done = 0;
    let mut expect = |words: &[&str], code: i32, expected: &[&str]| {
        let (status, said) = run(words);
        assert_eq!(status, Some(code), "{words:?}: {said}");
        let text = fs::read_to_string(&calls).unwrap_or_default();
        let lines: Vec<&str> = text.lines().skip(done).collect();
        done += lines.len();
        let expected: Vec<String> = expected.iter().map(|line| format!("libvirt: {line}")).collect();
        assert_eq!(lines, expected, "{words:?}");
    };
    expect(
        &["up", "--provider", "libvirt", "--num-instances", "3"],
        0,
        &["up --provider libvirt", "ssh-config"],
    );
    expect(&["up", "core-02"], 0, &["up core-02 --provider libvirt", "ssh-config"]);
    expect(&["halt", "core-02"], 0, &["halt core-02"]);
    expect(&["halt", "--force"], 0, &["halt -f"]);
    expect(
        &["reload", "--provision", "core-01", "core-03"],
        0,
        &["reload --provision core-01 core-03"],
    );
    expect(&["provision"], 0, &["provision"]);
    expect(&["port"], 0, &["port core-01", "port core-02", "port core-03"]);
    expect(&["ssh", "core-01", "--", "-A"], 7, &["ssh core-01 -- -A"]);
    expect(&["ssh", "core-01", "-c", "uptime"], 7, &["ssh core-01 -c uptime"]);
    expect(
        &["ssh-config", "--host", "x", "core-01"],
        0,
        &["ssh-config --host x core-01"],
    );
    expect(
        &["box", "update", "--box", "coreos-alpha"],
        0,
        &["box update --box coreos-alpha"],
    );
    let config = dir.path().join(".lab/ssh/config");
    let mode = fs::metadata(&config)
        .expect("an ssh configuration")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // Settings that change are rendered before vagrant sees them.
    dir.write("lab.yaml", "vm_memory: 2048\n");
    expect(&["reload", "core-01"], 0, &["reload core-01"]);
    assert!(dir.read("vagrant/config.rb").contains("$vm_memory=2048"));
    expect(&["destroy", "-f", "core-01"], 0, &["destroy -f core-01"]);
    assert!(!dir.path().join(".lab").exists());
}

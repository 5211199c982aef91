//! `lab render`, `lab init`, `lab validate` and `lab token` as they are typed: output, files and exit codes.
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

mod common;

use common::Dir;

/// A discovery service that gives out as many tokens as it is asked for, each with the request's path in it.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let base = url.clone();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("the connection"))
                .lines()
                .map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let size = request
                .split("size=")
                .nth(1)
                .and_then(|rest| rest.split(' ').next())
                .unwrap_or("none");
            let body = format!("{base}/token{number}size{size}\n");
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    url
}

#[test]
fn a_token_is_fresh_for_new_machines_and_stays_for_living_ones() {
    let (dir, url) = (Dir::new(), service());
    dir.write("lab.yaml", &format!("num_instances: 2\ndiscovery: {url}/new\n"));
    dir.ok(&["render"]);
    for node in ["core-01", "core-02"] {
        let text = dir.read(&format!("vagrant/user-data/{node}"));
        assert!(
            text.contains(&format!("    name: {node}\n    discovery: {url}/token0size2\n")),
            "{text}"
        );
    }
    let machine = dir.path().join("vagrant/.vagrant/machines/core-01/virtualbox");
    fs::create_dir_all(&machine).expect("a machine");
    fs::write(machine.join("id"), "1").expect("its id");
    assert!(
        dir.ok(&["render"]).contains("4 files, 4 as they were"),
        "living machines keep their token"
    );
    let (code, text) = dir.fails(&["render", "--discovery", "none"]);
    assert_eq!(code, 11, "{text}");
    assert!(text.contains("vagrant destroy"), "{text}");
    fs::remove_dir_all(machine).expect("destroyed");
    assert!(dir.ok(&["render"]).contains("changed  user-data/core-01 (+1 -1)"));
    assert!(
        dir.read("vagrant/user-data/core-02").contains("/token1size2\n"),
        "a token is never used again"
    );
}

#[test]
fn a_users_file_keeps_every_byte_but_the_tokens() {
    let (dir, url) = (Dir::new(), service());
    let text = "#cloud-config\n# ours: 0644 stays 0644\ncoreos:\n  etcd2:\n    name: \"$private_ipv4\"\n    discovery: https://discovery.etcd.io/OLD   # old\n    proxy: off\n";
    dir.write("mine.yaml", text);
    dir.ok(&[
        "render",
        "--num-instances",
        "3",
        "--user-data",
        "mine.yaml",
        "--discovery",
        &format!("{url}/new"),
    ]);
    let expected = text.replace("https://discovery.etcd.io/OLD", &format!("{url}/token0size3"));
    assert_eq!(
        dir.read("vagrant/user-data"),
        expected,
        "one file for nodes that do not differ"
    );
    dir.write(
        "mine.yaml",
        "#cloud-config\ncoreos:\n  etcd2:\n    discovery: &d >\n      x\n",
    );
    let (code, text) = dir.fails(&[
        "render",
        "--user-data",
        "mine.yaml",
        "--discovery",
        "http://127.0.0.1:9/token",
    ]);
    assert_eq!(code, 1);
    assert!(
        text.contains("mine.yaml:4:5") && text.contains("4 |     discovery: &d >"),
        "{text}"
    );
}

#[test]
fn what_somebody_else_wrote_is_not_overwritten_without_force() {
    let dir = Dir::new();
    dir.ok(&["render"]);
    assert!(dir.ok(&["render"]).contains("5 files, 5 as they were"));
    let changed = dir.ok(&["render", "--vm-memory", "512"]);
    assert!(changed.contains("changed  config.rb (+1 -1)\n"), "{changed}");
    dir.write("vagrant/config.rb", "# mine\n");
    let (code, text) = dir.fails(&["render"]);
    assert_eq!(code, 11, "{text}");
    assert!(
        text.contains("config.rb (+14 -1)") && text.contains("render --force"),
        "{text}"
    );
    assert_eq!(dir.read("vagrant/config.rb"), "# mine\n");
    dir.ok(&["render", "--force"]);
    assert!(dir.read("vagrant/config.rb").contains("$vm_memory=1024"));
}

#[test]
fn nodes_that_are_gone_take_their_files_along() {
    let dir = Dir::new();
    dir.ok(&["render", "--num-instances", "3"]);
    assert!(
        dir.ok(&["render", "--num-instances", "2"])
            .contains("removed  user-data/core-03\n")
    );
    assert!(!dir.path().join("vagrant/user-data/core-03").exists());
    dir.write("mine.yaml", "#!/bin/sh\necho hello\n");
    dir.ok(&["render", "--num-instances", "2", "--user-data", "mine.yaml"]);
    assert_eq!(
        dir.read("vagrant/user-data"),
        "#!/bin/sh\necho hello\n",
        "a directory has become a file"
    );
    dir.ok(&["render", "--num-instances", "2"]);
    assert!(
        dir.read("vagrant/user-data/core-02").contains("hostname: core-02"),
        "and a directory again"
    );
}

#[test]
fn a_directory_of_coreos_vagrant_is_rendered_as_it_is() {
    let dir = Dir::new();
    dir.write(
        "config.rb",
        "# from config.rb.sample\n$num_instances=3\n$update_channel='beta'\n#$vm_cpus = 1\n",
    );
    dir.write("lab.yaml", "num_instances: 7\nuser_data: user-data\n");
    dir.write("user-data", "#cloud-config\ncoreos:\n  etcd2:\n    #discovery: https://discovery.etcd.io/<token>\n    listen-client-urls: http://0.0.0.0:2379\n");
    dir.ok(&["render"]);
    assert!(
        dir.read("vagrant/config.rb")
            .contains("$num_instances=3\n$instance_name_prefix='core'\n$update_channel='beta'\n")
    );
    let text = dir.read("vagrant/user-data/core-03");
    assert!(
        text.contains(
            "    #discovery: https://discovery.etcd.io/<token>\n    name: core-03\n    initial-cluster: \"core-01="
        ),
        "{text}"
    );
    let table = dir.ok(&["validate"]);
    let row = |name: &str| {
        table
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert_eq!(row("num_instances"), ["num_instances", "3", "config.rb:2"]);
    assert_eq!(row("user_data"), ["user_data", "user-data", "lab.yaml:2"]);
    assert_eq!(row("vm_cpus"), ["vm_cpus", "1", "default"]);
    assert_eq!(row("core-03"), ["core-03", "172.17.8.103", "1024", "1", "user-data"]);
}

#[test]
fn a_mistake_is_shown_with_its_line_and_a_caret() {
    let dir = Dir::new();
    dir.write("lab.yaml", "num_instance: 3\n");
    let expected = "\
error: unknown key \"num_instance\"
  where: lab.yaml:1:1
         1 | num_instance: 3
           | ^
  why:   a lab has no such setting
  do:    did you mean num_instances?
";
    assert_eq!(dir.fails(&["validate"]), (1, expected.to_string()));
    dir.write("lab.yaml", "");
    dir.write("bad", "#cloud-config\ncoreos: [\n");
    let (code, text) = dir.fails(&["validate", "bad"]);
    assert!(
        code == 1 && text.contains("bad:3:1") && text.contains("did not find expected"),
        "{text}"
    );
    dir.write("bad", "hello\n");
    assert!(
        dir.fails(&["validate", "bad"])
            .1
            .contains("must begin with \"#cloud-config\"")
    );
}

#[test]
fn init_writes_a_valid_lab_yaml_once() {
    let dir = Dir::new();
    dir.ok(&["init"]);
    dir.ok(&["validate"]);
    let (code, text) = dir.fails(&["init"]);
    assert_eq!(code, 11, "{text}");
}

#[test]
fn a_token_is_printed_alone() {
    let (dir, url) = (Dir::new(), service());
    assert_eq!(
        dir.ok(&["token", "--url", &format!("{url}/new"), "--size", "5"]),
        format!("{url}/token0size5\n")
    );
    let (code, text) = dir.fails(&["token"]);
    assert!(code == 1 && text.contains("discovery: own (default)"), "{text}");
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let (code, text) = dir.fails(&["token", "--url", &format!("http://{closed}/new")]);
    assert!(code == 1 && text.contains("Connection refused"), "{text}");
}

#[test]
fn shells_are_told_of_every_verb() {
    let dir = Dir::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = dir.ok(&["completion", shell]);
        assert!(script.contains("render") && script.contains("num-instances"), "{shell}");
    }
    let script = dir.path().join("lab.bash");
    fs::write(&script, dir.ok(&["completion", "bash"])).expect("a script");
    let bash = Command::new("bash").arg("-n").arg(&script).status().expect("bash");
    assert!(bash.success());
}

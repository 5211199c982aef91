//! coreos-cloudinit's datasources, with small servers in the place of clouds.
use std::fs;
use std::process::Output;

use corelab_tests::cloudinit::{Machine, without_stamp};
use corelab_tests::tools;

fn stderr(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().map(without_stamp).collect::<Vec<_>>().join("\n")
}

/// A server that answers these paths, with a count of failures first; everything else is not found.
struct Server {
    port: u16,
    asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: &'static [(&'static str, &'static str)], mut failures: usize) -> Server {
        use std::io::{BufRead, BufReader, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = asked.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut lines = BufReader::new(&stream).lines();
                let request = lines.next().and_then(Result::ok).unwrap_or_default();
                lines
                    .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                    .count();
                let path = request.split(' ').nth(1).unwrap_or_default().to_string();
                let answer = answers.iter().find(|(known, _)| *known == path);
                let (status, body) = match answer {
                    _ if failures > 0 => {
                        failures -= 1;
                        ("503 Busy", "")
                    }
                    Some((_, body)) => ("200 OK", *body),
                    None => ("404 Not Found", ""),
                };
                seen.lock().expect("the paths").push(path);
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        Server { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

#[track_caller]
fn fetch(machine: &Machine, args: &[&str]) -> Output {
    let mut command = machine.command();
    let output = tools::run(command.arg("--trace").arg(machine.trace()).args(args));
    assert!(output.status.success(), "{}", tools::outputs(&output));
    output
}

const EC2: &[(&str, &str)] = &[
    ("/2009-04-04/", "meta-data\nuser-data"),
    (
        "/2009-04-04/user-data",
        "#cloud-config\nwrite_files:\n- path: /opt/x\n  content: $public_ipv4 $private_ipv4\n",
    ),
    ("/2009-04-04/meta-data/public-keys", "0=bob\n1=alice"),
    ("/2009-04-04/meta-data/public-keys/0/openssh-key", "ssh-rsa BOB"),
    ("/2009-04-04/meta-data/public-keys/1/openssh-key", "ssh-rsa ALICE"),
    ("/2009-04-04/meta-data/hostname", "ip-10-0-0-1.ec2.internal other"),
    ("/2009-04-04/meta-data/local-ipv4", "10.0.0.1"),
    ("/2009-04-04/meta-data/public-ipv4", "54.0.0.1"),
];

#[test]
fn ec2s_metadata_is_fetched_also_from_a_server_that_fails_at_first() {
    let server = Server::start(EC2, 3);
    let machine = Machine::new();
    let output = fetch(&machine, &["-from-ec2-metadata", &server.url()]);
    let written = fs::read_to_string(machine.root().join("opt/x")).expect("a file");
    assert_eq!(written, "54.0.0.1 10.0.0.1", "{}", tools::outputs(&output));
    assert_eq!(
        machine.calls(),
        [
            "EXEC hostnamectl [set-hostname] [ip-10-0-0-1]",
            "EXEC update-ssh-keys [-u] [core] [-a] [coreos-cloudinit]",
            "STDIN ssh-rsa ALICE",
            "STDIN ssh-rsa BOB",
        ]
    );
    assert!(server.asked.lock().expect("the paths").len() > 8);
    assert!(
        stderr(&output).contains("Checking availability of \"ec2-metadata-service\"\nChecking"),
        "{}",
        tools::outputs(&output)
    );
}

const PLAIN: &[(&str, &str)] = &[("/u", "#cloud-config\nhostname: fetched\n")];

#[test]
fn user_data_comes_from_a_url_and_from_the_kernels_command_line() {
    let server = Server::start(PLAIN, 0);
    let machine = Machine::new();
    let url = format!("{}u", server.url());
    fetch(&machine, &["-from-url", &url]);
    assert_eq!(machine.calls(), ["EXEC hostnamectl [set-hostname] [fetched]"]);
    machine.write(
        "/proc/cmdline",
        format!("quiet cloud-config-url=http://none/ cloud_config_url={url}\n").as_bytes(),
    );
    fetch(&machine, &["-from-proc-cmdline"]);
    assert_eq!(machine.calls(), ["EXEC hostnamectl [set-hostname] [fetched]"]);
}

#[test]
fn the_first_source_that_is_there_is_taken() {
    let machine = Machine::new();
    machine.write("/cd/openstack/latest/user_data", b"#cloud-config\nhostname: drive\n");
    fetch(&machine, &["-from-file", "/not/there", "-from-configdrive", "/cd"]);
    assert_eq!(machine.calls(), ["EXEC hostnamectl [set-hostname] [drive]"]);
    let output = tools::run(machine.command().args(["-from-proc-cmdline"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).ends_with("No datasources available in time"),
        "{}",
        tools::outputs(&output)
    );
}

const DIGITALOCEAN: &[(&str, &str)] = &[
    ("/metadata/v1", "id"),
    ("/metadata/v1/user-data", "#cloud-config\n"),
    (
        "/metadata/v1.json",
        r#"{"hostname": "do", "public_keys": ["ssh-rsa D"], "interfaces": {"public": [{"ipv4": {"ip_address": "1.2.3.4"}, "ipv6": {"ip_address": "fe00::1"}}]}}"#,
    ),
];
const PACKET: &[(&str, &str)] = &[
    ("/", "x"),
    ("/userdata", "#cloud-config\n"),
    (
        "/metadata",
        r#"{"hostname": "pk", "ssh_keys": ["ssh-rsa P"], "network": {"interfaces": [{"name": "e0", "mac": "00:11:22:33:44:55"}], "addresses": [{"address_family": 4, "public": true, "address": "5.6.7.8", "cidr": 31, "netmask": "255.255.255.254", "gateway": "5.6.7.7"}]}}"#,
    ),
];
const GCE: &[(&str, &str)] = &[
    ("/computeMetadata/v1/", "instance/"),
    ("/computeMetadata/v1/instance/attributes/user-data", "#cloud-config\n"),
    ("/computeMetadata/v1/instance/hostname", "gce.internal"),
    ("/computeMetadata/v1/project/attributes/sshKeys", "me:ssh-rsa G me@x\n"),
    ("/computeMetadata/v1/instance/network-interfaces/0/ip", "10.9.8.7"),
];

#[test]
fn other_clouds_metadata_is_understood() {
    for (flag, answers, hostname, key, environment) in [
        (
            "-from-digitalocean-metadata",
            DIGITALOCEAN,
            "do",
            "ssh-rsa D",
            "COREOS_PUBLIC_IPV4=1.2.3.4\nCOREOS_PUBLIC_IPV6=fe00::1\n",
        ),
        (
            "-from-packet-metadata",
            PACKET,
            "pk",
            "ssh-rsa P",
            "COREOS_PUBLIC_IPV4=5.6.7.8\n",
        ),
        (
            "-from-gce-metadata",
            GCE,
            "gce.internal",
            "ssh-rsa G me@x",
            "COREOS_PRIVATE_IPV4=10.9.8.7\n",
        ),
    ] {
        let server = Server::start(answers, 0);
        let machine = Machine::new();
        fetch(&machine, &[flag, &server.url()]);
        let calls = machine.calls();
        assert_eq!(
            calls[0],
            format!("EXEC hostnamectl [set-hostname] [{hostname}]"),
            "{flag}"
        );
        assert_eq!(
            calls.last().map(String::as_str),
            Some(format!("STDIN {key}").as_str()),
            "{flag}"
        );
        let written = fs::read_to_string(machine.root().join("etc/environment")).expect("a file");
        assert_eq!(written, environment, "{flag}");
    }
}

#[test]
fn network_configurations_become_units() {
    let server = Server::start(PACKET, 0);
    let machine = Machine::new();
    let output = fetch(
        &machine,
        &["-from-packet-metadata", &server.url(), "-convert-netconf", "packet"],
    );
    assert!(
        machine.root().join("run/systemd/network/00-bond0.netdev").is_file(),
        "{}",
        tools::outputs(&output)
    );
    let calls = machine.calls();
    assert!(
        calls.iter().any(|call| call.starts_with("EXEC modprobe [bonding]")),
        "{calls:?}"
    );
    assert_eq!(
        calls.last().map(String::as_str),
        Some("DBUS RestartUnit ['systemd-networkd.service', 'replace']")
    );
    let machine = Machine::new();
    machine.write(
        "/ovf.xml",
        br#"<Environment xmlns:oe="http://schemas.dmtf.org/ovf/environment/1"><PropertySection>
        <Property oe:key="guestinfo.hostname" oe:value="ovf"/><Property oe:key="guestinfo.interface.0.name" oe:value="ens0"/>
        <Property oe:key="guestinfo.interface.0.role" oe:value="private"/>
        <Property oe:key="guestinfo.interface.0.ip.0.address" oe:value="10.0.0.9/24"/>
        <Property oe:key="guestinfo.coreos.config.data" oe:value="I2Nsb3VkLWNvbmZpZwo="/>
        <Property oe:key="guestinfo.coreos.config.data.encoding" oe:value="base64"/></PropertySection></Environment>"#,
    );
    let output = fetch(
        &machine,
        &["-from-vmware-ovf-env", "/ovf.xml", "-convert-netconf", "vmware"],
    );
    let unit = fs::read_to_string(machine.root().join("run/systemd/network/00-ens0.network"));
    let unit = unit.unwrap_or_else(|error| panic!("{error}: {}", tools::outputs(&output)));
    assert_eq!(
        unit,
        "[Match]\nName=ens0\n\n[Network]\n\n[Address]\nAddress=10.0.0.9/24\n"
    );
    let environment = fs::read_to_string(machine.root().join("etc/environment")).expect("a file");
    assert_eq!(environment, "COREOS_PRIVATE_IPV4=10.0.0.9\n");
}

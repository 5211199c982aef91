//! `lab doctor`: what this machine lacks, what that blocks, and what to type.
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::args::{Doctor, Format};
use crate::failure::{Exit, Failure};
use crate::local::limits::{self, Controller};
use crate::local::probe;
use crate::{lab, ui};

struct Check {
    name: &'static str,
    /// None: it is there.
    missing: Option<String>,
    blocks: &'static str,
    fix: String,
}

pub fn run(args: &Doctor) -> Result<(), Failure> {
    let mut checks = checks();
    if args.fix {
        for check in checks
            .iter()
            .filter(|check| check.missing.is_some() && !check.fix.is_empty())
        {
            ui::note(&format!("{}: {}", check.name, check.fix));
            let _ = Command::new("sh").args(["-c", &check.fix]).status();
        }
        checks = self::checks();
    }
    match args.format {
        Format::Table => {
            let mut rows = vec![["CHECK", "STATE", "BLOCKS", "FIX"].map(String::from).to_vec()];
            for check in &checks {
                let missing = check.missing.as_deref();
                rows.push(vec![
                    check.name.into(),
                    missing.unwrap_or("ok").into(),
                    missing.map_or("", |_| check.blocks).into(),
                    missing.map_or("", |_| &check.fix).into(),
                ]);
            }
            ui::lines(&ui::table(&rows));
        }
        Format::Json => {
            let list: Vec<_> = checks
                .iter()
                .map(|check| {
                    serde_json::json!({
                        "check": check.name,
                        "ok": check.missing.is_none(),
                        "why": check.missing,
                        "blocks": check.blocks,
                        "fix": check.fix,
                    })
                })
                .collect();
            ui::lines(&format!(
                "{:#}",
                serde_json::json!({ "schema": "lab.doctor/1", "checks": list })
            ));
        }
    }
    match checks
        .iter()
        .find(|check| check.missing.is_some() && check.blocks == LOCAL)
    {
        Some(check) => Err(Failure::new(
            Exit::Missing,
            format!("{} is missing for nodes on this machine", check.name),
            "this machine",
            check.missing.clone().unwrap_or_default(),
            if args.fix {
                check.fix.clone()
            } else {
                ui::command("doctor --fix")
            },
        )),
        None => Ok(()),
    }
}

const LOCAL: &str = "nodes on this machine";
/// Where libvirt's service is asked.
const LIBVIRT: &str = "/var/run/libvirt/libvirt-sock";

fn checks() -> Vec<Check> {
    let check = |name, missing, blocks, fix: &str| Check {
        name,
        missing,
        blocks,
        fix: fix.into(),
    };
    let mut checks = vec![
        check(
            "namespaces",
            probe::namespaces().err().map(|error| error.to_string()),
            LOCAL,
            "sysctl -w user.max_user_namespaces=65536 kernel.unprivileged_userns_clone=1",
        ),
        check(
            "/dev/net/tun",
            probe::tun().err().map(|error| error.to_string()),
            LOCAL,
            "sudo modprobe tun && sudo chmod 666 /dev/net/tun",
        ),
        check(
            "cgroup2",
            probe::cgroup().err().map(|error| error.to_string()),
            LOCAL,
            "systemd-run --user --scope -p Delegate=yes lab up",
        ),
        check(
            "overlay",
            listed("/proc/filesystems", "overlay"),
            LOCAL,
            "sudo modprobe overlay",
        ),
        program(
            "ssh",
            "lab ssh, lab exec, lab cp",
            "sudo apt-get install -y openssh-client",
        ),
    ];
    if !rustix::process::geteuid().is_root() {
        checks.push(program("newuidmap", LOCAL, "sudo apt-get install -y uidmap"));
    }
    if !lab::archive().exists() {
        checks.push(program("mmdebstrap", LOCAL, "sudo apt-get install -y mmdebstrap"));
    }
    for controller in [Controller::Memory, Controller::Cpu] {
        checks.push(check(
            match controller {
                Controller::Memory => "memory limits",
                Controller::Cpu => "cpu limits",
            },
            limits::probe(controller).err().map(|error| error.to_string()),
            "vm_memory and vm_cpus of nodes",
            "",
        ));
    }
    checks.extend(providers());
    checks.push(program(
        "qemu-system-x86_64",
        "--provider qemu",
        "sudo apt-get install -y qemu-system-x86",
    ));
    checks
}

/// What each provider of vagrant's lacks. What cannot be typed here has no fix.
fn providers() -> Vec<Check> {
    let vagrant = program("vagrant", "--provider vagrant", "sudo apt-get install -y vagrant");
    let plugins = match &vagrant.missing {
        Some(_) => String::new(),
        None => said("vagrant plugin list"),
    };
    let mut checks = vec![vagrant];
    let mut check = |name, blocks, missing: Option<String>, fix: &str| {
        checks.push(Check {
            name,
            missing,
            blocks,
            fix: fix.into(),
        });
    };
    let virtualbox = (!installed("VBoxManage")).then(|| "VBoxManage is not installed; see virtualbox.org".into());
    check("virtualbox", "--provider virtualbox", virtualbox, "");
    let plugin = |name: &str| (!plugins.contains(name)).then(|| format!("vagrant has no plugin {name}"));
    let libvirt = "--provider libvirt";
    check(
        "vagrant-libvirt",
        libvirt,
        plugin("vagrant-libvirt"),
        "sudo apt-get install -y vagrant-libvirt",
    );
    let service = UnixStream::connect(LIBVIRT).err();
    check(
        "libvirtd",
        libvirt,
        service.map(|error| format!("{LIBVIRT}: {error}")),
        "sudo apt-get install -y libvirt-daemon-system qemu-system-x86",
    );
    let kvm = File::options().read(true).write(true).open("/dev/kvm").err();
    let kvm = kvm.map(|error| format!("/dev/kvm: {error}; without it machines are slow"));
    check("kvm", libvirt, kvm, "");
    let vmware =
        plugin("vagrant-vmware-desktop").or_else(|| (!installed("vmrun")).then(|| "VMware is not installed".into()));
    check("vmware", "--provider vmware_desktop or vmware_fusion", vmware, "");
    let parallels =
        plugin("vagrant-parallels").or_else(|| (!installed("prlctl")).then(|| "Parallels is not installed".into()));
    check("parallels", "--provider parallels", parallels, "");
    checks
}

fn said(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

fn installed(name: &str) -> bool {
    !said(&format!("command -v {name}")).is_empty()
}

fn program(name: &'static str, blocks: &'static str, fix: &str) -> Check {
    Check {
        name,
        missing: (!installed(name)).then(|| "not installed".into()),
        blocks,
        fix: fix.into(),
    }
}

fn listed(file: &str, word: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(file)).unwrap_or_default();
    (!text.split_whitespace().any(|found| found == word)).then(|| format!("not in {file}"))
}

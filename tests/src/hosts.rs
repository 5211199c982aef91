//! Hosts on this machine: each has its own network, `/var/lib` and home, and runs what is typed at its shell. Everything
//! hangs on descriptors and on the processes themselves, so nothing is left over, however a test ends.
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use tempfile::TempDir;

use crate::process::Process;
use crate::tools;

/// Seconds after which a typed command has hung.
const HUNG: &str = "60";

/// Hosts core-01, core-02, ... at 172.17.8.101 and up, on one wire.
pub struct Lab {
    pub hosts: Vec<Host>,
    wire: OwnedFd,
    pub dir: TempDir,
}

pub struct Host {
    pub name: String,
    pub address: String,
    root: PathBuf,
    path: String,
    network: OwnedFd,
    mounts: OwnedFd,
    started: AtomicUsize,
}

impl Lab {
    #[track_caller]
    pub fn new(count: usize) -> Lab {
        let dir = tempfile::Builder::new()
            .prefix("corelab-lab-")
            .tempdir()
            .expect("a temporary directory");
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("a directory");
        for name in ["etcd", "etcd2", "etcdctl", "etcd-ca", "discovery"] {
            symlink(tools::labnode(), bin.join(name)).expect("a link");
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let (wire, _) = namespaces(None);
        ip(&wire, "link add wire type bridge forward_delay 0");
        ip(&wire, "link set wire up");
        let hosts = (1..=count).map(|number| {
            let (name, address) = (format!("core-{number:02}"), format!("172.17.8.{}", 100 + number));
            let root = dir.path().join(&name);
            for inside in ["var/lib", "home", "etc/systemd/system/etcd2.service.d"] {
                fs::create_dir_all(root.join(inside)).expect("a directory");
            }
            let (network, mounts) = namespaces(Some(root.join("var/lib")));
            let there = format!("/proc/{}/fd/{}", std::process::id(), network.as_raw_fd());
            ip(
                &wire,
                &format!("link add {name} type veth peer name eth0 netns {there}"),
            );
            ip(&wire, &format!("link set {name} master wire up"));
            ip(&network, &format!("addr add {address}/24 dev eth0"));
            ip(&network, "link set eth0 up");
            ip(&network, "link set lo up");
            Host {
                name,
                address,
                root,
                path: path.clone(),
                network,
                mounts,
                started: AtomicUsize::new(0),
            }
        });
        Lab {
            hosts: hosts.collect(),
            wire,
            dir,
        }
    }

    /// Puts a directory of programs behind the others on every host's path.
    pub fn programs(mut self, dir: &Path) -> Lab {
        for host in &mut self.hosts {
            host.path = format!("{}:{}", host.path, dir.display());
        }
        self
    }

    /// Takes a host off the wire, as when its machine is destroyed: packets to it are not even refused.
    #[track_caller]
    pub fn unplug(&self, at: usize) {
        ip(&self.wire, &format!("link set {} down", self.hosts[at].name));
    }

    #[track_caller]
    pub fn plug(&self, at: usize) {
        ip(&self.wire, &format!("link set {} up", self.hosts[at].name));
    }
}

/// A network and a mount namespace, the latter with `var_lib` at /var/lib.
#[track_caller]
fn namespaces(var_lib: Option<PathBuf>) -> (OwnedFd, OwnedFd) {
    let make = move || {
        // SAFETY: new namespaces for this thread take no memory or descriptors away from others.
        let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET) };
        unshared.expect("namespaces: the tests run as root");
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).expect("keep mounts to ourselves");
        if let Some(dir) = var_lib {
            mount_bind(dir, "/var/lib").expect("mount /var/lib");
        }
        let open = |name: &str| File::open(format!("/proc/thread-self/ns/{name}")).expect("a namespace");
        (open("net").into(), open("mnt").into())
    };
    std::thread::spawn(make).join().expect("namespaces")
}

fn enter(fd: &OwnedFd, kind: LinkNameSpaceType) -> std::io::Result<()> {
    Ok(move_into_link_name_space(fd.as_fd(), Some(kind))?)
}

#[track_caller]
fn ip(network: &OwnedFd, words: &str) {
    let network = network.try_clone().expect("a descriptor");
    let mut command = Command::new("ip");
    command.args(words.split(' '));
    // SAFETY: between fork and exec only setns is called.
    unsafe { command.pre_exec(move || enter(&network, LinkNameSpaceType::Network)) };
    let output = tools::run(&mut command);
    assert!(output.status.success(), "ip {words}: {}", tools::outputs(&output));
}

impl Host {
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Where a file of the host is, seen from outside.
    pub fn file(&self, path: &str) -> PathBuf {
        match path.strip_prefix('/') {
            Some(rest) => self.root.join(rest),
            None => self.home().join(path),
        }
    }

    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    fn shell(&self, program: &str, args: &[&str], line: &str) -> Command {
        let mut command = Command::new(program);
        command.args(args).args(["sh", "-ec"]);
        command.arg(format!("cd '{}'; {line}", self.home().display()));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD") {
                command.env_remove(name);
            }
        }
        command.env("PATH", &self.path).env("HOME", self.home());
        let network = self.network.try_clone().expect("a descriptor");
        let mounts = self.mounts.try_clone().expect("a descriptor");
        // SAFETY: between fork and exec only setns is called.
        unsafe {
            command.pre_exec(move || {
                enter(&network, LinkNameSpaceType::Network)?;
                enter(&mounts, LinkNameSpaceType::Mount)
            })
        };
        command
    }

    /// Types a line and waits until it is done.
    #[track_caller]
    pub fn run(&self, line: &str) -> Output {
        tools::run(self.shell("timeout", &[HUNG], line).stdin(std::process::Stdio::null()))
    }

    /// A line that has to work; what it prints on stdout.
    #[track_caller]
    pub fn types(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(
            output.status.success(),
            "{}$ {line}: {}",
            self.name,
            tools::outputs(&output)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A line that has to fail; all that it prints.
    #[track_caller]
    pub fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        let hung = output.status.code() == Some(124);
        assert!(
            !output.status.success() && !hung,
            "{}$ {line}: {}",
            self.name,
            tools::outputs(&output)
        );
        tools::outputs(&output)
    }

    fn log(&self) -> PathBuf {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        self.root.join(format!("{number}.log"))
    }

    /// Starts a command that goes on, with a log of its own.
    #[track_caller]
    pub fn start(&self, line: &str) -> Process {
        let shell = self.shell("env", &[], &format!("exec {line}"));
        Process::spawn(shell, &self.log())
    }

    /// Starts a command that has children. They end with it, even when it is killed.
    #[track_caller]
    pub fn start_group(&self, line: &str) -> Process {
        let shell = self.shell("unshare", &["--pid", "--fork", "--kill-child=KILL"], line);
        Process::spawn(shell, &self.log())
    }

    /// Starts etcd2 as its unit and the drop-in 10-listen.conf say.
    #[track_caller]
    pub fn start_etcd2(&self) -> Process {
        let unit = tools::repository().join("images/tree/usr/lib/systemd/system/etcd2.service");
        let drop_in = self.file("/etc/systemd/system/etcd2.service.d/10-listen.conf");
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let lines = read(&unit) + &read(&drop_in);
        let settings = lines.lines().filter_map(|line| line.strip_prefix("Environment="));
        let settings: Vec<String> = settings
            .map(|setting| format!("'{}'", setting.trim_matches('"').replace("%m", &"0a".repeat(16))))
            .collect();
        let program = lines.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/"));
        self.start(&format!("env {} {}", settings.join(" "), program.expect("ExecStart")))
    }

    /// Has a drop-in for etcd2's unit set these variables.
    #[track_caller]
    pub fn drop_in(&self, settings: &str) {
        let lines = settings.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: String = lines.map(|line| format!("Environment={line}\n")).collect();
        self.write(
            "/etc/systemd/system/etcd2.service.d/10-listen.conf",
            &format!("[Service]\n{lines}"),
        );
    }
}

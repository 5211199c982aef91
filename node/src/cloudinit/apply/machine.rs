//! The machine that a plan is carried out on: its root, its programs, its systemd. With a trace, programs and systemd are
//! only written down.
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::cloudconfig::go::{errno, quote};
use crate::cloudinit::log::say;
use crate::cloudinit::root::Root;
use crate::cloudinit::trace::{Trace, python, python_bool};
use crate::systemd::{self, Systemd};

const DESCRIPTION: &str = "Unit generated and executed by coreos-cloudinit on behalf of user";

pub struct Machine {
    pub root: Root,
    trace: Option<Trace>,
    bus: Option<String>,
    systemd: OnceCell<Systemd>,
}

impl Machine {
    /// `bus` is the environment's DBUS_SYSTEM_BUS_ADDRESS.
    pub fn new(root: Root, trace: Option<Trace>, bus: Option<String>) -> Machine {
        Machine {
            root,
            trace,
            bus,
            systemd: OnceCell::new(),
        }
    }

    /// A tree apart has a systemd only if its bus is named: this machine's is not to act on another's units.
    async fn systemd(&self) -> Result<&Systemd, String> {
        if self.root.is_apart() && self.bus.is_none() {
            let tree = self.root.at("/");
            let (tree, name) = (tree.display(), "DBUS_SYSTEM_BUS_ADDRESS");
            return Err(format!(
                "no systemd is known for {tree}: set {name} to its bus, or use --trace"
            ));
        }
        let connect = || Systemd::connect(self.bus.as_deref());
        self.systemd.get_or_try_init(connect).await
    }

    /// Is there such a program for this root? A trace takes every program for granted.
    pub fn has(&self, program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = || std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
        self.trace.is_some() || !self.root.is_apart() && found()
    }

    pub async fn set_hostname(&self, name: &str) -> Result<(), String> {
        if self.trace.is_none() && self.root.is_apart() {
            let path = "/etc/hostname";
            let written = std::fs::write(self.root.at(path), format!("{name}\n"));
            return written.map_err(|error| format!("open {path}: {}", errno(&error)));
        }
        self.run("hostnamectl", &["set-hostname", name], "").await
    }

    /// Modules are the running kernel's, not a tree's.
    pub async fn modprobe(&self, args: &[String]) -> Result<(), String> {
        if self.trace.is_none() && self.root.is_apart() {
            return Ok(());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.run("modprobe", &args, "").await
    }

    /// Runs a program with this on its stdin. Its failure is how it ended, in Go's words.
    pub async fn run(&self, program: &str, args: &[&str], input: &str) -> Result<(), String> {
        self.run_telling(program, args, input)
            .await
            .map_err(|(status, _)| status)
    }

    /// The same; a failure also has what the program wrote.
    pub async fn run_telling(&self, program: &str, args: &[&str], input: &str) -> Result<(), (String, String)> {
        if let Some(trace) = &self.trace {
            let name = program.rsplit('/').next().unwrap_or(program);
            let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
            return trace.command(name, &args, input).map_err(|why| (why, String::new()));
        }
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => (
                format!("exec: {program:?}: executable file not found in $PATH"),
                String::new(),
            ),
            _ => (format!("exec: {program:?}: {error}"), String::new()),
        };
        let mut command = Command::new(program);
        // What runs for a tree apart works on accounts, and is told where they are.
        if self.root.is_apart() {
            command.arg("--root").arg(self.root.at("/"));
        }
        let child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = child.kill_on_drop(true).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input says by its status whether that is an error.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let status = match output.status.code() {
            Some(code) => format!("exit status {code}"),
            None => format!("{}", output.status),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Err((status, format!("{} {}", text(&output.stdout), text(&output.stderr))))
    }

    pub async fn useradd(&self, args: &[String]) -> Result<(), String> {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        self.run_telling("useradd", &words, "")
            .await
            .map_err(|(status, output)| {
                let args = args.join(" ");
                say(&format!(
                    "Command 'useradd {args}' failed: {status}\n{}",
                    output.trim_start()
                ));
                status
            })
    }

    /// The last lines of a unit's journal; nothing where there is none.
    pub async fn journal(&self, unit: &str) -> String {
        if self.trace.is_some() || self.root.is_apart() {
            return String::new();
        }
        let mut command = Command::new("journalctl");
        command.args([
            "--unit",
            unit,
            "--lines",
            "10",
            "--no-pager",
            "--quiet",
            "--output",
            "short",
        ]);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        output.map_or(String::new(), |output| {
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// An interface that cannot be taken down is told of; networkd may do without.
    pub async fn take_down(&self, interface: &str) {
        if self.trace.is_some() || self.root.is_apart() {
            return;
        }
        if let Err(why) = self.run("ip", &["link", "set", "dev", interface, "down"], "").await {
            let name = quote(interface);
            crate::sys::print(
                &format!("Error while downing interface {name} ({why}). Continuing...\n"),
                "",
            );
        }
    }

    pub async fn reload(&self) -> Result<(), String> {
        match &self.trace {
            Some(trace) => trace.call("Reload", "[]"),
            None => self.systemd().await?.reload().await,
        }
    }

    pub async fn enable(&self, unit: &str, runtime: bool) -> Result<(), String> {
        match &self.trace {
            Some(trace) => {
                let runtime = python_bool(runtime);
                trace.call("EnableUnitFiles", &format!("[[{}], {runtime}, True]", python(unit)))
            }
            None => self.systemd().await?.enable(unit, runtime).await,
        }
    }

    /// What became of the job. Nothing goes wrong in a trace.
    pub async fn unit_command(&self, unit: &str, command: &str) -> Result<String, String> {
        match &self.trace {
            Some(trace) => {
                let method = systemd::method(command).unwrap_or(command);
                trace.call(method, &format!("[{}, 'replace']", python(unit)))?;
                Ok("done".into())
            }
            None => self.systemd().await?.command(unit, command).await,
        }
    }

    pub async fn start_transient(&self, unit: &str, command: &[String]) -> Result<(), String> {
        match &self.trace {
            Some(trace) => {
                let words: Vec<String> = command.iter().map(|word| python(word)).collect();
                let exec = format!("[[{}, [{}], False]]", words[0], words.join(", "));
                let unit = python(unit);
                let description = python(DESCRIPTION);
                let properties = format!("[['Description', {description}], ['ExecStart', {exec}]]");
                trace.call("StartTransientUnit", &format!("[{unit}, 'replace', {properties}, []]"))
            }
            None => self.systemd().await?.start_transient(unit, DESCRIPTION, command).await,
        }
    }
}

//! Labs: a project directory with a state of its own, real nodes in it, and a look at what is left of them.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;

use crate::tools::{self, outputs, run};
use crate::user::User;

/// Longer than any command of a test takes; a command that hangs ends the test.
const LIMIT: &str = "120";

/// Whose lab it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Root,
    User,
}

/// Each test once as root and once as an ordinary user.
#[macro_export]
macro_rules! for_everybody {
    ($($name:ident)*) => { $(
        mod $name {
            #[test]
            fn as_root() {
                super::$name($crate::lab::Who::Root);
            }

            #[test]
            fn as_an_ordinary_user() {
                super::$name($crate::lab::Who::User);
            }
        }
    )* };
}

pub struct Lab {
    project: TempDir,
    state: TempDir,
    cache: PathBuf,
    /// Root's, without.
    user: Option<Arc<User>>,
    /// What the machine had before.
    before: Machine,
}

impl Default for Lab {
    fn default() -> Lab {
        Lab::new()
    }
}

impl Lab {
    #[track_caller]
    pub fn new() -> Lab {
        Lab::of(Who::Root)
    }

    #[track_caller]
    pub fn of(who: Who) -> Lab {
        let cache = cache().to_path_buf();
        let user = (who == Who::User).then(|| User::get(&image(&cache)));
        let directory = |prefix| match &user {
            Some(user) => user.directory(prefix),
            // A socket's path is short.
            None => short(prefix),
        };
        Lab {
            before: Machine::look(),
            project: directory("lp"),
            state: directory("ls"),
            cache: user.as_ref().map_or(cache, |user| user.cache()),
            user,
        }
    }

    /// Without an etcd of the lab's making: a node is ready sooner.
    #[track_caller]
    pub fn bare(nodes: u8) -> Lab {
        Lab::bare_of(Who::Root, nodes)
    }

    #[track_caller]
    pub fn bare_of(who: Who, nodes: u8) -> Lab {
        let lab = Lab::of(who);
        lab.write("lab.yaml", &format!("num_instances: {nodes}\nbare: true\n"));
        lab
    }

    /// With user data of its own, which is in the file of that name.
    #[track_caller]
    pub fn with_user_data(who: Who, nodes: u8, text: &str) -> Lab {
        let lab = Lab::of(who);
        lab.write("lab.yaml", &format!("num_instances: {nodes}\nuser_data: user-data\n"));
        lab.write("user-data", text);
        lab
    }

    pub fn dir(&self) -> &Path {
        self.project.path()
    }

    pub fn state(&self) -> &Path {
        self.state.path()
    }

    pub fn cache(&self) -> &Path {
        &self.cache
    }

    #[track_caller]
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.dir().join(file), text).expect("write a file of the project");
    }

    /// What is at hand for every program of this lab's user.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if let Some(user) = &self.user {
            return user.command(self.dir(), self.state(), LIMIT, program.as_ref());
        }
        let mut command = Command::new("timeout");
        command.args(["--foreground", "-k", "5", LIMIT]).arg(program);
        self.surround(&mut command);
        command
    }

    /// The same for a command that is not held to a time.
    pub fn surround(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        let lab = tools::lab();
        let programs = lab.parent().expect("a directory").display();
        command
            .current_dir(self.dir())
            .env("PATH", format!("{programs}:{path}"))
            .env("XDG_STATE_HOME", self.state())
            .env("XDG_CACHE_HOME", self.cache())
            .env("HOME", self.dir())
            .env_remove("NUM_INSTANCES")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
    }

    pub fn lab(&self, args: &[&str]) -> Output {
        let program = self.user.as_ref().map_or_else(tools::lab, |user| user.lab());
        run(self.command(program).args(args))
    }

    /// What it prints on standard output; it has to succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.lab(args);
        assert!(output.status.success(), "lab {args:?}: {}", outputs(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What it prints on standard error; it has to end with this status.
    #[track_caller]
    pub fn fails(&self, args: &[&str], status: i32) -> String {
        let output = self.lab(args);
        assert_eq!(output.status.code(), Some(status), "lab {args:?}: {}", outputs(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A line of shell on a node, by way of `lab ssh`.
    #[track_caller]
    pub fn on(&self, node: &str, line: &str) -> String {
        self.ok(&["ssh", node, "--", line])
    }

    /// A line of shell on the host, in the project's directory.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        let mut command = self.command("sh");
        let output = run(command.args(["-euc", line]));
        assert!(output.status.success(), "{line}: {}", outputs(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["status", "--format", "json"])).expect("JSON")
    }

    #[track_caller]
    pub fn node(&self, name: &str) -> serde_json::Value {
        let status = self.status();
        let nodes = status["nodes"].as_array().expect("a list of nodes");
        let found = nodes.iter().find(|node| node["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {status}")).clone()
    }

    /// The lab's id, while there is one.
    pub fn id(&self) -> Option<String> {
        let text = fs::read_to_string(self.dir().join(".lab/lab.json")).ok()?;
        let record: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(record["id"].as_str()?.to_string())
    }

    /// The supervisor's process.
    pub fn supervisor(&self) -> Option<u32> {
        let state = self.state().display().to_string();
        processes()
            .into_iter()
            .find_map(|(pid, line)| (line.contains("\0supervise\0") && line.contains(&state)).then_some(pid))
    }

    /// Destroys the lab and looks for what is left of it.
    #[track_caller]
    pub fn gone(&self) {
        let id = self.id();
        if id.is_some() {
            self.ok(&["destroy", "-f"]);
        }
        assert_eq!(self.leftovers(), Vec::<String>::new(), "the lab has left this");
        let after = Machine::look();
        assert_eq!(self.before.difference(&after), "", "the machine is not as it was");
    }

    /// What there is of the lab outside the files of its user.
    pub fn leftovers(&self) -> Vec<String> {
        let state = self.state().display().to_string();
        let mut left: Vec<String> = Vec::new();
        for (pid, line) in processes() {
            if line.contains(&state)
                || fs::read_to_string(format!("/proc/{pid}/mounts")).is_ok_and(|text| text.contains(&state))
            {
                left.push(format!("process {pid}: {}", line.replace('\0', " ")));
            }
        }
        for entry in fs::read_dir(self.state().join("lab")).into_iter().flatten().flatten() {
            left.push(entry.path().display().to_string());
            let id = entry.file_name().to_string_lossy().into_owned();
            left.extend(groups(&id));
        }
        left.extend(self.id().iter().flat_map(|id| groups(id)));
        if let Some(user) = &self.user {
            let own = self.id().map(|id| user.group().join(format!("lab-{id}")));
            left.extend(
                own.filter(|group| group.exists())
                    .map(|group| group.display().to_string()),
            );
        }
        left
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in fs::read_dir(self.state().join("lab")).into_iter().flatten().flatten() {
                show(&entry.path().join("supervisor.log"));
                for node in fs::read_dir(entry.path().join("nodes")).into_iter().flatten().flatten() {
                    show(&node.path().join("console.log"));
                }
            }
        }
        let destroyed = self.id().is_none() || self.lab(&["destroy", "-f"]).status.success();
        if let Some(pid) = self.supervisor() {
            crate::process::kill(pid, rustix::process::Signal::KILL);
        }
        if !destroyed {
            let _ = self.lab(&["destroy", "-f"]);
        }
    }
}

#[allow(clippy::print_stderr, reason = "the test harness shows it beside the failure")]
fn show(log: &Path) {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(20)..];
    eprintln!("the end of {}:\n{}\n", log.display(), tail.join("\n"));
}

/// Control groups with this lab's name, of any kind.
fn groups(id: &str) -> Vec<String> {
    let name = format!("lab-{id}");
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(at), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        let group = Path::new(at).join(&name);
        if kind.starts_with("cgroup") && group.exists() {
            found.push(group.display().to_string());
        }
    }
    found
}

/// Every process with its command line.
pub fn processes() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&line).into_owned()))
        })
        .collect()
}

/// What a lab must not change of the machine.
pub struct Machine(Vec<(&'static str, String)>);

/// Counters and what the kernel renews by itself.
const LIVING: [&str; 10] = [
    "fs.dentry-state",
    "fs.file-nr",
    "fs.inode-",
    "fs.aio-nr",
    "fs.quota",
    "kernel.ns_last_pid",
    "kernel.random.",
    "kernel.pty.nr",
    "net.netfilter.nf_conntrack_count",
    "kernel.sched_domain",
];

impl Machine {
    #[track_caller]
    pub fn look() -> Machine {
        let out = |line: &str| {
            let output = run(Command::new("sh").args(["-c", line]));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let sysctls = out("sysctl -a 2>/dev/null");
        let sysctls: Vec<&str> = sysctls
            .lines()
            .filter(|line| !LIVING.iter().any(|name| line.starts_with(name)))
            .collect();
        Machine(vec![
            ("sysctls", sysctls.join("\n")),
            (
                "routes",
                out("ip route show table all; ip -6 route show table all | sed 's/expires [0-9]*sec//'"),
            ),
            ("interfaces", out("ip -o link | sed 's/@.*//'; ip -o -4 address")),
            (
                "firewall",
                out("nft list ruleset 2>/dev/null; iptables-save 2>/dev/null | grep -v '^[#:]'"),
            ),
            ("mounts", out("grep -v -e /tmp/ -e ' /run/' /proc/1/mounts")),
            (
                "named networks",
                out("ip netns list 2>/dev/null | sed 's/ .*//' | grep -i lab || true"),
            ),
        ])
    }

    /// The first thing that differs, as lines that came and went.
    pub fn difference(&self, after: &Machine) -> String {
        for ((what, before), (_, after)) in self.0.iter().zip(&after.0) {
            if before != after {
                let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line));
                let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
                let lines: Vec<String> = gone
                    .map(|line| format!("- {line}"))
                    .chain(new.map(|line| format!("+ {line}")))
                    .collect();
                return format!("{what}:\n{}", lines.join("\n"));
            }
        }
        String::new()
    }
}

/// Where the image is, or would be.
fn image(cache: &Path) -> PathBuf {
    path(Command::new(tools::lab()).env("XDG_CACHE_HOME", cache))
}

fn path(command: &mut Command) -> PathBuf {
    let output = run(command.args(["image", "path"]));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// The image, built once for all runs of the tests; taken from the user's own cache where that has it.
#[track_caller]
fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let cache = tools::target_dir().join("lab-cache");
        let lock = {
            fs::create_dir_all(&cache).expect("make the cache");
            fs::File::create(cache.join("lock")).expect("make a lock")
        };
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
        let archive = image(&cache);
        if !archive.exists() {
            let own = path(&mut Command::new(tools::lab()));
            let mut command = Command::new(tools::lab());
            command.env("XDG_CACHE_HOME", &cache).arg("image");
            match own.exists() {
                true => command.arg("add").arg(own),
                false => command.arg("build"),
            };
            let output = run(&mut command);
            assert!(output.status.success(), "get the image: {}", outputs(&output));
        }
        prune(archive.parent().expect("a directory"));
        cache
    })
}

/// Removes what was made of programs before they were last built: nobody uses that any more, and it is large.
fn prune(images: &Path) {
    let built = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let (lab, labnode) = (built(&tools::lab()), built(&tools::labnode()));
    for entry in fs::read_dir(images).into_iter().flatten().flatten() {
        let is_layer = entry.file_name().to_string_lossy().starts_with("layer-");
        let made = built(&entry.path());
        if is_layer && made < lab && made < labnode {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A directory with a short path.
pub fn short(prefix: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(prefix)
        .rand_bytes(5)
        .tempdir_in("/tmp")
        .expect("make a directory")
}

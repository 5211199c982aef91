//! Servers under test: members with data in a temporary directory, started, stopped, paused and killed at will.
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Answer, Watch};
use crate::ports::{self, Port};
use crate::process::Process;
use crate::{eventually, tools};

/// The flags of a cluster that is to be started.
pub struct Setup {
    size: usize,
    flags: Vec<String>,
    member_flags: Vec<(usize, [String; 2])>,
    data_dirs: Vec<(usize, PathBuf)>,
    client_scheme: &'static str,
    peer_scheme: &'static str,
}

impl Setup {
    pub fn members(size: usize) -> Setup {
        Setup {
            size,
            flags: Vec::new(),
            member_flags: Vec::new(),
            data_dirs: Vec::new(),
            client_scheme: "http",
            peer_scheme: "http",
        }
    }

    pub fn flag(mut self, name: &str, value: impl ToString) -> Setup {
        self.flags.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// A flag that is on when it is there.
    pub fn switch(mut self, name: &str) -> Setup {
        self.flags.push(format!("--{name}"));
        self
    }

    pub fn member_flag(mut self, member: usize, name: &str, value: impl ToString) -> Setup {
        self.member_flags
            .push((member, [format!("--{name}"), value.to_string()]));
        self
    }

    /// Clients, and what waits for answers here, speak HTTP: with this a test brings its own.
    pub fn https_clients(mut self) -> Setup {
        self.client_scheme = "https";
        self
    }

    pub fn https_peers(mut self) -> Setup {
        self.peer_scheme = "https";
        self
    }

    /// Puts one member's data elsewhere.
    pub fn data_dir(mut self, member: usize, dir: &Path) -> Setup {
        self.data_dirs.push((member, dir.to_path_buf()));
        self
    }

    /// Starts the members and waits until each of them has published its name and answers with a quorum behind it.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let mut cluster = self.prepare();
        for member in &mut cluster.members {
            member.start();
        }
        for member in &mut cluster.members {
            member.process().wait_log("published {");
        }
        cluster.wait_ready();
        cluster
    }

    /// The members, not started yet.
    pub fn prepare(self) -> Cluster {
        let dir = tempfile::Builder::new()
            .prefix("corelab-")
            .tempdir()
            .expect("a temporary directory");
        let ports: Vec<(Port, Port)> = (0..self.size).map(|_| (ports::claim(), ports::claim())).collect();
        let client_url = |port: &Port| format!("{}://127.0.0.1:{}", self.client_scheme, port.number);
        let url = |port: &Port| format!("{}://127.0.0.1:{}", self.peer_scheme, port.number);
        let list: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(i, (_, peer))| format!("m{i}={}", url(peer)))
            .collect();
        let list = list.join(",");
        let members = ports.into_iter().enumerate().map(|(i, (client, peer))| {
            let elsewhere = self.data_dirs.iter().find(|(member, _)| *member == i);
            let data_dir = elsewhere.map_or_else(|| dir.path().join(format!("m{i}")), |(_, path)| path.clone());
            let mut args: Vec<String> = ["etcd", "--name"].map(str::to_string).to_vec();
            args.extend([format!("m{i}"), "--data-dir".into(), data_dir.display().to_string()]);
            for (flag, value) in [
                ("--listen-client-urls", client_url(&client)),
                ("--advertise-client-urls", client_url(&client)),
                ("--listen-peer-urls", url(&peer)),
                ("--initial-advertise-peer-urls", url(&peer)),
                ("--initial-cluster", list.clone()),
            ] {
                args.extend([flag.to_string(), value]);
            }
            args.extend(self.flags.iter().cloned());
            let own = self.member_flags.iter().filter(|(member, _)| *member == i);
            args.extend(own.flat_map(|(_, flag)| flag.clone()));
            Member {
                name: format!("m{i}"),
                client: SocketAddr::from(([127, 0, 0, 1], client.number)),
                scheme: self.client_scheme,
                data_dir,
                args,
                log: dir.path().join(format!("m{i}.log")),
                process: None,
                _ports: [client, peer],
            }
        });
        Cluster {
            members: members.collect(),
            dir,
        }
    }
}

pub struct Cluster {
    /// Dropped, and so killed, before the directory.
    pub members: Vec<Member>,
    pub dir: TempDir,
}

impl Cluster {
    /// Gives a flag to all members, in place of what it is set to; for members that have not been started.
    pub fn with_flag(mut self, name: &str, value: impl ToString) -> Cluster {
        for member in &mut self.members {
            member.args.extend([format!("--{name}"), value.to_string()]);
        }
        self
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        for member in &self.members {
            member.wait_ready();
        }
    }

    /// The position of the member that leads and that most members follow.
    #[track_caller]
    pub fn leader(&self) -> usize {
        eventually("a leader", || {
            let running = || {
                self.members
                    .iter()
                    .enumerate()
                    .filter(|(_, member)| member.process.is_some())
            };
            let of = |member: &Member| member.get("/v2/stats/self").map(|answer| answer.json()).ok();
            let (at, own) = running().find_map(|(at, member)| {
                of(member)
                    .filter(|own| own["state"] == "StateLeader")
                    .map(|own| (at, own))
            })?;
            let followed =
                running().filter(|(_, member)| of(member).is_some_and(|o| o["leaderInfo"]["leader"] == own["id"]));
            (followed.count() > self.members.len() / 2).then_some(at)
        })
    }

    pub fn urls(&self) -> String {
        let urls: Vec<String> = self.members.iter().map(Member::url).collect();
        urls.join(",")
    }
}

pub struct Member {
    pub name: String,
    pub client: SocketAddr,
    scheme: &'static str,
    pub data_dir: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
    _ports: [Port; 2],
}

impl Member {
    /// Starts the member, on the data of the run before if there was one. Returns at once.
    #[track_caller]
    pub fn start(&mut self) {
        let mut command = Command::new(tools::labnode());
        command.args(&self.args);
        self.process = Some(Process::spawn(command, &self.log));
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        eventually(&format!("{} answers a read with a quorum behind it", self.name), || {
            self.get("/v2/keys/?quorum=true")
                .ok()
                .filter(|answer| answer.status == 200)
        });
    }

    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a started member")
    }

    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    #[track_caller]
    pub fn kill9(&mut self) {
        self.kill_softly(Signal::KILL);
        self.wait_exit();
    }

    /// Sends a signal; returns at once.
    #[track_caller]
    pub fn kill_softly(&mut self, signal: Signal) {
        self.process().signal(signal);
    }

    /// SIGTERM, and its wait status.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.kill_softly(Signal::TERM);
        self.wait_exit()
    }

    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let status = self.process().wait();
        self.process = None;
        status
    }

    /// Starts again after a kill, and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self) {
        self.start();
        self.wait_ready();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The value of a flag that the harness gave.
    #[track_caller]
    pub fn arg(&self, name: &str) -> String {
        let flag = format!("--{name}");
        let at = self.args.iter().position(|arg| *arg == flag);
        let value = at.and_then(|at| self.args.get(at + 1));
        value.unwrap_or_else(|| panic!("no {flag}")).clone()
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.client)
    }

    pub fn get(&self, path: &str) -> io::Result<Answer> {
        http::ask(self.client, "GET", path, None)
    }

    pub fn put(&self, key: &str, form: &str) -> io::Result<Answer> {
        http::ask(self.client, "PUT", &format!("/v2/keys{key}"), Some(form))
    }

    /// A write that has to succeed.
    #[track_caller]
    pub fn set(&self, key: &str, form: &str) -> Answer {
        let answer = self.put(key, form).unwrap_or_else(|error| panic!("PUT {key}: {error}"));
        assert!(
            matches!(answer.status, 200 | 201),
            "PUT {key}: {} {}",
            answer.status,
            answer.text()
        );
        answer
    }

    /// The JSON of a key, or of what went wrong with it.
    #[track_caller]
    pub fn key(&self, key: &str) -> Value {
        let answer = self.get(&format!("/v2/keys{key}"));
        answer.unwrap_or_else(|error| panic!("GET {key}: {error}")).json()
    }

    #[track_caller]
    pub fn watch(&self, path_and_query: &str) -> Watch {
        let watch = Watch::open(self.client, &format!("/v2/keys{path_and_query}"));
        let watch = watch.unwrap_or_else(|error| panic!("watch {path_and_query}: {error}"));
        assert_eq!(watch.head.status, 200, "watch {path_and_query}");
        watch
    }
}

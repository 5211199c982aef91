//! Servers under test: members with data in a temporary directory, started, stopped, paused and killed at will.
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::ca::{Ca, Host};
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

    /// Clients over TLS, each with a certificate of this CA.
    pub fn certified_clients(self, ca: &Ca, host: &Host) -> Setup {
        self.https_clients()
            .flag("cert-file", host.crt.display())
            .flag("key-file", host.key.display())
            .flag("trusted-ca-file", ca.crt.display())
            .switch("client-cert-auth")
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
        let cluster = self.publish();
        cluster.wait_ready();
        cluster
    }

    /// Starts the members and waits until each of them has published its name: all that can be seen from outside of
    /// those that want certificates.
    #[track_caller]
    pub fn publish(self) -> Cluster {
        let mut cluster = self.prepare();
        for member in &mut cluster.members {
            member.start();
        }
        for member in &mut cluster.members {
            member.process().wait_log("published {");
        }
        cluster
    }

    /// The members, not started yet.
    pub fn prepare(self) -> Cluster {
        let dir = tempfile::Builder::new()
            .prefix("corelab-")
            .tempdir()
            .expect("a temporary directory");
        let ports: Vec<(Port, Port)> = (0..self.size).map(|_| (ports::claim(), ports::claim())).collect();
        let url = |port: &Port| format!("{}://127.0.0.1:{}", self.peer_scheme, port.number);
        let list: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(i, (_, peer))| format!("m{i}={}", url(peer)))
            .collect();
        let list = list.join(",");
        let members = ports.into_iter().enumerate().map(|(i, ports)| {
            let elsewhere = self.data_dirs.iter().find(|(member, _)| *member == i);
            let data_dir = elsewhere.map_or_else(|| dir.path().join(format!("m{i}")), |(_, path)| path.clone());
            let own = self.member_flags.iter().filter(|(member, _)| *member == i);
            let own = own.flat_map(|(_, flag)| flag.clone());
            let flags: Vec<String> = self.flags.iter().cloned().chain(own).collect();
            let schemes = (self.client_scheme, self.peer_scheme);
            Member::new(&format!("m{i}"), dir.path(), data_dir, schemes, ports, &list, &flags)
        });
        Cluster {
            members: members.collect(),
            flags: self.flags.clone(),
            schemes: (self.client_scheme, self.peer_scheme),
            dir,
        }
    }
}

pub struct Cluster {
    /// Dropped, and so killed, before the directory.
    pub members: Vec<Member>,
    flags: Vec<String>,
    schemes: (&'static str, &'static str),
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

    /// One more member, which is not declared and not started yet: it is to join those that are there.
    pub fn newcomer(&mut self, name: &str) -> &mut Member {
        let ports = (ports::claim(), ports::claim());
        let own = format!("{name}={}://127.0.0.1:{}", self.schemes.1, ports.1.number);
        let others = self
            .members
            .iter()
            .map(|member| format!("{}={}", member.name, member.peer_url));
        let list = others.chain([own]).collect::<Vec<_>>().join(",");
        let flags = [&self.flags[..], &["--initial-cluster-state".into(), "existing".into()]].concat();
        let data_dir = self.dir.path().join(name);
        self.members.push(Member::new(
            name,
            self.dir.path(),
            data_dir,
            self.schemes,
            ports,
            &list,
            &flags,
        ));
        self.members.last_mut().expect("just added")
    }

    /// Declares one more member and starts it. Returns when it takes part.
    #[track_caller]
    pub fn grow(&mut self, name: &str) {
        let peer_url = self.newcomer(name).peer_url.clone();
        let id = self.members[0].declare(&peer_url);
        let member = self.members.last_mut().expect("just added");
        member.start();
        member.process().wait_log("published {");
        member.wait_ready();
        eventually(&format!("{name} decides, too"), || {
            let line = format!("member {id} has caught up");
            self.members
                .iter()
                .any(|member| member.log().contains(&line))
                .then_some(())
        });
    }

    pub fn urls(&self) -> String {
        let urls: Vec<String> = self.members.iter().map(Member::url).collect();
        urls.join(",")
    }
}

pub struct Member {
    pub name: String,
    pub client: SocketAddr,
    pub peer_url: String,
    scheme: &'static str,
    pub data_dir: PathBuf,
    pub args: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
    _ports: [Port; 2],
}

impl Member {
    fn new(
        name: &str,
        dir: &Path,
        data_dir: PathBuf,
        schemes: (&'static str, &'static str),
        (client, peer): (Port, Port),
        list: &str,
        flags: &[String],
    ) -> Member {
        let url = |scheme: &str, port: &Port| format!("{scheme}://127.0.0.1:{}", port.number);
        let (client_url, peer_url) = (url(schemes.0, &client), url(schemes.1, &peer));
        let mut args: Vec<String> = ["etcd", "--name", name].map(str::to_string).to_vec();
        for (flag, value) in [
            ("--data-dir", data_dir.display().to_string()),
            ("--listen-client-urls", client_url.clone()),
            ("--advertise-client-urls", client_url),
            ("--listen-peer-urls", peer_url.clone()),
            ("--initial-advertise-peer-urls", peer_url.clone()),
            ("--initial-cluster", list.to_string()),
        ] {
            args.extend([flag.to_string(), value]);
        }
        args.extend(flags.iter().cloned());
        Member {
            name: name.to_string(),
            client: SocketAddr::from(([127, 0, 0, 1], client.number)),
            peer_url,
            scheme: schemes.0,
            data_dir,
            args,
            log: dir.join(format!("{name}.log")),
            process: None,
            _ports: [client, peer],
        }
    }

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

    /// What the members API answers.
    #[track_caller]
    pub fn members(&self, method: &str, rest: &str, body: &str) -> Answer {
        let answer = http::ask_json(self.client, method, &format!("/v2/members{rest}"), body);
        answer.unwrap_or_else(|error| panic!("{method} /v2/members{rest}: {error}"))
    }

    /// Announces a member to be started; its id.
    #[track_caller]
    pub fn declare(&self, peer_url: &str) -> String {
        let answer = self.members("POST", "", &format!("{{\"peerURLs\":[\"{peer_url}\"]}}"));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_string()
    }

    /// The id of the member at a peer URL, as this one knows it.
    #[track_caller]
    pub fn id_of(&self, peer_url: &str) -> Option<String> {
        let members = self.members("GET", "", "").json();
        let members = members["members"].as_array().expect("members").clone();
        let found = members.iter().find(|member| member["peerURLs"][0] == peer_url);
        found.map(|member| member["id"].as_str().expect("an id").to_string())
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

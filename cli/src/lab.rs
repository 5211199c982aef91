//! A lab as the commands see it: settings and record to nodes, and nodes to what the supervisor has to know.
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::resolved::Settings;
use crate::config::{self, Discovery, Origin, Typed, Value};
use crate::discovery::{self, Decision};
use crate::failure::{Exit, Failure};
use crate::local::client::Supervisor;
use crate::local::disk::{Content, File};
use crate::local::health::Tls;
use crate::local::protocol::{Event, ImageSpec, LabSpec, NodeSpec, Reason, Request};
use crate::local::{DISCOVERY_PORT, HOST};
use crate::project::{Made, Project, Record, cache_home, random_digits};
use crate::render::certificates::Certificate;
use crate::render::changes::digest;
use crate::render::known_hosts::Host;
use crate::render::user_data::{self, Bootstrap, Services};
use crate::tls::{self, Authority};
use crate::topology::{self, Node};
use crate::{flags, image, ports, ssh, ui};

/// Of core, the user that everybody logs in as, as the image has it.
const HOME: &str = "/home/core";
const USER_ID: u32 = 500;
/// A service that has just been started is asked again this often.
const PAUSE: Duration = Duration::from_millis(2);
/// Where coreos-cloudinit looks for what Vagrant brings.
const USER_DATA: &str = "/var/lib/coreos-vagrant/vagrantfile-user-data";
/// Does the node image have fleet?
const FLEET: bool = true;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Lab {
    pub project: Project,
    pub record: Record,
    /// The record as it was found.
    pub before: Record,
    pub settings: Settings,
    /// Those that the settings ask for, then those that are there beyond them.
    pub nodes: Vec<Node>,
    pub state: PathBuf,
    /// The settings ask for other names than those that its nodes have.
    pub renamed: Option<Typed<String>>,
}

impl Lab {
    /// The lab that is here, or the one that its settings would make, with flags for the rest of its life.
    pub fn open(flags: &BTreeMap<String, Value>) -> Result<Lab, Failure> {
        let project = Project::find()?;
        let record = project.record()?.unwrap_or_else(Record::new);
        let mut lab = Lab::of(project, record, flags)?;
        lab.record.environment = config::num_instances().or(lab.record.environment);
        Ok(lab)
    }

    pub fn existing() -> Result<Lab, Failure> {
        let project = Project::find()?;
        let record = project.existing()?;
        Lab::of(project, record, &BTreeMap::new())
    }

    fn of(project: Project, before: Record, flags: &BTreeMap<String, Value>) -> Result<Lab, Failure> {
        let mut record = before.clone();
        let state = record.state()?;
        let mut settings = settings(&project, &record, flags)?;
        record
            .flags
            .extend(flags.iter().map(|(name, value)| (name.clone(), value.to_json())));
        let exists = |name: &str| state.join("nodes").join(name).exists();
        let most = record.num_instances.max(settings.num_instances.value);
        let mut renamed = None;
        let old = record.prefix.clone();
        if !old.is_empty()
            && old != settings.instance_name_prefix.value
            && (1..=most).any(|index| exists(&topology::name(&old, index)))
        {
            let kept = Typed::new(old, Origin::Lab);
            renamed = Some(std::mem::replace(&mut settings.instance_name_prefix, kept));
        }
        // A node that somebody has is not gone because a file asks for fewer.
        record.num_instances = most;
        let mut nodes = ports::nodes(&settings, &record);
        let wanted = settings.num_instances.value;
        nodes.retain(|node| node.index <= wanted || exists(&node.name));
        record.prefix.clone_from(&settings.instance_name_prefix.value);
        record.forwards = ports::forwards(&nodes);
        record.asked = topology::asked(&settings);
        Ok(Lab {
            project,
            record,
            before,
            settings,
            nodes,
            state,
            renamed,
        })
    }

    /// Those that the settings ask for.
    pub fn wanted(&self) -> &[Node] {
        let count = self.nodes.iter().filter(|node| !self.is_surplus(node)).count();
        &self.nodes[..count]
    }

    /// Is it there beyond what the settings ask for?
    pub fn is_surplus(&self, node: &Node) -> bool {
        node.index > self.settings.num_instances.value
    }

    /// What a node is to be now, for the record and for comparing with it.
    pub fn made(&self, node: &Node) -> Result<Made, Failure> {
        let (memory, cpus) = self.limits(node);
        Ok(Made {
            memory,
            cpus,
            metadata: node.metadata.clone(),
            user_data: self.user_data(node)?.map(|text| digest(&text)),
        })
    }

    /// Unless somebody asks for less, a node has as much as there is.
    fn limits(&self, node: &Node) -> (Option<u32>, Option<u16>) {
        let own = self.settings.nodes.get(&node.name);
        let memory = !self.settings.vm_memory.is_default() || own.is_some_and(|own| own.vm_memory.is_some());
        let cpus = !self.settings.vm_cpus.is_default() || own.is_some_and(|own| own.vm_cpus.is_some());
        (memory.then_some(node.memory), cpus.then_some(node.cpus))
    }

    /// The nodes of these names; all of them, when none is given.
    pub fn named(&self, names: &[String]) -> Result<Vec<&Node>, Failure> {
        for name in names {
            if !self.nodes.iter().any(|node| node.name == *name) {
                let all: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                return Err(Failure::new(
                    Exit::Usage,
                    format!("{name} is no node of this lab"),
                    self.project.root.display(),
                    format!("its nodes are {}", all.join(", ")),
                    ui::command("status"),
                ));
            }
        }
        Ok(self
            .nodes
            .iter()
            .filter(|node| names.is_empty() || names.contains(&node.name))
            .collect())
    }

    pub fn supervisor(&self) -> Option<Supervisor> {
        Supervisor::find(&self.state)
    }

    /// The supervisor of a lab that must be running.
    pub fn running(&self) -> Result<Supervisor, Failure> {
        self.supervisor().ok_or_else(|| {
            let why = "none of its nodes runs";
            Failure::new(
                Exit::Failed,
                "the lab is down",
                self.project.root.display(),
                why,
                ui::command("up"),
            )
        })
    }

    /// The supervisor, started if it has to be, with what the nodes share in place.
    pub fn begin(&self, image: ImageSpec) -> Result<Supervisor, Failure> {
        let began = Instant::now();
        let host_interface = &self.settings.host_interface;
        if host_interface.value && !rustix::process::geteuid().is_root() {
            return Err(Failure::new(
                Exit::Missing,
                "this machine gets no interface in the lab's network",
                &host_interface.origin,
                "interfaces are root's to make",
                format!(
                    "leave it out: {} and forwarded ports need none",
                    ui::command("ssh-config")
                ),
            ));
        }
        let supervisor = match self.supervisor() {
            Some(supervisor) => supervisor,
            None => Supervisor::start(&self.state, &self.project.root).map_err(|error| self.no_supervisor(error))?,
        };
        let spec = LabSpec {
            id: self.record.id.clone(),
            image,
            discovery: self.settings.discovery.value == Discovery::Own || self.has_own_token(),
            host_interface: self.settings.host_interface.value,
        };
        ask(&supervisor, &Request::Begin { lab: spec }, |event| {
            if let Event::Phase { text, millis } = event {
                ui::phase(text, Duration::from_millis(*millis));
            }
        })?;
        ui::phase("supervisor and wire", began.elapsed());
        Ok(supervisor)
    }

    fn no_supervisor(&self, error: io::Error) -> Failure {
        if error.kind() != io::ErrorKind::Unsupported {
            return self.cannot("start the lab's supervisor", error);
        }
        let what = "this machine gives us no namespaces, which nodes are made of";
        let why = format!("clone3: {error}; so it is in ordinary containers, and where user namespaces are restricted");
        Failure::new(Exit::Missing, what, "the kernel", why, ui::command("doctor"))
    }

    pub fn cannot(&self, what: &str, error: io::Error) -> Failure {
        let exit = match error.kind() {
            io::ErrorKind::TimedOut => Exit::Timeout,
            _ => Exit::Failed,
        };
        Failure::new(
            exit,
            format!("cannot {what}"),
            self.state.display(),
            error,
            ui::command("doctor"),
        )
    }

    pub fn spec(&self, node: &Node) -> Result<NodeSpec, Failure> {
        let (memory, cpus) = self.limits(node);
        let mut files = self
            .files(node)
            .map_err(|error| self.cannot("make the node's files", error))?;
        if let Some(text) = self.user_data(node)? {
            files.push(File::text(USER_DATA, 0o644, 0, text));
        }
        Ok(NodeSpec {
            name: node.name.clone(),
            address: node.address,
            memory: memory.map(u64::from),
            cpus: cpus.map(f64::from),
            files,
            etcd: false,
            tls: self.etcd_tls(node),
            part: false,
        })
    }

    /// What a node is born with.
    fn files(&self, node: &Node) -> io::Result<Vec<File>> {
        let ssh = self.project.ssh();
        let login = ssh::key(&ssh, "id_ed25519", &format!("lab {}", self.record.id))?;
        let host = ssh::key(&ssh, &node.name, &node.name)?;
        let directory = |path: &str, mode, owner| File {
            path: path.into(),
            mode,
            owner,
            content: Content::Directory,
        };
        let text = |path: &str, mode, text: String| File::text(path, mode, 0, text);
        let address = node.address;
        Ok(vec![
            text("/etc/hostname", 0o644, format!("{}\n", node.name)),
            text("/etc/hosts", 0o644, self.hosts()),
            // Not the image's: fleet knows a machine by it.
            text("/etc/machine-id", 0o444, format!("{}\n", random_digits(32))),
            text(
                "/etc/environment",
                0o644,
                format!("COREOS_PUBLIC_IPV4={address}\nCOREOS_PRIVATE_IPV4={address}\n"),
            ),
            text("/etc/ssh/ssh_host_ed25519_key", 0o600, host.private),
            text("/etc/ssh/ssh_host_ed25519_key.pub", 0o644, host.public),
            directory(HOME, 0o755, USER_ID),
            directory(&format!("{HOME}/.ssh"), 0o700, USER_ID),
            File::text(&format!("{HOME}/.ssh/authorized_keys"), 0o600, USER_ID, login.public),
        ])
    }

    /// The user's file with what the lab knows put in, or the lab's own.
    pub fn user_data(&self, node: &Node) -> Result<Option<String>, Failure> {
        let bootstrap = match &self.record.token {
            Some(url) if !self.settings.bare.value => Bootstrap::Token(url.clone()),
            _ => Bootstrap::Alone,
        };
        let certificate = certificate(&self.settings, node, &self.tls())?;
        if let Some(file) = &node.user_data {
            let path = self.project.root.join(file);
            let text = fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
            return user_data::personal(file, &text, node, &bootstrap, certificate.as_ref()).map(Some);
        }
        if self.settings.bare.value && node.metadata.is_empty() && certificate.is_none() {
            return Ok(None);
        }
        let services = Services {
            etcd: self.starts_etcd(node),
            fleet: self.starts_etcd(node) && FLEET,
        };
        Ok(Some(user_data::default(
            node,
            &bootstrap,
            services,
            certificate.as_ref(),
        )))
    }

    /// Where its CA is, and its nodes' certificates.
    pub fn tls(&self) -> PathBuf {
        self.project.dir().join("tls")
    }

    /// How the lab's own etcd2 is asked.
    fn etcd_tls(&self, node: &Node) -> Option<Tls> {
        let certificates = &self.settings.certificates.value;
        let [cert, key] = tls::paths(&self.tls(), &node.name);
        (certificates.wanted && certificates.client).then(|| Tls {
            ca: tls::ca_path(&self.tls()),
            cert,
            key,
        })
    }

    /// Does the lab have the node start etcd? What a user's file starts is the user's.
    pub fn starts_etcd(&self, node: &Node) -> bool {
        !self.settings.bare.value && node.user_data.is_none()
    }

    fn hosts(&self) -> String {
        let mut text = format!("127.0.0.1 localhost\n::1 localhost\n{HOST} lab-host\n");
        for node in &self.nodes {
            text += &format!("{} {}\n", node.address, node.name);
        }
        text
    }

    /// Each node's key under every name, so that no way to it meets a key that nobody knows.
    pub fn hosts_known(&self) -> io::Result<Vec<Host>> {
        let host = |node: &Node| {
            let key = ssh::key(&self.project.ssh(), &node.name, &node.name)?;
            let key: Vec<&str> = key.public.split_whitespace().take(2).collect();
            let port = node.ssh_port();
            Ok(Host {
                names: vec![
                    node.name.clone(),
                    node.address.to_string(),
                    format!("[127.0.0.1]:{port}"),
                    format!("[localhost]:{port}"),
                ],
                key: key.join(" "),
            })
        };
        self.nodes.iter().map(host).collect()
    }

    /// Has a token for this generation of the lab: a new one only when there is none yet.
    pub fn token(&mut self, supervisor: &Supervisor) -> Result<(), Failure> {
        if self.settings.bare.value || self.record.token.is_some() {
            return Ok(());
        }
        let wanted = &self.settings.discovery.value;
        self.record.discovery = wanted.to_string();
        // The record goes with the last node: what it holds is of living ones, and without it there are none.
        self.record.token = match discovery::decide(None, false, wanted) {
            _ if *wanted == Discovery::Own => {
                let token = self.own_token(supervisor);
                Some(token.map_err(|error| self.cannot("get a discovery token", error))?)
            }
            Decision::Fetch(service) => Some(discovery::fetch(&service, self.settings.num_instances.value)?.url),
            Decision::Given(url) => Some(url),
            _ => None,
        };
        Ok(())
    }

    /// Members that were told of the lab's own service go on asking it, whatever the settings say by now.
    fn has_own_token(&self) -> bool {
        let own = format!("http://{HOST}:");
        self.record.token.as_ref().is_some_and(|token| token.starts_with(&own))
    }

    fn own_token(&self, supervisor: &Supervisor) -> io::Result<String> {
        let began = Instant::now();
        loop {
            match self.ask_for_token(supervisor) {
                Err(error) if error.kind() == io::ErrorKind::NotConnected && began.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, error));
                }
                other => return other,
            }
        }
    }

    fn ask_for_token(&self, supervisor: &Supervisor) -> io::Result<String> {
        let connection = supervisor
            .connect(&HOST.to_string(), DISCOVERY_PORT, None)
            .map_err(|error| io::Error::new(io::ErrorKind::NotConnected, error))?;
        let stream = std::net::TcpStream::from(connection);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let size = self.settings.num_instances.value;
        write!(
            &stream,
            "GET /new?size={size} HTTP/1.0\r\nHost: {HOST}:{DISCOVERY_PORT}\r\n\r\n"
        )?;
        let mut answer = String::new();
        (&stream).read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.trim().to_string()),
            _ => Err(io::Error::other(format!("the lab's discovery service says: {answer}"))),
        }
    }
}

/// A node's, of the CA that is kept there.
pub fn certificate<'a>(settings: &'a Settings, node: &Node, dir: &Path) -> Result<Option<Certificate<'a>>, Failure> {
    let settings = &settings.certificates.value;
    if !settings.wanted {
        return Ok(None);
    }
    let make = || {
        let authority = Authority::at(dir)?;
        let pair = authority.node(node)?;
        let ca = authority.cert().to_string();
        io::Result::Ok(Certificate { settings, ca, pair })
    };
    make()
        .map(Some)
        .map_err(|error| Failure::io("keep certificates in", dir, &error))
}

/// The settings of the lab that is here, or would be.
pub fn of_here() -> Result<Settings, Failure> {
    let project = Project::find()?;
    let record = project.record()?.unwrap_or_default();
    settings(&project, &record, &BTreeMap::new())
}

/// The settings of a project whose lab has this record.
pub fn settings(project: &Project, record: &Record, said: &BTreeMap<String, Value>) -> Result<Settings, Failure> {
    let kept = record.flags.iter();
    let kept = kept
        .map(|(name, json)| (name.clone(), Value::from_json(json)))
        .collect();
    let now = flags::raw(said, Origin::Flag)?;
    let raw = now.over(flags::raw(&kept, Origin::Kept)?);
    config::load(&project.root, raw, record.environment.as_deref())
}

/// Asks the supervisor; a refusal is a failure.
pub fn ask(supervisor: &Supervisor, request: &Request, each: impl FnMut(&Event)) -> Result<(), Failure> {
    let place = supervisor.socket.display().to_string();
    match supervisor.ask(request, each) {
        Ok(Event::Failed {
            reason,
            what,
            place,
            why,
            todo,
        }) => Err(refused(reason, what, place, why, todo)),
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            "the lab's supervisor gave no answer",
            place,
            error,
            ui::command("up"),
        )),
    }
}

/// The supervisor's words as a failure.
pub fn refused(reason: Reason, what: String, place: String, why: String, todo: String) -> Failure {
    let exit = match reason {
        Reason::Conflict => Exit::Conflict,
        Reason::Usage => Exit::Usage,
        Reason::Missing => Exit::Missing,
        Reason::Timeout => Exit::Timeout,
        Reason::Other => Exit::Failed,
    };
    Failure::new(exit, what, place, why, todo)
}

/// Where the image is, or would be: a distribution has it beside its programs.
pub fn archive() -> PathBuf {
    let name = image::archive_name();
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name(&name));
    beside
        .filter(|beside| beside.exists())
        .unwrap_or_else(|| cache_home().join("images").join(name))
}

/// What nodes are made of: the archive, built if it is missing, and the program.
pub fn image() -> Result<ImageSpec, Failure> {
    let cache = cache_home().join("images");
    let archive = archive();
    if !archive.exists() {
        let began = Instant::now();
        let bar = ui::Progress::new("image", image::STEPS);
        image::build(&archive, |line| bar.step(line)).map_err(|error| {
            let todo = "apt-get install -y mmdebstrap, then lab image build; or lab image add FILE";
            Failure::new(
                Exit::Missing,
                "the node image cannot be built",
                archive.display(),
                error,
                todo,
            )
        })?;
        bar.done();
        ui::phase("image built", began.elapsed());
    }
    Ok(ImageSpec {
        archive,
        labnode: labnode()?,
        cache,
    })
}

fn labnode() -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_path_buf()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = beside.into_iter().chain(std::env::split_paths(&path));
    let found = dirs.find_map(|dir| dir.join("labnode").canonicalize().ok());
    found.ok_or_else(|| {
        let todo = "cargo build --release --locked -p labnode -p lab";
        let why = "it is a program of its own, built with lab";
        Failure::new(
            Exit::Missing,
            "the nodes' program, labnode, was not found",
            "beside lab, and in the PATH",
            why,
            todo,
        )
    })
}

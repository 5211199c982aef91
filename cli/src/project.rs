//! The directory that a lab belongs to, and what is kept of the lab.
//!
//! ```text
//! .lab/lab.json      id, discovery token, ports, flags: what has to stay as it is while the lab lives
//! .lab/lock          held by the command that changes the lab
//! .lab/ssh/          id_ed25519[.pub], known_hosts, NODE (host keys)
//! .lab/tls/          the lab's CA and its nodes' certificates, where the settings ask for them
//! STATE/ID/          socket, lock, project, supervisor.log, discovery/, nodes/NAME/{upper,work,root,console.log}
//! ```
//! STATE is `$XDG_STATE_HOME/lab`: disks are not for a project's directory, which may be shared or copied.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};
use crate::local::protocol::Forward;
use crate::provider::Provider;
use crate::ui;

const DIR: &str = ".lab";
/// Any of these makes a directory a lab's.
const MARKS: [&str; 3] = [DIR, "lab.yaml", "config.rb"];
/// A Unix socket's path has room for 107 bytes.
const LONGEST_SOCKET: usize = 107;

#[derive(Clone, Debug)]
pub struct Project {
    pub root: PathBuf,
}

/// What has to stay as it is while the lab lives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Eight hexadecimal digits.
    pub id: String,
    /// The most that it has ever had.
    pub num_instances: u8,
    /// What its nodes' names begin with.
    #[serde(default)]
    pub prefix: String,
    /// The discovery URL that the nodes' members were told.
    pub token: Option<String>,
    /// What the settings said of discovery then.
    #[serde(default)]
    pub discovery: String,
    pub forwards: Vec<Forward>,
    /// Which ports of the host the settings asked for when those were given out, by the node's.
    #[serde(default)]
    pub asked: BTreeMap<u16, u16>,
    #[serde(default)]
    pub provider: Provider,
    /// What flags said, by the settings' names.
    #[serde(default)]
    pub flags: BTreeMap<String, serde_json::Value>,
    /// What `$NUM_INSTANCES` said.
    #[serde(default)]
    pub environment: Option<String>,
    /// By name, with what nodes were made or last changed.
    #[serde(default)]
    pub made: BTreeMap<String, Made>,
}

/// What can be changed of a node's settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// MiB; none: as much as there is.
    pub memory: Option<u32>,
    pub cpus: Option<u16>,
    pub metadata: BTreeMap<String, String>,
    /// The digest of its user data.
    pub user_data: Option<String>,
}

impl Project {
    /// The one around the working directory, or the working directory itself.
    pub fn find() -> Result<Project, Failure> {
        let here = std::env::current_dir()
            .map_err(|error| Failure::new(Exit::Failed, "the working directory is gone", ".", error, "cd"))?;
        let root = here
            .ancestors()
            .find(|dir| MARKS.iter().any(|mark| dir.join(mark).exists()));
        Ok(Project {
            root: root.unwrap_or(&here).to_path_buf(),
        })
    }

    pub fn dir(&self) -> PathBuf {
        self.root.join(DIR)
    }

    pub fn ssh(&self) -> PathBuf {
        self.dir().join("ssh")
    }

    fn file(&self) -> PathBuf {
        self.dir().join("lab.json")
    }

    /// None: there is no lab here.
    pub fn record(&self) -> Result<Option<Record>, Failure> {
        let path = self.file();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unreadable(&error)),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> Failure {
        let dir = self.dir();
        let todo = format!("rm -r {}, then {}", dir.display(), ui::command("gc"));
        Failure::new(
            Exit::Failed,
            "the lab's record cannot be read",
            self.file().display(),
            error,
            todo,
        )
    }

    pub fn existing(&self) -> Result<Record, Failure> {
        self.record()?.ok_or_else(|| {
            let why = format!("{} does not exist", self.file().display());
            let what = "there is no lab in this directory";
            Failure::new(Exit::Failed, what, self.root.display(), why, ui::command("up"))
        })
    }

    pub fn save(&self, record: &Record) -> Result<(), Failure> {
        let write = || {
            self.create()?;
            let new = self.file().with_extension("new");
            fs::write(&new, serde_json::to_vec_pretty(record)?)?;
            fs::rename(&new, self.file())
        };
        write().map_err(|error| self.unwritable(&error))
    }

    fn create(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.dir())
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        let what = "the lab's directory cannot be written";
        Failure::new(Exit::Failed, what, self.dir().display(), error, "df -h . && ls -ld .")
    }

    /// Held while a command changes the lab; the next one waits.
    pub fn lock(&self) -> Result<File, Failure> {
        let lock = || {
            self.create()?;
            let file = File::create(self.dir().join("lock"))?;
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                ui::note("another lab command is at work here; waiting until it is done");
                rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
            }
            Ok(file)
        };
        lock().map_err(|error| self.unwritable(&error))
    }

    /// Forgets the lab; settings and rendered files are the user's and stay.
    pub fn remove(&self) -> Result<(), Failure> {
        fs::remove_dir_all(self.dir()).map_err(|error| self.unwritable(&error))
    }
}

impl Record {
    pub fn new() -> Record {
        Record {
            id: random_digits(8),
            ..Record::default()
        }
    }

    /// Where all that runs has its files.
    pub fn state(&self) -> Result<PathBuf, Failure> {
        let dir = state_home().join(&self.id);
        let socket = dir.join("socket");
        if socket.as_os_str().len() > LONGEST_SOCKET {
            let why = format!(
                "a socket's path has room for {LONGEST_SOCKET} bytes, {} are too long",
                socket.display()
            );
            let todo = "XDG_STATE_HOME=/var/tmp/$USER lab up";
            return Err(Failure::new(
                Exit::Failed,
                "the path of the lab's state is too long",
                dir.display(),
                why,
                todo,
            ));
        }
        Ok(dir)
    }
}

/// Of all labs of this user.
pub fn state_home() -> PathBuf {
    home("XDG_STATE_HOME", ".local/state")
}

pub fn cache_home() -> PathBuf {
    home("XDG_CACHE_HOME", ".cache")
}

fn home(variable: &str, below: &str) -> PathBuf {
    let set = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    set.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap_or("/root".into())).join(below))
        .join("lab")
}

/// From the system's random source.
pub fn random_digits(count: usize) -> String {
    let mut bytes = vec![0u8; count.div_ceil(2)];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("the kernel has random bytes");
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits[..count].to_string()
}

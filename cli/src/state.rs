//! `./.lab`, a lab's state, file by file; README.md lists them for users.
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::process::Identity;
use crate::topology::{MAX_CLIENT_PORT, MAX_INSTANCES, Member, Topology};
use crate::ui;

pub const DIR: &str = ".lab";
/// Lines of a member's log that an error shows.
const TAIL: usize = 5;

/// Held by a command that changes the lab. The kernel lets go of it when the command ends, however it ends.
pub struct Lock {
    _file: File,
}

/// Locks the lab, and makes its directory if need be.
pub fn lock() -> Result<Lock, Failure> {
    fs::create_dir_all(DIR).map_err(|error| io_failure("make", Path::new(DIR), &error))?;
    let path = Path::new(DIR).join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| io_failure("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            Exit::Conflict,
            "another lab command is at work here",
            path.display(),
            "it holds the lock on that file until it ends",
            format!("{}, then try again", ui::command("status")),
        )),
        Err(TryLockError::Error(error)) => Err(io_failure("lock", &path, &error)),
    }
}

fn topology_path() -> PathBuf {
    Path::new(DIR).join("lab.json")
}

/// What the lab is made of; none when there is no lab.
pub fn topology() -> Result<Option<Topology>, Failure> {
    let path = topology_path();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_failure("read", &path, &error)),
    };
    let damaged = || {
        Failure::new(
            Exit::Failed,
            "the lab's description cannot be read",
            path.display(),
            format!("num_instances and client_port are expected, it holds {:?}", text.trim()),
            format!("write {} there, with the lab's numbers", example()),
        )
    };
    parse_topology(&text).map(Some).ok_or_else(damaged)
}

fn example() -> Value {
    describe(Topology {
        num_instances: 3,
        client_port: 2379,
    })
}

fn describe(topology: Topology) -> Value {
    json!({ "num_instances": topology.num_instances, "client_port": topology.client_port })
}

fn parse_topology(text: &str) -> Option<Topology> {
    let value: Value = serde_json::from_str(text).ok()?;
    let topology = Topology {
        num_instances: value["num_instances"].as_u64()?.try_into().ok()?,
        client_port: value["client_port"].as_u64()?.try_into().ok()?,
    };
    let sound =
        (1..=MAX_INSTANCES).contains(&topology.num_instances) && (1..=MAX_CLIENT_PORT).contains(&topology.client_port);
    sound.then_some(topology)
}

pub fn save_topology(topology: Topology) -> Result<(), Failure> {
    replace(&topology_path(), &format!("{}\n", describe(topology)))
}

pub fn data_dir(member: &Member) -> PathBuf {
    Path::new(DIR).join(format!("{}.etcd", member.name))
}

pub fn log_path(member: &Member) -> PathBuf {
    Path::new(DIR).join(format!("{}.log", member.name))
}

fn pid_path(member: &Member) -> PathBuf {
    Path::new(DIR).join(format!("{}.pid", member.name))
}

/// The member's process, if it runs.
pub fn running(member: &Member) -> Option<Identity> {
    let text = fs::read_to_string(pid_path(member)).ok()?;
    Identity::parse(&text).filter(Identity::is_alive)
}

pub fn save_identity(member: &Member, identity: &Identity) -> Result<(), Failure> {
    replace(&pid_path(member), &identity.to_string())
}

pub fn forget_identity(member: &Member) -> Result<(), Failure> {
    remove(&pid_path(member))
}

/// Opens a member's log at its end; the length says where this start's lines begin.
pub fn open_log(member: &Member) -> Result<(File, u64), Failure> {
    let path = log_path(member);
    let open = || {
        let file = File::options().create(true).append(true).open(&path)?;
        let len = file.metadata()?.len();
        Ok((file, len))
    };
    open().map_err(|error| io_failure("open", &path, &error))
}

/// The last lines of a member's log, of those behind `from`.
pub fn log_tail(member: &Member, from: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log_path(member)).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => last_lines(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Removes what the lab wrote, and nothing else that somebody may have put there.
pub fn destroy(members: &[Member]) -> Result<(), Failure> {
    for member in members {
        let data_dir = data_dir(member);
        match fs::remove_dir_all(&data_dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_failure("remove", &data_dir, &error));
            }
            _ => {}
        }
        remove(&log_path(member))?;
        remove(&pid_path(member))?;
    }
    remove(&topology_path())?;
    remove(&Path::new(DIR).join("lock"))?;
    match fs::remove_dir(DIR) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
            Err(io_failure("remove", Path::new(DIR), &error))
        }
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failure("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Whoever reads the file sees the old text or the new one, never a half.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let tmp = path.with_extension("tmp");
    let written = fs::write(&tmp, text).and_then(|()| fs::rename(&tmp, path));
    written.map_err(|error| io_failure("write", path, &error))
}

pub fn io_failure(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let what = format!("cannot {verb} {}", path.display());
    let place = std::env::current_dir().unwrap_or_default();
    let todo = format!("ls -ld . {DIR}; df . (permissions and space), then try again");
    Failure::new(Exit::Failed, what, place.display(), error, todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let topology = Topology {
            num_instances: 5,
            client_port: 4001,
        };
        assert_eq!(parse_topology(&describe(topology).to_string()), Some(topology));
    }

    #[test]
    fn a_description_that_makes_no_lab_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"num_instances":0,"client_port":2379}"#,
            r#"{"num_instances":9,"client_port":65535}"#,
        ] {
            assert_eq!(parse_topology(text), None, "{text}");
        }
    }

    #[test]
    fn an_error_shows_the_last_lines_of_a_log() {
        assert_eq!(last_lines("1\n2\n3\n4\n5\n6\n7\n"), "3\n4\n5\n6\n7");
        assert_eq!(last_lines("only\n"), "only");
        assert_eq!(last_lines(""), "");
    }
}

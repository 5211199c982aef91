//! `lab up`: until there are nodes to boot, the members run as processes on localhost.
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::member::{DIR, Member};
use crate::ui::{self, Failure};

/// A cluster of healthy members elects within seconds; a machine under load may take long.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(num_instances: u16) -> Result<(), Failure> {
    let labnode = find_labnode()?;
    fs::create_dir_all(DIR).map_err(|error| fail(1, "cannot keep the lab's state", DIR, &error.to_string(), ""))?;
    let before = Member::known()
        .iter()
        .filter(|member| member.data_dir().exists())
        .count();
    if before != 0 && before != usize::from(num_instances) {
        let why = format!("there is a cluster of {before} already");
        return Err(fail(
            11,
            "cannot change the number of members yet",
            DIR,
            &why,
            "lab down --destroy",
        ));
    }
    let members: Vec<Member> = (1..=num_instances).map(Member::new).collect();
    let cluster: Vec<String> = members
        .iter()
        .map(|member| format!("{}={}", member.name, member.peer_url()))
        .collect();
    let start = Instant::now();
    let mut started = 0;
    for member in members.iter().filter(|member| member.pid().is_none()) {
        spawn(&labnode, member, &cluster.join(","))?;
        started += 1;
    }
    ui::phase(
        &format!("started {started} of {num_instances} members"),
        start.elapsed(),
    );
    let deadline = Instant::now() + PATIENCE;
    for member in &members {
        while !member.is_healthy() {
            if member.pid().is_none() {
                let place = member.log_file().display().to_string();
                return Err(fail(
                    1,
                    &format!("{} has stopped", member.name),
                    &place,
                    &member.last_words(),
                    "lab up",
                ));
            }
            if Instant::now() > deadline {
                let place = member.log_file().display().to_string();
                return Err(fail(
                    12,
                    &format!("{} is not healthy yet", member.name),
                    &place,
                    &member.last_words(),
                    "lab status",
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    ui::phase("the cluster is healthy", start.elapsed());
    what_next(&members);
    Ok(())
}

fn what_next(members: &[Member]) {
    let urls: Vec<String> = members.iter().map(Member::client_url).collect();
    ui::line("\nTry:");
    ui::line(&format!("  curl -s {}/v2/keys/message -XPUT -d value='hello'", urls[0]));
    ui::line(&format!("  curl -s {}/v2/keys/message", urls[urls.len() - 1]));
    ui::line(&format!(
        "  ETCDCTL_API=2 etcdctl --endpoints {} cluster-health",
        urls.join(",")
    ));
    ui::line("  lab status; kill a member by its PID, write on, and `lab up` again");
    ui::line("  lab down            (the data stays; --destroy removes it)");
}

fn spawn(labnode: &PathBuf, member: &Member, cluster: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        fail(
            1,
            &format!("cannot start {}", member.name),
            &labnode.display().to_string(),
            &error.to_string(),
            "",
        )
    };
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(member.log_file())
        .map_err(cannot)?;
    let (client, peer) = (member.client_url(), member.peer_url());
    let mut command = Command::new(labnode);
    command.arg("etcd");
    for (flag, value) in [
        ("--name", member.name.as_str()),
        ("--data-dir", &member.data_dir().to_string_lossy()),
        ("--listen-client-urls", &client),
        ("--advertise-client-urls", &client),
        ("--listen-peer-urls", &peer),
        ("--initial-advertise-peer-urls", &peer),
        ("--initial-cluster", cluster),
        ("--initial-cluster-token", "lab"),
    ] {
        command.arg(flag).arg(value);
    }
    // A group of its own: Ctrl-C in the shell that started the lab is not meant for it.
    let command = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let child = command.spawn().map_err(cannot)?;
    member.note_pid(child.id() as i32).map_err(cannot)
}

/// Beside `lab`, or in the PATH.
fn find_labnode() -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("labnode"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join("labnode")));
    places.find(|path| path.is_file()).ok_or_else(|| {
        fail(
            10,
            "labnode is not there",
            "beside lab, and in the PATH",
            "it is what the members run",
            "cargo build --release -p labnode",
        )
    })
}

fn fail(code: u8, what: &str, place: &str, why: &str, remedy: &str) -> Failure {
    Failure {
        code,
        what: what.into(),
        place: place.into(),
        why: why.into(),
        remedy: remedy.into(),
    }
}

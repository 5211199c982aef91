//! `lab up`: starts the members that do not run and waits until all are healthy.
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::args::Up;
use crate::failure::{Exit, Failure};
use crate::topology::{DEFAULT_CLIENT_PORT, DEFAULT_INSTANCES, MAX_CLIENT_PORT, Member, Topology};
use crate::{client, process, state, ui};

/// An election takes about a second; a long log on a busy machine takes longer to read than that.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two questions to a member.
const PAUSE: Duration = Duration::from_millis(50);

/// A member that we have just started.
struct Started {
    member: Member,
    child: Child,
    /// Where this start's lines begin in the member's log.
    log_from: u64,
}

pub fn run(args: &Up) -> Result<(), Failure> {
    let begin = Instant::now();
    let labnode = process::find_labnode().ok_or_else(|| {
        Failure::new(
            Exit::Missing,
            "the program of the members, labnode, was not found",
            "beside lab, and in the PATH",
            "it is a program of its own, built with lab",
            "cargo build --release --locked -p labnode -p lab",
        )
    })?;
    let _lock = state::lock()?;
    let topology = decide(args, state::topology()?)?;
    let (running, missing): (Vec<Member>, Vec<Member>) = topology
        .members()
        .into_iter()
        .partition(|member| state::running(member).is_some());
    if missing.is_empty() {
        ui::lines(&format!("already running: {}", names(&running)));
    } else {
        refuse_taken_ports(topology, &missing)?;
        state::save_topology(topology)?;
        if !running.is_empty() {
            ui::lines(&format!(
                "already running: {}; starting what is missing",
                names(&running)
            ));
        }
    }
    let mut started = Vec::new();
    for member in missing {
        started.push(start(&labnode, topology, member)?);
    }
    if !started.is_empty() {
        let members: Vec<Member> = started.iter().map(|started| started.member.clone()).collect();
        ui::phase(&format!("started {}", names(&members)), begin.elapsed());
    }
    let asked = Instant::now();
    wait(topology, &mut started)?;
    let count = topology.num_instances;
    let leader = leader(topology);
    let leads = leader
        .as_ref()
        .map_or_else(String::new, |member| format!(", {} leads", member.name));
    ui::phase(&format!("healthy: {count} of {count}{leads}"), asked.elapsed());
    ui::lines(&next(topology, leader.as_ref()));
    Ok(())
}

/// What was asked for, as far as it fits the lab that is here.
fn decide(args: &Up, existing: Option<Topology>) -> Result<Topology, Failure> {
    let known = existing.unwrap_or(Topology {
        num_instances: DEFAULT_INSTANCES,
        client_port: DEFAULT_CLIENT_PORT,
    });
    let wanted = Topology {
        num_instances: args.num_instances.unwrap_or(known.num_instances),
        client_port: args.client_port.unwrap_or(known.client_port),
    };
    if existing.is_none() || wanted == known {
        return Ok(wanted);
    }
    let flags = |topology: Topology| {
        let Topology {
            num_instances,
            client_port,
        } = topology;
        format!("--num-instances {num_instances} --client-port {client_port}")
    };
    Err(Failure::new(
        Exit::Conflict,
        format!("the lab that is here is another one: {}", flags(known)),
        format!("{}/lab.json", state::DIR),
        "a cluster's size and addresses are part of its members' data",
        format!(
            "{} (this removes its data), then {}",
            ui::command("down --destroy"),
            ui::command(&format!("up {}", flags(wanted)))
        ),
    ))
}

fn refuse_taken_ports(topology: Topology, missing: &[Member]) -> Result<(), Failure> {
    for member in missing {
        for (port, whom) in [(member.client_port, "clients"), (member.peer_port, "peers")] {
            let Err(error) = try_port(port) else { continue };
            let what = format!(
                "port {port}, on which {} listens for {whom}, cannot be used",
                member.name
            );
            let elsewhere = match free_base(topology) {
                Some(base) => ui::command(&format!("up --client-port {base}")),
                None => ui::command("up --client-port BASE"),
            };
            let todo = match state::topology()? {
                // Its members know their addresses: only the other program can give way.
                Some(_) => format!("ss -ltnp 'sport = :{port}' names the program that has it: stop it"),
                None => elsewhere,
            };
            let place = format!("127.0.0.1:{port}");
            return Err(Failure::new(Exit::Conflict, what, place, error, todo));
        }
    }
    Ok(())
}

fn try_port(port: u16) -> io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

/// Where this lab would find all its ports free.
fn free_base(topology: Topology) -> Option<u16> {
    let bases = (1..30).filter_map(|step| topology.client_port.checked_add(step * 1000));
    bases.take_while(|base| *base <= MAX_CLIENT_PORT).find(|base| {
        let moved = Topology {
            client_port: *base,
            ..topology
        };
        let mut ports = moved.members().into_iter().flat_map(|m| [m.client_port, m.peer_port]);
        ports.all(|port| try_port(port).is_ok())
    })
}

fn start(labnode: &Path, topology: Topology, member: Member) -> Result<Started, Failure> {
    let (log, log_from) = state::open_log(&member)?;
    let arguments = topology.arguments(&member, &state::data_dir(&member).to_string_lossy());
    let (child, identity) = process::start(labnode, &arguments, &log).map_err(|error| {
        let what = format!("{} cannot be started", member.name);
        let todo = format!("{} --version", labnode.display());
        Failure::new(Exit::Failed, what, labnode.display(), error, todo)
    })?;
    state::save_identity(&member, &identity)?;
    Ok(Started {
        member,
        child,
        log_from,
    })
}

/// Asks until every member is healthy; one that ends meanwhile is an error at once.
fn wait(topology: Topology, started: &mut [Started]) -> Result<(), Failure> {
    let deadline = Instant::now() + DEADLINE;
    let mut waiting = topology.members();
    loop {
        for Started {
            member,
            child,
            log_from,
        } in started.iter_mut()
        {
            if let Ok(Some(status)) = child.try_wait() {
                let what = format!("{} has ended, {status}", member.name);
                let log = state::log_path(member);
                let tail = state::log_tail(member, *log_from);
                let todo = format!("follow the last of these lines, then {}", ui::command("up"));
                return Err(Failure::new(Exit::Failed, what, log.display(), tail, todo));
            }
        }
        waiting.retain(|member| !matches!(client::is_healthy(member.client_port), Ok(true)));
        let Some(first) = waiting.first() else { return Ok(()) };
        if Instant::now() > deadline {
            let what = format!("not healthy after {} s: {}", DEADLINE.as_secs(), names(&waiting));
            let log = state::log_path(first);
            let from = started.iter().find(|started| started.member == *first);
            let tail = state::log_tail(first, from.map_or(0, |started| started.log_from));
            let todo = format!("{} (they run on, and may still become healthy)", ui::command("status"));
            return Err(Failure::new(Exit::Timeout, what, log.display(), tail, todo));
        }
        sleep(PAUSE);
    }
}

fn leader(topology: Topology) -> Option<Member> {
    let mut members = topology.members().into_iter();
    members.find(|member| client::role(member.client_port) == Some("leader"))
}

fn names(members: &[Member]) -> String {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    names.join(" ")
}

/// What to type next.
fn next(topology: Topology, leader: Option<&Member>) -> String {
    let members = topology.members();
    let (first, last) = (&members[0], &members[members.len() - 1]);
    let victim = leader.unwrap_or(last);
    let pid = state::running(victim).map_or_else(|| "PID".to_string(), |identity| identity.pid.to_string());
    let etcdctl = format!("ETCDCTL_API=2 etcdctl --endpoints {}", topology.endpoints());
    let rows = [
        (
            "write a key",
            format!("curl {}/v2/keys/message -XPUT -d value=hello", first.client_url()),
        ),
        (
            "read it",
            format!("curl '{}/v2/keys/message?quorum=true'", last.client_url()),
        ),
        ("list the members", format!("{etcdctl} member list")),
        ("kill one", format!("kill -9 {pid}   # {}", victim.name)),
        ("see what is left", ui::command("status")),
        ("start it again", ui::command("up")),
        ("stop, keep the data", ui::command("down")),
    ];
    let rows = rows.map(|(purpose, command)| vec![format!("  {purpose}"), command]);
    format!("\nNext:\n{}", ui::table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Topology = Topology {
        num_instances: 5,
        client_port: 4001,
    };

    fn typed(num_instances: Option<u8>, client_port: Option<u16>) -> Up {
        Up {
            num_instances,
            client_port,
        }
    }

    #[test]
    fn a_new_lab_has_three_members_at_etcds_ports() {
        let topology = decide(&typed(None, None), None).expect("a lab");
        assert_eq!((topology.num_instances, topology.client_port), (3, 2379));
    }

    #[test]
    fn a_lab_keeps_what_it_began_with() {
        assert_eq!(decide(&typed(None, None), Some(FIVE)).expect("the same"), FIVE);
        assert_eq!(decide(&typed(Some(5), Some(4001)), Some(FIVE)).expect("the same"), FIVE);
        let failure = decide(&typed(Some(3), None), Some(FIVE)).expect_err("another lab");
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(
            failure.todo.ends_with("up --num-instances 3 --client-port 4001"),
            "{}",
            failure.todo
        );
    }
}

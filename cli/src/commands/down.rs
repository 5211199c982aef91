//! `lab down`: stops the members; with `--destroy` nothing of the lab is left.
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::args::Down;
use crate::failure::{Exit, Failure};
use crate::process::Running;
use crate::topology::Member;
use crate::{state, ui};

/// A member has nothing to do on SIGTERM that takes a second; what was acknowledged is on disk.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: &Down) -> Result<(), Failure> {
    // Before the lock, which makes the directory.
    super::existing()?;
    let begin = Instant::now();
    let _lock = state::lock()?;
    let members = super::existing()?.members();
    let open = |member: &Member| Some((member.clone(), state::running(member)?.open()?));
    let running: Vec<(Member, Running)> = members.iter().filter_map(open).collect();
    for (_, process) in &running {
        process.signal(Signal::TERM);
    }
    for (member, process) in &running {
        stop(member, process, begin + PATIENCE)?;
    }
    for member in &members {
        state::forget_identity(member)?;
    }
    let names: Vec<&str> = running.iter().map(|(member, _)| member.name.as_str()).collect();
    if names.is_empty() {
        ui::lines("no member runs");
    } else {
        ui::phase(&format!("stopped {}", names.join(" ")), begin.elapsed());
    }
    if args.destroy {
        let begin = Instant::now();
        state::destroy(&members)?;
        ui::phase(&format!("removed {}", state::DIR), begin.elapsed());
    } else {
        let rows = [("go on with it", "up"), ("remove it", "down --destroy")];
        let rows = rows.map(|(purpose, rest)| vec![format!("  {purpose}"), ui::command(rest)]);
        let dir = state::DIR;
        ui::lines(&format!("\nThe data is kept in {dir}.\n\nNext:\n{}", ui::table(&rows)));
    }
    Ok(())
}

fn stop(member: &Member, process: &Running, deadline: Instant) -> Result<(), Failure> {
    if process.wait(deadline.saturating_duration_since(Instant::now())) {
        return Ok(());
    }
    let patience = PATIENCE.as_secs();
    ui::lines(&format!(
        "{} did not end within {patience} s of SIGTERM: killing it",
        member.name
    ));
    process.signal(Signal::KILL);
    if process.wait(PATIENCE) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Timeout,
        format!("{} cannot be killed", member.name),
        state::log_path(member).display(),
        "the kernel holds the process, most likely for a disk that does not answer",
        ui::command("status"),
    ))
}

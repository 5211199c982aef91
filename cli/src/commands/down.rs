//! `lab down`: stops the members, by their processes, and waits for them.
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::member::{DIR, Member};
use crate::ui::{self, Failure};

/// A member has this long to write down what it has; then it is killed, and loses nothing by it.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(destroy: bool) -> Result<(), Failure> {
    let start = Instant::now();
    let members = Member::known();
    for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, PATIENCE)] {
        for pid in members.iter().filter_map(Member::pid).filter_map(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
        let deadline = Instant::now() + patience;
        while members.iter().any(|member| member.pid().is_some()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    for member in &members {
        let _ = std::fs::remove_file(member.pid_file());
    }
    ui::phase(&format!("stopped {} members", members.len()), start.elapsed());
    if destroy {
        let _ = std::fs::remove_dir_all(DIR);
        ui::line("removed their data");
    }
    Ok(())
}

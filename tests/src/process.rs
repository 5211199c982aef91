//! A child process that dies with its test, and whose log a failing test prints.
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::panicking;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::eventually;

/// Lines of a log that a failing test prints.
const TAIL: usize = 40;

pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command whose output goes to the end of `log`. The child is killed when the calling thread ends: call
    /// this on the test's own thread.
    #[track_caller]
    pub fn spawn(mut command: Command, log: &Path) -> Process {
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(log)
                .expect("open the log")
        };
        command.stdin(Stdio::null()).stdout(open()).stderr(open());
        // SAFETY: between fork and exec only prctl is called.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("start {:?}: {error}", command.get_program()));
        Process {
            child,
            log: log.to_path_buf(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the process ends", || child.try_wait().expect("wait for a child"))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The line of the log that holds `text`, once it is there; panics when the process has ended without it.
    #[track_caller]
    pub fn wait_log(&mut self, text: &str) -> String {
        let line = |log: String| log.lines().find(|line| line.contains(text)).map(str::to_string);
        eventually(&format!("the log says {text:?}"), || {
            let ended = self.child.try_wait().expect("wait for a child");
            let found = line(self.log());
            assert!(
                found.is_some() || ended.is_none(),
                "ended without logging {text:?}: {ended:?}"
            );
            found
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if panicking() {
            print_tail(&self.log);
        }
    }
}

pub fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}

#[allow(clippy::print_stderr, reason = "the test harness shows it beside the failure")]
fn print_tail(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(TAIL)..];
    eprintln!("the end of {}:\n{}\n", log.display(), tail.join("\n"));
}

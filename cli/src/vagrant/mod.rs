//! The real vagrant, run in the directory that was rendered for it: its output is passed on, its failures become ours.
pub mod words;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::{Exit, Failure};
use crate::lab::Lab;
use crate::provider::Provider;
use crate::ui;
use words::Machine;

/// Where `lab render` writes to unless it is told otherwise.
pub const DIR: &str = "vagrant";
/// Of what it says on standard error, so much is kept for the failure.
const LINES: usize = 200;

#[derive(Debug)]
pub struct Vagrant {
    pub dir: PathBuf,
    provider: Option<String>,
}

impl Vagrant {
    /// Of a lab whose machines are vagrant's.
    pub fn of(lab: &Lab) -> Option<Vagrant> {
        let Provider::Vagrant(provider) = &lab.record.provider else {
            return None;
        };
        Some(Vagrant {
            dir: lab.project.root.join(DIR),
            provider: provider.clone(),
        })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("vagrant");
        command.args(words).current_dir(&self.dir);
        if let Some(provider) = &self.provider {
            // As `--provider` for those commands that have no such flag.
            command.env("VAGRANT_DEFAULT_PROVIDER", provider);
        }
        command
    }

    /// Which provider's words to add to `up`.
    pub fn provider_words(&self) -> Vec<&str> {
        let name = self.provider.iter();
        name.flat_map(|name| ["--provider", name.as_str()]).collect()
    }

    /// To its end; what it prints is seen as it comes, and the user can answer its questions.
    pub fn run(&self, words: &[&str]) -> Result<(), Failure> {
        let mut command = self.command(words);
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.missing(&error))?;
        let mut said = Vec::new();
        for line in child
            .stderr
            .take()
            .into_iter()
            .flat_map(|err| BufReader::new(err).split(b'\n'))
        {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            ui::note(&line);
            said.push(line);
            if said.len() > LINES {
                said.remove(0);
            }
        }
        let status = child.wait().map_err(|error| self.missing(&error))?;
        self.judge(words, status, &said.join("\n"))
    }

    /// What it says on standard output, which nobody sees otherwise.
    pub fn ask(&self, words: &[&str]) -> Result<String, Failure> {
        let output = self.command(words).stdin(Stdio::null()).output();
        let output = output.map_err(|error| self.missing(&error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Machine-readable errors are on standard output.
        let said = format!("{}{}", String::from_utf8_lossy(&output.stderr), words::errors(&text));
        self.judge(words, output.status, &said)?;
        Ok(text)
    }

    /// In our place: what it ends with is what we end with.
    pub fn become_it(&self, words: &[&str]) -> Failure {
        self.missing(&self.command(words).exec())
    }

    pub fn machines(&self, names: &[&str]) -> Result<Vec<Machine>, Failure> {
        let words = [&["status", "--machine-readable"], names].concat();
        Ok(words::machines(&self.ask(&words)?))
    }

    fn judge(&self, words: &[&str], status: ExitStatus, said: &str) -> Result<(), Failure> {
        if status.success() {
            return Ok(());
        }
        let found = words::diagnose(said);
        let what = format!("vagrant {} failed", words.join(" "));
        let why = match found.why.is_empty() {
            true => format!("{status}; what it printed says why"),
            false => found.why,
        };
        let todo = match found.exit {
            Exit::Missing => ui::command("doctor"),
            _ => found.todo.unwrap_or_else(|| ui::command("status")),
        };
        Err(Failure::new(found.exit, what, self.dir.display(), why, todo))
    }

    fn missing(&self, error: &std::io::Error) -> Failure {
        if !self.dir.is_dir() {
            let what = "there is nothing for vagrant here";
            return Failure::new(Exit::Failed, what, self.dir.display(), error, ui::command("up"));
        }
        Failure::new(
            Exit::Missing,
            "vagrant cannot be run",
            "the PATH",
            error,
            "sudo apt-get install -y vagrant",
        )
    }
}

/// Vagrant keeps each machine's id as long as there is the machine.
pub fn has_machines(dir: &Path) -> bool {
    let below = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let machines = below(&dir.join(".vagrant/machines"));
    machines
        .iter()
        .flat_map(|machine| below(machine))
        .any(|provider| provider.join("id").exists())
}

//! An exercise with somebody in front of it: a step is read, done by either, looked at, and explained.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use super::auto::line;
use super::check::Verdict;
use super::diagnosis;
use super::model::{Ask, Step};
use super::report::{Report, StepReport};
use super::runner::{Runner, Watch};
use super::world::World;
use crate::failure::Failure;
use crate::ui;

const FILE: &str = "progress.json";
/// While somebody reads or types in another shell, the checks are looked at this often.
const GLANCE: Duration = Duration::from_secs(1);

/// Where somebody is in an exercise; kept after every step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub step: usize,
    pub steps: usize,
    pub done: bool,
    pub exam: bool,
    pub seed: Option<u64>,
    /// So many steps, from the first one on, have a moment before them to go back to.
    pub kept: usize,
    /// Values that steps have captured.
    pub values: Vec<(String, String)>,
    pub reports: Vec<StepReport>,
}

impl Progress {
    pub fn file(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    pub fn read(dir: &Path) -> Option<Progress> {
        serde_json::from_str(&fs::read_to_string(Progress::file(dir)).ok()?).ok()
    }

    pub fn write(&self, dir: &Path) -> Result<(), Failure> {
        let (file, new) = (Progress::file(dir), dir.join("progress.new"));
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        let write = || fs::write(&new, text).and_then(|()| fs::rename(&new, &file));
        write().map_err(|error| Failure::io("write", &file, &error))
    }

    /// Got, and to be had, in the steps that are done.
    pub fn points(&self) -> (u32, u32) {
        let points = self.reports.iter().filter_map(|report| report.points);
        points.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    /// Before this step again; what comes after it is no more.
    pub fn back(&mut self, to: usize) {
        self.step = to;
        self.done = false;
        self.kept = to + 1;
        self.reports.truncate(to);
    }
}

pub fn checkpoint(step: usize) -> String {
    format!("step-{step}")
}

/// How somebody's turn ended.
enum Turn {
    Next,
    Back,
    Leave,
}

pub struct Learner<'a> {
    pub name: &'a str,
    pub runner: Runner,
    pub progress: Progress,
    lines: mpsc::Receiver<String>,
    /// What was taken off this step's points.
    cost: u32,
}

impl<'a> Learner<'a> {
    pub fn new(name: &'a str, mut runner: Runner, progress: Progress) -> Learner<'a> {
        for (name, value) in &progress.values {
            runner.vars.set(name.clone(), value.clone());
        }
        // A line may be typed at any time, also while something runs.
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            while let Some(line) = ui::read_line() {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Learner {
            name,
            runner,
            progress,
            lines,
            cost: 0,
        }
    }

    /// To the end, or until somebody has enough. The report, at the end.
    pub fn run(&mut self) -> Result<Option<Report>, Failure> {
        let dir = self.runner.world.dir.clone();
        let watch = Watch::start(self.runner.world.clone(), self.runner.timeline.clone());
        self.progress.steps = self.runner.exercise.steps.len();
        while self.progress.step < self.progress.steps {
            let index = self.progress.step;
            // A step that was broken off is half done by now, and its moment is there already.
            if self.progress.kept <= index {
                match self.runner.world.checkpoint(&checkpoint(index)) {
                    Ok(()) => self.progress.kept = index + 1,
                    Err(error) => ui::note(&format!("lab back will not come back to this step: {error}")),
                }
            }
            // From now on: whatever ends this program, it goes on here.
            self.keep(&dir)?;
            let turn = self.step(index);
            // Whatever happened, nothing of the step stays broken.
            if let Err(why) = self.runner.leave() {
                ui::note(&format!("not all of the step could be undone: {why}"));
            }
            match turn {
                Turn::Next => self.progress.step += 1,
                Turn::Back => self.back(index),
                Turn::Leave => {
                    ui::lines(&format!(
                        "\nIt goes on at this step: {}",
                        ui::command(&format!("learn {}", self.name))
                    ));
                    return Ok(None);
                }
            }
        }
        drop(watch);
        self.progress.done = true;
        self.keep(&dir)?;
        Ok(Some(self.report()))
    }

    fn keep(&mut self, dir: &Path) -> Result<(), Failure> {
        let values = self.runner.vars.iter();
        self.progress.values = values.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.progress.write(dir)
    }

    fn report(&self) -> Report {
        let timeline = &self.runner.timeline;
        Report {
            schema: "lab.report/1",
            name: self.name.to_string(),
            title: self.runner.exercise.title.clone(),
            steps: self.progress.reports.clone(),
            timeline: timeline.moments(),
            took_ms: timeline.elapsed().as_millis() as u64,
            points: Some(self.progress.points()),
        }
    }

    fn back(&mut self, index: usize) {
        let to = index.saturating_sub(1);
        let began = Instant::now();
        match self.runner.world.restore(&checkpoint(to)) {
            Ok(()) => {
                self.progress.back(to);
                ui::phase(&format!("back before step {}", to + 1), began.elapsed());
            }
            Err(error) => ui::note(&format!("it cannot go back: {error}")),
        }
    }

    fn step(&mut self, index: usize) -> Turn {
        let step = self.runner.step(index).clone();
        let began = Instant::now();
        self.cost = 0;
        let mut report = StepReport {
            id: step.id.clone(),
            title: step.title.clone(),
            ..StepReport::default()
        };
        let heading = format!("\n── {} of {}: {}", index + 1, self.progress.steps, step.title);
        ui::paragraphs(&heading);
        if let Err(why) = self.runner.enter(index) {
            ui::note(&why);
            return Turn::Leave;
        }
        let say = self.runner.vars.text(&step.say).unwrap_or_else(|why| why);
        if !say.is_empty() {
            ui::paragraphs(&format!("\n{say}"));
        }
        self.tell_lost(index);
        let (mut points, mut of) = (0, step.points);
        if let Some(ask) = &step.ask {
            of += ask.points;
            match self.question(ask) {
                Some(right) => points += if right { ask.points } else { 0 },
                None => return Turn::Leave,
            }
        }
        if !self.progress.exam {
            ui::lines("");
            self.show(&step);
        }
        let turn = self.work(index, &step, &mut report, began);
        if matches!(turn, Turn::Next) {
            points += step.points.saturating_sub(self.cost);
            report.points = Some((points, of));
            report.green = true;
            report.took_ms = began.elapsed().as_millis() as u64;
            report.traffic = self.runner.traffic();
            self.progress.reports.push(report);
            ui::lines("");
            ui::paragraphs(&self.runner.vars.text(&step.learned).unwrap_or_else(|why| why));
        }
        turn
    }

    /// Says so, where nothing that is done can make this step green any more.
    fn tell_lost(&mut self, index: usize) {
        let lost = self.runner.lost(index);
        for verdict in &lost {
            let why = verdict.why.as_ref().unwrap_or(&verdict.saw);
            ui::indented(&format!("lost: {}: {why}", verdict.id));
        }
        if !lost.is_empty() {
            ui::lines("From here nothing leads on; [b] goes a step back.");
        }
    }

    fn show(&self, step: &Step) {
        for act in &step.acts {
            // What an earlier action of this step finds out is not known yet.
            let text = self.runner.vars.readable(&super::act::shown(act));
            for line in text.lines() {
                ui::lines(&format!("    {line}"));
            }
        }
    }

    /// Until the step is green, or somebody goes.
    fn work(&mut self, index: usize, step: &Step, report: &mut StepReport, began: Instant) -> Turn {
        let mut last: Vec<Verdict> = Vec::new();
        let mut done = step.acts.is_empty();
        loop {
            let enter = match done || self.progress.exam {
                true => "look again",
                false => "run it",
            };
            ui::lines("");
            let enter = format!("[Enter] {enter}");
            ui::choices(&[&enter, "[s] a shell", "[h] a hint", "[w] why", "[b] back", "[q] leave"]);
            let typed = match self.wait(step, done) {
                Some(typed) => typed,
                None => {
                    // Done in another shell.
                    self.collect(index, step);
                    "c".to_string()
                }
            };
            match typed.trim() {
                "q" => return Turn::Leave,
                "b" => return Turn::Back,
                "s" => self.shell(),
                "h" => self.hint(step, &last, began),
                "w" => self.why(&last),
                "" | "c" | "r" => {
                    let run = typed.trim() == "r" || (typed.is_empty() && !done && !self.progress.exam);
                    if run && let Err(why) = self.perform(index, step) {
                        ui::indented(&format!("error: {why}"));
                        self.why(&last);
                        continue;
                    }
                    done = true;
                    last = self.runner.look(&step.checks, None);
                    self.tell(&last, report);
                    if last.iter().all(|verdict| verdict.green) {
                        if let Err(why) = self.runner.leave() {
                            ui::note(&format!("not all of the step could be undone: {why}"));
                        }
                        last = self.runner.look(&step.then, None);
                        self.tell(&last, report);
                    }
                    if last.iter().all(|verdict| verdict.green) {
                        return Turn::Next;
                    }
                    self.why(&last);
                    self.tell_lost(index);
                }
                other => ui::lines(&format!("{other:?} is none of these")),
            }
        }
    }

    fn tell(&self, verdicts: &[Verdict], report: &mut StepReport) {
        self.runner.note(verdicts);
        for verdict in verdicts {
            ui::indented(&line(verdict));
            report.checks.retain(|check| check.id != verdict.id);
            report.checks.push(verdict.into());
        }
    }

    /// A line that is typed; none: meanwhile all checks have become green.
    fn wait(&mut self, step: &Step, done: bool) -> Option<String> {
        loop {
            match self.lines.recv_timeout(GLANCE) {
                Ok(line) => return Some(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Some("q".into()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if done && !self.progress.exam {
                continue;
            }
            let verdicts = self.runner.look(&step.checks, Some(Duration::ZERO));
            if !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.green) {
                ui::lines("it is done");
                return None;
            }
        }
    }

    fn perform(&mut self, index: usize, step: &Step) -> Result<(), String> {
        for act in &step.acts {
            for line in self.runner.shown(act)?.lines().take(1) {
                ui::lines(&format!("  > {line}"));
            }
            let outcome = self.runner.act(index, act)?;
            for line in outcome.stdout.lines().chain(outcome.stderr.lines()) {
                ui::lines(&format!("    {line}"));
            }
        }
        Ok(())
    }

    /// Values that later steps need, where the step was done in another shell: what only reads is read.
    fn collect(&mut self, index: usize, step: &Step) {
        for act in step.acts.iter().filter(|act| !act.capture.is_empty()) {
            if act.aside && self.runner.act(index, act).is_ok() {
                continue;
            }
            for name in act.capture.keys() {
                ui::lines(&format!(
                    "a later step needs a value of the output of: {}",
                    first(&super::act::shown(act))
                ));
                ui::lines(&format!("{name} = ?"));
                if let Ok(value) = self.lines.recv() {
                    self.runner.keep(index, name, value.trim());
                }
            }
        }
    }

    fn question(&mut self, ask: &Ask) -> Option<bool> {
        let ask = self.runner.vars.put(ask).unwrap_or_else(|_| ask.clone());
        ui::paragraphs(&format!("\n? {}", ask.q));
        let typed = self.lines.recv().ok()?;
        let regex = Regex::new(&format!("(?i)^(?:{})$", ask.answer));
        let right = regex.is_ok_and(|regex| regex.is_match(typed.trim()));
        ui::lines(if right { "right" } else { "no; see for yourself" });
        Some(right)
    }

    fn hint(&mut self, step: &Step, last: &[Verdict], began: Instant) {
        if self.progress.exam {
            ui::lines("there are none in an exam");
            return;
        }
        let red = |id: &String| last.is_empty() || last.iter().any(|verdict| !verdict.green && verdict.id == *id);
        let ripe = |after: Option<crate::faults::Span>| after.is_none_or(|after| began.elapsed() >= after.duration());
        let fits = |hint: &&super::model::Hint| hint.when.as_ref().is_none_or(red) && ripe(hint.after);
        let hints: Vec<_> = step.hints.iter().filter(fits).collect();
        if hints.is_empty() {
            ui::lines("there is no hint for this now; [w] tells what is missing");
        }
        for hint in hints {
            self.cost += hint.cost;
            ui::paragraphs(&self.runner.vars.text(&hint.text).unwrap_or_else(|why| why));
        }
    }

    /// What is red, what was seen, and what the nodes say.
    fn why(&self, last: &[Verdict]) {
        for verdict in last.iter().filter(|verdict| !verdict.green) {
            ui::indented(&format!("{}: {}", verdict.id, verdict.saw));
        }
        let said = diagnosis::explain(&diagnosis::gather(&self.runner.world));
        for sentence in &said {
            ui::indented(sentence);
        }
        if said.is_empty() && last.iter().all(|verdict| verdict.green) {
            ui::indented("the nodes say nothing is wrong");
        }
    }

    fn shell(&self) {
        let world: &World = &self.runner.world;
        ui::lines(&format!(
            "In another terminal:\n    cd {}\n    {}",
            world.dir.display(),
            ui::command(&format!("ssh {}", world.nodes[0].0))
        ));
    }
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

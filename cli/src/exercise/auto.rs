//! An exercise that runs by itself: every step's actions, every check, and a report.
use std::time::Instant;

use super::check::Verdict;
use super::diagnosis;
use super::model::Step;
use super::report::{Report, StepReport};
use super::runner::{Runner, Watch};
use crate::ui;

/// Runs all steps; the first one that is not green ends it.
pub fn run(name: &str, runner: &mut Runner) -> Report {
    let began = Instant::now();
    let watch = Watch::start(runner.world.clone(), runner.timeline.clone());
    let mut steps = Vec::new();
    for index in 0..runner.exercise.steps.len() {
        let report = step(runner, index);
        let green = report.green;
        steps.push(report);
        if !green {
            break;
        }
    }
    drop(watch);
    Report {
        schema: "lab.report/1",
        name: name.to_string(),
        title: runner.exercise.title.clone(),
        steps,
        timeline: runner.timeline.moments(),
        took_ms: began.elapsed().as_millis() as u64,
        points: None,
    }
}

fn step(runner: &mut Runner, index: usize) -> StepReport {
    let began = Instant::now();
    let step = runner.step(index).clone();
    ui::lines(&format!("{}. {}", index + 1, step.title));
    let mut report = StepReport {
        id: step.id.clone(),
        title: step.title.clone(),
        ..StepReport::default()
    };
    if let Err(why) = perform(runner, index, &step, &mut report) {
        ui::lines(&format!("   error: {why}"));
        report.error = Some(why);
        let _ = runner.leave();
    }
    report.traffic = runner.traffic();
    report.green = report.error.is_none() && report.checks.iter().all(|check| check.green);
    report.took_ms = began.elapsed().as_millis() as u64;
    if !report.green {
        for line in diagnosis::explain(&diagnosis::gather(&runner.world)) {
            ui::lines(&format!("   {line}"));
        }
    }
    report
}

fn perform(runner: &mut Runner, index: usize, step: &Step, report: &mut StepReport) -> Result<(), String> {
    runner.enter(index)?;
    let lost = runner.lost(index);
    if !lost.is_empty() {
        tell(runner, &lost, report);
        return runner.leave();
    }
    for act in &step.acts {
        for line in runner.shown(act)?.lines() {
            ui::lines(&format!("   {line}"));
        }
        runner.act(index, act)?;
    }
    let verdicts = runner.look(&step.checks, None);
    tell(runner, &verdicts, report);
    runner.leave()?;
    if verdicts.iter().all(|verdict| verdict.green) {
        let verdicts = runner.look(&step.then, None);
        tell(runner, &verdicts, report);
    }
    Ok(())
}

fn tell(runner: &Runner, verdicts: &[Verdict], report: &mut StepReport) {
    runner.note(verdicts);
    for verdict in verdicts {
        ui::lines(&format!("   {}", line(verdict)));
        report.checks.push(verdict.into());
    }
}

/// One line for one check, with what it means when it is red.
pub fn line(verdict: &Verdict) -> String {
    let mark = if verdict.green { "ok " } else { "RED" };
    let saw = verdict.saw.lines().next().unwrap_or_default();
    let why = verdict.why.as_ref().filter(|_| !verdict.green);
    let why = why.map_or(String::new(), |why| format!("\n       {why}"));
    format!(
        "{mark} {} ({:.1} s): {saw}{why}",
        verdict.id,
        verdict.took.as_secs_f64()
    )
}

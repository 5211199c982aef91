//! Does an exercise prove anything? Its checks are red before and green after, and red again without any one action.
use std::time::{Duration, Instant};

use super::auto::line;
use super::check::Verdict;
use super::model::{Check, Step};
use super::runner::Runner;
use crate::ui;

/// Longer than a check needs for one look and another.
const GLANCE: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Debug, Default)]
pub struct Proof {
    pub steps: usize,
    pub checks: usize,
    /// Actions that were left out.
    pub left_out: usize,
    pub wrong: Vec<String>,
}

pub fn run(runner: &mut Runner) -> Result<Proof, String> {
    let mut proof = Proof::default();
    for index in 0..runner.exercise.steps.len() {
        let step = runner.step(index).clone();
        ui::lines(&format!("{}. {}", index + 1, step.title));
        if !prove(runner, index, &step, &mut proof)? {
            // What follows stands on it.
            break;
        }
    }
    Ok(proof)
}

/// Is it green in the end?
fn prove(runner: &mut Runner, index: usize, step: &Step, proof: &mut Proof) -> Result<bool, String> {
    let began = Instant::now();
    let mut proved: Vec<&str> = Vec::new();
    // The last one is left out by looking before it is done, and so costs nothing.
    let last = step.acts.iter().rposition(|act| !act.aside);
    let others: Vec<usize> = (0..step.acts.len())
        .filter(|at| Some(*at) != last && !step.acts[*at].aside)
        .collect();
    let before = format!("before-{index}");
    if !others.is_empty() {
        runner.world.checkpoint(&before).map_err(|error| error.to_string())?;
    }
    let values = runner.vars.clone();
    proof.steps += 1;
    proof.checks += step.checks.len() + step.then.len();

    runner.enter(index)?;
    if !tell(&runner.lost(index)) {
        wrong(proof, step, "its guard is red from the beginning");
        runner.leave()?;
        return Ok(false);
    }
    for (at, act) in step.acts.iter().enumerate() {
        if Some(at) == last {
            let verdicts = runner.look(&step.checks, Some(GLANCE));
            proof.left_out += 1;
            if !is_red(&verdicts, &mut proved, step) && step.then.is_empty() {
                let shown = runner.shown(act)?;
                wrong(
                    proof,
                    step,
                    &format!("its checks are green before this is done: {}", first(&shown)),
                );
            }
        }
        runner.act(index, act).map_err(|why| format!("{}: {why}", step.id))?;
    }
    let verdicts = runner.look(&step.checks, None);
    let slowest = verdicts.iter().map(|verdict| verdict.took).max().unwrap_or_default();
    let mut green = tell(&verdicts);
    runner.leave()?;
    if green {
        green = tell(&runner.look(&step.then, None));
    }
    if !green {
        wrong(proof, step, "it is not green when everything was done");
        return Ok(false);
    }
    if others.is_empty() {
        unproved(proof, step, &proved);
        return Ok(true);
    }
    let after = format!("after-{index}");
    let after_values = runner.vars.clone();
    runner.world.checkpoint(&after).map_err(|error| error.to_string())?;
    for without in others {
        runner.world.restore(&before).map_err(|error| error.to_string())?;
        runner.vars = values.clone();
        runner.enter(index)?;
        let mut stuck = false;
        for (_, act) in step.acts.iter().enumerate().filter(|(at, _)| *at != without) {
            if runner.act(index, act).is_err() {
                stuck = true;
                break;
            }
        }
        proof.left_out += 1;
        let patience = if stuck { GLANCE } else { slowest + SLACK };
        let mut red = is_red(&runner.look(&step.checks, Some(patience)), &mut proved, step) || stuck;
        runner.leave()?;
        red = is_red(&runner.look(&step.then, Some(patience)), &mut proved, step) || red;
        runner.vars = values.clone();
        if !red {
            let shown = runner.shown(&step.acts[without]).unwrap_or_default();
            wrong(proof, step, &format!("it is green without: {}", first(&shown)));
        }
    }
    runner.world.restore(&after).map_err(|error| error.to_string())?;
    runner.vars = after_values;
    // Back where the step had led to; what held under a fault only is over.
    let keeps: Vec<Check> = step.checks.iter().filter(|check| check.keeps).cloned().collect();
    let had_fault = step.acts.iter().any(|act| act.fault.is_some());
    if !had_fault && !tell(&runner.look(&keeps, None)) {
        wrong(proof, step, "it does not hold after its nodes were started again");
        return Ok(false);
    }
    unproved(proof, step, &proved);
    ui::lines(&format!("   proved in {:.1} s", began.elapsed().as_secs_f64()));
    Ok(true)
}

fn is_red<'a>(verdicts: &[Verdict], proved: &mut Vec<&'a str>, step: &'a Step) -> bool {
    for check in step.checks.iter().chain(&step.then) {
        if verdicts.iter().any(|verdict| !verdict.green && verdict.id == check.id) {
            proved.push(&check.id);
        }
    }
    verdicts.iter().any(|verdict| !verdict.green)
}

/// Checks that were never seen red, and do not say that they were green all along.
fn unproved(proof: &mut Proof, step: &Step, proved: &[&str]) {
    for check in &step.checks {
        if !check.keeps && !proved.contains(&check.id.as_str()) {
            let why = format!(
                "its check {} was never red; say keeps: true if it was so before",
                check.id
            );
            wrong(proof, step, &why);
        }
    }
}

fn wrong(proof: &mut Proof, step: &Step, why: &str) {
    ui::lines(&format!("   PROVES NOTHING: {why}"));
    proof.wrong.push(format!("{}: {why}", step.id));
}

fn tell(verdicts: &[Verdict]) -> bool {
    for verdict in verdicts {
        ui::lines(&format!("   {}", line(verdict)));
    }
    verdicts.iter().all(|verdict| verdict.green)
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

//! `lab learn`, `lab prove`, `lab lint`, `lab schema`: exercises from outside.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::args::{Exercises, Learn, Prove};
use crate::exercise::load::{self, Found};
use crate::exercise::model::Exercise;
use crate::exercise::report::Report;
use crate::exercise::runner::Runner;
use crate::exercise::world::World;
use crate::exercise::{auto, prove as proof};
use crate::failure::{Exit, Failure};
use crate::project::state_home;
use crate::ui;

pub fn run(args: &Learn) -> Result<(), Failure> {
    let Some(name) = &args.name else { return list() };
    let found = load::find(name)?;
    let reports = absolute(args)?;
    let mut runner = runner(&found, args.seed)?;
    let report = auto::run(&found.name, &mut runner);
    write(&reports, &report)?;
    let verdict = match report.is_green() {
        true => Ok(()),
        false => Err(Failure::status(Exit::Red.code())),
    };
    ui::phase(
        &format!("{}: {}", found.name, if verdict.is_ok() { "green" } else { "RED" }),
        report.took(),
    );
    if !args.keep {
        remove(&runner.world)?;
    }
    verdict
}

pub fn prove(args: &Prove) -> Result<(), Failure> {
    let names: Vec<String> = match args.names.as_slice() {
        [all] if all == "all" => load::all()?.into_iter().map(|found| found.name).collect(),
        names => names.to_vec(),
    };
    let mut red = false;
    for name in &names {
        let began = Instant::now();
        let found = load::find(name)?;
        let mut runner = runner(&found, None)?;
        let result = proof::run(&mut runner);
        let (text, green) = match &result {
            Ok(proof) => (
                format!(
                    "{} steps, {} checks, {} times without an action; {}",
                    proof.steps,
                    proof.checks,
                    proof.left_out,
                    match proof.wrong.len() {
                        0 => "proved".to_string(),
                        count => format!("{count} WRONG"),
                    }
                ),
                proof.wrong.is_empty(),
            ),
            Err(why) => (format!("WRONG: {why}"), false),
        };
        red |= !green;
        ui::phase(&format!("{}: {text}", found.name), began.elapsed());
        remove(&runner.world)?;
    }
    match red {
        true => Err(Failure::status(Exit::Red.code())),
        false => Ok(()),
    }
}

pub fn lint(args: &Exercises) -> Result<(), Failure> {
    let all = match args.names.is_empty() {
        true => load::all()?,
        false => args
            .names
            .iter()
            .map(|name| load::find(name))
            .collect::<Result<_, _>>()?,
    };
    for found in &all {
        ui::lines(&format!("{}: good, {} steps", found.file, found.exercise.steps.len()));
    }
    Ok(())
}

pub fn schema() -> Result<(), Failure> {
    let schema = schemars::schema_for!(Exercise);
    ui::lines(&serde_json::to_string_pretty(&schema).unwrap_or_default());
    Ok(())
}

fn list() -> Result<(), Failure> {
    let mut rows = vec![["EXERCISE", "TIME", "STEPS", "ABOUT"].map(String::from).to_vec()];
    for found in load::all()? {
        rows.push(vec![
            found.name,
            found.exercise.time.to_string(),
            found.exercise.steps.len().to_string(),
            found.exercise.title,
        ]);
    }
    ui::lines(&ui::table(&rows));
    ui::lines(&format!("\nBegin: {}", ui::command("learn NAME")));
    Ok(())
}

/// A lab of its own for each exercise, new.
fn runner(found: &Found, seed: Option<u64>) -> Result<Runner, Failure> {
    let dir = state_home().join("learn").join(&found.name);
    let mut world = World::prepare(&dir, &found.exercise)?;
    if dir.join(".lab").exists() {
        remove(&world)?;
        world = World::prepare(&dir, &found.exercise)?;
    }
    let began = Instant::now();
    world.up()?;
    ui::phase(
        &format!("{} nodes for {}", world.nodes.len(), found.name),
        began.elapsed(),
    );
    Ok(Runner::new(Arc::new(found.exercise.clone()), world, seed))
}

fn remove(world: &World) -> Result<(), Failure> {
    let outcome = world
        .lab(&["destroy", "-f"])
        .map_err(|error| Failure::io("enter", &world.dir, &error))?;
    match outcome.status {
        0 => Ok(()),
        _ => {
            ui::note(outcome.stderr.trim_end());
            Err(Failure::status(1))
        }
    }
}

/// The lab's directory becomes ours: what was named relative to where we are has to be known before.
fn absolute(args: &Learn) -> Result<[Option<PathBuf>; 3], Failure> {
    let absolute = |path: &Option<PathBuf>| match path {
        Some(path) => std::path::absolute(path)
            .map(Some)
            .map_err(|error| Failure::io("find", path, &error)),
        None => Ok(None),
    };
    let reports = &args.reports;
    Ok([
        absolute(&reports.json)?,
        absolute(&reports.junit)?,
        absolute(&reports.html)?,
    ])
}

fn write([json, junit, html]: &[Option<PathBuf>; 3], report: &Report) -> Result<(), Failure> {
    let put = |path: &Path, text: String| fs::write(path, text).map_err(|error| Failure::io("write", path, &error));
    if let Some(path) = json {
        put(path, report.json())?;
    }
    if let Some(path) = junit {
        put(path, report.junit())?;
    }
    if let Some(path) = html {
        put(path, report.html())?;
    }
    Ok(())
}

//! `lab learn`, `lab prove`, `lab lint`, `lab schema`: exercises from outside.
use std::fs;
use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::args::{Back, Exercises, Learn, Prove};
use crate::exercise::learn::{Learner, Progress, checkpoint};
use crate::exercise::load::{self, Found};
use crate::exercise::model::Exercise;
use crate::exercise::report::Report;
use crate::exercise::runner::Runner;
use crate::exercise::timeline::Timeline;
use crate::exercise::world::World;
use crate::exercise::{auto, prove as proof};
use crate::failure::{Exit, Failure};
use crate::project::{random_digits, state_home};
use crate::ui;

/// JSON, JUnit, HTML.
type Files = [Option<PathBuf>; 3];

pub fn run(args: &Learn) -> Result<(), Failure> {
    let Some(name) = &args.name else { return list() };
    let found = load::find(name)?;
    let reports = absolute(args)?;
    match args.auto {
        true => run_auto(args, &found, &reports),
        false => guide(args, &found, &reports),
    }
}

fn run_auto(args: &Learn, found: &Found, reports: &Files) -> Result<(), Failure> {
    let mut runner = new(found, args.seed)?;
    let report = auto::run(&found.name, &mut runner);
    let written = write(reports, &report);
    let green = report.is_green();
    ui::phase(
        &format!("{}: {}", found.name, if green { "green" } else { "RED" }),
        report.took(),
    );
    if !args.keep {
        remove(&runner.world)?;
    }
    written?;
    match green {
        true => Ok(()),
        false => Err(Failure::status(Exit::Red.code())),
    }
}

fn guide(args: &Learn, found: &Found, reports: &Files) -> Result<(), Failure> {
    if !stdin().is_terminal() {
        let what = "an exercise is gone through at a terminal";
        let why = "standard input is none";
        let todo = ui::command(&format!("learn {} --auto", found.name));
        return Err(Failure::new(Exit::Usage, what, "standard input", why, todo));
    }
    let dir = place(&found.name);
    let known = Progress::read(&dir).filter(|known| !known.done && !args.restart && dir.join(".lab").exists());
    let goes_on = known.is_some();
    let (mut runner, progress) = match known {
        Some(known) => {
            let mut world = World::prepare(&dir, &found.exercise)?;
            world.up()?;
            let step = known.step + 1;
            ui::paragraphs(&format!("{}: on at step {step}", found.name));
            ui::lines(&format!(
                "    {}    the nodes as they were before it\n    {}    from the first step on, with new nodes",
                ui::command(&format!("back {} {step}", found.name)),
                ui::command(&format!("learn {} --restart", found.name))
            ));
            (Runner::new(Arc::new(found.exercise.clone()), world, known.seed), known)
        }
        None => {
            let seed = args.seed.or_else(|| args.exam.then(random));
            let progress = Progress {
                exam: args.exam,
                seed,
                ..Progress::default()
            };
            ui::lines(&format!("{}: {}", found.name, found.exercise.title));
            (new(found, seed)?, progress)
        }
    };
    runner.timeline = Timeline::kept(&dir, goes_on)?;
    let world = runner.world.clone();
    let mut learner = Learner::new(&found.name, runner, progress);
    let Some(report) = learner.run()? else { return Ok(()) };
    write(reports, &report)?;
    let page = dir.join("report.html");
    fs::write(&page, report.html()).map_err(|error| Failure::io("write", &page, &error))?;
    ui::lines(&format!(
        "\n{}\nwhat happened when: {}",
        report.summary(),
        page.display()
    ));
    remove(&world)
}

/// Back before the step that somebody is at, or before an earlier one.
pub fn back(args: &Back) -> Result<(), Failure> {
    let found = load::find(&args.name)?;
    let dir = place(&found.name);
    let nothing = |why: &str| {
        let todo = ui::command(&format!("learn {}", found.name));
        Failure::new(Exit::Failed, "there is nothing to go back to", dir.display(), why, todo)
    };
    let mut progress = Progress::read(&dir).ok_or_else(|| nothing("the exercise was not begun"))?;
    let to = match args.step {
        Some(step) if step == 0 || step > progress.step + 1 => {
            return Err(nothing(&format!("steps 1 to {} have been reached", progress.step + 1)));
        }
        Some(step) => step - 1,
        None => progress.step.saturating_sub(1),
    };
    let mut world = World::prepare(&dir, &found.exercise)?;
    world.up()?;
    let began = Instant::now();
    let restored = world.restore(&checkpoint(to));
    restored.map_err(|error| nothing(&error.to_string()))?;
    progress.back(to);
    progress.write(&dir)?;
    ui::phase(&format!("back before step {}", to + 1), began.elapsed());
    Ok(())
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
        let mut runner = new(&found, None)?;
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
        let count = found.exercise.steps.len();
        let plural = if count == 1 { "" } else { "s" };
        ui::lines(&format!("{}: good, {count} step{plural}", found.file));
    }
    Ok(())
}

pub fn schema() -> Result<(), Failure> {
    let schema = schemars::schema_for!(Exercise);
    ui::lines(&serde_json::to_string_pretty(&schema).unwrap_or_default());
    Ok(())
}

fn list() -> Result<(), Failure> {
    let mut rows = vec![
        ["EXERCISE", "TIME", "STEPS", "PROGRESS", "ABOUT"]
            .map(String::from)
            .to_vec(),
    ];
    for found in load::all()? {
        let progress = match Progress::read(&place(&found.name)) {
            Some(done) if done.done => {
                let (points, of) = done.points();
                format!("done, {points} of {of} points")
            }
            Some(begun) => format!("at step {}", begun.step + 1),
            None => "-".into(),
        };
        rows.push(vec![
            found.name,
            found.exercise.time.to_string(),
            found.exercise.steps.len().to_string(),
            progress,
            found.exercise.title,
        ]);
    }
    ui::lines(&ui::table(&rows));
    ui::lines(&format!("\nBegin: {}", ui::command("learn NAME")));
    Ok(())
}

/// A lab of its own for each exercise, new.
fn new(found: &Found, seed: Option<u64>) -> Result<Runner, Failure> {
    let dir = place(&found.name);
    let _ = fs::remove_file(Progress::file(&dir));
    let mut world = World::prepare(&dir, &found.exercise)?;
    if dir.join(".lab").exists() {
        remove(&world)?;
        world = World::prepare(&dir, &found.exercise)?;
    }
    let began = Instant::now();
    world.up()?;
    let nodes = match world.nodes.len() {
        1 => "1 node".to_string(),
        count => format!("{count} nodes"),
    };
    ui::phase(&format!("{nodes} for {}", found.name), began.elapsed());
    Ok(Runner::new(Arc::new(found.exercise.clone()), world, seed))
}

fn place(name: &str) -> PathBuf {
    state_home().join("learn").join(name)
}

fn random() -> u64 {
    u64::from_str_radix(&random_digits(16), 16).unwrap_or(1)
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
fn absolute(args: &Learn) -> Result<Files, Failure> {
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

fn write([json, junit, html]: &Files, report: &Report) -> Result<(), Failure> {
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

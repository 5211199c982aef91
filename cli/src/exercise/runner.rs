//! One run of an exercise: its values, the faults that it holds, its clients, and everything that happened, in order.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::act;
use super::check::{self, Verdict};
use super::model::{Act, Check, Choice, Exercise, Step};
use super::timeline::{Kind, Timeline};
use super::traffic::{Summary, Tally, Writers};
use super::vars::Vars;
use super::world::{DEAF, Hold, Outcome, World};
use crate::faults::Span;

const WATCH: Duration = Duration::from_millis(200);
/// A node may be about to come back: only after so long is an exercise lost.
const HOPE: Duration = Duration::from_secs(5);

pub struct Runner {
    pub exercise: Arc<Exercise>,
    pub world: Arc<World>,
    pub vars: Vars,
    pub timeline: Timeline,
    held: Vec<Held>,
    writers: Option<Writers>,
    tally: Option<Arc<Tally>>,
    /// The step that it is in.
    entered: Option<usize>,
}

struct Held {
    hold: Hold,
    text: String,
    /// None: the end of the step.
    until: Option<Instant>,
}

impl Runner {
    /// `seed`: choose by chance where there is a choice.
    pub fn new(exercise: Arc<Exercise>, world: World, seed: Option<u64>) -> Runner {
        let mut vars = Vars::default();
        let mut chance = seed.map(SmallRng::seed_from_u64);
        for (name, choice) in &exercise.vars {
            let value = match choice {
                Choice::One(value) => value,
                Choice::Of(list) => match &mut chance {
                    Some(chance) => &list[chance.random_range(0..list.len())],
                    None => &list[0],
                },
            };
            vars.set(name.clone(), value.clone());
        }
        for (name, address) in &world.nodes {
            vars.set(format!("node.{name}.ip"), address.clone());
        }
        Runner {
            exercise,
            world: Arc::new(world),
            vars,
            timeline: Timeline::default(),
            held: Vec::new(),
            writers: None,
            tally: None,
            entered: None,
        }
    }

    pub fn step(&self, index: usize) -> &Step {
        &self.exercise.steps[index]
    }

    /// Its values are known, its clients write.
    pub fn enter(&mut self, index: usize) -> Result<(), String> {
        let step = self.exercise.steps[index].clone();
        self.timeline.note(Kind::Step, format!("{}. {}", index + 1, step.title));
        if let Some((number, each)) = &step.each {
            self.vars.set("each", each.clone());
            self.vars.set("index", number.to_string());
            let address = self.world.address(each).unwrap_or_default().to_string();
            self.vars.set("each.ip", address);
        }
        self.entered = Some(index);
        self.tally = None;
        if let Some(load) = &step.load {
            let load = self.vars.put(load)?;
            self.writers = Some(Writers::start(&load, &self.world));
        }
        Ok(())
    }

    pub fn shown(&self, act: &Act) -> Result<String, String> {
        self.vars.put(act).map(|act| act::shown(&act))
    }

    /// Does it, and keeps what it captures.
    pub fn act(&mut self, index: usize, act: &Act) -> Result<Outcome, String> {
        let act = self.vars.put(act)?;
        self.expire();
        if let Some(fault) = &act.fault {
            let hold = self
                .world
                .hold(fault)
                .map_err(|error| format!("{}: {error}", fault.command()))?;
            self.timeline.note(Kind::Fault, fault.to_string());
            let until = act.until.as_deref().and_then(|text| text.parse::<Span>().ok());
            self.held.push(Held {
                hold,
                text: fault.to_string(),
                until: until.map(|span| Instant::now() + span.duration()),
            });
            return Ok(Outcome::default());
        }
        let shown = act::shown(&act);
        self.timeline.note(Kind::Act, shown.lines().next().unwrap_or_default());
        let outcome = act::perform(&act, &self.world)?;
        for (name, value) in act::captured(&act, &outcome)? {
            self.keep(index, &name, &value);
        }
        Ok(outcome)
    }

    /// A value that a step has found out.
    pub fn keep(&mut self, index: usize, name: &str, value: &str) {
        let id = self.step(index).id.clone();
        self.vars.set(format!("this.{name}"), value);
        // Of a step that is done for each node, the last one's is also known by the step's own name.
        if let Some((base, _)) = id.split_once('.') {
            self.vars.set(format!("{base}.{name}"), value);
        }
        self.vars.set(format!("{id}.{name}"), value);
    }

    /// Looks at these; what cannot be said is red as well. `limit`: no longer than that.
    pub fn look(&mut self, checks: &[Check], limit: Option<Duration>) -> Vec<Verdict> {
        self.expire();
        let mut ready = Vec::new();
        let mut verdicts = Vec::new();
        for check in checks {
            match self.vars.put(check) {
                Ok(check) => ready.push(check),
                Err(why) => verdicts.push(Verdict {
                    id: check.id.clone(),
                    green: false,
                    saw: why,
                    took: Duration::ZERO,
                    why: check.why.clone(),
                    metric: None,
                }),
            }
        }
        verdicts.extend(check::all(&ready, &self.world, self.tally.as_deref(), limit));
        verdicts
    }

    pub fn note(&self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            let kind = if verdict.green { Kind::Green } else { Kind::Red };
            self.timeline.note(kind, format!("{}: {}", verdict.id, verdict.saw));
        }
    }

    /// What has to be so in this step and is not: the exercise is lost from here on.
    pub fn lost(&mut self, index: usize) -> Vec<Verdict> {
        let steps = &self.exercise.steps[..=index];
        let guard: Vec<Check> = steps.iter().flat_map(|step| step.guard.clone()).collect();
        let mut verdicts = self.look(&guard, Some(HOPE));
        verdicts.retain(|verdict| !verdict.green);
        self.note(&verdicts);
        verdicts
    }

    /// The step's faults are undone, its clients end, it is tidied up.
    pub fn leave(&mut self) -> Result<(), String> {
        let mut result = Ok(());
        for held in std::mem::take(&mut self.held).into_iter().rev() {
            result = result.and(self.undo(held));
        }
        if let Some(writers) = self.writers.take() {
            let tally = writers.finish(&self.world);
            for at in tally.summary().failures_at {
                self.timeline
                    .note_at(tally.began() + Duration::from_millis(at), Kind::WriteFailed, "");
            }
            self.tally = Some(tally);
        }
        if let Some(index) = self.entered.take() {
            for act in self.step(index).cleanup.clone() {
                result = result.and(self.act(index, &act).map(drop));
            }
        }
        result
    }

    pub fn traffic(&self) -> Option<Summary> {
        self.tally.as_ref().map(|tally| tally.summary())
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let (over, still) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held| held.until.is_some_and(|until| until <= now));
        self.held = still;
        let over: Vec<Held> = over;
        for held in over {
            let _ = self.undo(held);
        }
    }

    fn undo(&self, held: Held) -> Result<(), String> {
        let result = self.world.heal(&held.hold.leases).map_err(|error| error.to_string());
        self.timeline.note(Kind::Healed, held.text);
        result
    }
}

/// Notes every change of leader, until it is dropped.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(world: Arc<World>, timeline: Timeline) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        let thread = std::thread::spawn(move || {
            let mut last = None;
            let mut nodes: Vec<&str> = world.nodes.iter().map(|(node, _)| node.as_str()).collect();
            while !ends.load(Ordering::Relaxed) {
                let mut asked = None;
                nodes.retain(|node| {
                    if asked.is_some() {
                        return true;
                    }
                    let answer = check::leader(&world, node);
                    // A port that speaks TLS logs whoever does not.
                    let is_deaf = matches!(&answer, Err(why) if why.contains(DEAF));
                    asked = answer.ok();
                    !is_deaf
                });
                if let Some(leader) = asked
                    && last.as_ref() != Some(&leader)
                {
                    let text = leader.as_deref().unwrap_or("nobody");
                    timeline.note(Kind::Leader, text);
                    last = Some(leader);
                }
                std::thread::sleep(WATCH);
            }
        });
        Watch {
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

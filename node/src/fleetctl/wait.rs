//! Waiting until units are as they shall be, and telling of each that is.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::driver::Driver;
use super::lists::Machines;
use super::{Context, Failure, is_global, say};
use crate::fleet::schema::{JobState, Unit, UnitState};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);
/// What an attempt of --block-attempts is worth, as in the original.
const ATTEMPT: Duration = Duration::from_millis(500);
/// After this, who waits is told why.
const LONG: Duration = Duration::from_secs(5);
/// How long systemd may call a unit that it was told to start neither active nor failed.
const SETTLING: Duration = Duration::from_secs(15);

/// How long a command waits for each unit.
pub struct Patience {
    begun: Instant,
    limit: Option<Duration>,
    hinted: bool,
}

impl Patience {
    pub fn of(context: &Context) -> Patience {
        let attempts = context.command.int("block-attempts");
        Patience {
            begun: Instant::now(),
            limit: u32::try_from(attempts).ok().filter(|n| *n > 0).map(|n| ATTEMPT * n),
            hinted: false,
        }
    }

    /// Waits a moment; false once it has been long enough.
    pub async fn more(&self) -> bool {
        let left = self.limit.map(|limit| limit.saturating_sub(self.begun.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        sleep(left.map_or(LOOK, |left| left.min(LOOK))).await;
        true
    }

    /// True once, when it takes long.
    fn is_long(&mut self) -> bool {
        let long = !self.hinted && self.begun.elapsed() > LONG;
        self.hinted |= long;
        long
    }
}

/// Waits for all of these units; each that is not in time makes an error line. False if there was one.
pub async fn for_state(context: &Context, names: &[String], state: JobState) -> bool {
    let mut patience = Patience::of(context);
    let mut waiting: Vec<&String> = names.iter().collect();
    let mut good = true;
    loop {
        let mut still = Vec::new();
        for name in waiting {
            match context.driver.unit(name).await {
                Ok(Some(unit)) if reached(&unit, state) => told(context, &unit).await,
                Ok(Some(_)) => still.push(name),
                Ok(None) => {
                    say::err(&format!(
                        "Error waiting for units: unit {name} is not in the registry any more"
                    ));
                    good = false;
                }
                Err(error) => {
                    say::log(
                        "WARN",
                        "fleetctl",
                        &format!("Error retrieving Unit({name}) from Registry: {error}"),
                    );
                    still.push(name);
                }
            }
        }
        waiting = still;
        if waiting.is_empty() {
            return good;
        }
        if patience.is_long() {
            hint(&context.driver, &waiting).await;
        }
        if !patience.more().await {
            for name in waiting {
                let state = state.name();
                say::err(&format!(
                    "Error waiting for units: timed out waiting for unit {name} to report state {state}"
                ));
            }
            return false;
        }
    }
}

/// A global unit is nowhere in particular: what is wanted of it counts.
fn reached(unit: &Unit, state: JobState) -> bool {
    let now = if is_global(unit) {
        &unit.desired_state
    } else {
        &unit.current_state
    };
    now == state.name()
}

async fn told(context: &Context, unit: &Unit) {
    let mut line = format!("Unit {} {}", unit.name, unit.current_state);
    if !unit.machine_id.is_empty() && unit.current_state != JobState::Inactive.name() {
        let machines = Machines::read(&context.driver).await;
        line += &format!(" on {}", machines.legend(&unit.machine_id, false));
    }
    say::out(&line);
}

/// Who waits for what cannot come is told so.
async fn hint(driver: &Driver, names: &[&String]) {
    for name in names {
        let Ok(Some(found)) = driver.explain(name).await else {
            continue;
        };
        if found.machine_id.is_empty() && found.machines.values().all(|reason| !reason.is_empty()) {
            say::err(&format!(
                "Unit {name} waits: no machine can take it, see: fleetctl explain {name}"
            ));
        }
    }
}

/// Whether systemd has a unit as it shall be: on its machine, or for a global one on all that have it.
fn states_of<'a>(states: &'a [UnitState], unit: &Unit) -> Vec<&'a UnitState> {
    let here = |state: &&UnitState| {
        state.name == unit.name && (unit.machine_id.is_empty() || state.machine_id == unit.machine_id)
    };
    states.iter().filter(here).collect()
}

/// What a unit that shall run is doing.
#[derive(Debug, PartialEq, Eq)]
enum Health {
    Good,
    NotYet,
    /// It does not run, and nothing says that it will.
    Down(String),
    Failed(String),
}

fn health(states: &[&UnitState], hash: Option<&str>) -> Health {
    let mut all = Health::Good;
    for state in states {
        let seen = format!("{} ({})", state.systemd_active_state, state.systemd_sub_state);
        match state.systemd_active_state.as_str() {
            _ if hash.is_some_and(|hash| state.hash != hash) => return Health::NotYet,
            "active" | "reloading" => {}
            "failed" => return Health::Failed(seen),
            "inactive" => all = Health::Down(seen),
            _ => return Health::NotYet,
        }
    }
    match states.is_empty() {
        true => Health::NotYet,
        false => all,
    }
}

/// Waits until systemd says that a unit which was told to start is active. With a hash: with the file that has it.
pub async fn for_health(context: &Context, name: &str, hash: Option<&str>) -> Result<(), Failure> {
    let mut patience = Patience::of(context);
    let mut down: Option<Instant> = None;
    loop {
        let unit = context.driver.unit(name).await;
        let seen = match unit {
            Ok(Some(unit)) if reached(&unit, JobState::Launched) => {
                let states = context.driver.states().await.unwrap_or_default();
                let seen = health(&states_of(&states, &unit), hash);
                if seen == Health::Good {
                    told(context, &unit).await;
                    return Ok(());
                }
                seen
            }
            Ok(None) => return Err(Failure::new(format!("unit {name} is not in the registry any more"))),
            _ => Health::NotYet,
        };
        match seen {
            Health::Failed(seen) => return Err(Failure::new(format!("unit {name} is {seen}"))),
            Health::Down(seen) => {
                if down.get_or_insert_with(Instant::now).elapsed() > SETTLING {
                    return Err(Failure::new(format!("unit {name} was started and is {seen}")));
                }
            }
            _ => down = None,
        }
        if patience.is_long() {
            hint(&context.driver, &[&name.to_string()]).await;
        }
        if !patience.more().await {
            return Err(Failure::new(format!(
                "timed out waiting for unit {name} to become active"
            )));
        }
    }
}

/// Waits until a unit that was told to stop has stopped everywhere.
pub async fn for_stop(context: &Context, name: &str) -> Result<(), Failure> {
    let patience = Patience::of(context);
    loop {
        if let (Ok(Some(unit)), Ok(states)) = (context.driver.unit(name).await, context.driver.states().await) {
            let stopped = |state: &&UnitState| matches!(state.systemd_active_state.as_str(), "inactive" | "failed");
            if reached(&unit, JobState::Loaded) && states_of(&states, &unit).iter().all(stopped) {
                return Ok(());
            }
        }
        if !patience.more().await {
            return Err(Failure::new(format!("timed out waiting for unit {name} to stop")));
        }
    }
}

/// Waits until no machine has these units any more.
pub async fn for_absence(context: &Context, names: &[String]) -> Result<(), Failure> {
    let patience = Patience::of(context);
    loop {
        let states = context.driver.states().await;
        let left = states.map(|states| states.into_iter().find(|state| names.contains(&state.name)));
        if let Ok(None) = left {
            return Ok(());
        }
        if !patience.more().await {
            let what = match left {
                Ok(Some(state)) => format!(
                    "timed out waiting for {} to forget unit {}",
                    state.machine_id, state.name
                ),
                Ok(None) => String::new(),
                Err(error) => error.to_string(),
            };
            return Err(Failure::new(format!("Error waiting for units: {what}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_what_systemd_says_of_the_right_file() {
        let state = |active: &str, hash: &str| UnitState {
            systemd_active_state: active.into(),
            systemd_sub_state: "x".into(),
            hash: hash.into(),
            ..UnitState::default()
        };
        let (good, old, failed, dead) = (
            state("active", "new"),
            state("active", "old"),
            state("failed", "new"),
            state("inactive", "new"),
        );
        assert_eq!(health(&[&good], Some("new")), Health::Good);
        assert_eq!(health(&[&old], Some("new")), Health::NotYet);
        assert_eq!(health(&[&old], None), Health::Good);
        assert_eq!(health(&[&good, &failed], None), Health::Failed("failed (x)".into()));
        assert_eq!(health(&[&good, &dead], None), Health::Down("inactive (x)".into()));
        assert_eq!(health(&[], None), Health::NotYet);
        assert_eq!(health(&[&state("activating", "new")], None), Health::NotYet);
    }
}

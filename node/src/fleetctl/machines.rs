//! cordon, uncordon, drain: which machines take units.
use std::collections::{BTreeMap, BTreeSet};

use super::driver::{Driver, Duty, Error};
use super::lists::Machines;
use super::wait::Patience;
use super::{Context, Failure, is_global, say};
use crate::fleet::schema::{JobState, Unit};

pub async fn run(context: &Context, duty: Duty) -> Result<(), Failure> {
    let name = duty.name();
    if context.command.args.is_empty() {
        return Err(Failure::new(format!(
            "One machine must be provided: fleetctl {name} MACHINE"
        )));
    }
    let failed = |error: Error| Failure::new(format!("Error: cannot {name}: {error}"));
    let machines = context.driver.machines().await.map_err(failed)?;
    let ids: Vec<&str> = machines.iter().map(|machine| machine.id.as_str()).collect();
    let mut named = Vec::new();
    // All of them are looked up before anything is done to one.
    for argument in &context.command.args {
        named.push(unique(&ids, argument).map_err(|why| Failure::new(format!("{argument}: {why}")))?);
    }
    let legends = Machines::read(&context.driver).await;
    // What is there before: a unit may be gone from there before anybody looks again.
    let before = match duty {
        Duty::Drain => context.driver.units().await.map_err(failed)?,
        _ => Vec::new(),
    };
    for id in &named {
        context.driver.tell(id, duty).await.map_err(failed)?;
        let legend = legends.legend(id, false);
        match duty {
            Duty::Cordon => say::out(&format!("Machine {legend} takes no further units")),
            Duty::Uncordon => say::out(&format!("Machine {legend} takes units again")),
            Duty::Drain => say::out(&format!("Triggered machine {legend} drain")),
        }
    }
    if duty == Duty::Drain && !context.command.is("no-block") {
        for id in &named {
            drained(context, id, &legends, &before).await?;
        }
    }
    Ok(())
}

/// The machine whose id begins like this.
pub fn unique<'a>(ids: &[&'a str], begin: &str) -> Result<&'a str, String> {
    let mut found = ids.iter().filter(|id| id.starts_with(begin));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err("found more than one machine".into()),
        (None, _) => Err("machine does not exist".into()),
    }
}

/// The units that the scheduler has put on a machine.
fn on<'a>(units: &'a [Unit], machine: &str) -> Vec<&'a Unit> {
    let here = |unit: &&Unit| unit.machine_id == machine && unit.desired_state != JobState::Inactive.name();
    units.iter().filter(|unit| !is_global(unit)).filter(here).collect()
}

/// What speaks against a unit everywhere else; None where another machine can take it.
async fn why_it_stays(driver: &Driver, name: &str, machine: &str) -> Option<BTreeMap<String, String>> {
    // Who cannot be asked has not said no.
    let mut found = driver.explain(name).await.ok()??;
    found.machines.remove(machine);
    found
        .machines
        .values()
        .all(|reason| !reason.is_empty())
        .then_some(found.machines)
}

/// Waits until a machine has nothing that could run elsewhere, telling of each unit that moves.
async fn drained(context: &Context, machine: &str, legends: &Machines, before: &[Unit]) -> Result<(), Failure> {
    let patience = Patience::of(context);
    let mut leaving: BTreeSet<String> = on(before, machine).iter().map(|unit| unit.name.clone()).collect();
    loop {
        let units = context.driver.units().await;
        let units = units.map_err(|error| Failure::new(format!("Error: cannot see the units: {error}")))?;
        let here = on(&units, machine);
        leaving.extend(here.iter().map(|unit| unit.name.clone()));
        let mut moving = Vec::new();
        let mut staying = Vec::new();
        for name in leaving.clone() {
            let Some(unit) = units.iter().find(|unit| unit.name == name) else {
                leaving.remove(&name);
                continue;
            };
            if unit.machine_id == machine {
                match why_it_stays(&context.driver, &name, machine).await {
                    Some(reasons) => staying.push((name, reasons)),
                    None => moving.push(name),
                }
            } else if unit.current_state == unit.desired_state {
                leaving.remove(&name);
                let state = &unit.current_state;
                match unit.machine_id.as_str() {
                    "" => say::out(&format!("Unit {name} {state}")),
                    id => say::out(&format!("Unit {name} {state} on {}", legends.legend(id, false))),
                }
            } else {
                moving.push(name);
            }
        }
        let legend = legends.legend(machine, false);
        if moving.is_empty() {
            for (name, reasons) in &staying {
                say::err(&format!("Unit {name} stays on {legend}, no other machine can take it:"));
                for (id, reason) in reasons {
                    say::err(&format!("  {}: {reason}", legends.legend(id, false)));
                }
            }
            say::out(&format!("Machine {legend} is drained"));
            return Ok(());
        }
        if !patience.more().await {
            let list = moving.join(" ");
            return Err(Failure::new(format!(
                "Error: timed out waiting for units to leave {legend}: {list}"
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_the_beginning_of_its_id() {
        let ids = ["100", "101", "200"];
        assert_eq!(unique(&ids, "2"), Ok("200"));
        assert_eq!(unique(&ids, "10"), Err("found more than one machine".into()));
        assert_eq!(unique(&ids, "3"), Err("machine does not exist".into()));
    }
}

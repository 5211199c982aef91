//! submit, load, start, stop, unload, destroy.
use super::create::{self, Lookup};
use super::{Context, Failure, is_global, say, wait};
use crate::fleet::schema::{JobState, Unit};
use crate::unit::name;

pub const UNSIGNED: &str = "WARNING: The signed/verified units feature is DEPRECATED and cannot be used.";

/// Looks the units up, creates those that are missing, and waits until they are there.
pub async fn lookup(context: &Context, limit: JobState) -> Result<Lookup, Failure> {
    if context.command.is("sign") {
        return Err(Failure(2, UNSIGNED.into()));
    }
    let replace = context.command.is("replace").then_some(limit);
    let lookup = create::ensure(context, replace).await;
    let lookup = lookup.map_err(|why| Failure::new(format!("Error creating units: {why}")))?;
    match wait::for_state(context, &lookup.created, JobState::Inactive).await {
        true => Ok(lookup),
        false => Err(Failure::told()),
    }
}

pub async fn submit(context: &Context) -> Result<(), Failure> {
    let lookup = lookup(context, JobState::Inactive).await?;
    let replaced: Vec<String> = lookup.replaced.into_iter().map(|(name, _)| name).collect();
    match wait::for_state(context, &replaced, JobState::Inactive).await {
        true => Ok(()),
        false => Err(Failure::told()),
    }
}

/// load and start.
pub async fn forward(context: &Context, verb: &str, state: JobState) -> Result<(), Failure> {
    let lookup = lookup(context, state).await?;
    let failed = match state {
        JobState::Loaded => "Error loading units",
        _ => "Error starting units",
    };
    let failure = |why: String| Failure::new(format!("{failed}: {why}"));
    let mut triggered = Vec::new();
    for name in &lookup.names {
        let unit = context.driver.unit(name).await;
        let unit = unit.map_err(|error| failure(format!("error retrieving unit {name} from registry: {error}")))?;
        let Some(unit) = unit else {
            return Err(failure(format!("unit {name} not found")));
        };
        let replaced = lookup.replaced.iter().any(|(of, _)| of == name);
        if unit.desired_state == state.name() && !replaced {
            continue;
        }
        if unit.desired_state != state.name() {
            let set = context.driver.set_wanted(name, state).await;
            set.map_err(|error| failure(error.to_string()))?;
        }
        match is_global(&unit) {
            true => say::out(&format!("Triggered global unit {name} {verb}")),
            false => triggered.push(name.clone()),
        }
    }
    if context.command.is("no-block") {
        for name in &triggered {
            say::out(&format!("Triggered unit {name} {verb}"));
        }
        return Ok(());
    }
    // Those with another file have to run that one: for them "launched" alone may still mean the old one.
    let (replaced, plain): (Vec<String>, Vec<String>) = triggered
        .into_iter()
        .partition(|name| state == JobState::Launched && lookup.replaced.iter().any(|(of, _)| of == name));
    let mut good = wait::for_state(context, &plain, state).await;
    for (name, hash) in lookup.replaced.iter().filter(|(name, _)| replaced.contains(name)) {
        if let Err(Failure(_, why)) = wait::for_health(context, name, Some(hash)).await {
            say::err(&format!("{failed}: {why}"));
            good = false;
        }
    }
    match good {
        true => Ok(()),
        false => Err(Failure::told()),
    }
}

/// The units that are named and there, in the order of the arguments.
async fn named(context: &Context) -> Result<Vec<Unit>, Failure> {
    if context.command.args.is_empty() {
        return Ok(Vec::new());
    }
    let units = context
        .driver
        .units()
        .await
        .map_err(|error| Failure::new(error.to_string()))?;
    let found = context.command.args.iter().filter_map(|argument| {
        let name = name::mangle(argument);
        units.iter().find(|unit| unit.name == name).cloned()
    });
    Ok(found.collect())
}

/// stop and unload.
pub async fn backward(context: &Context, verb: &str, state: JobState) -> Result<(), Failure> {
    let failed = match state {
        JobState::Loaded => "Error stopping units",
        _ => "Error unloading units",
    };
    let mut triggered = Vec::new();
    for unit in named(context).await? {
        let name = &unit.name;
        let global = is_global(&unit);
        if !global {
            if state == JobState::Loaded && unit.current_state == JobState::Inactive.name() {
                return Err(Failure::new(format!("Unable to stop unit {name} in state inactive")));
            }
            if unit.current_state == state.name() && unit.desired_state == state.name() {
                continue;
            }
        }
        let set = context.driver.set_wanted(name, state).await;
        set.map_err(|error| Failure::new(format!("{failed}: {error}")))?;
        match global {
            true => say::out(&format!("Triggered global unit {name} {verb}")),
            false => triggered.push(name.clone()),
        }
    }
    if context.command.is("no-block") {
        for name in &triggered {
            say::out(&format!("Triggered unit {name} {verb}"));
        }
        return Ok(());
    }
    match wait::for_state(context, &triggered, state).await {
        true => Ok(()),
        false => Err(Failure::told()),
    }
}

pub async fn destroy(context: &Context) -> Result<(), Failure> {
    let mut good = true;
    let mut destroyed = Vec::new();
    for argument in &context.command.args {
        let name = name::mangle(argument);
        match context.driver.destroy(&name).await {
            Ok(()) => {
                say::out(&format!("Destroyed {name}"));
                destroyed.push(name);
            }
            Err(error) => {
                say::err(&format!("Error destroying units: {error}"));
                good = false;
            }
        }
    }
    if context.command.given("block-attempts").is_some() && !context.command.is("no-block") {
        wait::for_absence(context, &destroyed).await?;
    }
    match good {
        true => Ok(()),
        false => Err(Failure::told()),
    }
}

//! restart: one unit after the other is stopped, started, and waited for.
use super::{Context, Failure, is_global, say, units, wait};
use crate::fleet::schema::JobState;

pub async fn run(context: &Context) -> Result<(), Failure> {
    let names = units::lookup(context, JobState::Launched).await?.names;
    for (at, name) in names.iter().enumerate() {
        if let Err(Failure(code, why)) = one(context, name).await {
            let rest = names[at + 1..].join(" ");
            let rest = match rest.as_str() {
                "" => String::new(),
                rest => format!("; not restarted: {rest}"),
            };
            return Err(Failure(code, format!("Error restarting units: {why}{rest}")));
        }
        say::log("INFO", "restart", &format!("Unit({name}) was restarted."));
    }
    Ok(())
}

async fn one(context: &Context, name: &str) -> Result<(), Failure> {
    let failed = |error: super::driver::Error| Failure::new(error.to_string());
    let unit = context.driver.unit(name).await.map_err(failed)?;
    let unit = unit.ok_or_else(|| Failure::new(format!("unit {name} is not in the registry any more")))?;
    // What is on no machine has nothing to stop.
    let placed = match is_global(&unit) {
        true => unit.desired_state == JobState::Launched.name(),
        false => unit.current_state != JobState::Inactive.name(),
    };
    if placed {
        context
            .driver
            .set_wanted(name, JobState::Loaded)
            .await
            .map_err(failed)?;
        wait::for_stop(context, name).await?;
    }
    context
        .driver
        .set_wanted(name, JobState::Launched)
        .await
        .map_err(failed)?;
    wait::for_health(context, name, None).await
}

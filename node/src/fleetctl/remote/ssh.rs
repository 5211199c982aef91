//! `fleetctl ssh`: a shell on a machine, or on the machine of a unit, or a command there.
use super::{Fleet, Remote, failed};
use crate::ssh::session;
use crate::unit::name::mangle;

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub machine: Option<String>,
    pub unit: Option<String>,
    pub forward_agent: bool,
    pub port: u16,
    /// Where to, unless a flag says, and what to run.
    pub args: Vec<String>,
}

pub async fn run(fleet: &impl Fleet, remote: &Remote, options: &Options) -> i32 {
    let mut args = options.args.as_slice();
    let found = match (&options.machine, &options.unit) {
        (Some(_), Some(_)) => {
            return failed(1, "Both machine and unit flags provided, please specify only one.");
        }
        (Some(machine), None) => machine_address(fleet, machine).await,
        (None, Some(unit)) => unit_address(fleet, unit).await,
        (None, None) => match args.split_first() {
            Some((name, rest)) => {
                args = rest;
                either(fleet, name).await
            }
            None => Err("one machine or unit must be provided".into()),
        },
    };
    let address = match found {
        Ok(address) if address.is_empty() => return failed(1, "Could not determine address of machine."),
        Ok(address) => address,
        Err(why) => return failed(1, &format!("Unable to proceed: {why}")),
    };
    if let Some(dashes) = args.iter().position(|arg| arg == "--") {
        args = &args[dashes + 1..];
    }
    let connection = match Box::pin(remote.connect(&address, options.port, options.forward_agent)).await {
        Ok(connection) => connection,
        Err(error) => return failed(1, &format!("Failed building SSH client: {error}")),
    };
    if args.is_empty() {
        return match session::run(&connection, None).await {
            // What the last command in a shell made of itself is nobody's failure.
            Ok(_) => 0,
            Err(error) => failed(1, &format!("Failed opening shell over SSH: {error}")),
        };
    }
    match session::run(&connection, Some(&args.join(" "))).await {
        Ok(status) => status,
        Err(error) => failed(255, &format!("Failed running command over SSH: {error}")),
    }
}

async fn machine_address(fleet: &impl Fleet, prefix: &str) -> Result<String, String> {
    let mut meant = fleet.machines().await?;
    meant.retain(|machine| machine.id.starts_with(prefix));
    match meant.as_slice() {
        [] => Err("machine does not exist".into()),
        [machine] => Ok(machine.address.clone()),
        _ => Err("found more than one machine".into()),
    }
}

async fn unit_address(fleet: &impl Fleet, name: &str) -> Result<String, String> {
    let Some(unit) = fleet.unit(&mangle(name)).await? else {
        return Err("unit does not exist".into());
    };
    if unit.global {
        return Err("global units unsupported".into());
    }
    let machines = fleet.machines().await?;
    let machine = machines.into_iter().find(|machine| machine.id == unit.machine);
    Ok(machine.map(|machine| machine.address).unwrap_or_default())
}

async fn either(fleet: &impl Fleet, name: &str) -> Result<String, String> {
    let machine = machine_address(fleet, name).await;
    let unit = unit_address(fleet, name)
        .await
        .ok()
        .filter(|address| !address.is_empty());
    match (machine, unit) {
        (Ok(_), Some(_)) => Err(format!(
            "ambiguous argument, both machine and unit found for `{name}`.\n\
             Please use flag `-m` or `-u` to refine the search"
        )),
        (Ok(address), None) | (Err(_), Some(address)) => Ok(address),
        (Err(_), None) => Err("could not find matching unit or machine".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixed;
    use super::*;

    #[tokio::test]
    async fn machines_are_meant_by_the_beginning_of_their_ids_and_units_by_their_names() {
        let said = |result: Result<String, String>| result.unwrap_or_else(|why| why);
        assert_eq!(said(machine_address(&Fixed, "1a").await), "10.0.0.1");
        assert_eq!(said(machine_address(&Fixed, "1").await), "found more than one machine");
        assert_eq!(said(machine_address(&Fixed, "zz").await), "machine does not exist");
        assert_eq!(said(unit_address(&Fixed, "up").await), "10.0.0.1");
        assert_eq!(said(unit_address(&Fixed, "down").await), "");
        assert_eq!(said(unit_address(&Fixed, "zz").await), "unit does not exist");
        assert_eq!(said(unit_address(&Fixed, "glob").await), "global units unsupported");
        assert_eq!(said(either(&Fixed, "up").await), "10.0.0.1");
        assert_eq!(said(either(&Fixed, "1b").await), "10.0.0.2");
        assert_eq!(
            said(either(&Fixed, "glob").await),
            "could not find matching unit or machine"
        );
        assert!(
            said(either(&Fixed, "1a").await).starts_with("ambiguous argument, both machine and unit found for `1a`.")
        );
    }
}

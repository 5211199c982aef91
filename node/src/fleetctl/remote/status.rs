//! `fleetctl status`: what systemd says of units, on the machines they are on.
use super::{Fleet, Remote, failed};
use crate::sys::print;
use crate::unit::name::mangle;

pub async fn run(fleet: &impl Fleet, remote: &Remote, port: u16, args: &[String]) -> i32 {
    let mut units = Vec::new();
    // All of them, before the first is shown.
    for arg in args {
        let name = mangle(arg);
        let unit = match fleet.unit(&name).await {
            Ok(Some(unit)) => unit,
            Ok(None) => return failed(1, &format!("Unit {name} does not exist.")),
            Err(why) => return failed(1, &format!("Error retrieving unit: {why}")),
        };
        if unit.global {
            return failed(1, &format!("Unable to determine status of global unit {name}."));
        }
        if unit.inactive {
            return failed(1, &format!("Unit {name} does not appear to be loaded."));
        }
        units.push(unit);
    }
    for (index, unit) in units.iter().enumerate() {
        if index > 0 {
            print("\n", "");
        }
        let words = ["systemctl", "status", "-l", &unit.name];
        let status = remote.run(fleet, &unit.machine, port, &words).await;
        if status != 0 {
            return status;
        }
    }
    0
}

//! explain: what speaks against a unit on each machine.
use super::lists::{self, Machines};
use super::{Context, Failure, say, table};
use crate::unit::name;

pub async fn run(context: &Context) -> Result<(), Failure> {
    let [argument] = &context.command.args[..] else {
        return Err(Failure::new("One unit must be provided"));
    };
    let as_json = match context.command.given("format").unwrap_or("table") {
        "table" => false,
        "json" => true,
        other => return Err(Failure::new(format!("--format {other:?} is neither table nor json"))),
    };
    let name = name::mangle(argument);
    let found = context.driver.explain(&name).await;
    let found = found.map_err(|error| Failure::new(format!("Error explaining Unit {name}: {error}")))?;
    let Some(found) = found else {
        let hint = lists::hint_for(context, &name).await;
        return Err(Failure::new(format!("Unit {name} not found{hint}")));
    };
    if as_json {
        return lists::json(&found);
    }
    let machines = Machines::read(&context.driver).await;
    let full = context.command.is("full");
    let place = match found.machine_id.as_str() {
        "" => "on no machine".to_string(),
        id => format!("on {}", machines.legend(id, full)),
    };
    say::out(&format!("Unit {name} shall be {} and is {place}", found.desired_state));
    let mut lines = Vec::new();
    if !context.command.is("no-legend") {
        lines.push(table::cells("MACHINE\tREASON"));
    }
    for (id, reason) in &found.machines {
        let reason = match reason.as_str() {
            "" if *id == found.machine_id => match machines.cordon(id) {
                "" => "it is here".to_string(),
                cordon => format!("it is here; the machine is {cordon}"),
            },
            "" => "it could run here".to_string(),
            reason => reason.to_string(),
        };
        lines.push(vec![machines.legend(id, full), reason]);
    }
    crate::sys::print(&table::layout(&lines), "");
    Ok(())
}

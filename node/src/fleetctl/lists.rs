//! list-machines, list-units, list-unit-files, and cat.
use std::collections::HashMap;

use serde::Serialize;

use super::driver::Driver;
use super::{Context, Failure, commands, is_global, say, table};
use crate::closest;
use crate::fleet::schema::{Machine, Unit, UnitState};
use crate::unit::{UnitFile, name};

/// The machines by id, for legends.
pub struct Machines(HashMap<String, Machine>);

impl Machines {
    /// Without them legends are ids, and what they belong to can still be told.
    pub async fn read(driver: &Driver) -> Machines {
        let machines = match driver.machines().await {
            Ok(machines) => machines,
            Err(error) => {
                say::log(
                    "ERROR",
                    "fleetctl",
                    &format!("Failed retrieving list of machines: {error}"),
                );
                Vec::new()
            }
        };
        Machines(
            machines
                .into_iter()
                .map(|machine| (machine.id.clone(), machine))
                .collect(),
        )
    }

    /// `cordoned`, `draining`; empty for a machine that takes units.
    pub fn cordon(&self, id: &str) -> &str {
        self.0.get(id).map_or("", |machine| machine.cordon.as_str())
    }

    /// `10000000.../10.93.0.11`
    pub fn legend(&self, id: &str, full: bool) -> String {
        let address = self.0.get(id).map(|machine| machine.primary_ip.as_str());
        let id = short(id, full);
        match address.unwrap_or_default() {
            "" => id,
            address => format!("{id}/{address}"),
        }
    }
}

fn short(id: &str, full: bool) -> String {
    match id.get(..8) {
        Some(begin) if !full && id.len() > 8 => format!("{begin}..."),
        _ => id.into(),
    }
}

/// What the flags of a list say.
struct Shape {
    fields: Vec<String>,
    full: bool,
    legend: bool,
}

/// None: JSON.
fn shape(context: &Context, default: &str, known: &[&str]) -> Result<Option<Shape>, Failure> {
    let of = &context.command;
    match of.given("format").unwrap_or("table") {
        "table" => {}
        "json" => {
            let of_tables = ["fields", "full", "l", "no-legend"];
            let given = of_tables.into_iter().find(|flag| of.given(flag).is_some());
            return match given {
                None => Ok(None),
                Some(flag) => Err(Failure::new(format!(
                    "--{flag} is for tables: --format=json has everything, in full"
                ))),
            };
        }
        other => return Err(Failure::new(format!("--format {other:?} is neither table nor json"))),
    }
    let fields = of.given("fields").unwrap_or(default);
    if fields.is_empty() {
        return Err(Failure::new("Must define output format"));
    }
    let fields: Vec<String> = fields.split(',').map(str::to_string).collect();
    if let Some(bad) = fields.iter().find(|field| !known.contains(&field.as_str())) {
        let hint = closest::hint(bad, known.iter().copied());
        return Err(Failure::new(format!("Invalid key in output format: {bad:?}{hint}")));
    }
    Ok(Some(Shape {
        fields,
        full: of.is("full") || of.is("l"),
        legend: !of.is("no-legend"),
    }))
}

fn print<T>(shape: &Shape, rows: &[T], cell: impl Fn(&T, &str) -> String) {
    let mut lines = Vec::new();
    if shape.legend {
        lines.push(shape.fields.iter().map(|field| field.to_uppercase()).collect());
    }
    for row in rows {
        let cells = shape.fields.iter().map(|field| cell(row, field));
        lines.push(
            cells
                .map(|cell| if cell.is_empty() { "-".into() } else { cell })
                .collect(),
        );
    }
    crate::sys::print(&table::layout(&lines), "");
}

pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::new(error.to_string()))?;
    say::out(&text);
    Ok(())
}

pub async fn machines(context: &Context) -> Result<(), Failure> {
    let shape = shape(
        context,
        commands::MACHINE_FIELDS,
        &["machine", "ip", "metadata", "cordon"],
    )?;
    let machines = context.driver.machines().await;
    let machines =
        machines.map_err(|error| Failure::new(format!("Error retrieving list of active machines: {error}")))?;
    let Some(shape) = shape else {
        return json(&machines);
    };
    print(&shape, &machines, |machine, field| match field {
        "machine" => short(&machine.id, shape.full),
        "ip" => machine.primary_ip.clone(),
        "cordon" => machine.cordon.clone(),
        _ => {
            let pairs = machine.metadata.iter().map(|(key, value)| format!("{key}={value}"));
            pairs.collect::<Vec<_>>().join(",")
        }
    });
    Ok(())
}

fn of_units(error: super::driver::Error) -> Failure {
    Failure::new(format!("Error retrieving list of units from repository: {error}"))
}

pub async fn units(context: &Context) -> Result<(), Failure> {
    let known = ["unit", "machine", "load", "active", "sub", "hash"];
    let shape = shape(context, commands::UNIT_FIELDS, &known)?;
    let mut states = context.driver.states().await.map_err(of_units)?;
    states.sort_by(|a, b| (&a.name, &a.machine_id).cmp(&(&b.name, &b.machine_id)));
    let Some(shape) = shape else {
        return json(&states);
    };
    let machines = machines_for(context, &shape, &["machine"], !states.is_empty()).await;
    print(&shape, &states, |state: &UnitState, field| match field {
        "unit" => state.name.clone(),
        "machine" => machines.legend(&state.machine_id, shape.full),
        "load" => state.systemd_load_state.clone(),
        "active" => state.systemd_active_state.clone(),
        "sub" => state.systemd_sub_state.clone(),
        _ => shortened(&state.hash, shape.full),
    });
    Ok(())
}

fn shortened(hash: &str, full: bool) -> String {
    hash.get(..7).filter(|_| !full).unwrap_or(hash).to_string()
}

/// Asked for only where a column needs them.
async fn machines_for(context: &Context, shape: &Shape, fields: &[&str], any: bool) -> Machines {
    match any && shape.fields.iter().any(|field| fields.contains(&field.as_str())) {
        true => Machines::read(&context.driver).await,
        false => Machines(HashMap::new()),
    }
}

/// A unit with what tables show of it.
#[derive(Serialize)]
struct Listed<'a> {
    hash: String,
    global: bool,
    #[serde(flatten)]
    unit: &'a Unit,
}

pub async fn unit_files(context: &Context) -> Result<(), Failure> {
    let known = [
        "unit", "hash", "dstate", "state", "target", "tmachine", "global", "desc",
    ];
    let shape = shape(context, commands::FILE_FIELDS, &known)?;
    if shape
        .as_ref()
        .is_some_and(|shape| shape.fields.iter().any(|field| field == "tmachine"))
    {
        say::err("WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead");
    }
    let units = context.driver.units().await.map_err(of_units)?;
    let file = |unit: &Unit| UnitFile::from(unit.options.clone());
    let mut listed: Vec<Listed<'_>> = Vec::new();
    for unit in &units {
        listed.push(Listed {
            hash: file(unit).hash().to_string(),
            global: is_global(unit),
            unit,
        });
    }
    let Some(shape) = shape else {
        return json(&listed);
    };
    let machines = machines_for(context, &shape, &["target", "tmachine"], !units.is_empty()).await;
    let legend = |of: &Listed<'_>| match of.unit.machine_id.as_str() {
        "" => String::new(),
        id => machines.legend(id, shape.full),
    };
    print(&shape, &listed, |of, field| match field {
        "unit" => of.unit.name.clone(),
        "hash" => shortened(&of.hash, shape.full),
        "dstate" => of.unit.desired_state.clone(),
        "state" if of.global => String::new(),
        "state" => of.unit.current_state.clone(),
        "target" if of.global => "global".into(),
        "target" => legend(of),
        "tmachine" if of.global => String::new(),
        "tmachine" => legend(of),
        "global" => of.global.to_string(),
        _ => file(of.unit)
            .values("Unit", "Description")
            .next()
            .unwrap_or_default()
            .to_string(),
    });
    Ok(())
}

pub async fn cat(context: &Context) -> Result<(), Failure> {
    let [argument] = &context.command.args[..] else {
        return Err(Failure::new("One unit file must be provided"));
    };
    let name = name::mangle(argument);
    let unit = context.driver.unit(&name).await;
    let unit = unit.map_err(|error| Failure::new(format!("Error retrieving Unit {name}: {error}")))?;
    let Some(unit) = unit else {
        return Err(Failure::new(format!(
            "Unit {name} not found{}",
            hint_for(context, &name).await
        )));
    };
    crate::sys::print(&UnitFile::from(unit.options).text(), "");
    Ok(())
}

/// A unit that is there and is called nearly so.
pub async fn hint_for(context: &Context, name: &str) -> String {
    let units = context.driver.units().await.unwrap_or_default();
    closest::hint(name, units.iter().map(|unit| unit.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legends_are_short_unless_asked_for_in_full() {
        let machine = Machine {
            id: "10000000000000000000000000000000".into(),
            primary_ip: "10.93.0.11".into(),
            ..Machine::default()
        };
        let machines = Machines([(machine.id.clone(), machine.clone())].into());
        assert_eq!(machines.legend(&machine.id, false), "10000000.../10.93.0.11");
        assert_eq!(machines.legend("12345678", false), "12345678");
        assert_eq!(machines.legend("123456789", false), "12345678...");
        assert_eq!(machines.legend("123456789", true), "123456789");
    }
}

//! `lab fault`, `lab heal`: things go wrong on purpose, and are put right again.
use std::time::{Duration, Instant};

use serde_json::json;

use super::down;
use crate::args::{Destroy, FaultVerb, Format, Heal};
use crate::failure::{Exit, Failure};
use crate::faults::{Lease, Span};
use crate::lab::{Lab, ask};
use crate::local::protocol::{Event, Request};
use crate::ui;

pub fn run(verb: FaultVerb) -> Result<(), Failure> {
    match verb {
        FaultVerb::Ls { format } => return list(format),
        FaultVerb::Destroy { nodes } => return down::destroy(&Destroy { nodes, force: true }),
        _ => {}
    }
    let Some((fault, lease)) = verb.fault() else {
        return Ok(());
    };
    let lab = Lab::existing()?;
    fault.check().map_err(|why| {
        let todo = ui::command("fault --help");
        Failure::new(
            Exit::Usage,
            format!("no such fault: {fault}"),
            "the command line",
            why,
            todo,
        )
    })?;
    let names: Vec<String> = fault.nodes().into_iter().map(str::to_string).collect();
    lab.named(&names)?;
    let supervisor = lab.running()?;
    let request = Request::Fault {
        fault: fault.clone(),
        limit: lease.limit.map(Span::duration),
        held: false,
        seed: lease.seed,
    };
    let mut ids = Vec::new();
    ask(&supervisor, &request, |event| {
        if let Event::Fault(lease) = event {
            let until = match lease.left {
                Some(left) => format!(", for {}", Span::from(round(left))),
                None => String::new(),
            };
            ui::lines(&format!("fault {}: {}{until}", lease.id, lease.fault));
            ids.push(lease.id.to_string());
        }
    })
    .map_err(|failure| Failure {
        what: format!("it could not be had: {fault}"),
        ..failure
    })?;
    if ids.is_empty() {
        ui::lines(&fault.to_string());
    } else if lease.limit.is_none() {
        ui::lines(&format!("undo: {}", ui::command(&format!("heal {}", ids.join(" ")))));
    }
    Ok(())
}

pub fn heal(args: &Heal) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let supervisor = lab.running()?;
    let began = Instant::now();
    let mut healed = 0;
    ask(&supervisor, &Request::Heal { ids: args.ids.clone() }, |event| {
        if let Event::Healed(fault) = event {
            healed += 1;
            ui::phase(&format!("undone: {fault}"), began.elapsed());
        }
    })?;
    if healed == 0 {
        ui::lines("no fault is in force");
    }
    Ok(())
}

fn list(format: Format) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let mut leases = Vec::new();
    if let Some(supervisor) = lab.supervisor() {
        ask(&supervisor, &Request::Faults, |event| {
            if let Event::Fault(lease) = event {
                leases.push(lease.clone());
            }
        })?;
    }
    match format {
        Format::Json => {
            let list: Vec<_> = leases.iter().map(document).collect();
            ui::lines(&format!("{:#}", json!({ "schema": "lab.faults/1", "faults": list })));
        }
        Format::Table => {
            let mut rows = vec![["ID", "FAULT", "SINCE", "STILL"].map(String::from).to_vec()];
            rows.extend(leases.iter().map(row));
            ui::lines(&ui::table(&rows));
        }
    }
    Ok(())
}

fn row(lease: &Lease) -> Vec<String> {
    let still = match (&lease.stuck, lease.left) {
        (Some(why), _) => format!("cannot be undone: {}", why.lines().next().unwrap_or_default()),
        (None, Some(left)) => Span::from(round(left)).to_string(),
        (None, None) => "until lab heal".into(),
    };
    vec![
        lease.id.to_string(),
        lease.fault.to_string(),
        Span::from(round(lease.age)).to_string(),
        still,
    ]
}

fn document(lease: &Lease) -> serde_json::Value {
    json!({
        "id": lease.id,
        "fault": lease.fault,
        "text": lease.fault.to_string(),
        "age_ms": lease.age.as_millis() as u64,
        "left_ms": lease.left.map(|left| left.as_millis() as u64),
        "stuck": lease.stuck,
    })
}

/// Nobody counts the milliseconds of a minute.
fn round(time: Duration) -> Duration {
    match time.as_secs() {
        0 => Duration::from_millis(time.as_millis() as u64),
        _ => Duration::from_secs(time.as_secs_f64().round() as u64),
    }
}

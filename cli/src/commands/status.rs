//! `lab status`: which members run, which are healthy, who leads.
use serde_json::{Value, json};

use crate::args::{Format, Status};
use crate::failure::Failure;
use crate::topology::Member;
use crate::{client, state, ui};

struct Row {
    member: Member,
    pid: Option<u32>,
    state: &'static str,
    role: Option<&'static str>,
}

pub fn run(args: &Status) -> Result<(), Failure> {
    let rows: Vec<Row> = super::existing()?.members().into_iter().map(look).collect();
    ui::lines(&match args.format {
        Format::Table => table(&rows),
        Format::Json => json(&rows).to_string(),
    });
    Ok(())
}

fn look(member: Member) -> Row {
    let pid = state::running(&member).map(|identity| identity.pid);
    let port = member.client_port;
    let state = match pid.map(|_| client::is_healthy(port)) {
        None => "stopped",
        Some(Ok(true)) => "healthy",
        Some(Ok(false)) => "no quorum",
        Some(Err(_)) => "no answer",
    };
    let role = match state {
        "healthy" => client::role(port),
        _ => None,
    };
    Row {
        member,
        pid,
        state,
        role,
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["NAME", "STATE", "ROLE", "PID", "CLIENT URL", "LOG"]
        .map(String::from)
        .to_vec();
    let line = |row: &Row| {
        vec![
            row.member.name.clone(),
            row.state.to_string(),
            row.role.unwrap_or("-").to_string(),
            row.pid.map_or_else(|| "-".to_string(), |pid| pid.to_string()),
            row.member.client_url(),
            state::log_path(&row.member).display().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = [head].into_iter().chain(rows.iter().map(line)).collect();
    ui::table(&rows)
}

fn json(rows: &[Row]) -> Value {
    let member = |row: &Row| {
        json!({
            "name": row.member.name,
            "state": row.state,
            "role": row.role,
            "pid": row.pid,
            "client_url": row.member.client_url(),
            "peer_url": row.member.peer_url(),
            "data_dir": state::data_dir(&row.member),
            "log": state::log_path(&row.member),
        })
    };
    json!({ "members": rows.iter().map(member).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    #[test]
    fn a_member_that_is_stopped_has_no_pid_and_no_role() {
        let topology = Topology {
            num_instances: 1,
            client_port: 2379,
        };
        let rows: Vec<Row> = topology
            .members()
            .into_iter()
            .map(|member| Row {
                member,
                pid: None,
                state: "stopped",
                role: None,
            })
            .collect();
        let expected = "\
NAME     STATE    ROLE  PID  CLIENT URL             LOG
core-01  stopped  -     -    http://127.0.0.1:2379  .lab/core-01.log";
        assert_eq!(table(&rows), expected);
        assert_eq!(json(&rows)["members"][0]["pid"], Value::Null);
    }
}

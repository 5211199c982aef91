//! What is to be so: one look at it, and looking again until it is, or time is over.
use std::time::{Duration, Instant};

use labnode::shell::word;
use regex_lite::Regex;
use serde_json::Value;

use super::model::{Check, FileState, FleetUnit, Get, Http, Leader, Members, NodeState, Put, UnitState};
use super::traffic::Tally;
use super::world::World;
use crate::faults::Span;

const WITHIN: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);
const SCRIPT: Duration = Duration::from_secs(10);
const ETCD: u16 = 2379;

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub id: String,
    pub green: bool,
    /// What was seen last, in words.
    pub saw: String,
    /// How long it took to become green, or was red.
    pub took: Duration,
    pub why: Option<String>,
    pub metric: Option<String>,
}

/// All of them at the same time; each has its own time. `limit`: no longer than that, though.
pub fn all(checks: &[Check], world: &World, tally: Option<&Tally>, limit: Option<Duration>) -> Vec<Verdict> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = checks
            .iter()
            .map(|check| scope.spawn(move || until_green(check, world, tally, limit)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

fn until_green(check: &Check, world: &World, tally: Option<&Tally>, limit: Option<Duration>) -> Verdict {
    let began = Instant::now();
    let within = check.within.map_or(WITHIN, Span::duration);
    let within = limit.map_or(within, |limit| limit.min(within));
    let hold = check.hold.map(Span::duration).unwrap_or_default();
    let mut since = None;
    let mut took;
    loop {
        let (is_so, saw) = match look(check, world, tally) {
            Ok(saw) => (true, saw),
            Err(saw) => (false, saw),
        };
        let green = is_so != check.not;
        took = began.elapsed();
        let start = if green { *since.get_or_insert(took) } else { took };
        if !green {
            since = None;
        }
        let held = green && took - start >= hold;
        // What must stay so was so for a while when time is over: it may finish.
        let over = took >= within && (!green || took >= within + hold);
        if held || over {
            return Verdict {
                id: check.id.clone(),
                green: held,
                saw,
                took: start,
                why: check.why.clone(),
                metric: check.metric.clone(),
            };
        }
        std::thread::sleep(PAUSE);
    }
}

/// One look: what was seen, as it should be or not.
pub fn look(check: &Check, world: &World, tally: Option<&Tally>) -> Result<String, String> {
    if let Some(script) = &check.run {
        return each(check, world, |node| run(check, script, node, world));
    }
    if let Some(unit) = &check.unit {
        return each(check, world, |node| unit_state(unit, node, world));
    }
    if let Some(file) = &check.file {
        return each(check, world, |node| file_state(file, node, world));
    }
    if let Some(state) = &check.node {
        return node_state(state, world);
    }
    if let Some(http) = &check.http {
        return http_answer(http, check, world);
    }
    if let Some(members) = &check.etcd_members {
        return members_of(members, world);
    }
    if let Some(get) = &check.etcd_get {
        return value_of(get, world);
    }
    if let Some(put) = &check.etcd_put {
        return write(put, world);
    }
    if let Some(leader) = &check.etcd_leader {
        return leads(leader, world);
    }
    if let Some(unit) = &check.fleet_unit {
        return fleet_unit(unit, world);
    }
    match (&check.traffic, tally) {
        (Some(wanted), Some(tally)) => tally.judge(wanted),
        _ => Err("nobody writes in this step: it has no load".into()),
    }
}

fn each(check: &Check, world: &World, look: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let names = check.at.as_ref().map(|names| world.names(names)).unwrap_or_default();
    let alone = names.len() == 1;
    let mut saw = Vec::new();
    for name in &names {
        let place = |text: String| if alone { text } else { format!("{name}: {text}") };
        saw.push(place(look(name).map_err(place)?));
    }
    Ok(saw.join("; "))
}

fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let regex = Regex::new(&format!("(?m){pattern}")).map_err(|error| format!("{pattern:?}: {error}"))?;
    Ok(regex.is_match(text))
}

fn run(check: &Check, script: &str, node: &str, world: &World) -> Result<String, String> {
    let user = check.user.as_deref().unwrap_or("core");
    let outcome = world
        .run(node, user, script, SCRIPT)
        .map_err(|error| error.to_string())?;
    let said = [outcome.stdout.trim(), outcome.stderr.trim()];
    let said = said.into_iter().find(|text| !text.is_empty()).unwrap_or("nothing");
    let short: String = said.chars().take(300).collect();
    let wanted = check.status.unwrap_or(0);
    if (check.status.is_some() || check.output.is_none()) && outcome.status != wanted {
        return Err(format!("exit {}: {short}", outcome.status));
    }
    if let Some(pattern) = &check.output
        && !matches(pattern, &outcome.stdout)?
    {
        return Err(format!("no {pattern:?} in: {short}"));
    }
    Ok(short)
}

fn unit_state(unit: &UnitState, node: &str, world: &World) -> Result<String, String> {
    let (name, wanted) = match unit {
        UnitState::Active(name) => (name, "active"),
        UnitState::Inactive(name) => (name, "inactive"),
        UnitState::Failed(name) => (name, "failed"),
    };
    let script = format!("systemctl is-active {}", word(name));
    let outcome = world
        .run(node, "root", &script, SCRIPT)
        .map_err(|error| error.to_string())?;
    let state = outcome.stdout.trim();
    let text = format!("{name} is {state}");
    if state == wanted { Ok(text) } else { Err(text) }
}

fn file_state(file: &FileState, node: &str, world: &World) -> Result<String, String> {
    let script = format!("cat {}", word(&file.path));
    let outcome = world
        .run(node, "root", &script, SCRIPT)
        .map_err(|error| error.to_string())?;
    match (outcome.status, file.absent, &file.matches) {
        (0, true, _) => Err(format!("{} is there", file.path)),
        (0, false, Some(pattern)) if !matches(pattern, &outcome.stdout)? => {
            Err(format!("{} has no {pattern:?}", file.path))
        }
        (0, false, _) => Ok(format!("{} is there", file.path)),
        (_, true, _) => Ok(format!("{} is not there", file.path)),
        (_, false, _) => Err(outcome.stderr.trim().to_string()),
    }
}

fn node_state(state: &NodeState, world: &World) -> Result<String, String> {
    let (names, wanted) = match state {
        NodeState::Ready(names) => (names, "ready"),
        NodeState::Halted(names) => (names, "halted"),
        NodeState::New(names) => (names, "new"),
    };
    let states = world.states().map_err(|error| error.to_string())?;
    let mut saw = Vec::new();
    for name in world.names(names) {
        let state = states.iter().find(|(own, _, _)| *own == name);
        // One that never was has no state yet.
        let state = state.map_or("new", |(_, state, _)| state);
        let text = format!("{name} is {state}");
        if state != wanted {
            return Err(text);
        }
        saw.push(text);
    }
    Ok(saw.join("; "))
}

fn http_answer(http: &Http, check: &Check, world: &World) -> Result<String, String> {
    if check.at.is_some() {
        let script = format!("curl -sS -m 5 -w '\\n%{{http_code}}' {}", word(&http.get));
        return each(check, world, |node| {
            let outcome = world
                .run(node, "core", &script, SCRIPT)
                .map_err(|error| error.to_string())?;
            match outcome.stdout.rsplit_once('\n') {
                Some((body, status)) if outcome.status == 0 => answer(http, status.parse().unwrap_or(0), body),
                _ => Err(outcome.stderr.trim().to_string()),
            }
        });
    }
    let response = world.http("GET", &http.get, "").map_err(|error| error.to_string())?;
    answer(http, response.status, &response.body)
}

fn answer(http: &Http, status: u16, body: &str) -> Result<String, String> {
    let short: String = body.trim().chars().take(200).collect();
    let text = format!("{status} {short}");
    if http.status.unwrap_or(200) != status {
        return Err(text);
    }
    match &http.body {
        Some(pattern) if !matches(pattern, body)? => Err(format!("no {pattern:?} in: {text}")),
        _ => Ok(text),
    }
}

/// JSON of a node's etcd.
pub fn etcd(world: &World, node: &str, path: &str) -> Result<Value, String> {
    let url = format!("http://{node}:{ETCD}{path}");
    let response = world
        .http("GET", &url, "")
        .map_err(|error| format!("{node}: {error}"))?;
    serde_json::from_str(&response.body).map_err(|_| format!("{node}: {} {}", response.status, response.body.trim()))
}

fn members_of(wanted: &Members, world: &World) -> Result<String, String> {
    let answer = etcd(world, &wanted.via, "/v2/members")?;
    let members = answer["members"].as_array().cloned().unwrap_or_default();
    let mut saw = format!("{} members", members.len());
    let text = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_string();
    let all_of = |member: &Value, key: &str| -> Vec<String> {
        let list = member[key].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|url| url.as_str().map(str::to_string)).collect()
    };
    let mut right = wanted.count.is_none_or(|count| count == members.len());
    if let Some(peer) = &wanted.peer {
        let peers: Vec<String> = members.iter().flat_map(|member| all_of(member, "peerURLs")).collect();
        right &= peers.contains(peer);
        saw += &format!(", peer URLs {}", peers.join(" "));
    }
    if let Some(name) = &wanted.name {
        let names: Vec<String> = members.iter().map(|member| text(member, "name")).collect();
        right &= names.contains(name);
        saw += &format!(", names {}", names.join(" "));
    }
    if let Some(wanted) = wanted.healthy {
        let mut healthy = 0;
        for member in &members {
            let urls = all_of(member, "clientURLs");
            let answer = urls.first().map(|url| world.http("GET", &format!("{url}/health"), ""));
            match answer {
                Some(Ok(answer)) if answer.body.contains("\"true\"") => healthy += 1,
                Some(Ok(answer)) => saw += &format!(", {} says {}", text(member, "name"), answer.body.trim()),
                Some(Err(error)) => saw += &format!(", {}: {error}", text(member, "name")),
                None => saw += &format!(", {} has never started", text(member, "id")),
            }
        }
        saw = format!("{healthy} healthy of {saw}");
        right &= healthy == wanted;
    }
    if right { Ok(saw) } else { Err(saw) }
}

fn value_of(get: &Get, world: &World) -> Result<String, String> {
    let key = get.key.trim_start_matches('/');
    let quorum = if get.quorum { "?quorum=true" } else { "" };
    let answer = etcd(world, &get.via, &format!("/v2/keys/{key}{quorum}"))?;
    let value = answer["node"]["value"].as_str();
    let saw = match (value, answer["message"].as_str()) {
        (Some(value), _) => format!("{key} is {value:?}"),
        (None, Some(message)) => format!("{key}: {message}"),
        (None, None) => format!("{key} is a directory"),
    };
    let right = match (&get.equals, get.absent) {
        (_, true) => answer["errorCode"] == 100,
        (Some(wanted), false) => value == Some(wanted),
        (None, false) => answer["node"].is_object(),
    };
    if right { Ok(saw) } else { Err(saw) }
}

pub fn write(put: &Put, world: &World) -> Result<String, String> {
    let key = put.key.trim_start_matches('/');
    let url = format!("http://{}:{ETCD}/v2/keys/{key}", put.via);
    let form = format!("value={}", escape(&put.value));
    let response = world
        .http("PUT", &url, &form)
        .map_err(|error| format!("{}: {error}", put.via))?;
    let text = format!("{} {}", response.status, response.body.trim());
    if matches!(response.status, 200 | 201) {
        Ok(format!("{key} was written"))
    } else {
        Err(text)
    }
}

pub fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Who leads by what a node's etcd says: the leader's name, or none.
pub fn leader(world: &World, node: &str) -> Result<Option<String>, String> {
    let stats = etcd(world, node, "/v2/stats/self")?;
    let id = stats["leaderInfo"]["leader"].as_str().unwrap_or_default().to_string();
    if id.is_empty() || id.trim_start_matches('0').is_empty() {
        return Ok(None);
    }
    let answer = etcd(world, node, "/v2/members")?;
    let members = answer["members"].as_array().cloned().unwrap_or_default();
    let name = members
        .iter()
        .find(|member| member["id"] == id.as_str())
        .and_then(|member| member["name"].as_str());
    Ok(Some(name.map_or(id, str::to_string)))
}

fn leads(wanted: &Leader, world: &World) -> Result<String, String> {
    let mut leaders = Vec::new();
    for node in world.names(&wanted.via) {
        leaders.push(leader(world, &node)?);
    }
    let saw = match leaders.first() {
        Some(first) if leaders.iter().any(|other| other != first) => {
            let names: Vec<&str> = leaders.iter().map(|name| name.as_deref().unwrap_or("nobody")).collect();
            return Err(format!("they do not agree: {}", names.join(", ")));
        }
        Some(Some(name)) => format!("{name} leads"),
        _ => "nobody leads".to_string(),
    };
    let leader = leaders.first().cloned().flatten();
    let right = match (&leader, wanted.none, &wanted.among) {
        (leader, true, _) => leader.is_none(),
        (Some(name), false, Some(among)) => among.has(name),
        (leader, false, None) => leader.is_some(),
        (None, false, Some(_)) => false,
    };
    if right { Ok(saw) } else { Err(saw) }
}

fn fleet_unit(wanted: &FleetUnit, world: &World) -> Result<String, String> {
    let ask = |path: &str| -> Result<Value, String> {
        let script = format!("curl -sS -m 5 --unix-socket /run/fleet.sock 'http://fleet/fleet/v1/{path}'");
        let outcome = world
            .run(&wanted.via, "root", &script, SCRIPT)
            .map_err(|error| error.to_string())?;
        serde_json::from_str(&outcome.stdout).map_err(|_| {
            format!(
                "{}: fleet says {}{}",
                wanted.via,
                outcome.stdout.trim(),
                outcome.stderr.trim()
            )
        })
    };
    let unit = ask(&format!("units/{}", escape(&wanted.name)))?;
    if unit["error"].is_object() {
        let text = format!(
            "{}: {}",
            wanted.name,
            unit["error"]["message"].as_str().unwrap_or("no such unit")
        );
        return if wanted.absent && unit["error"]["code"] == 404 {
            Ok(text)
        } else {
            Err(text)
        };
    }
    let state = unit["currentState"].as_str().unwrap_or("inactive");
    let machine = unit["machineID"].as_str().unwrap_or_default();
    let states = ask(&format!("state?unitName={}", escape(&wanted.name)))?;
    let states = states["states"].as_array().cloned().unwrap_or_default();
    let systemd = states
        .iter()
        .find(|state| machine.is_empty() || state["machineID"] == machine);
    let active = systemd
        .and_then(|state| state["systemdActiveState"].as_str())
        .unwrap_or("-");
    let machines = ask("machines")?;
    let address = machines["machines"]
        .as_array()
        .and_then(|list| list.iter().find(|one| one["id"] == machine))
        .and_then(|one| one["primaryIP"].as_str())
        .unwrap_or("-");
    let node = world
        .nodes
        .iter()
        .find(|(_, own)| own == address)
        .map_or(address, |(name, _)| name);
    let saw = format!("{} is {state}, {active}, on {node}", wanted.name);
    let right = !wanted.absent
        && wanted.state.as_ref().is_none_or(|wanted| wanted == state)
        && wanted.active.as_ref().is_none_or(|wanted| wanted == active)
        && wanted.on.as_ref().is_none_or(|wanted| wanted.has(node));
    if right { Ok(saw) } else { Err(saw) }
}

//! The HTTP API v1: units, states and machines of the cluster, from the mirror; changes go to the registry.
mod beyond;

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::engine::Counts;
use super::mirror::Mirror;
use super::monitor::Monitor;
use super::peer::{self, Peers};
use super::registry::Registry;
use super::scheduler::Cluster;
use super::schema::{self, Explanation, JobState, MetadataOp, MetadataValue, UnitState, page, parse_page_token};
use super::tail::Tail;
use super::{VERSION, discovery, metrics};
use crate::client::error::Error;
use crate::etcd::api::json::{self, Mismatch, Value};
use crate::etcd::http::conn::{Handler, Next};
use crate::etcd::http::path::{cleaned, escape, escape_html, unescape};
use crate::etcd::http::reply::JSON;
use crate::etcd::http::{Reply, Request};
use crate::log;
use crate::unit::{Requirements, UnitFile, UnitName, UnitOption, name};

const MAX_LINE: usize = 2048;

pub struct Api {
    pub registry: Arc<Registry>,
    pub monitor: Arc<Monitor>,
    pub peers: Arc<Peers>,
    pub counts: Arc<Counts>,
    pub machine_id: String,
    pub token_limit: u16,
}

/// An answer before it is written.
enum Answer {
    Json(String),
    /// A status without a body.
    Done(u16),
    Error(u16, String),
    Moved(String),
    Metrics(String),
    /// What a machine says of a unit.
    Tail(Tail),
}

type Refused = (u16, String);

fn refuse<T>(status: u16, message: impl Into<String>) -> Result<T, Refused> {
    Err((status, message.into()))
}

fn to_json(value: &impl Serialize) -> Result<Answer, Refused> {
    serde_json::to_string(value)
        .map(Answer::Json)
        .map_err(|error| (500, error.to_string()))
}

/// The original tells clients nothing of what etcd said; the log has it.
fn registry_failed(error: Error) -> Refused {
    log::error!("api", "the registry cannot be reached or refuses: {error}");
    (500, String::new())
}

impl Handler for Api {
    type Handed = Tail;

    async fn handle(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Tail> {
        let answer = match self.answer(request).await {
            Ok(answer) => answer,
            Err((status, message)) => Answer::Error(status, message),
        };
        let server = format!("fleetd/{VERSION}");
        match answer {
            Answer::Json(body) => reply
                .start(200)
                .header("Content-Type", JSON)
                .header("Server", &server)
                .body(body.as_bytes()),
            Answer::Metrics(body) => reply
                .start(200)
                .header("Content-Type", metrics::TEXT)
                .header("Server", &server)
                .body(body.as_bytes()),
            Answer::Tail(tail) => return peer::begin(reply, Ok(tail)),
            Answer::Done(204) => reply.start(204).header("Server", &server).no_content(),
            Answer::Done(status) => reply.start(status).header("Server", &server).body(b""),
            Answer::Error(status, message) => {
                let body = schema::error(status, &message);
                reply
                    .start(status)
                    .header("Content-Type", JSON)
                    .header("Server", &server)
                    .body(body.as_bytes());
            }
            Answer::Moved(to) => {
                let body = format!("<a href=\"{}\">Moved Permanently</a>.\n\n", escape_html(&to));
                reply
                    .start(301)
                    .header("Content-Type", "text/html; charset=utf-8")
                    .header("Location", &to)
                    .header("Server", &server)
                    .body(body.as_bytes());
            }
        }
        Next::Answered
    }
}

impl Api {
    async fn answer(&self, request: &Request<'_>) -> Result<Answer, Refused> {
        if !self.monitor.reachable() || !self.registry.progress().borrow().filled {
            return refuse(503, "fleet server unable to communicate with etcd");
        }
        let (path, query) = request.split_target();
        let Some(path) = unescape(path) else {
            return refuse(400, "");
        };
        if let Some(clean) = cleaned(&path) {
            let query = if query.is_empty() {
                String::new()
            } else {
                format!("?{query}")
            };
            return Ok(Answer::Moved(format!("{}{query}", escape(&clean))));
        }
        let Ok(path) = String::from_utf8(path) else {
            return refuse(404, "");
        };
        let Some(rest) = path
            .strip_prefix("/fleet/v1")
            .or_else(|| path.strip_prefix("/v1-alpha"))
        else {
            return match path.as_str() {
                "/metrics" if request.method == "GET" => {
                    Ok(Answer::Metrics(metrics::text(&self.registry, &self.counts)))
                }
                "/" | "/metrics" => refuse(405, ""),
                _ => refuse(404, ""),
            };
        };
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        let get = request.method == "GET";
        const ONLY_GET: &str = "only GET supported against this resource";
        match parts[..] {
            [] => refuse(405, ""),
            ["discovery"] if get => Ok(Answer::Json(discovery::DOCUMENT.into())),
            ["discovery"] => refuse(400, "only HTTP GET supported against this resource"),
            ["units"] | ["state"] if !get => refuse(405, ONLY_GET),
            ["units"] => self.units(query),
            ["state"] => self.states(query),
            ["state", name] if !name.is_empty() => {
                if !get {
                    return refuse(405, ONLY_GET);
                }
                let states = self.states_of(&self.registry.mirror());
                match states.into_iter().find(|state| state.name == name) {
                    Some(state) => to_json(&state),
                    None => refuse(404, "unit state does not exist"),
                }
            }
            ["units", name] if !name.is_empty() => match request.method {
                "GET" => match self.unit(&self.registry.mirror(), name) {
                    Some(unit) => to_json(&unit),
                    None => refuse(404, "unit does not exist"),
                },
                "PUT" => self.put(name, request).await,
                "DELETE" => self.delete(name).await,
                _ => refuse(405, "only GET, PUT and DELETE supported against this resource"),
            },
            ["explain", name] if get => self.explain(name),
            ["units", name, "restart"] if request.method == "POST" => self.restart(name).await,
            ["units", name, resource @ ("status" | "journal")] if get => self.tail(name, resource, query).await,
            ["machines", id, action @ ("cordon" | "uncordon" | "drain")] if request.method == "POST" => {
                self.cordon(id, action).await
            }
            ["machines"] => match request.method {
                "GET" => self.machines(query),
                "PATCH" => self.patch(request.body_bytes()).await,
                _ => refuse(405, "only GET and PATCH supported against this resource"),
            },
            _ => refuse(404, ""),
        }
    }

    /// Whoever asks here after a change sees it.
    async fn shown(&self, index: u64) {
        if !self.registry.caught_up(index).await {
            log::warning!("api", "a change is stored and not shown yet: etcd's watch is late");
        }
    }

    /// How long ago a machine was last heard of, if a heartbeat of its is overdue.
    fn stale(&self, mirror: &Mirror, machine: &str) -> Option<u64> {
        mirror.stale(machine, self.monitor.ttl() * 2 / 3, Instant::now())
    }

    fn unit(&self, mirror: &Mirror, name: &str) -> Option<schema::Unit> {
        let mut unit = mirror.unit(name)?;
        if !unit.machine_id.is_empty() {
            unit.stale_seconds = self.stale(mirror, &unit.machine_id);
        }
        Some(unit)
    }

    fn states_of(&self, mirror: &Mirror) -> Vec<UnitState> {
        let state = |((name, machine), state): (&(String, String), &super::mirror::UnitState)| UnitState {
            hash: state.unit_hash.clone(),
            machine_id: machine.clone(),
            name: name.clone(),
            stale_seconds: self.stale(mirror, machine),
            systemd_active_state: state.active_state.clone(),
            systemd_load_state: state.load_state.clone(),
            systemd_sub_state: state.sub_state.clone(),
        };
        mirror.states.iter().map(state).collect()
    }

    fn page_number(&self, query: &str) -> Result<u16, Refused> {
        match &values(query, "nextPageToken")[..] {
            [] => Ok(1),
            [token] => parse_page_token(self.token_limit, token).map_err(|text| (400, text)),
            _ => refuse(400, "too many values for page token"),
        }
    }

    fn units(&self, query: &str) -> Result<Answer, Refused> {
        let number = self.page_number(query)?;
        let mirror = self.registry.mirror();
        let units = mirror.jobs.keys().filter_map(|name| self.unit(&mirror, name)).collect();
        let (units, next_page_token) = page(units, self.token_limit, number);
        to_json(&schema::UnitPage { next_page_token, units })
    }

    fn states(&self, query: &str) -> Result<Answer, Refused> {
        let number = self.page_number(query)?;
        let mut states = self.states_of(&self.registry.mirror());
        let wanted = |field: &str| {
            values(query, field)
                .into_iter()
                .next()
                .filter(|value| !value.is_empty())
        };
        if let Some(name) = wanted("unitName") {
            states.retain(|state| state.name == name);
        }
        if let Some(machine) = wanted("machineID") {
            states.retain(|state| state.machine_id == machine);
        }
        let (states, next_page_token) = page(states, self.token_limit, number);
        to_json(&schema::UnitStatePage {
            next_page_token,
            states,
        })
    }

    fn machines(&self, query: &str) -> Result<Answer, Refused> {
        let number = self.page_number(query)?;
        let mirror = self.registry.mirror();
        let mut machines = machines_of(&mirror);
        for machine in &mut machines {
            machine.stale_seconds = self.stale(&mirror, &machine.id);
        }
        let (machines, next_page_token) = page(machines, self.token_limit, number);
        to_json(&schema::MachinePage {
            machines,
            next_page_token,
        })
    }

    fn explain(&self, name: &str) -> Result<Answer, Refused> {
        match explanation(&self.registry.mirror(), name) {
            Some(explanation) => to_json(&explanation),
            None => refuse(404, "unit does not exist"),
        }
    }

    async fn put(&self, of_path: &str, request: &Request<'_>) -> Result<Answer, Refused> {
        check_content_type(request)?;
        let mut unit =
            read_unit(request.body_bytes()).map_err(|text| (400, format!("unable to decode body: {text}")))?;
        if unit.name.is_empty() {
            unit.name = of_path.into();
        }
        if unit.name != of_path {
            let text = format!(
                "name in URL {of_path:?} differs from unit name in request body {:?}",
                unit.name
            );
            return refuse(400, text);
        }
        name::validate(&unit.name).map_err(|text| (400, text))?;
        let wanted = match unit.desired_state.as_str() {
            "" => None,
            text => match JobState::parse(text) {
                Some(state) => Some(state),
                None => {
                    let text = format!("invalid desiredState {text:?}: it is inactive, loaded or launched");
                    return refuse(400, text);
                }
            },
        };
        let file = UnitFile::from(unit.options);
        let stored = {
            let mirror = self.registry.mirror();
            mirror.jobs.get(of_path).and_then(|job| job.hash)
        };
        let index = match stored {
            None => {
                check_file(of_path, &file)?;
                let created = self.registry.create_unit(of_path, &file, wanted.unwrap_or_default());
                match created.await.map_err(registry_failed)? {
                    Some(index) => index,
                    None => return refuse(409, format!("unit {of_path} has just been created by somebody else")),
                }
            }
            Some(hash) if !file.options.is_empty() && file.hash() != hash => {
                check_file(of_path, &file)?;
                let mut index = self
                    .registry
                    .replace_unit(of_path, &file)
                    .await
                    .map_err(registry_failed)?;
                if let Some(state) = wanted {
                    index = self
                        .registry
                        .set_wanted(of_path, state)
                        .await
                        .map_err(registry_failed)?;
                }
                index
            }
            Some(_) => {
                let Some(state) = wanted else {
                    return refuse(409, "must provide DesiredState to update existing unit");
                };
                if UnitName::new(of_path).is_template() && state != JobState::Inactive {
                    return refuse(400, format!("cannot activate template {of_path:?}"));
                }
                let index = self
                    .registry
                    .set_wanted(of_path, state)
                    .await
                    .map_err(registry_failed)?;
                self.shown(index).await;
                return Ok(Answer::Done(204));
            }
        };
        self.shown(index).await;
        Ok(Answer::Done(201))
    }

    async fn delete(&self, name: &str) -> Result<Answer, Refused> {
        if self.registry.mirror().unit(name).is_none() {
            return refuse(404, "unit does not exist");
        }
        match self.registry.destroy(name).await.map_err(registry_failed)? {
            Some(index) => self.shown(index).await,
            None => return refuse(404, "unit does not exist"),
        }
        Ok(Answer::Done(204))
    }

    async fn patch(&self, body: &[u8]) -> Result<Answer, Refused> {
        json::decode_first(body).map_err(|text| (400, end_of_file(body, text)))?;
        let ops: Vec<MetadataOp> = serde_json::from_slice(body).map_err(|error| (400, format!("json: {error}")))?;
        let mut changes = Vec::new();
        for op in &ops {
            let value = op.value.as_ref().map_or("", MetadataValue::text);
            let value = match op.op.as_str() {
                "add" | "replace" if value.is_empty() => {
                    return refuse(400, "invalid value: add and replace require a value");
                }
                "add" | "replace" => value,
                // An empty value stays, so that what the machine itself says is hidden.
                "remove" => "",
                _ => return refuse(400, "invalid op: expect add, remove, or replace"),
            };
            let Some((machine, key)) = metadata_path(&op.path) else {
                return refuse(400, "machine metadata path invalid");
            };
            changes.push((machine, key, value));
        }
        let mut last = 0;
        for (machine, key, value) in changes {
            let set = self.registry.set_metadata(machine, key, value).await;
            last = set.map_err(registry_failed)?;
        }
        self.shown(last).await;
        Ok(Answer::Done(204))
    }
}

pub fn units_of(mirror: &Mirror) -> Vec<schema::Unit> {
    mirror.jobs.keys().filter_map(|name| mirror.unit(name)).collect()
}

pub fn machines_of(mirror: &Mirror) -> Vec<schema::Machine> {
    let machine = |state: super::mirror::MachineState| schema::Machine {
        cordon: mirror.cordon(&state.id).name().into(),
        stale_seconds: None,
        id: state.id,
        metadata: state.metadata,
        primary_ip: state.public_ip,
    };
    mirror.machines().into_iter().map(machine).collect()
}

pub fn explanation(mirror: &Mirror, name: &str) -> Option<Explanation> {
    let (units, machines) = mirror.scheduled();
    let job = mirror.jobs.get(name)?;
    let reasons = Cluster::explain(&units, &machines, name)?
        .into_iter()
        .map(|(id, reason)| (id, reason.map_or(String::new(), |reason| reason.to_string())));
    Some(Explanation {
        name: name.into(),
        desired_state: job.wanted.name().into(),
        machine_id: job.target.clone().unwrap_or_default(),
        machines: reasons.collect(),
    })
}

pub fn states_of(mirror: &Mirror) -> Vec<UnitState> {
    let state = |((name, machine), state): (&(String, String), &super::mirror::UnitState)| UnitState {
        hash: state.unit_hash.clone(),
        machine_id: machine.clone(),
        name: name.clone(),
        stale_seconds: None,
        systemd_active_state: state.active_state.clone(),
        systemd_load_state: state.load_state.clone(),
        systemd_sub_state: state.sub_state.clone(),
    };
    mirror.states.iter().map(state).collect()
}

fn check_content_type(request: &Request<'_>) -> Result<(), Refused> {
    let given = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("Content-Type"));
    let given: Vec<&httparse::Header<'_>> = given.collect();
    let [only] = given[..] else {
        return refuse(415, format!("expected 1 Content-Type, got {}", given.len()));
    };
    let kind = String::from_utf8_lossy(only.value);
    if kind.split(';').next().map(str::trim) != Some(JSON) {
        return refuse(415, "only acceptable Content-Type is application/json");
    }
    Ok(())
}

/// Whether a unit may be taken in under this name.
fn check_file(name: &str, file: &UnitFile) -> Result<(), Refused> {
    if file.options.is_empty() {
        return refuse(409, "unit does not exist and options field empty");
    }
    if file.text().lines().any(|line| line.len() >= MAX_LINE) {
        return refuse(400, format!("line too long (max {MAX_LINE} bytes)"));
    }
    let bad = |problem: &dyn std::fmt::Display| (400, problem.to_string());
    file.check().map_err(|problem| bad(&problem))?;
    // Read back from its text, so that a problem has the line it stands in.
    let written = UnitFile::parse(&file.text()).unwrap_or_else(|_| file.clone());
    let (requirements, problems) = Requirements::read(&UnitName::new(name), &written);
    if let Some(text) = requirements.contradiction() {
        return refuse(400, text);
    }
    match problems.first() {
        Some(problem) => Err(bad(problem)),
        None => Ok(()),
    }
}

/// A machine and a key out of `/MACHINE/metadata/KEY`.
fn metadata_path(path: &str) -> Option<(&str, &str)> {
    let (machine, key) = path.strip_prefix('/')?.split_once("/metadata/")?;
    let good = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    (good(machine) && good(key)).then_some((machine, key))
}

fn end_of_file(body: &[u8], text: String) -> String {
    match text.as_str() {
        "unexpected end of JSON input" if body.trim_ascii().is_empty() => "EOF".into(),
        "unexpected end of JSON input" => "unexpected EOF".into(),
        _ => text,
    }
}

/// A unit as Go reads it: names of fields in any case, unknown ones passed over.
fn read_unit(body: &[u8]) -> Result<schema::Unit, String> {
    let value = json::decode_first(body).map_err(|text| end_of_file(body, text))?;
    let mut unit = schema::Unit::default();
    let of = |Mismatch(kind): Mismatch, what: &str, into: &str| {
        format!("json: cannot unmarshal {kind} into Go {what} of type {into}")
    };
    for (field, value) in value.fields().map_err(|bad| of(bad, "value", "schema.Unit"))? {
        let text = |target: &mut String| {
            let what = format!("struct field Unit.{field}");
            value.into_string(target).map_err(|bad| of(bad, &what, "string"))
        };
        if json::names(field, "name") {
            text(&mut unit.name)?;
        } else if json::names(field, "desiredState") {
            text(&mut unit.desired_state)?;
        } else if json::names(field, "options") {
            unit.options = match value {
                Value::Array(values) => values.iter().map(read_option).collect::<Result<_, _>>()?,
                Value::Null => Vec::new(),
                other => {
                    return Err(of(
                        Mismatch(other.kind()),
                        "struct field Unit.options",
                        "[]*schema.UnitOption",
                    ));
                }
            };
        }
    }
    Ok(unit)
}

fn read_option(value: &Value) -> Result<UnitOption, String> {
    let mut option = UnitOption::default();
    let fields = value.fields().map_err(|Mismatch(kind)| {
        format!("json: cannot unmarshal {kind} into Go struct field Unit.options of type schema.UnitOption")
    })?;
    for (field, value) in fields {
        let target = match field {
            field if json::names(field, "name") => &mut option.name,
            field if json::names(field, "section") => &mut option.section,
            field if json::names(field, "value") => &mut option.value,
            _ => continue,
        };
        value.into_string(target).map_err(|Mismatch(kind)| {
            format!("json: cannot unmarshal {kind} into Go struct field UnitOption.{field} of type string")
        })?;
    }
    Ok(option)
}

/// All values of a field of a query.
pub(super) fn values(query: &str, field: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = String::from_utf8(unescape(&value.replace('+', " "))?).ok()?;
        (name == field).then_some(text)
    });
    pairs.collect()
}

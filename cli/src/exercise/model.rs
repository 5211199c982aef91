//! An exercise as its file has it.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::faults::{Fault, Names, Span};

/// The version of the format that this is.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exercise {
    /// The version of the format.
    pub lab: u32,
    pub title: String,
    /// A line for the list.
    #[serde(default)]
    pub about: String,
    /// The walk-through that it comes from.
    #[serde(default)]
    pub source: String,
    /// How long somebody takes who reads along.
    pub time: Span,
    /// What lab.yaml would say of the lab, and further files beside it.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub topology: serde_yaml::Mapping,
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Values to use as v(NAME); of a list, the first one, or with --exam any.
    #[serde(default)]
    pub vars: BTreeMap<String, Choice>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, or a list of texts to choose from")]
pub enum Choice {
    One(String),
    Of(Vec<String>),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub id: String,
    pub title: String,
    /// What is read before.
    #[serde(default)]
    pub say: String,
    /// The step once for each of these, as v(each); their ids get `.EACH` behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub for_each: Vec<String>,
    /// Which of them this is, once it is one of many.
    #[serde(skip)]
    pub each: Option<(usize, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// Clients write to etcd from the step's beginning to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// What has to be so from this step to the end: without it, the rest cannot be done any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guard: Vec<Check>,
    #[serde(default, rename = "do")]
    pub acts: Vec<Act>,
    #[serde(rename = "check")]
    pub checks: Vec<Check>,
    /// Checked once the step's faults are undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Check>,
    /// Done when the step is over, however it ends, before `then` is checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleanup: Vec<Act>,
    /// What is read after it.
    #[serde(default)]
    pub learned: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
    #[serde(default = "one")]
    pub points: u32,
}

fn one() -> u32 {
    1
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub q: String,
    /// What is right, as a regular expression over the whole answer.
    pub answer: String,
    #[serde(default = "one")]
    pub points: u32,
}

/// Writers to etcd, each write a key of its own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The nodes whose etcd is written to, in turn.
    pub at: Names,
    #[serde(default = "clients")]
    pub clients: u32,
    /// Writes in a second, of all clients together.
    #[serde(default = "rate")]
    pub rate: u32,
}

fn clients() -> u32 {
    3
}

fn rate() -> u32 {
    60
}

/// Something that is done: exactly one of run, etcd, fleet, http, write, unit, fault and lab.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Act {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Names>,
    /// A script for bash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What follows `etcdctl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<String>,
    /// What follows `fleetctl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Write>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitVerbs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What follows `lab`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lab: Option<String>,
    /// How long a fault lasts: `end` of the step, `forever` (until a later heal), or a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// core, unless it says root.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Values found in the output: the first group of a regular expression, or all of what it matches.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capture: BTreeMap<String, String>,
    #[serde(default)]
    pub expect: Expect,
    /// Again until it succeeds, for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// It prepares or tidies up: leaving it out need not turn a check red.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aside: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    #[default]
    Ok,
    Fail,
    Any,
}

/// One request, by curl: exactly one of get, put, post and delete.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// http://NODE-OR-ADDRESS:PORT/PATH
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub get: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<String>,
    /// Fields of a form, in the order of their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub form: BTreeMap<String, String>,
    /// JSON, or any text, in place of a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Write {
    pub path: String,
    pub text: String,
    #[serde(default = "mode")]
    pub mode: String,
    #[serde(default = "root")]
    pub owner: String,
}

fn mode() -> String {
    "0644".into()
}

fn root() -> String {
    "root".into()
}

/// What systemctl is told, in this order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitVerbs {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reload: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<String>,
}

/// Something that is to be so: exactly one of run, unit, node, file, http, traffic, etcd.* and fleet.*.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Names>,
    /// A script for bash whose status is 0, or `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// A regular expression that its output matches somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    #[serde(default, rename = "etcd.members", skip_serializing_if = "Option::is_none")]
    pub etcd_members: Option<Members>,
    #[serde(default, rename = "etcd.get", skip_serializing_if = "Option::is_none")]
    pub etcd_get: Option<Get>,
    #[serde(default, rename = "etcd.put", skip_serializing_if = "Option::is_none")]
    pub etcd_put: Option<Put>,
    #[serde(default, rename = "etcd.leader", skip_serializing_if = "Option::is_none")]
    pub etcd_leader: Option<Leader>,
    #[serde(default, rename = "fleet.unit", skip_serializing_if = "Option::is_none")]
    pub fleet_unit: Option<FleetUnit>,
    /// It must not be so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
    /// Tried again until it is so, for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// It has to stay so for so long.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// What it means when it is red.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// It was so before the step, and is to stay so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps: bool,
    /// How long it took until it was so is a number of the report, under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum UnitState {
    Active(String),
    Inactive(String),
    Failed(String),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum NodeState {
    Ready(Names),
    Halted(Names),
    New(Names),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileState {
    pub path: String,
    /// A regular expression that it matches somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// http://NODE-OR-ADDRESS:PORT/PATH
    pub get: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// The longest time without an acknowledged write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Span>,
    /// At least so many were acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Members {
    pub via: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// How many of them say that they are healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<usize>,
    /// One of their peer URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    pub via: String,
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quorum: bool,
}

/// A write: whatever looks may write more than once, so it has a key of its own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Put {
    pub via: String,
    pub key: String,
    pub value: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Leader {
    /// Who is asked; each of them has to agree.
    pub via: Names,
    /// One of these leads.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub among: Option<Names>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub none: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetUnit {
    pub via: String,
    pub name: String,
    /// active, inactive, failed: as list-units has it under ACTIVE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// launched, loaded, inactive: as list-unit-files has it under STATE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// It is on one of these nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Names>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    pub text: String,
    /// Offered while this check is red.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Offered after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// Points.
    #[serde(default)]
    pub cost: u32,
}

impl Act {
    /// The one thing that it does.
    pub fn verb(&self) -> Result<&'static str, String> {
        only(
            "an action",
            &[
                ("run", self.run.is_some()),
                ("etcd", self.etcd.is_some()),
                ("fleet", self.fleet.is_some()),
                ("http", self.http.is_some()),
                ("write", self.write.is_some()),
                ("unit", self.unit.is_some()),
                ("fault", self.fault.is_some()),
                ("lab", self.lab.is_some()),
            ],
        )
    }
}

impl HttpRequest {
    /// The method, and where to.
    pub fn target(&self) -> Result<(&'static str, &str), String> {
        let all = [
            ("GET", &self.get),
            ("PUT", &self.put),
            ("POST", &self.post),
            ("DELETE", &self.delete),
        ];
        let said: Vec<_> = all
            .iter()
            .filter_map(|(method, url)| Some((*method, url.as_deref()?)))
            .collect();
        match said[..] {
            [target] => Ok(target),
            _ => Err("a request has one of get, put, post, delete".into()),
        }
    }
}

impl Check {
    /// All that it names.
    pub fn nodes(&self) -> Vec<&str> {
        let state = self.node.as_ref().map(|state| match state {
            NodeState::Ready(names) | NodeState::Halted(names) | NodeState::New(names) => names,
        });
        let leader = self.etcd_leader.as_ref();
        let lists = [
            self.at.as_ref(),
            state,
            leader.map(|leader| &leader.via),
            leader.and_then(|leader| leader.among.as_ref()),
            self.fleet_unit.as_ref().and_then(|unit| unit.on.as_ref()),
        ];
        let vias = [
            self.etcd_members.as_ref().map(|members| &members.via),
            self.etcd_get.as_ref().map(|get| &get.via),
            self.etcd_put.as_ref().map(|put| &put.via),
            self.fleet_unit.as_ref().map(|unit| &unit.via),
        ];
        let listed = lists.into_iter().flatten().flat_map(|names| names.iter());
        listed.chain(vias.into_iter().flatten().map(String::as_str)).collect()
    }

    pub fn kind(&self) -> Result<&'static str, String> {
        only(
            "a check",
            &[
                ("run", self.run.is_some()),
                ("unit", self.unit.is_some()),
                ("node", self.node.is_some()),
                ("file", self.file.is_some()),
                ("http", self.http.is_some()),
                ("traffic", self.traffic.is_some()),
                ("etcd.members", self.etcd_members.is_some()),
                ("etcd.get", self.etcd_get.is_some()),
                ("etcd.put", self.etcd_put.is_some()),
                ("etcd.leader", self.etcd_leader.is_some()),
                ("fleet.unit", self.fleet_unit.is_some()),
            ],
        )
    }
}

fn only(what: &str, of: &[(&'static str, bool)]) -> Result<&'static str, String> {
    let said: Vec<&'static str> = of.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    let all: Vec<&str> = of.iter().map(|(name, _)| *name).collect();
    match said[..] {
        [one] => Ok(one),
        [] => Err(format!("{what} has one of {}", all.join(", "))),
        _ => Err(format!(
            "{what} has one of {}, this has {}",
            all.join(", "),
            said.join(" and ")
        )),
    }
}

//! The registry as this process knows it: filled once, then changed key by key as etcd tells. Pure.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::scheduler::{self, Presence};
use super::schema::{self, Cordon, JobState};
use crate::unit::{Hash, Requirements, UnitFile, UnitName};

#[derive(Clone, Debug, Default)]
pub struct Job {
    /// None: there are other keys of it, but no unit, as a late heartbeat leaves them.
    pub hash: Option<Hash>,
    pub wanted: JobState,
    pub target: Option<String>,
    /// The machine that says it has started it.
    pub heartbeat: Option<String>,
    /// None as long as its unit file is not there or cannot be read.
    pub requirements: Option<Arc<Requirements>>,
    /// The machines on which it has failed lately.
    pub failed_on: BTreeSet<String>,
    /// The index of the last request to restart it.
    pub restart: u64,
}

impl Job {
    fn is_global(&self) -> bool {
        self.requirements.as_ref().is_some_and(|of| of.global)
    }
}

/// What a machine says of itself, under `machines/ID/object`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MachineState {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "PublicIP")]
    pub public_ip: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub metadata: BTreeMap<String, String>,
    pub version: String,
}

/// What systemd says of a unit, under `states/NAME/ID`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitState {
    pub load_state: String,
    pub active_state: String,
    pub sub_state: String,
    pub machine_state: MachineRef,
    pub unit_hash: String,
}

/// A machine as unit states name it: by its id, with fields that only older fleets filled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MachineRef {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "PublicIP")]
    pub public_ip: String,
    pub metadata: Option<BTreeMap<String, String>>,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Lease {
    #[serde(rename = "MachineID")]
    pub machine_id: String,
    pub version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobObject {
    pub name: String,
    pub unit_hash: [u8; 20],
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UnitBlob {
    pub raw: String,
}

/// How a machine is reached by the others: where, with which certificate, and what it wants to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerAddress {
    pub address: String,
    /// DER in base64.
    pub certificate: String,
    pub token: String,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(value: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

#[derive(Clone, Debug, Default)]
pub struct Mirror {
    pub units: HashMap<Hash, Arc<UnitFile>>,
    pub jobs: BTreeMap<String, Job>,
    /// By name and machine.
    pub states: BTreeMap<(String, String), UnitState>,
    machines: BTreeMap<String, MachineState>,
    /// Set by PATCH: it goes before what the machines say; an empty value hides theirs.
    metadata: BTreeMap<String, BTreeMap<String, String>>,
    cordons: BTreeMap<String, Cordon>,
    /// Machines that have given their place up themselves, their units stopped.
    left: BTreeSet<String>,
    /// When each machine was last heard of, gone ones too.
    heard: HashMap<String, Instant>,
    /// When all was read.
    filled: Option<Instant>,
    pub peers: BTreeMap<String, PeerAddress>,
    /// Of each machine those that it asks before it goes on without etcd.
    pub asks: BTreeMap<String, BTreeSet<String>>,
    /// Where each unit file was last written.
    pub blobs: HashMap<Hash, u64>,
    /// Who leads, and the index to renew it by.
    pub lease: Option<(Lease, u64)>,
    pub engine_version: u64,
    /// Grows with everything that the engine decides by: a heartbeat that only goes on is none.
    pub version: u64,
    /// The jobs of each machine by their targets, so that nobody has to look at all jobs for its own.
    placed: HashMap<String, BTreeSet<String>>,
    globals: BTreeSet<String>,
    /// How often something has changed that concerns all machines, and that concerns one.
    turns_of_all: u64,
    turns: HashMap<String, u64>,
}

/// Which machines have something to do when a key changes.
enum Concern {
    Nobody,
    One(String),
    Everybody,
}

impl Mirror {
    /// A key, from the prefix on, has a new value, or is gone with all below it.
    pub fn apply(&mut self, key: &str, value: Option<&str>, index: u64) {
        let parts: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
        let before = self.concern(&parts);
        let target = parts.get(1).and_then(|name| self.jobs.get(*name)?.target.clone());
        let changed = match (&parts[..], value) {
            (["unit", hash], Some(value)) => self.blob(hash, value, index),
            (["unit", hash], None) => Hash::parse(hash).is_some_and(|hash| {
                self.blobs.remove(&hash);
                self.units.remove(&hash).is_some()
            }),
            (["job", name, "restart"], value) => {
                let job = self.jobs.get_mut(*name);
                job.is_some_and(|job| std::mem::replace(&mut job.restart, value.map_or(0, |_| index)) != index)
            }
            (["job", name, "failed-on", machine], value) => self.jobs.get_mut(*name).is_some_and(|job| match value {
                Some(_) => job.failed_on.insert(machine.to_string()),
                None => job.failed_on.remove(*machine),
            }),
            (["job", name, "failed-on"], None) => {
                let job = self.jobs.get_mut(*name);
                job.is_some_and(|job| !std::mem::take(&mut job.failed_on).is_empty())
            }
            (["job", name, field], value) => self.job(name, field, value),
            (["job", name], None) => self.jobs.remove(*name).is_some(),
            (["states", name, machine], Some(value)) => {
                if let Ok(state) = serde_json::from_str(value) {
                    self.states.insert((name.to_string(), machine.to_string()), state);
                }
                false
            }
            (["states", name, machine], None) => {
                self.states.remove(&(name.to_string(), machine.to_string()));
                false
            }
            (["states", name], None) => {
                self.states.retain(|(of, _), _| of != name);
                false
            }
            (["machines", id, "object"], Some(value)) => match serde_json::from_str::<MachineState>(value) {
                Ok(state) => {
                    self.left.remove(*id);
                    self.machines.insert(id.to_string(), state.clone()) != Some(state)
                }
                Err(_) => false,
            },
            (["machines", id, "object"], None) => self.machines.remove(*id).is_some(),
            (["machines", id, "metadata", key], Some(value)) => {
                let of = self.metadata.entry(id.to_string()).or_default();
                of.insert(key.to_string(), value.to_string()).as_deref() != Some(value)
            }
            (["machines", id, "metadata", key], None) => {
                self.metadata.get_mut(*id).is_some_and(|of| of.remove(*key).is_some())
            }
            (["machines", id, "metadata"], None) => self.metadata.remove(*id).is_some(),
            (["machines", id, "cordon"], value) => {
                let cordon = value.map_or(Cordon::None, Cordon::read);
                let before = match cordon {
                    Cordon::None => self.cordons.remove(*id),
                    cordon => self.cordons.insert(id.to_string(), cordon),
                };
                before.unwrap_or_default() != cordon
            }
            (["machines", id, "peer"], value) => {
                match value.and_then(|value| serde_json::from_str(value).ok()) {
                    Some(peer) => drop(self.peers.insert(id.to_string(), peer)),
                    None => drop(self.peers.remove(*id)),
                }
                false
            }
            (["machines", id, "asks"], value) => {
                match value.and_then(|value| serde_json::from_str(value).ok()) {
                    Some(asks) => drop(self.asks.insert(id.to_string(), asks)),
                    None => drop(self.asks.remove(*id)),
                }
                false
            }
            (["machines", id], None) => {
                self.cordons.remove(*id);
                self.peers.remove(*id);
                self.asks.remove(*id);
                let gone = self.metadata.remove(*id).is_some();
                self.machines.remove(*id).is_some() || gone
            }
            (["lease", "engine-leader"], value) => {
                let before = self.lease.take().map(|(lease, _)| lease);
                let lease = value.and_then(|value| serde_json::from_str::<Lease>(value).ok());
                self.lease = lease.map(|lease| (lease, index));
                before.as_ref() != self.lease.as_ref().map(|(lease, _)| lease)
            }
            (["engine", "version"], value) => {
                self.engine_version = value.and_then(|value| value.parse().ok()).unwrap_or(0);
                false
            }
            ([], None) => {
                *self = Mirror {
                    version: self.version,
                    turns_of_all: self.turns_of_all,
                    ..Mirror::default()
                };
                true
            }
            ([part], None) => self.drop_all(part),
            _ => false,
        };
        if let ["job", name, ..] = parts[..] {
            self.place(name, target);
        }
        if changed {
            self.version += 1;
            let after = self.concern(&parts);
            for concern in [before, after] {
                match concern {
                    Concern::Nobody => {}
                    Concern::One(machine) => *self.turns.entry(machine).or_default() += 1,
                    Concern::Everybody => self.turns_of_all += 1,
                }
            }
        }
    }

    fn concern(&self, parts: &[&str]) -> Concern {
        match parts {
            ["job", name, ..] => self.jobs.get(*name).map_or(Concern::Nobody, |job| match &job.target {
                _ if job.is_global() => Concern::Everybody,
                Some(machine) => Concern::One(machine.clone()),
                None => Concern::Nobody,
            }),
            ["lease" | "engine" | "states", ..] => Concern::Nobody,
            _ => Concern::Everybody,
        }
    }

    /// A job has changed that had this target before.
    fn place(&mut self, name: &str, before: Option<String>) {
        let job = self.jobs.get(name);
        let global = job.is_some_and(Job::is_global);
        let now = job.and_then(|job| job.target.clone()).filter(|_| !global);
        match global {
            true => drop(self.globals.insert(name.into())),
            false => drop(self.globals.remove(name)),
        }
        if let Some(before) = before.filter(|before| now.as_ref() != Some(before))
            && let Some(jobs) = self.placed.get_mut(&before)
        {
            jobs.remove(name);
            if jobs.is_empty() {
                self.placed.remove(&before);
            }
        }
        if let Some(now) = now {
            self.placed.entry(now).or_default().insert(name.into());
        }
    }

    /// The jobs of a machine, and those of all machines.
    pub fn jobs_of(&self, machine: &str) -> impl Iterator<Item = (&String, &Job)> {
        let placed = self.placed.get(machine).into_iter().flatten();
        placed
            .chain(&self.globals)
            .filter_map(|name| self.jobs.get_key_value(name))
    }

    /// Another one whenever a machine may have something to do.
    pub fn turn(&self, machine: &str) -> (u64, u64) {
        (self.turns_of_all, self.turns.get(machine).copied().unwrap_or_default())
    }

    fn drop_all(&mut self, part: &str) -> bool {
        match part {
            "unit" => {
                self.units.clear();
                self.blobs.clear();
            }
            "job" => {
                self.jobs.clear();
                self.placed.clear();
                self.globals.clear();
            }
            "states" => self.states.clear(),
            "machines" => {
                self.machines.clear();
                self.metadata.clear();
                self.cordons.clear();
                self.peers.clear();
                self.asks.clear();
            }
            "lease" => self.lease = None,
            _ => return false,
        }
        true
    }

    /// A machine has just been heard of.
    pub fn hear(&mut self, machine: &str, now: Instant) {
        self.heard.insert(machine.into(), now);
    }

    /// All has just been read: what is there counts from now on, unless more is known of it.
    pub fn read_at(&mut self, now: Instant, before: &Mirror) {
        self.version = before.version + 1;
        self.turns_of_all += before.turns_of_all + 1;
        self.filled = before.filled.or(Some(now));
        self.heard.clone_from(&before.heard);
        self.left.clone_from(&before.left);
        self.left.retain(|id| !self.machines.contains_key(id));
        for id in self.machines.keys() {
            self.heard.insert(id.clone(), now);
        }
    }

    /// A machine gives up its place, as one does that has stopped its units.
    pub fn leave(&mut self, machine: &str) {
        self.left.insert(machine.into());
    }

    pub fn has_left(&self, machine: &str) -> bool {
        self.left.contains(machine)
    }

    /// How long ago a machine was heard of, if that is longer than `fresh`.
    pub fn stale(&self, machine: &str, fresh: Duration, now: Instant) -> Option<u64> {
        let last = self.heard.get(machine).copied().or(self.filled)?;
        let age = now.saturating_duration_since(last);
        (age > fresh).then_some(age.as_secs())
    }

    pub fn cordon(&self, machine: &str) -> Cordon {
        self.cordons.get(machine).copied().unwrap_or_default()
    }

    /// Machines that units are on or report from and that are not there.
    pub fn missing(&self) -> BTreeSet<String> {
        let targets = self.jobs.values().filter_map(|job| job.target.as_ref());
        let reporting = self.states.keys().map(|(_, machine)| machine);
        let all = targets.chain(reporting).filter(|id| !self.machines.contains_key(*id));
        all.cloned().collect()
    }

    fn blob(&mut self, hash: &str, value: &str, index: u64) -> bool {
        let (Some(hash), Ok(blob)) = (Hash::parse(hash), serde_json::from_str::<UnitBlob>(value)) else {
            return false;
        };
        let Ok(file) = UnitFile::parse(&blob.raw) else {
            return false;
        };
        self.blobs.insert(hash, index);
        if self.units.contains_key(&hash) {
            return false;
        }
        self.units.insert(hash, Arc::new(file));
        let waiting: Vec<String> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.hash == Some(hash))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &waiting {
            self.require(name);
        }
        !waiting.is_empty()
    }

    fn require(&mut self, name: &str) {
        let Some(job) = self.jobs.get_mut(name) else { return };
        let file = job.hash.and_then(|hash| self.units.get(&hash));
        job.requirements = file.map(|file| Arc::new(Requirements::read(&UnitName::new(name), file).0));
        let target = job.target.clone();
        self.place(name, target);
    }

    fn job(&mut self, name: &str, field: &str, value: Option<&str>) -> bool {
        let job = match value {
            Some(_) => self.jobs.entry(name.into()).or_default(),
            None => match self.jobs.get_mut(name) {
                Some(job) => job,
                None => return false,
            },
        };
        let text = value.map(str::to_string);
        match field {
            "object" => {
                let object = value.and_then(|value| serde_json::from_str::<JobObject>(value).ok());
                job.hash = object.map(|object| Hash(object.unit_hash));
                self.require(name);
                true
            }
            "target-state" => {
                // A state that is none, as the original could be made to store, is no reason to start anything.
                let state = value.and_then(JobState::parse).unwrap_or_default();
                std::mem::replace(&mut job.wanted, state) != state
            }
            "target" => std::mem::replace(&mut job.target, text.clone()) != text,
            "job-state" => {
                // Whoever waits for another machine to have stopped it acts by this; that it goes on is nothing new.
                let before = std::mem::replace(&mut job.heartbeat, text);
                before.is_some() && before != job.heartbeat
            }
            _ => false,
        }
    }

    /// The machines that are there, with their metadata as it counts.
    pub fn machines(&self) -> Vec<MachineState> {
        self.machines.values().map(|state| self.with_metadata(state)).collect()
    }

    pub fn machine(&self, id: &str) -> Option<MachineState> {
        self.machines.get(id).map(|state| self.with_metadata(state))
    }

    fn with_metadata(&self, state: &MachineState) -> MachineState {
        let mut state = state.clone();
        for (key, value) in self.metadata.get(&state.id).into_iter().flatten() {
            if value.is_empty() {
                state.metadata.remove(key);
            } else {
                state.metadata.insert(key.clone(), value.clone());
            }
        }
        state
    }

    /// What the scheduler works with. A job whose unit file is missing is not among them: nothing is decided on it.
    pub fn scheduled(&self) -> (Vec<scheduler::Unit>, Vec<scheduler::Machine>) {
        let units = self.jobs.iter().filter_map(scheduler_unit);
        (units.collect(), self.scheduler_machines())
    }

    /// The global units that run on a machine. None while it is not there.
    pub fn globals_on(&self, machine: &str) -> Option<BTreeSet<String>> {
        let there = self.scheduler_machine(machine)?;
        let units: Vec<_> = self.jobs_of(machine).filter_map(scheduler_unit).collect();
        Some(scheduler::globals_on(&units, &there))
    }

    pub fn scheduler_machines(&self) -> Vec<scheduler::Machine> {
        let all = self.machines.keys();
        all.filter_map(|id| self.scheduler_machine(id)).collect()
    }

    pub fn scheduler_machine(&self, id: &str) -> Option<scheduler::Machine> {
        let metadata = self.machine(id)?.metadata;
        let presence = match self.cordon(id) {
            Cordon::None if metadata.get(scheduler::CORDON).is_some_and(|value| value == "true") => Presence::Cordoned,
            Cordon::None => Presence::Here,
            Cordon::Cordoned => Presence::Cordoned,
            Cordon::Draining => Presence::Draining,
        };
        Some(scheduler::Machine {
            id: id.into(),
            metadata,
            presence,
        })
    }

    /// Is a job where it shall be, and well?
    pub fn settled(&self, name: &str) -> bool {
        self.jobs.get(name).is_none_or(|job| {
            let at = job.target.clone().unwrap_or_default();
            let state = self.states.get(&(name.to_string(), at));
            self.current(name, job) == job.wanted
                && (job.wanted != JobState::Launched || state.is_some_and(|state| state.active_state == "active"))
        })
    }

    /// Where a job stands: on its machine once that one reports on it, launched once it has started it.
    pub fn current(&self, name: &str, job: &Job) -> JobState {
        let Some(target) = &job.target else {
            return JobState::Inactive;
        };
        if !self.states.contains_key(&(name.to_string(), target.clone())) {
            return JobState::Inactive;
        }
        match job.heartbeat.as_ref() == Some(target) {
            true => JobState::Launched,
            false => JobState::Loaded,
        }
    }

    /// A unit as the API shows it.
    pub fn unit(&self, name: &str) -> Option<schema::Unit> {
        let job = self.jobs.get(name)?;
        let file = self.units.get(&job.hash?)?;
        let global = job.is_global();
        let of_normal = |text: &str| if global { String::new() } else { text.to_string() };
        Some(schema::Unit {
            current_state: of_normal(self.current(name, job).name()),
            desired_state: job.wanted.name().into(),
            machine_id: of_normal(job.target.as_deref().unwrap_or_default()),
            name: name.into(),
            options: file.options.clone(),
            stale_seconds: None,
        })
    }
}

fn scheduler_unit((name, job): (&String, &Job)) -> Option<scheduler::Unit> {
    Some(scheduler::Unit {
        name: name.clone(),
        requirements: job.requirements.clone()?,
        wanted: job.wanted != JobState::Inactive,
        machine: job.target.clone(),
        failed_on: job.failed_on.clone(),
    })
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;

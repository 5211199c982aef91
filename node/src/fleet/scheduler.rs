//! Which unit belongs on which machine, and why not on another. Pure: units and machines in, decisions out.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::unit::{Requirements, UnitName};

/// A machine's metadata key that keeps new units away from it while it is `true`.
pub const CORDON: &str = "cordon";

#[derive(Clone, Debug)]
pub struct Unit {
    pub name: String,
    pub requirements: Arc<Requirements>,
    /// Shall it be on a machine at all?
    pub wanted: bool,
    /// Where it is scheduled.
    pub machine: Option<String>,
    /// Machines where it has failed lately.
    pub failed_on: BTreeSet<String>,
}

/// How far a machine can be counted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    #[default]
    Here,
    /// Takes nothing new.
    Cordoned,
    /// Takes nothing new, and gives away what may move.
    Draining,
    /// It is not there, and may well run what it has: that stays untouched.
    Away,
}

#[derive(Clone, Debug)]
pub struct Machine {
    pub id: String,
    pub metadata: BTreeMap<String, String>,
    pub presence: Presence,
}

impl Machine {
    /// One of which nothing is known but that it may run its units.
    pub fn away(id: &str) -> Machine {
        Machine {
            id: id.into(),
            metadata: BTreeMap::new(),
            presence: Presence::Away,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Unschedule {
        unit: String,
        machine: String,
        reason: Reason,
    },
    Schedule {
        unit: String,
        machine: String,
    },
}

/// What speaks against a unit on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    NotWanted,
    MachineGone(String),
    OtherMachine {
        is: String,
        required: String,
    },
    Metadata,
    Cordoned,
    Draining,
    Away,
    Failed,
    Peer(String),
    Conflict(String),
    /// This unit replaces ours, or ours moved out of its way.
    Replaced(String),
    TooMany {
        limit: u32,
        template: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotWanted => write!(f, "target state inactive"),
            Reason::MachineGone(id) => write!(f, "target Machine({id}) went away"),
            Reason::OtherMachine { is, required } => write!(f, "agent ID {is:?} does not match required {required:?}"),
            Reason::Metadata => write!(f, "local Machine metadata insufficient"),
            Reason::Cordoned => write!(f, "Machine takes no further units: it is cordoned"),
            Reason::Draining => write!(
                f,
                "Machine takes no further units and gives away its own: it is drained"
            ),
            Reason::Away => write!(f, "Machine is not there, and may run its units all the same"),
            Reason::Failed => write!(f, "it has failed there lately"),
            Reason::Peer(peer) => write!(f, "required peer Unit({peer}) is not scheduled locally"),
            Reason::Conflict(unit) => write!(f, "found conflict with locally-scheduled Unit({unit})"),
            Reason::Replaced(unit) => write!(f, "found replace with locally-scheduled Unit({unit})"),
            Reason::TooMany { limit, template } => {
                write!(f, "Machine holds MaxPerMachine={limit} units of {template} already")
            }
        }
    }
}

/// How many characters of a machine's id stand for it in MachineID.
const SHORT_ID: usize = 8;

/// What of a machine alone speaks against a unit.
fn against_machine(unit: &Requirements, machine: &Machine) -> Option<Reason> {
    if let Some(required) = &unit.machine_id {
        let short = required.len() == SHORT_ID && machine.id.starts_with(required.as_str());
        if *required != machine.id && !short {
            return Some(Reason::OtherMachine {
                is: machine.id.clone(),
                required: required.clone(),
            });
        }
    }
    if !unit.metadata.iter().all(|term| term.met(&machine.metadata)) {
        return Some(Reason::Metadata);
    }
    None
}

/// A machine with what is on it.
struct Place<'a> {
    machine: &'a Machine,
    load: u64,
    units: BTreeMap<&'a str, &'a Requirements>,
    /// The global units that are meant for it. Which of them run there, `globals_on` says.
    globals: Vec<(&'a str, &'a Requirements)>,
    /// Those of `units` that keep others away.
    guarded: Vec<(&'a str, &'a Requirements)>,
    /// Instances of each template.
    instances: HashMap<String, u32>,
}

impl<'a> Place<'a> {
    fn add(&mut self, name: &'a str, unit: &'a Requirements) {
        self.load += unit.weight();
        self.units.insert(name, unit);
        if !unit.conflicts.is_empty() || !unit.replaces.is_empty() {
            self.guarded.push((name, unit));
        }
        *self.instances.entry(UnitName::new(name).template).or_default() += 1;
    }

    fn remove(&mut self, name: &str) {
        if let Some(unit) = self.units.remove(name) {
            self.load -= unit.weight();
            self.guarded.retain(|(other, _)| *other != name);
            *self.instances.entry(UnitName::new(name).template).or_default() -= 1;
        }
    }

    /// Is it scheduled here? A global unit is scheduled nowhere.
    fn holds(&self, name: &str) -> bool {
        self.units.contains_key(name)
    }

    /// What speaks against a unit here. `staying`: it is here already, which a cordon does not change.
    fn against(&self, of: &Unit, staying: bool) -> Option<Reason> {
        let (name, unit) = (of.name.as_str(), &*of.requirements);
        match (self.machine.presence, staying) {
            (Presence::Away, true) => return None,
            (Presence::Away, false) => return Some(Reason::Away),
            _ => {}
        }
        if let Some(reason) = against_machine(unit, self.machine) {
            return Some(reason);
        }
        // One that can be nowhere else is not sent away.
        if unit.machine_id.is_none() && of.failed_on.contains(&self.machine.id) {
            return Some(Reason::Failed);
        }
        match (self.machine.presence, staying) {
            (Presence::Cordoned, false) => return Some(Reason::Cordoned),
            (Presence::Draining, false) => return Some(Reason::Draining),
            _ => {}
        }
        if let Some(peer) = unit.peers.iter().find(|peer| !self.holds(peer)) {
            return Some(Reason::Peer(peer.clone()));
        }
        if !staying {
            let mut globals = self.globals.iter();
            if let Some((global, _)) = globals.find(|(global, _)| unit.conflicts_with(global)) {
                return Some(Reason::Conflict(global.to_string()));
            }
        }
        self.against_neighbours(name, unit)
    }

    fn against_neighbours(&self, name: &str, unit: &Requirements) -> Option<Reason> {
        for (other, theirs) in &self.guarded {
            if *other != name && theirs.conflicts_with(name) {
                return Some(Reason::Conflict(other.to_string()));
            }
            if *other != name && theirs.replaces(name) {
                return Some(Reason::Replaced(other.to_string()));
            }
        }
        if !unit.conflicts.is_empty() {
            let found = self
                .units
                .keys()
                .find(|other| **other != name && unit.conflicts_with(other));
            if let Some(other) = found {
                return Some(Reason::Conflict(other.to_string()));
            }
        }
        if let Some(limit) = unit.max_per_machine {
            let template = UnitName::new(name).template;
            let held = self.instances.get(&template).copied().unwrap_or(0);
            if !template.is_empty() && held >= limit {
                return Some(Reason::TooMany { limit, template });
            }
        }
        None
    }
}

/// The state of the cluster as one plan sees it.
pub struct Cluster<'a> {
    places: BTreeMap<&'a str, Place<'a>>,
    /// The normal units in the order in which they are decided on: a unit comes after those it follows.
    units: Vec<&'a Unit>,
}

impl<'a> Cluster<'a> {
    fn new(units: &'a [Unit], machines: &'a [Machine]) -> Cluster<'a> {
        let mut global: Vec<(&str, &Requirements)> = units
            .iter()
            .filter(|unit| unit.requirements.global && unit.wanted)
            .map(|unit| (unit.name.as_str(), &*unit.requirements))
            .collect();
        global.sort_by_key(|(name, _)| *name);
        let place = |machine: &'a Machine| {
            let mut globals = global.clone();
            globals.retain(|(_, unit)| against_machine(unit, machine).is_none());
            Place {
                machine,
                load: globals.iter().map(|(_, unit)| unit.weight()).sum(),
                units: BTreeMap::new(),
                globals,
                guarded: Vec::new(),
                instances: HashMap::new(),
            }
        };
        Cluster {
            places: machines
                .iter()
                .map(|machine| (machine.id.as_str(), place(machine)))
                .collect(),
            units: in_order(units),
        }
    }

    /// Keeps what may stay.
    fn keep(&mut self, mut gone: impl FnMut(&'a Unit, &'a str, Reason)) -> HashSet<&'a str> {
        let mut kept = HashSet::new();
        for unit in &self.units {
            let Some(id) = unit.machine.as_deref() else { continue };
            let reason = match self.places.get_mut(id) {
                _ if !unit.wanted => Reason::NotWanted,
                None => Reason::MachineGone(id.into()),
                Some(place) => match place.against(unit, true) {
                    Some(reason) => reason,
                    None => {
                        place.add(&unit.name, &unit.requirements);
                        kept.insert(unit.name.as_str());
                        continue;
                    }
                },
            };
            gone(unit, id, reason);
        }
        kept
    }

    /// Takes units off a machine, and with them whoever follows them.
    fn send_away(&mut self, machine: &str, mut leaving: Vec<&'a str>) -> Vec<&'a str> {
        let Some(place) = self.places.get_mut(machine) else {
            return Vec::new();
        };
        let mut next = 0;
        while let Some(leaver) = leaving.get(next).copied() {
            next += 1;
            place.remove(leaver);
            let followers = place
                .units
                .iter()
                .filter(|(_, theirs)| theirs.peers.iter().any(|peer| peer == leaver));
            let followers: Vec<&str> = followers.map(|(name, _)| *name).collect();
            leaving.extend(
                followers
                    .into_iter()
                    .filter(|name| !leaving.contains(name))
                    .collect::<Vec<_>>(),
            );
        }
        leaving
    }

    /// The next unit to leave a machine that is drained: one that follows nobody, and could be elsewhere.
    fn to_drain(&self, kept: &HashSet<&str>) -> Option<(&'a str, &'a str)> {
        self.units.iter().find_map(|unit| {
            let (id, place) = self.places.get_key_value(unit.machine.as_deref()?)?;
            let may = place.machine.presence == Presence::Draining
                && unit.requirements.peers.is_empty()
                && kept.contains(unit.name.as_str());
            let mut others = self.places.values();
            let fits = may && others.any(|other| other.machine.id != *id && other.against(unit, false).is_none());
            fits.then_some((unit.name.as_str(), *id))
        })
    }

    /// What speaks against a unit on each machine, as things stand.
    pub fn explain(units: &[Unit], machines: &[Machine], name: &str) -> Option<BTreeMap<String, Option<Reason>>> {
        let unit = units.iter().find(|unit| unit.name == name)?;
        let mut cluster = Cluster::new(units, machines);
        cluster.keep(|_, _, _| {});
        let of_place = |(id, place): (&&str, &mut Place<'_>)| {
            place.remove(name);
            let reason = if unit.requirements.global {
                global_against(place, name, &unit.requirements)
            } else {
                let staying = unit.machine.as_deref() == Some(*id);
                place.against(unit, staying)
            };
            (id.to_string(), reason)
        };
        Some(cluster.places.iter_mut().map(of_place).collect())
    }
}

/// Against a global unit on a machine: whatever is scheduled there goes first, then global units by name.
fn global_against(place: &Place<'_>, name: &str, unit: &Requirements) -> Option<Reason> {
    against_machine(unit, place.machine).or_else(|| place.against_neighbours(name, unit))
}

/// The global units that run on a machine beside what is scheduled there. `units` need not hold those of others.
pub fn globals_on(units: &[Unit], machine: &Machine) -> BTreeSet<String> {
    let mut cluster = Cluster::new(units, std::slice::from_ref(machine));
    cluster.keep(|_, _, _| {});
    let mut names = BTreeSet::new();
    for place in cluster.places.values_mut() {
        for (name, unit) in std::mem::take(&mut place.globals) {
            if global_against(place, name, unit).is_none() {
                place.add(name, unit);
                names.insert(name.to_string());
            }
        }
    }
    names
}

/// What has to change so that every unit is where it may be. Those that could be nowhere wait. `drain`: one unit of a
/// machine that is drained may move now.
pub fn plan(units: &[Unit], machines: &[Machine], drain: bool) -> Vec<Decision> {
    let mut decisions = Vec::new();
    let mut cluster = Cluster::new(units, machines);
    let mut unscheduled = HashMap::new();
    let mut kept = cluster.keep(|unit, machine, reason| {
        decisions.push(Decision::Unschedule {
            unit: unit.name.clone(),
            machine: machine.into(),
            reason,
        });
        unscheduled.insert(unit.name.as_str(), machine);
    });
    let mut by_load: BTreeSet<(u64, &str)> = cluster.places.iter().map(|(id, place)| (place.load, *id)).collect();
    if drain && let Some((unit, machine)) = cluster.to_drain(&kept) {
        by_load.remove(&(cluster.places[machine].load, machine));
        for leaver in cluster.send_away(machine, vec![unit]) {
            kept.remove(leaver);
            decisions.push(Decision::Unschedule {
                unit: leaver.into(),
                machine: machine.into(),
                reason: Reason::Draining,
            });
        }
        by_load.insert((cluster.places[machine].load, machine));
    }
    let mut waiting: Vec<&Unit> = cluster.units.iter().copied().filter(|unit| unit.wanted).collect();
    waiting.retain(|unit| !kept.contains(unit.name.as_str()));
    let by_name: HashMap<&str, &Unit> = cluster.units.iter().map(|unit| (unit.name.as_str(), *unit)).collect();
    let mut at = 0;
    let mut displaced = HashSet::new();
    while let Some(unit) = waiting.get(at).copied() {
        at += 1;
        let in_circle = |place: &Place<'_>| {
            let mut there = place.units.keys();
            let replaced = |other: &&&str| unit.requirements.replaces(other);
            !unit.requirements.replaces.is_empty()
                && there.any(|other| replaced(&other) && leads_to(&by_name, other, &unit.name))
        };
        let Some(id) = best(&cluster.places, &by_load, unit, in_circle) else {
            continue;
        };
        by_load.remove(&(cluster.places[id].load, id));
        // Whom it replaces goes elsewhere, and with it whoever follows that one; each is sent away once only.
        let mut replaced: Vec<&str> = Vec::new();
        if !unit.requirements.replaces.is_empty() {
            let there = cluster.places[id].units.keys();
            let theirs = there.filter(|other| **other != unit.name && unit.requirements.replaces(other));
            replaced.extend(theirs);
        }
        let leaving = cluster.send_away(id, replaced);
        for leaver in leaving {
            let scheduled_now = decisions
                .iter()
                .position(|decision| matches!(decision, Decision::Schedule { unit, .. } if unit.as_str() == leaver));
            match scheduled_now {
                Some(at) => drop(decisions.remove(at)),
                None => decisions.push(Decision::Unschedule {
                    unit: leaver.into(),
                    machine: id.into(),
                    reason: Reason::Replaced(unit.name.clone()),
                }),
            }
            if displaced.insert(leaver) {
                waiting.extend(by_name.get(leaver));
            }
        }
        if let Some(place) = cluster.places.get_mut(id) {
            place.add(&unit.name, &unit.requirements);
            by_load.insert((place.load, id));
        }
        decisions.push(Decision::Schedule {
            unit: unit.name.clone(),
            machine: id.into(),
        });
    }
    decisions
}

/// The machine for a unit: among those that may have it the one that it prefers most, then the least loaded, then the
/// first by its id.
fn best<'a>(
    places: &BTreeMap<&'a str, Place<'a>>,
    by_load: &BTreeSet<(u64, &'a str)>,
    unit: &Unit,
    excluded: impl Fn(&Place<'_>) -> bool,
) -> Option<&'a str> {
    let wants = &unit.requirements;
    let able = |id: &str| {
        let place = places.get(id);
        place.is_some_and(|place| place.against(unit, false).is_none() && !excluded(place))
    };
    if let Some(peer) = wants.peers.first() {
        // Only one machine can be meant, or none.
        let found = places.iter().find(|(_, place)| place.holds(peer));
        return found.map(|(id, _)| *id).filter(|id| able(id));
    }
    let mut able_by_load = by_load.iter().map(|(_, id)| *id).filter(|id| able(id));
    if wants.preferred.is_empty() {
        return able_by_load.next();
    }
    let likes = |id: &str| {
        let met = |place: &Place<'_>| {
            let terms = wants.preferred.iter();
            terms.filter(|term| term.met(&place.machine.metadata)).count()
        };
        places.get(id).map_or(0, met)
    };
    // The first of the best: `max_by_key` would take the last.
    able_by_load.rev().max_by_key(|id| likes(id))
}

/// Whether `from` replaces `to`, or something that does, and so on: then replacing `from` would never come to an end.
fn leads_to(units: &HashMap<&str, &Unit>, from: &str, to: &str) -> bool {
    let mut seen = HashSet::from([from]);
    let mut open = vec![from];
    while let Some(unit) = open.pop().and_then(|name| units.get(name)) {
        if unit.requirements.replaces(to) {
            return true;
        }
        let next = units.keys().filter(|name| unit.requirements.replaces(name));
        let next: Vec<&str> = next.copied().filter(|name| seen.insert(name)).collect();
        open.extend(next);
    }
    false
}

/// The normal units by name, those that follow others after these. Units that follow each other in a circle are left
/// where the circle is met: none of them ever finds its peer.
fn in_order(units: &[Unit]) -> Vec<&Unit> {
    let normal: BTreeMap<&str, &Unit> = units
        .iter()
        .filter(|unit| !unit.requirements.global)
        .map(|unit| (unit.name.as_str(), unit))
        .collect();
    let mut out = Vec::with_capacity(normal.len());
    let mut seen: HashSet<&str> = HashSet::new();
    for root in normal.values() {
        // A stack of its own: a chain may be as long as there are units.
        let mut stack = vec![(*root, 0)];
        if !seen.insert(&root.name) {
            continue;
        }
        while let Some((unit, next)) = stack.pop() {
            match unit.requirements.peers.get(next) {
                Some(peer) => {
                    stack.push((unit, next + 1));
                    if let Some(peer) = normal.get(peer.as_str())
                        && seen.insert(&peer.name)
                    {
                        stack.push((*peer, 0));
                    }
                }
                None => out.push(unit),
            }
        }
    }
    out
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;

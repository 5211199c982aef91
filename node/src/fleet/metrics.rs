//! What fleetd counts, as Prometheus reads it; names as in fleet 1.0 where it had them.
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::engine::Counts;
use super::mirror::Mirror;
use super::registry::Registry;
use super::schema::JobState;

pub const TEXT: &str = "text/plain; version=0.0.4";

pub fn text(registry: &Registry, engine: &Counts) -> String {
    let mut out = String::new();
    let mut add = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let (done, failed) = (registry.done.load(Relaxed), registry.failed.load(Relaxed));
    let tasks = [
        ("{type=\"AttemptScheduleUnit\"}", engine.scheduled.load(Relaxed)),
        ("{type=\"UnscheduleUnit\"}", engine.unscheduled.load(Relaxed)),
    ];
    let one = |value: u64| [("", value)];
    add(
        "fleet_engine_leader_start_time",
        "gauge",
        "Start time of becoming an engine leader since epoch in seconds; 0: another leads.",
        &one(engine.leads_since.load(Relaxed)),
    );
    add(
        "fleet_engine_task_count_total",
        "counter",
        "Tasks of the engine.",
        &tasks,
    );
    add(
        "fleet_engine_reconcile_count_total",
        "counter",
        "Rounds of reconciliation.",
        &one(engine.reconciled.load(Relaxed)),
    );
    add(
        "fleet_engine_reconcile_failure_count_total",
        "counter",
        "Rounds of reconciliation that could not be carried out.",
        &one(engine.failed.load(Relaxed)),
    );
    add(
        "fleet_registry_operation_count_total",
        "counter",
        "Writes to the registry.",
        &one(done),
    );
    add(
        "fleet_registry_operation_failed_count_total",
        "counter",
        "Writes to the registry that etcd did not answer.",
        &one(failed),
    );
    let mirror = registry.mirror();
    add(
        "fleet_machines",
        "gauge",
        "Machines of the cluster.",
        &one(mirror.machines().len() as u64),
    );
    let by_state = |state| count(&mirror, state);
    let units = [
        ("{state=\"inactive\"}", by_state(JobState::Inactive)),
        ("{state=\"loaded\"}", by_state(JobState::Loaded)),
        ("{state=\"launched\"}", by_state(JobState::Launched)),
    ];
    add("fleet_units", "gauge", "Units by their current state.", &units);
    out
}

fn count(mirror: &Mirror, state: JobState) -> u64 {
    let jobs = mirror.jobs.iter().filter(|(_, job)| job.hash.is_some());
    jobs.filter(|(name, job)| mirror.current(name, job) == state).count() as u64
}

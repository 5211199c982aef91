//! /metrics, with etcd 2's names.
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::allow;
use crate::etcd::http::{Reply, Request};
use crate::etcd::server::Server;

const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

#[derive(Default)]
pub struct Metrics {
    received: [AtomicU64; METHODS.len()],
    watches: AtomicU64,
    pending: AtomicI64,
    failed: AtomicU64,
    proposals: Mutex<Durations>,
}

#[derive(Default)]
struct Durations {
    count: u64,
    sum: f64,
}

/// A proposal under way; counted as done when it goes.
pub struct Pending<'a> {
    metrics: &'a Metrics,
    start: std::time::Instant,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.metrics.pending.fetch_sub(1, Ordering::Relaxed);
        let mut durations = self.metrics.proposals.lock().unwrap();
        durations.count += 1;
        durations.sum += self.start.elapsed().as_secs_f64();
    }
}

impl Metrics {
    pub fn received(&self, method: &str) {
        if let Some(at) = METHODS.iter().position(|known| *known == method) {
            self.received[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn pending(&self) -> Pending<'_> {
        self.pending.fetch_add(1, Ordering::Relaxed);
        Pending {
            metrics: self,
            start: std::time::Instant::now(),
        }
    }

    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub fn watch_opened(&self) {
        self.watches.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn handle(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET,HEAD") {
        return;
    }
    let mut out = String::with_capacity(4096);
    write_all(server, &mut out);
    reply
        .start(200)
        .header("Content-Type", "text/plain; version=0.0.4")
        .body(out.as_bytes());
}

fn write_all(server: &Server, out: &mut String) {
    let metrics = &server.metrics;
    head(
        out,
        "etcd_http_received_total",
        "counter",
        "Counter of requests received into the system (successfully parsed and authd).",
    );
    for (method, count) in METHODS.iter().zip(&metrics.received) {
        let _ = writeln!(
            out,
            "etcd_http_received_total{{method=\"{method}\"}} {}",
            count.load(Ordering::Relaxed)
        );
    }
    let (open, limit) = file_descriptors();
    single(
        out,
        "etcd_server_file_descriptors_used_total",
        "gauge",
        "The total number of file descriptors used.",
        open as f64,
    );
    single(
        out,
        "etcd_server_pending_proposal_total",
        "gauge",
        "The total number of pending proposals.",
        metrics.pending.load(Ordering::Relaxed) as f64,
    );
    single(
        out,
        "etcd_server_proposal_failed_total",
        "counter",
        "The total number of failed proposals.",
        metrics.failed.load(Ordering::Relaxed) as f64,
    );
    {
        let durations = metrics.proposals.lock().unwrap();
        head(
            out,
            "etcd_server_proposal_durations_seconds",
            "summary",
            "The latency distributions of committing proposal.",
        );
        let _ = writeln!(out, "etcd_server_proposal_durations_seconds_sum {}", durations.sum);
        let _ = writeln!(out, "etcd_server_proposal_durations_seconds_count {}", durations.count);
    }
    let stats = server.member.state.store.lock().unwrap().stats();
    single(
        out,
        "etcd_store_expires_total",
        "counter",
        "Total number of expired keys.",
        stats.expire_count as f64,
    );
    head(
        out,
        "etcd_store_reads_total",
        "counter",
        "Total number of reads action by (get/getRecursive), local to this member.",
    );
    let _ = writeln!(out, "etcd_store_reads_total{{action=\"get\"}} {}", stats.gets_success);
    single(
        out,
        "etcd_store_watch_requests_total",
        "counter",
        "Total number of incoming watch requests (new or reestablished).",
        metrics.watches.load(Ordering::Relaxed) as f64,
    );
    single(
        out,
        "etcd_store_watchers",
        "gauge",
        "Count of currently active watchers.",
        stats.watchers as f64,
    );
    head(
        out,
        "etcd_store_writes_total",
        "counter",
        "Total number of writes (e.g. set/compareAndDelete) seen by this member.",
    );
    let writes = [
        ("set", stats.sets_success),
        ("create", stats.create_success),
        ("update", stats.update_success),
        ("delete", stats.delete_success),
        ("compareAndSwap", stats.compare_and_swap_success),
        ("compareAndDelete", stats.compare_and_delete_success),
    ];
    for (action, count) in writes {
        let _ = writeln!(out, "etcd_store_writes_total{{action=\"{action}\"}} {count}");
    }
    let disk = &server.member.disk_status;
    single(
        out,
        "etcd_wal_last_index_saved",
        "gauge",
        "The index of the last entry saved by wal.",
        disk.last_index_saved.load(Ordering::Relaxed) as f64,
    );
    {
        let syncs = disk.syncs.lock().unwrap();
        head(
            out,
            "etcd_wal_fsync_durations_seconds",
            "summary",
            "The latency distributions of fsync called by wal.",
        );
        for quantile in [0.5, 0.9, 0.99] {
            let _ = writeln!(
                out,
                "etcd_wal_fsync_durations_seconds{{quantile=\"{quantile}\"}} {}",
                syncs.quantile(quantile)
            );
        }
        let _ = writeln!(out, "etcd_wal_fsync_durations_seconds_sum {}", syncs.sum);
        let _ = writeln!(out, "etcd_wal_fsync_durations_seconds_count {}", syncs.count);
    }
    {
        let snapshots = server.member.state.snapshot_times();
        head(
            out,
            "etcd_snapshot_save_total_durations_seconds",
            "summary",
            "The total latency distributions of save called by snapshot.",
        );
        let _ = writeln!(out, "etcd_snapshot_save_total_durations_seconds_sum {}", snapshots.1);
        let _ = writeln!(out, "etcd_snapshot_save_total_durations_seconds_count {}", snapshots.0);
    }
    single(
        out,
        "process_open_fds",
        "gauge",
        "Number of open file descriptors.",
        open as f64,
    );
    single(
        out,
        "process_max_fds",
        "gauge",
        "Maximum number of open file descriptors.",
        limit as f64,
    );
    single(
        out,
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        resident_bytes() as f64,
    );
    single(
        out,
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        server.started as f64 / 1e9,
    );
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn single(out: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    head(out, name, kind, help);
    let _ = writeln!(out, "{name} {value}");
}

fn file_descriptors() -> (u64, u64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX);
    (open, limit)
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

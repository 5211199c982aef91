//! The tables, and the verdict on each ratio that was wanted.

use std::fmt::{self, Display, Formatter};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::Op;
use crate::load::Outcome;
use crate::server::Side;

pub struct Report {
    head: String,
    pub rates: Vec<RateRow>,
    pub values: Vec<ValueRow>,
}

pub struct RateRow {
    pub op: Op,
    pub name: &'static str,
    pub members: usize,
    pub conns: usize,
    pub ours: Rate,
    pub peer: Rate,
}

pub struct Rate {
    pub ops_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
    client_us: f64,
    errors: u64,
}

/// A measure in one number, less being better.
pub struct ValueRow {
    pub measure: String,
    pub members: usize,
    pub unit: &'static str,
    pub ours: f64,
    pub peer: f64,
    pub wanted: Wanted,
    pub note: String,
}

/// What a measure is to stay at or under.
#[derive(Clone, Copy)]
pub enum Wanted {
    Anything,
    /// As ours/peer.
    Ratio(f64),
    /// Of our server itself.
    Ours(f64),
}

impl Rate {
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            ops_s: outcome.ops_per_second(),
            p50_ms: outcome.latency.ms(0.5),
            p99_ms: outcome.latency.ms(0.99),
            cpu_us: outcome.per_op(outcome.server_cpu_us),
            client_us: outcome.per_op(outcome.client_cpu_us),
            errors: outcome.errors,
        }
    }

    /// Each figure's median over the rounds, and the errors of all of them.
    pub fn median(rounds: Vec<Self>) -> Self {
        let of = |pick: fn(&Self) -> f64| median(rounds.iter().map(pick).collect());
        Self {
            ops_s: of(|r| r.ops_s),
            p50_ms: of(|r| r.p50_ms),
            p99_ms: of(|r| r.p99_ms),
            cpu_us: of(|r| r.cpu_us),
            client_us: of(|r| r.client_us),
            errors: rounds.iter().map(|r| r.errors).sum(),
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

impl Report {
    pub fn new(scratch: &Path, sides: &[Side; 2]) -> Result<Self> {
        let cores = std::thread::available_parallelism()?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let fdatasync = fdatasync_ms(&scratch.join("fdatasync"))?;
        let peer = Command::new(&sides[1].command[0]).arg("--version").output();
        let version = peer
            .ok()
            .and_then(|out| String::from_utf8(out.stdout).ok())
            .unwrap_or_default();
        let head = format!(
            "Machine: {cores} cores, Linux {}, fdatasync p50 {fdatasync:.3} ms. Servers and client share the cores.\n\
             ours: `{}`, peer: `{}` ({})\n",
            kernel.trim(),
            sides[0].command.join(" "),
            sides[1].command.join(" "),
            version.lines().next().unwrap_or("version unknown"),
        );
        Ok(Self {
            head,
            rates: Vec::new(),
            values: Vec::new(),
        })
    }

    fn verdicts(&self) -> Vec<(String, bool, String)> {
        let mut verdicts = Vec::new();
        let mut at_least = |what: String, wanted: f64, ratio: f64, errors: bool| {
            verdicts.push((format!("{what} >= {wanted}x"), ratio >= wanted && !errors, times(ratio)));
        };
        for row in &self.rates {
            let what = row.label();
            let errors = row.ours.errors + row.peer.errors > 0;
            let ratio = row.ours.ops_s / row.peer.ops_s;
            match (row.op, row.conns, row.members) {
                (Op::Put, 1, _) => at_least(what, 1.5, ratio, errors),
                (Op::Put, _, _) => at_least(what, 3.0, ratio, errors),
                (Op::Get, _, _) => at_least(what, 2.0, ratio, errors),
                (Op::Qget, _, 2..) => at_least(what, 4.0, ratio, errors),
                (Op::Qget, _, _) => {}
            }
        }
        for row in self.rates.iter().filter(|row| row.op == Op::Put && row.conns > 1) {
            let ratio = row.ours.p99_ms / row.peer.p99_ms;
            verdicts.push((format!("{}: p99 <= 0.5x", row.label()), ratio <= 0.5, times(ratio)));
        }
        for row in &self.values {
            let what = format!("{}, {}", row.measure, count(row.members));
            let ratio = row.ours / row.peer;
            match row.wanted {
                Wanted::Anything => {}
                Wanted::Ratio(wanted) => verdicts.push((format!("{what} <= {wanted}x"), ratio <= wanted, times(ratio))),
                Wanted::Ours(wanted) => {
                    let unit = row.unit;
                    let value = format!("{:.2} {unit}", row.ours);
                    verdicts.push((format!("{what} <= {wanted} {unit}"), row.ours <= wanted, value));
                }
            }
        }
        verdicts
    }
}

impl RateRow {
    fn label(&self) -> String {
        format!("{} at {}, {}", self.name, self.conns, count(self.members))
    }
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

fn count(members: usize) -> String {
    if members == 1 {
        "1 member".into()
    } else {
        format!("{members} members")
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head)?;
        if !self.rates.is_empty() {
            writeln!(
                f,
                "| measure | members | conns | ours ops/s | peer ops/s | ratio | ours p50/p99 ms | peer p50/p99 ms \
                 | p99 ratio | ours/peer cpu us/op |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
            )?;
        }
        for RateRow {
            name,
            members,
            conns,
            ours,
            peer,
            ..
        } in &self.rates
        {
            let errors = match (ours.errors, peer.errors) {
                (0, 0) => String::new(),
                (ours, peer) => format!(" **ERRORS: {ours} and {peer}**"),
            };
            writeln!(
                f,
                "| {name}{errors} | {members} | {conns} | {:.0} | {:.0} | {:.2} | {:.3} / {:.3} | {:.3} / {:.3} \
                 | {:.2} | {:.1} / {:.1} |",
                ours.ops_s,
                peer.ops_s,
                ours.ops_s / peer.ops_s,
                ours.p50_ms,
                ours.p99_ms,
                peer.p50_ms,
                peer.p99_ms,
                ours.p99_ms / peer.p99_ms,
                ours.cpu_us,
                peer.cpu_us
            )?;
        }
        if !self.rates.is_empty() {
            let ours = median(self.rates.iter().map(|row| row.ours.client_us).collect());
            let peer = median(self.rates.iter().map(|row| row.peer.client_us).collect());
            writeln!(
                f,
                "\nThe client's own CPU, median of these rows: {ours:.1} us/op with ours, {peer:.1} with the peer.\n"
            )?;
        }
        if !self.values.is_empty() {
            writeln!(
                f,
                "| measure | members | unit | ours | peer | ratio | note |\n|---|--:|---|--:|--:|--:|---|"
            )?;
        }
        for ValueRow {
            measure,
            members,
            unit,
            ours,
            peer,
            note,
            ..
        } in &self.values
        {
            let digits = if *unit == "s" || *ours < 10.0 { 3 } else { 1 };
            let ratio = ours / peer;
            writeln!(
                f,
                "| {measure} | {members} | {unit} | {ours:.digits$} | {peer:.digits$} | {ratio:.2} | {note} |"
            )?;
        }
        writeln!(f, "\nWanted:\n")?;
        for (what, met, value) in self.verdicts() {
            let verdict = if met { "met" } else { "missed" };
            writeln!(f, "- {what}: {verdict} ({value})")?;
        }
        Ok(())
    }
}

/// What one small durable write costs on the disk of the servers' data.
fn fdatasync_ms(path: &Path) -> Result<f64> {
    let mut file = File::create(path)?;
    let mut taken = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 512])?;
        let began = Instant::now();
        file.sync_data()?;
        taken.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(taken))
}

//! What a lab of real nodes costs: time to be ready, time to be gone, memory, and the wire between nodes.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::report::median;

/// Sent over the wire to see how fast it is.
const MEGABYTES: u64 = 2000;

struct Lab {
    program: PathBuf,
    dir: tempfile::TempDir,
}

/// Prints a line for each figure, with what is wanted of it.
pub fn measure(program: &Path, rounds: usize) -> Result<()> {
    let lab = Lab {
        program: program.to_path_buf(),
        dir: tempfile::Builder::new().prefix("lab").tempdir()?,
    };
    // Unpacks the image, and fills the page cache.
    lab.run(&["up", "--num-instances", "1"])?;
    lab.run(&["destroy", "-f"])?;
    println!("| figure | median | range | wanted |\n|---|--:|---|---|");
    for (nodes, wanted) in [("1", "0.6 s"), ("3", "1.5 s"), ("10", "5 s")] {
        let (mut ups, mut downs, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            ups.push(lab.run(&["up", "--num-instances", nodes])?.0);
            if nodes == "3" {
                others.push((
                    lab.run(&["status"])?.0,
                    lab.run(&["ssh-config"])?.0,
                    lab.memory()?,
                    lab.round_trip()?,
                    lab.throughput()?,
                ));
            }
            downs.push(lab.run(&["destroy", "-f"])?.0);
        }
        row(
            &format!("`lab up`, {nodes} nodes: systemd, ssh, etcd healthy"),
            "s",
            &seconds(&ups),
            wanted,
        );
        if nodes == "3" {
            row("`lab destroy` of them", "s", &seconds(&downs), "0.2 s");
            row(
                "`lab status`",
                "ms",
                &others.iter().map(|o| o.0.as_secs_f64() * 1e3).collect::<Vec<_>>(),
                "20 ms",
            );
            row(
                "`lab ssh-config`",
                "ms",
                &others.iter().map(|o| o.1.as_secs_f64() * 1e3).collect::<Vec<_>>(),
                "20 ms",
            );
            row(
                "memory of an idle node with etcd, PSS",
                "MiB",
                &others.iter().map(|o| o.2).collect::<Vec<_>>(),
                "25 MiB",
            );
            row(
                "round trip between nodes",
                "ms",
                &others.iter().map(|o| o.3).collect::<Vec<_>>(),
                "0.3 ms",
            );
            row(
                "TCP between nodes",
                "Gbit/s",
                &others.iter().map(|o| o.4).collect::<Vec<_>>(),
                "at least 1",
            );
        }
    }
    Ok(())
}

fn seconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(Duration::as_secs_f64).collect()
}

fn row(figure: &str, unit: &str, values: &[f64], wanted: &str) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let middle = median(values.to_vec());
    println!("| {figure} | {middle:.2} {unit} | {least:.2} to {most:.2} | {wanted} |");
}

impl Lab {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.dir.path());
        command.env("XDG_STATE_HOME", self.dir.path().join("state"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Result<(Duration, String)> {
        let began = Instant::now();
        let output = self.command(args).output().context("lab cannot be run")?;
        let took = began.elapsed();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "lab {}: {}{text}{}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok((took, text))
    }

    /// Proportional share of all processes of the lab's nodes, a node's part of it.
    fn memory(&self) -> Result<f64> {
        let (_, status) = self.run(&["status", "--format", "json"])?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        let group = format!("/lab-{}/", status["id"].as_str().context("an id")?);
        let mut kilobytes = 0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            if read("cgroup").contains(&group) {
                let pss = read("smaps_rollup");
                let pss = pss
                    .lines()
                    .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
                kilobytes += pss.and_then(|pss| pss.trim().parse::<u64>().ok()).unwrap_or(0);
            }
        }
        ensure!(kilobytes > 0, "no process is in {group}");
        Ok(kilobytes as f64 / 1024.0 / status["nodes"].as_array().map_or(1, Vec::len) as f64)
    }

    /// Milliseconds.
    fn round_trip(&self) -> Result<f64> {
        let (_, text) = self.run(&["exec", "core-01", "--", "ping -q -c 200 -i 0.005 core-02"])?;
        let average = text.split("= ").nth(1).and_then(|rest| rest.split('/').nth(1));
        average
            .and_then(|average| average.parse().ok())
            .context("ping says no average")
    }

    /// Gbit/s over one connection.
    fn throughput(&self) -> Result<f64> {
        let listen = "systemd-run -q --user -p Type=exec --unit sink systemd-socket-activate -a --inetd -l 9000 sh -c 'cat >/dev/null' && \
                      until ss -ltn | grep -q :9000; do sleep 0.05; done";
        self.run(&["exec", "core-02", "--", listen])?;
        let send = format!(
            "s=$(date +%s%N); dd if=/dev/zero bs=64k count={} status=none >/dev/tcp/core-02/9000; e=$(date +%s%N); echo $((e-s))",
            MEGABYTES * 16
        );
        let (_, nanos) = self.run(&["exec", "core-01", "--", &format!("bash -c '{send}'")])?;
        self.run(&["exec", "core-02", "--", "systemctl --user stop sink"])?;
        let nanos: f64 = nanos.trim().parse().context("the time that it took")?;
        Ok((MEGABYTES << 20) as f64 * 8.0 / nanos)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.command(&["destroy", "-f"]).output();
    }
}

//! Start to first write: from spawning one member on an empty directory until its first 201.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::report::{Report, ValueRow, Wanted, median};
use crate::server::{Cluster, Side};

const STARTS: usize = 5;
const LIMIT_S: f64 = 0.3;

pub fn measure(sides: &[Side; 2], snapshot_count: u64, scratch: &Path, report: &mut Report) -> Result<()> {
    let mut taken = [Vec::new(), Vec::new()];
    for _ in 0..STARTS {
        for (side, taken) in sides.iter().zip(&mut taken) {
            let began = Instant::now();
            let mut cluster = Cluster::spawn(side, 1, snapshot_count, scratch)?;
            let status = cluster.first_write(0, Duration::from_secs(60))?;
            taken.push(began.elapsed().as_secs_f64());
            ensure!(status == 201, "{} answered the first write with {status}", side.name);
        }
    }
    let [ours, peer] = taken.map(median);
    eprintln!("start to first write: {ours:.3} and {peer:.3} s");
    report.values.push(ValueRow {
        measure: "start to first write".into(),
        members: 1,
        unit: "s",
        ours,
        peer,
        wanted: Wanted::Ours(LIMIT_S),
        note: format!("median of {STARTS}"),
    });
    Ok(())
}

//! What a node's systemd is still busy with.
use std::io;
use std::time::Duration;

use super::inside;
use super::protocol::Trouble;

/// A systemd that gives no answer for so long is asked again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Units that are done only when other machines have answered them.
const TOGETHER: [&str; 2] = ["etcd2.service", "etcd.service"];
/// What starts those, and waits.
const STARTERS: &str = "user-cloudinit@";

/// So much is shown of a failed unit's journal.
const LINES: &str = "5";

/// The units whose jobs run.
pub async fn running(pid: i32) -> io::Result<Vec<String>> {
    let list = ["systemctl", "list-jobs", "--no-legend", "--plain", "--full"];
    Ok(parse(&inside::must(pid, &list, PATIENCE).await?))
}

/// The units that have failed, with the ends of their journals.
pub async fn failed(pid: i32) -> io::Result<Vec<Trouble>> {
    let list = [
        "systemctl",
        "list-units",
        "--failed",
        "--no-legend",
        "--plain",
        "--full",
    ];
    let list = inside::must(pid, &list, PATIENCE).await?;
    let mut troubles = Vec::new();
    for unit in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let journal = [
            "journalctl",
            "--no-pager",
            "--quiet",
            "--output=cat",
            "--lines",
            LINES,
            "--unit",
            unit,
        ];
        let log = inside::must(pid, &journal, PATIENCE).await.unwrap_or_default();
        troubles.push(Trouble {
            unit: unit.to_string(),
            log: log.lines().map(str::to_string).collect(),
        });
    }
    Ok(troubles)
}

/// Of lines `JOB UNIT TYPE STATE` the units that run; all others wait for one of these.
fn parse(list: &str) -> Vec<String> {
    let unit = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.last() == Some(&"running")).then(|| fields.get(1).map(|unit| unit.to_string()))?
    };
    list.lines().filter_map(unit).collect()
}

/// Is there nothing else to do than to wait for the cluster?
pub fn wait_for_others(jobs: &[String]) -> bool {
    let together = |unit: &String| TOGETHER.contains(&unit.as_str());
    jobs.iter().any(together) && jobs.iter().all(|unit| together(unit) || unit.starts_with(STARTERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_waits_is_not_what_is_waited_for() {
        let list = " 12 multi-user.target start waiting\n 83 etcd2.service start running\n";
        assert_eq!(parse(list), ["etcd2.service"]);
    }

    #[test]
    fn a_script_of_the_user_is_waited_for_also_where_the_cluster_is_not() {
        let jobs = |list: &[&str]| list.iter().map(|unit| unit.to_string()).collect::<Vec<_>>();
        assert!(wait_for_others(&jobs(&["etcd2.service", "user-cloudinit@var.service"])));
        assert!(!wait_for_others(&jobs(&["user-cloudinit@var.service"])));
        assert!(!wait_for_others(&jobs(&["etcd2.service", "sshd.service"])));
        assert!(!wait_for_others(&[]));
    }
}

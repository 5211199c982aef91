//! What a node's systemd is still busy with.
use std::io;
use std::time::Duration;

use super::inside;

/// A systemd that gives no answer for so long is asked again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Units that are done only when other machines have answered them.
const TOGETHER: [&str; 2] = ["etcd2.service", "etcd.service"];
/// What starts those, and waits.
const STARTERS: &str = "user-cloudinit@";

/// The units whose jobs run, asked of systemd inside the node whose first process is `pid`.
pub async fn running(pid: i32) -> io::Result<Vec<String>> {
    let list = ["/usr/bin/systemctl", "list-jobs", "--no-legend", "--plain", "--full"];
    Ok(parse(&inside::must(pid, &list, PATIENCE).await?))
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

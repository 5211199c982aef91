//! What a node may use at most: memory and processors, by whichever kind of control groups this machine has for them.
//!
//! With version 2 the limits are the node's own group's. With version 1 each controller is a hierarchy of its own, in
//! which the node gets a group as well; only root may make it.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cgroup::{Cgroup, remove};

/// Of a second's tenth, how long: in microseconds.
const PERIOD: u64 = 100_000;
const MIB: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Cpu,
}

impl Controller {
    pub fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
        }
    }
}

/// Holds processes, and all that they start, to so much memory (MiB) and so many processors; says what it could not.
pub fn set(node: &Cgroup, pids: &[i32], memory: Option<u64>, cpus: Option<f64>) -> Vec<String> {
    let mut missed = Vec::new();
    let mut hold = |controller: Controller, second: &[(&str, String)], first: &[(&str, String)]| {
        if let Err(error) = limit(node, pids, controller, second, first) {
            missed.push(format!("{} is not limited: {error}", controller.name()));
        }
    };
    if let Some(memory) = memory {
        let bytes = (memory * MIB).to_string();
        let second = [("memory.max", bytes.clone()), ("memory.swap.max", "0".into())];
        let first = [
            ("memory.limit_in_bytes", bytes.clone()),
            ("memory.memsw.limit_in_bytes", bytes),
        ];
        hold(Controller::Memory, &second, &first);
    }
    if let Some(cpus) = cpus {
        let quota = (cpus * PERIOD as f64) as u64;
        let second = [("cpu.max", format!("{quota} {PERIOD}"))];
        let first = [
            ("cpu.cfs_period_us", PERIOD.to_string()),
            ("cpu.cfs_quota_us", quota.to_string()),
        ];
        hold(Controller::Cpu, &second, &first);
    }
    missed
}

/// Other limits for a node that runs: none is as much as there is.
pub fn change(node: &Cgroup, was: (Option<u64>, Option<f64>), is: (Option<u64>, Option<f64>)) -> Vec<String> {
    let pids = processes(node.path());
    let mut missed = set(
        node,
        &pids,
        is.0.filter(|_| was.0 != is.0),
        is.1.filter(|_| was.1 != is.1),
    );
    let mut lift = |controller: Controller, second: &[(&str, String)], first: &[(&str, String)]| {
        if let Err(error) = limit(node, &pids, controller, second, first) {
            missed.push(format!("{} is still limited: {error}", controller.name()));
        }
    };
    if was.0.is_some() && is.0.is_none() {
        let second = ["memory.max", "memory.swap.max"].map(|file| (file, "max".to_string()));
        let first = ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"].map(|file| (file, "-1".to_string()));
        lift(Controller::Memory, &second, &first);
    }
    if was.1.is_some() && is.1.is_none() {
        let second = [("cpu.max", format!("max {PERIOD}"))];
        lift(Controller::Cpu, &second, &[("cpu.cfs_quota_us", "-1".to_string())]);
    }
    missed
}

/// All in a group and beneath it.
fn processes(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok());
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    own.chain(below.flat_map(|entry| processes(&entry.path()))).collect()
}

fn limit(
    node: &Cgroup,
    pids: &[i32],
    controller: Controller,
    second: &[(&str, String)],
    first: &[(&str, String)],
) -> io::Result<()> {
    let (group, files) = match hierarchy(controller) {
        Some(top) => {
            let group = top.join(node.below());
            fs::create_dir_all(&group)?;
            (group, first)
        }
        None => {
            enable(node.path(), controller)?;
            (node.path().to_path_buf(), second)
        }
    };
    // Memory with swap is never less than memory: what comes first depends on whether they grow.
    let backwards: Vec<(&str, String)> = files.iter().rev().cloned().collect();
    write(&group, files).or_else(|_| write(&group, &backwards))?;
    if group != node.path() {
        for pid in pids {
            match fs::write(group.join("cgroup.procs"), pid.to_string()) {
                // One of them may have ended.
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Files for swap are not on every kernel.
fn write(group: &Path, files: &[(&str, String)]) -> io::Result<()> {
    for (file, value) in files {
        let path = group.join(file);
        let is_swap = file.contains("swap") || file.contains("memsw");
        if !is_swap || path.exists() {
            fs::write(&path, value)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        }
    }
    Ok(())
}

/// Has the group's parent, and that one's, hand the controller down.
fn enable(group: &Path, controller: Controller) -> io::Result<()> {
    let name = controller.name();
    let word = format!("+{name}");
    let (Some(lab), Some(top)) = (group.parent(), group.parent().and_then(Path::parent)) else {
        return Err(io::Error::other("the control group has no parent"));
    };
    for parent in [top, lab] {
        if !has(parent, "cgroup.controllers", name) {
            return Err(io::Error::other(format!(
                "{} has no {name} controller",
                parent.display()
            )));
        }
        if !has(parent, "cgroup.subtree_control", name) {
            fs::write(parent.join("cgroup.subtree_control"), &word).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("{} cannot hand the {name} controller down: {error}", parent.display()),
                )
            })?;
        }
    }
    Ok(())
}

fn has(group: &Path, file: &str, controller: &str) -> bool {
    fs::read_to_string(group.join(file)).is_ok_and(|text| text.split_whitespace().any(|name| name == controller))
}

/// Removes what version 1 has of a group, and all beneath it.
pub fn forget(group: &Cgroup) {
    for controller in [Controller::Memory, Controller::Cpu] {
        if let Some(top) = hierarchy(controller) {
            remove(&top.join(group.below()));
        }
    }
}

/// Would a node's limit hold?
pub fn probe(controller: Controller) -> io::Result<()> {
    let lab = Cgroup::of_lab("probe")?;
    match hierarchy(controller) {
        Some(top) => {
            let group = top.join(lab.below());
            fs::create_dir_all(&group)?;
            remove(&group);
            Ok(())
        }
        None => {
            let parent = lab.path().parent().unwrap_or(Path::new("/"));
            let name = controller.name();
            match has(parent, "cgroup.subtree_control", name) {
                true => Ok(()),
                false => Err(io::Error::other(format!(
                    "{} does not hand the {name} controller down",
                    parent.display()
                ))),
            }
        }
    }
}

/// Where version 1 of a controller is mounted.
fn hierarchy(controller: Controller) -> Option<PathBuf> {
    find(&fs::read_to_string("/proc/self/mountinfo").ok()?, controller.name())
}

/// The fifth field of a line that is of kind cgroup and has the controller among its last field's options.
fn find(mountinfo: &str, controller: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = file_system.split(' ');
        let is_first = fields.next()? == "cgroup";
        let has = fields.nth(1)?.split(',').any(|option| option == controller);
        (is_first && has).then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_found_by_its_option_not_by_its_directory() {
        let text = "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    31 24 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,memory\n";
        assert_eq!(find(text, "cpu"), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(find(text, "memory"), None);
    }
}

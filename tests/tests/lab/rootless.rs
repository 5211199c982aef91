//! The same for an ordinary user, who has nothing but subordinate ids and a control group of his own.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use corelab_tests::lab::{processes, short};
use corelab_tests::tools::{self, outputs, run};
use tempfile::TempDir;

/// A user of this machine for as long as this lives.
struct User {
    name: String,
    home: TempDir,
    group: PathBuf,
}

impl User {
    fn new() -> User {
        let home = short("lu");
        let name = format!("lab{}", rand::random_range(10_000..100_000));
        let user = User {
            group: cgroup2().join(&name),
            name,
            home,
        };
        let dir = user.home.path();
        user.host(&format!(
            "useradd --no-create-home --home-dir {home} --shell /bin/sh {name}
             grep -q '^{name}:' /etc/subuid || usermod --add-subuids 400000000-400065535 {name}
             grep -q '^{name}:' /etc/subgid || usermod --add-subgids 400000000-400065535 {name}
             mkdir {group} {home}/bin {home}/cache {home}/cache/lab {home}/cache/lab/images {home}/state {home}/project
             cp {lab} {labnode} {home}/bin
             mknod -m 666 {home}/tun c 10 200
             chown {name}: {group} {group}/cgroup.procs {group}/cgroup.threads {group}/cgroup.subtree_control",
            home = dir.display(),
            name = user.name,
            group = user.group.display(),
            lab = tools::lab().display(),
            labnode = tools::labnode().display(),
        ));
        let lab = corelab_tests::lab::Lab::new();
        let archive = PathBuf::from(lab.ok(&["image", "path"]).trim());
        let own = dir.join("cache/lab/images").join(archive.file_name().expect("a name"));
        if fs::hard_link(&archive, &own).is_err() {
            fs::copy(&archive, &own).expect("copy the image");
        }
        user.host(&format!("chown -R {}: {}", user.name, dir.display()));
        user.host(&format!("chown root: {0}; chmod 644 {0}", own.display()));
        user
    }

    #[track_caller]
    fn host(&self, line: &str) -> Output {
        let output = run(Command::new("sh").args(["-euc", line]).stdin(Stdio::null()));
        assert!(output.status.success(), "{line}: {}", outputs(&output));
        output
    }

    /// What the user types, in his control group; where /dev/net/tun is root's alone, he has one of his own there.
    #[track_caller]
    fn types(&self, line: &str) -> String {
        let dir = self.home.path().display();
        let session = format!(
            "mount --bind {dir}/tun /dev/net/tun
             echo $$ > {group}/cgroup.procs
             cd {dir}/project
             exec runuser -u {name} -- env -i HOME={dir} XDG_STATE_HOME={dir}/state XDG_CACHE_HOME={dir}/cache \\
               PATH={dir}/bin:/usr/bin:/bin:/usr/sbin:/sbin timeout -k 5 120 sh -euc '{line}'",
            group = self.group.display(),
            name = self.name,
        );
        let output = run(Command::new("unshare")
            .args(["--mount", "sh", "-euc", &session])
            .stdin(Stdio::null()));
        assert!(output.status.success(), "{line}: {}", outputs(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let home = self.home.path().display().to_string();
        // What he started is in his group or names his directory.
        for (pid, line) in processes() {
            if line.contains("\0supervise\0") && line.contains(&home) {
                corelab_tests::process::kill(pid, rustix::process::Signal::KILL);
            }
        }
        let clean = format!(
            "n=0; while [ $n -lt 100 ] && ! {{ find {group} -depth -type d -exec rmdir {{}} + ; }} 2>/dev/null; do \
               n=$((n+1)); sleep 0.05; done
             userdel {name} 2>/dev/null; rm -rf {home}/state {home}/cache",
            group = self.group.display(),
            name = self.name,
        );
        let _ = Command::new("sh").args(["-c", &clean]).status();
    }
}

fn cgroup2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let at = fields.next()?;
        (fields.next()? == "cgroup2").then(|| Path::new(at).to_path_buf())
    });
    found.expect("cgroup2 is mounted")
}

#[test]
fn an_ordinary_user_has_a_cluster_with_a_group_and_subordinate_ids_of_his_own() {
    let user = User::new();
    let said = user.types("lab up");
    assert!(said.contains("ready: 3 of 3"), "{said}");
    let health = user.types("lab ssh core-03 -- etcdctl cluster-health");
    assert!(health.contains("cluster is healthy"), "{health}");
    assert_eq!(
        user.types("lab exec core-01 -- systemctl is-system-running").trim(),
        "running"
    );
    // Root inside, nobody outside.
    assert_eq!(user.types("lab ssh core-01 -- sudo id -u").trim(), "0");
    user.types(
        "lab ssh-config > config; echo text > file; scp -q -F config file core-02:; ssh -F config core-02 cat file",
    );
    user.types("lab ssh core-01 -- sudo systemctl reboot || true; lab up");
    user.types("lab halt core-02; lab up; lab ssh core-02 -- cat file");
    let doctor = user.types("lab doctor || true");
    assert!(doctor.contains("namespaces"), "{doctor}");
    user.types("lab destroy -f");
    let left = fs::read_dir(user.home.path().join("state/lab")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "state is left");
    let groups: Vec<_> = fs::read_dir(&user.group)
        .expect("the user's group")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .collect();
    assert!(groups.is_empty(), "{groups:?}");
    let home = user.home.path().display().to_string();
    let left: Vec<String> = processes()
        .into_iter()
        .filter(|(_, line)| line.contains(&home))
        .map(|(pid, line)| format!("{pid} {line}"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

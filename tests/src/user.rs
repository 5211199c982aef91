//! An ordinary user of this machine, who has nothing but subordinate ids and a control group of his own.
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::lab::{processes, short};
use crate::tools::{self, outputs, run};

/// There as long as this lives.
pub struct User {
    name: String,
    home: TempDir,
    group: PathBuf,
}

impl User {
    /// One for all tests that run at the same time: the image is unpacked once for them. `archive` is the image.
    #[track_caller]
    pub fn get(archive: &Path) -> Arc<User> {
        static SHARED: Mutex<Weak<User>> = Mutex::new(Weak::new());
        // A test that failed while it made one has left none.
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let user = Arc::new(User::new(archive));
            *shared = Arc::downgrade(&user);
            user
        })
    }

    #[track_caller]
    fn new(archive: &Path) -> User {
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
             mkdir {group} {home}/bin {home}/cache {home}/cache/lab {home}/cache/lab/images
             cp {lab} {labnode} {home}/bin
             mknod -m 666 {home}/tun c 10 200
             chown {name}: {group} {group}/cgroup.procs {group}/cgroup.threads {group}/cgroup.subtree_control",
            home = dir.display(),
            name = user.name,
            group = user.group.display(),
            lab = tools::lab().display(),
            labnode = tools::labnode().display(),
        ));
        let own = dir.join("cache/lab/images").join(archive.file_name().expect("a name"));
        if fs::hard_link(archive, &own).is_err() {
            fs::copy(archive, &own).expect("copy the image");
        }
        user.host(&format!("chown -R {}: {}", user.name, dir.display()));
        user.host(&format!("chown root: {0}; chmod 644 {0}", own.display()));
        user
    }

    #[track_caller]
    fn host(&self, line: &str) {
        let output = run(Command::new("sh").args(["-euc", line]).stdin(Stdio::null()));
        assert!(output.status.success(), "{line}: {}", outputs(&output));
    }

    /// A directory of his, with a short path.
    #[track_caller]
    pub fn directory(&self, prefix: &str) -> TempDir {
        let dir = short(prefix);
        self.host(&format!("chown {}: {}", self.name, dir.path().display()));
        dir
    }

    pub fn lab(&self) -> PathBuf {
        self.home.path().join("bin/lab")
    }

    pub fn cache(&self) -> PathBuf {
        self.home.path().join("cache")
    }

    pub fn group(&self) -> &Path {
        &self.group
    }

    /// A program of his, in his control group; where /dev/net/tun is root's alone, he has one of his own there.
    pub fn command(&self, project: &Path, state: &Path, limit: &str, program: &OsStr) -> Command {
        let session = format!(
            "mount --bind {home}/tun /dev/net/tun
             echo $$ > {group}/cgroup.procs
             cd {project}
             exec runuser -u {name} -- env -i HOME={project} XDG_STATE_HOME={state} XDG_CACHE_HOME={home}/cache \\
               PATH={home}/bin:/usr/bin:/bin:/usr/sbin:/sbin timeout --foreground -k 5 {limit} \"$@\"",
            home = self.home.path().display(),
            group = self.group.display(),
            project = project.display(),
            state = state.display(),
            name = self.name,
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", &session, "-"]).arg(program);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let home = self.home.path().display().to_string();
        // What he started is in his group or names his directory.
        for (pid, line) in processes() {
            if line.contains("\0supervise\0") && line.contains(&home) {
                crate::process::kill(pid, rustix::process::Signal::KILL);
            }
        }
        let clean = format!(
            "n=0; while [ $n -lt 100 ] && ! {{ find {group} -depth -type d -exec rmdir {{}} + ; }} 2>/dev/null; do \
               n=$((n+1)); sleep 0.05; done
             userdel {name} 2>/dev/null; rm -rf {home}/cache",
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

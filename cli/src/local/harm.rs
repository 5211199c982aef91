//! One node is harmed, and mended: what a fault of a node does to it, and what undoes that.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::inside;
use super::node::Node;
use super::protocol::State;
use crate::faults::{At, Fault, Span};

const PATIENCE: Duration = Duration::from_secs(40);
/// How long a node may take to be back.
const RETURN: Duration = Duration::from_secs(60);

/// Both take the directory. The units that have files open in it are started anew around the change, since what they
/// have open stays on the disk that it was opened on.
const DISK: &str = r#"
set -eu
verb=$1 dir=$2
under=/run/lab/disk$(printf %s "$dir" | tr / -)
[ "$verb" = mend ] || [ -d "$dir" ] || { echo "$dir: there is no such directory" >&2; exit 1; }
users() {
    for process in /proc/[0-9]*; do
        if ls -l "$process/fd" 2>/dev/null | grep -qF -- "-> $dir/"; then
            sed -n 's|.*/\([^/]*\.service\)$|\1|p' "$process/cgroup"
        fi
    done | sort -u
}
stop() { [ -z "$units" ] || systemctl stop $units; }
case $verb in
full)
    units=$(users)
    mkdir -p "$under"
    stop
    mount --bind "$dir" "$under"
    mount -t tmpfs lab "$dir"
    chown --reference="$under" "$dir"
    chmod --reference="$under" "$dir"
    cp -a "$under/." "$dir/"
    printf %s "$units" > "$under.units"
    [ -z "$units" ] || timeout 20 systemctl start $units || :
    # It may be writing at this moment. Source and kind are said so that mount does not repeat the options that it
    # sees, in which the kernel shows users as only the host may set them.
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        used=$(df -k --output=used "$dir" | tail -n 1 | tr -d ' ')
        why=$(mount -i -t tmpfs -o "remount,size=${used}k" lab "$dir" 2>&1) && exit 0
    done
    echo "$why" >&2
    exit 1
    ;;
ro)
    units=$(users)
    mkdir -p "$under"
    stop
    mount --bind "$dir" "$dir"
    mount -o remount,bind,ro "$dir"
    printf %s "$units" > "$under.units"
    [ -z "$units" ] || systemctl start --no-block $units
    ;;
mend)
    [ -e "$under.units" ] || exit 0
    units=$(cat "$under.units")
    stop
    if mountpoint -q "$under"; then
        # A copy beside, then names change: there is no moment without one whole state.
        rm -rf "$under/.new" "$under/.old"
        mkdir "$under/.new" "$under/.old"
        cp -a "$dir/." "$under/.new/"
        find "$under" -mindepth 1 -maxdepth 1 ! -name .new ! -name .old -exec mv -t "$under/.old" {} +
        find "$under/.new" -mindepth 1 -maxdepth 1 -exec mv -t "$under" {} +
        rm -rf "$under/.new" "$under/.old"
        umount "$under"
    fi
    umount "$dir"
    rm -f "$under.units"
    rmdir "$under"
    [ -z "$units" ] || { systemctl reset-failed $units || :; systemctl start --no-block $units; }
    ;;
esac
"#;
/// Not only asked for: between a start that failed and the next one a unit does not run. What waits for the others of its
/// cluster is as far as it can be.
const START: &str = r#"
timeout 20 systemctl start "$1" || systemctl is-active "$1" | grep -q ^activ
"#;
/// What labnode's programs are to believe: a file's name, and milliseconds.
const PRETEND: &str = r#"
mkdir -p /run/lab && printf '%s\n' "$2" > "/run/lab/$1.new" && mv "/run/lab/$1.new" "/run/lab/$1"
"#;

impl Node {
    pub async fn harm(self: &Arc<Node>, fault: &Fault) -> io::Result<()> {
        match fault {
            Fault::Kill(At { unit: None, .. }) => {
                self.runs().await?;
                self.halt(true).await;
                Ok(())
            }
            Fault::Kill(At { unit: Some(unit), .. }) => self.must(&["systemctl", "kill", "--signal=KILL", unit]).await,
            Fault::Stop(At { unit, .. }) => {
                let unit = unit.as_deref().unwrap_or_default();
                self.must(&["systemctl", "stop", unit]).await
            }
            Fault::Pause(_) => self.freeze(true).await,
            Fault::Reboot(_) => self.must(&["systemctl", "reboot"]).await,
            Fault::DiskFull(disk) => self.disk("full", &disk.path).await,
            Fault::DiskRo(disk) => self.disk("ro", &disk.path).await,
            Fault::DiskSlow(slow) => self.pretend("disk-slow", slow.by).await,
            Fault::Clock(clock) => self.pretend("clock", clock.by).await,
            _ => Ok(()),
        }
    }

    /// What is as it was before already stays so: a node may have been rebooted meanwhile.
    pub async fn mend(self: &Arc<Node>, fault: &Fault) -> io::Result<()> {
        let down = matches!(self.status().state, State::Halted | State::New | State::Failed);
        match fault {
            Fault::Kill(At { unit: None, .. }) => self.come_back().await,
            _ if down => Ok(()),
            Fault::Kill(At { unit: Some(unit), .. }) | Fault::Stop(At { unit: Some(unit), .. }) => {
                let _ = self.must(&["systemctl", "reset-failed", unit]).await;
                self.script(START, &[unit]).await
            }
            Fault::Pause(_) => self.freeze(false).await,
            Fault::DiskFull(disk) | Fault::DiskRo(disk) => self.disk("mend", &disk.path).await,
            Fault::DiskSlow(_) => self.must(&["rm", "-f", "/run/lab/disk-slow"]).await,
            Fault::Clock(_) => self.must(&["rm", "-f", "/run/lab/clock"]).await,
            _ => Ok(()),
        }
    }

    async fn come_back(self: &Arc<Node>) -> io::Result<()> {
        self.start().await;
        let mut status = self.watch();
        let back = status.wait_for(|status| status.state != State::Booting);
        match timeout(RETURN, back).await {
            Ok(Ok(status)) if status.state == State::Ready => Ok(()),
            Ok(Ok(status)) => Err(io::Error::other(format!("it is {}: {}", status.state, status.detail))),
            Ok(Err(error)) => Err(io::Error::other(error)),
            // Its cluster may need more than this node.
            Err(_) => Ok(()),
        }
    }

    async fn pretend(&self, file: &str, by: Span) -> io::Result<()> {
        self.script(PRETEND, &[file, &by.millis.to_string()]).await
    }

    async fn disk(&self, verb: &str, dir: &str) -> io::Result<()> {
        self.script(DISK, &[verb, dir]).await
    }

    async fn script(&self, script: &str, args: &[&str]) -> io::Result<()> {
        let command = [&["sh", "-c", script, "lab"], args].concat();
        let output = inside::run(self.runs().await?, &command, b"", PATIENCE).await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).trim().to_string(),
            )),
        }
    }

    async fn must(&self, command: &[&str]) -> io::Result<()> {
        let pid = self.runs().await?;
        inside::must(pid, command, PATIENCE).await.map(drop)
    }
}

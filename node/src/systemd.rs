//! systemd over D-Bus: units enabled, reloaded, started and waited for. The only file that names zbus.
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::OnceCell;
use zbus::{Connection, MatchRule, Message, MessageStream, connection};
use zbus::{OwnedObjectPath, Variant};

use crate::cloudconfig::go::errno;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Where the system's bus listens, if the environment does not say.
const SOCKET: &str = "/run/dbus/system_bus_socket";

/// How long a method may take to answer; jobs are waited for longer.
const METHOD: Duration = Duration::from_secs(90);

/// The commands of a unit, as systemctl and as the manager call them.
const COMMANDS: &[(&str, &str)] = &[
    ("start", "StartUnit"),
    ("stop", "StopUnit"),
    ("restart", "RestartUnit"),
    ("reload", "ReloadUnit"),
    ("try-restart", "TryRestartUnit"),
    ("reload-or-restart", "ReloadOrRestartUnit"),
    ("reload-or-try-restart", "ReloadOrTryRestartUnit"),
];

/// The manager's method for a unit command.
pub fn method(command: &str) -> Option<&'static str> {
    let found = COMMANDS.iter().find(|(name, _)| *name == command);
    found.map(|(_, method)| *method)
}

pub struct Systemd {
    bus: Connection,
    /// systemd refuses to be asked twice for its signals.
    subscribed: OnceCell<()>,
}

impl Systemd {
    /// On the bus that `address` names (DBUS_SYSTEM_BUS_ADDRESS), or the system's own.
    pub async fn connect(address: Option<&str>) -> Result<Systemd, String> {
        let of_path = |address: &str| {
            let list = address.split(';').next()?.strip_prefix("unix:")?;
            list.split(',')
                .find_map(|pair| Some(pair.strip_prefix("path=")?.to_string()))
        };
        let builder = match address.filter(|address| !address.is_empty()) {
            Some(address) => match of_path(address) {
                Some(path) => unix(&path)?,
                None => connection::Builder::address(address),
            },
            None => unix(SOCKET)?,
        };
        let connected = builder.method_timeout(METHOD).build().await;
        let bus = connected.map_err(|error| reason(&error))?;
        Ok(Systemd {
            bus,
            subscribed: OnceCell::new(),
        })
    }

    async fn call<B>(&self, method: &str, body: &B) -> Result<Message, String>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let call = self.bus.call_method(Some(NAME), PATH, Some(MANAGER), method, body);
        call.await.map_err(|error| reason(&error))
    }

    pub async fn reload(&self) -> Result<(), String> {
        self.call("Reload", &()).await.map(drop)
    }

    /// Links that stand in the way are replaced.
    pub async fn enable(&self, unit: &str, runtime: bool) -> Result<(), String> {
        self.call("EnableUnitFiles", &(vec![unit], runtime, true))
            .await
            .map(drop)
    }

    /// Links a unit file from elsewhere to where systemd looks, until the next boot.
    pub async fn link(&self, path: &str) -> Result<(), String> {
        self.call("LinkUnitFiles", &(vec![path], true, true)).await.map(drop)
    }

    /// Removes the links to a unit's file that were made until the next boot, also those that enabled it.
    pub async fn disable(&self, unit: &str) -> Result<(), String> {
        self.call("DisableUnitFiles", &(vec![unit], true)).await.map(drop)
    }

    pub async fn reset_failed(&self, unit: &str) -> Result<(), String> {
        self.call("ResetFailedUnit", &unit).await.map(drop)
    }

    /// Begins to start a unit; its job is not waited for.
    pub async fn begin(&self, unit: &str) -> Result<(), String> {
        self.call("StartUnit", &(unit, "replace")).await.map(drop)
    }

    /// Units by name, with their load, active and sub states.
    pub async fn states(&self, units: &[String]) -> Result<Vec<[String; 4]>, String> {
        type Listed = (
            String,
            String,
            String,
            String,
            String,
            String,
            OwnedObjectPath,
            u32,
            String,
            OwnedObjectPath,
        );
        let reply = self.call("ListUnitsByNames", &units).await?;
        let listed: Vec<Listed> = reply.body().deserialize().map_err(|error| reason(&error))?;
        let states = listed
            .into_iter()
            .map(|(name, _, load, active, sub, ..)| [name, load, active, sub]);
        Ok(states.collect())
    }

    /// Runs a unit command and waits until its job is over; the result is systemd's word for it: done, failed, ...
    pub async fn command(&self, unit: &str, command: &str) -> Result<String, String> {
        let method = method(command).ok_or_else(|| format!("Unsupported systemd command {command:?}"))?;
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(NAME)
            .interface(MANAGER)
            .member("JobRemoved")
            .build()
            .map_err(|error| reason(&error))?;
        // Listening begins before the job, which may be over before its number is known here.
        let signals = MessageStream::for_match_rule(rule, &self.bus, None).await;
        let mut signals = signals.map_err(|error| reason(&error))?;
        let subscribe = async || self.call("Subscribe", &()).await.map(drop);
        self.subscribed.get_or_try_init(subscribe).await?;
        let reply = self.call(method, &(unit, "replace")).await?;
        let job: OwnedObjectPath = reply.body().deserialize().map_err(|error| reason(&error))?;
        while let Some(signal) = signals.next().await {
            let signal = signal.map_err(|error| reason(&error))?;
            let body = signal.body();
            let removed = body.deserialize::<(u32, OwnedObjectPath, String, String)>();
            if let Ok((_, path, _, result)) = removed
                && path == job
            {
                return Ok(result);
            }
        }
        Err(format!("the bus went away while the job of {unit} ran"))
    }

    /// Starts a service that is not on disk; it is not waited for.
    pub async fn start_transient(&self, unit: &str, description: &str, command: &[String]) -> Result<(), String> {
        let program = command.first().cloned().unwrap_or_default();
        let exec = vec![(program, command.to_vec(), false)];
        let properties = vec![
            ("Description", Variant::from(description)),
            ("ExecStart", Variant::from(exec)),
        ];
        let auxiliary: Vec<(&str, Vec<(&str, Variant)>)> = Vec::new();
        let body = (unit, "replace", properties, auxiliary);
        self.call("StartTransientUnit", &body).await.map(drop)
    }
}

/// Connects here, so that what fails is told with the socket's path.
fn unix(path: &str) -> Result<connection::Builder<'static>, String> {
    let stream = UnixStream::connect(path);
    let stream = stream.map_err(|error| format!("dial unix {path}: connect: {}", errno(&error)))?;
    Ok(connection::Builder::unix_stream(stream))
}

/// The text of an error that the other side sent, without the error's name; or the error itself.
fn reason(error: &zbus::Error) -> String {
    if let zbus::Error::MethodError(_, Some(text), _) = error {
        return text.clone();
    }
    let text = error.to_string();
    match text.split_once(": ") {
        Some((name, text)) if name.starts_with("org.freedesktop.") => text.to_string(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    /// A bus of its own, with a manager on it that answers as systemd does.
    struct Bus {
        _daemon: tokio::process::Child,
        _dir: tempfile::TempDir,
        address: String,
    }

    impl Bus {
        async fn start() -> Bus {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let address = format!("unix:path={}/bus", dir.path().display());
            let mut command = tokio::process::Command::new("dbus-daemon");
            command.args(["--session", "--nofork", "--print-address", "--address", &address]);
            command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
            let mut daemon = command
                .spawn()
                .expect("dbus-daemon: `make test` installs what the tests need");
            // It says its address once it listens.
            let mut said = String::new();
            let stdout = daemon.stdout.take().expect("its stdout");
            BufReader::new(stdout).read_line(&mut said).await.expect("its address");
            Bus {
                _daemon: daemon,
                _dir: dir,
                address,
            }
        }

        /// A manager whose jobs of units called "fails" fail; other jobs end in between.
        async fn manage(&self) -> tokio::task::JoinHandle<Vec<String>> {
            let built = connection::Builder::address(self.address.as_str()).build().await;
            let manager = built.expect("a connection");
            let mut calls = MessageStream::from(&manager);
            manager.request_name(NAME).await.expect("systemd's name");
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Some(Ok(call)) = calls.next().await {
                    let header = call.header();
                    let member = header.member().map(|name| name.to_string()).unwrap_or_default();
                    if header.message_type() != zbus::message::Type::MethodCall {
                        continue;
                    }
                    seen.push(member.clone());
                    if !COMMANDS.iter().any(|(_, method)| *method == member) {
                        match member.as_str() {
                            "StartTransientUnit" => manager.reply(&header, &OwnedObjectPath::default()).await,
                            "Reload" if seen.len() > 2 => {
                                let text = "reloading failed";
                                manager
                                    .reply_error(&header, "org.freedesktop.DBus.Error.Failed", &text)
                                    .await
                            }
                            _ => manager.reply(&header, &()).await,
                        }
                        .expect("a reply");
                        if member == "StartTransientUnit" {
                            return seen;
                        }
                        continue;
                    }
                    let (unit, mode): (String, String) = call.body().deserialize().expect("a unit");
                    assert_eq!(mode, "replace");
                    let job = |number: u32| OwnedObjectPath::try_from(format!("{PATH}/job/{number}")).expect("a path");
                    let removed = async |number: u32, result: &str| {
                        let body = (number, job(number), unit.as_str(), result);
                        let sent = manager
                            .emit_signal(None::<&str>, PATH, MANAGER, "JobRemoved", &body)
                            .await;
                        sent.expect("a signal");
                    };
                    // One that is over before its number is known to who asked for it.
                    removed(6, "canceled").await;
                    removed(7, if unit.contains("fails") { "failed" } else { "done" }).await;
                    manager.reply(&header, &job(7)).await.expect("a reply");
                    removed(8, "dependency").await;
                }
                seen
            })
        }
    }

    #[tokio::test]
    async fn a_command_is_over_when_its_own_job_is() {
        let bus = Bus::start().await;
        let manager = bus.manage().await;
        let systemd = Systemd::connect(Some(&bus.address)).await.expect("a connection");
        assert_eq!(systemd.command("a.service", "start").await.as_deref(), Ok("done"));
        assert_eq!(
            systemd.command("fails.service", "try-restart").await.as_deref(),
            Ok("failed")
        );
        assert_eq!(systemd.enable("a.service", false).await, Ok(()));
        assert_eq!(systemd.reload().await, Err("reloading failed".into()));
        let command = ["/bin/bash".to_string(), "/x".to_string()];
        assert_eq!(systemd.start_transient("t.service", "text", &command).await, Ok(()));
        let seen = manager.await.expect("the manager");
        assert_eq!(
            seen,
            [
                "Subscribe",
                "StartUnit",
                "TryRestartUnit",
                "EnableUnitFiles",
                "Reload",
                "StartTransientUnit"
            ]
        );
    }

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_named() {
        let error = Systemd::connect(Some("unix:path=/nowhere/bus")).await.err();
        let expected = "dial unix /nowhere/bus: connect: no such file or directory";
        assert_eq!(error.as_deref(), Some(expected));
    }
}

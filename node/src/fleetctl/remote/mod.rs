//! fleetctl over SSH: where machines are reached and how, the tunnel to a cluster, and commands that run on a machine.
pub mod fd_forward;
pub mod journal;
mod local;
pub mod settings;
pub mod ssh;
pub mod status;

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

pub use settings::SshSettings;

use super::Context;
use super::driver::Driver;
use crate::fleet::schema;
use crate::shell::word;
use crate::ssh::client::{self, Connection, Target};
use crate::ssh::{Error, session};
use crate::sys::print;

/// How a command ends when it does not end well: exit status, and text for stderr.
#[derive(Debug)]
pub struct Failure {
    pub status: i32,
    pub text: String,
}

/// What the commands here have to know of a cluster. Errors are in the words that the user is to read.
pub trait Fleet {
    fn machines(&self) -> impl Future<Output = Result<Vec<Machine>, String>>;
    /// By its whole name.
    fn unit(&self, name: &str) -> impl Future<Output = Result<Option<Unit>, String>>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub id: String,
    /// Empty: the machine has not told.
    pub address: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    pub name: String,
    /// The machine's id; empty while it is on none.
    pub machine: String,
    /// Its current state is `inactive`.
    pub inactive: bool,
    pub global: bool,
}

/// A connection to a machine that reaches the others.
pub struct Tunnel {
    connection: Connection,
    target: Target,
}

/// Connects to the `--tunnel` host.
pub async fn tunnel(settings: &SshSettings) -> Result<Tunnel, Failure> {
    let host = settings.tunnel.as_deref().unwrap_or_default();
    let connect = async {
        let target = settings.target(host, None)?;
        let connection = client::connect(&target).await?;
        Ok(Tunnel { connection, target })
    };
    connect.await.map_err(|error: Error| Failure {
        status: 1,
        text: format!("Unable to initialize client: failed initializing SSH client: {error}\n"),
    })
}

impl Tunnel {
    /// The unix socket `path` of the tunnel's machine.
    pub async fn unix(&self, path: &str) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        session::pipe(&self.connection, &format!("fleetctl fd-forward {}", word(path))).await
    }

    /// What the tunnel's machine reaches at this host and port.
    pub async fn tcp(&self, host: &str, port: u16) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        session::tcp(&self.connection, host, port).await
    }
}

/// The ways to machines: through the tunnel, if there is one.
pub struct Remote {
    pub settings: SshSettings,
    pub tunnel: Option<Arc<Tunnel>>,
}

impl Remote {
    /// With its tunnel, where one was asked for.
    pub async fn new(settings: SshSettings) -> Result<Remote, Failure> {
        let tunnel = match &settings.tunnel {
            Some(_) => Some(Arc::new(Box::pin(tunnel(&settings)).await?)),
            None => None,
        };
        Ok(Remote { settings, tunnel })
    }

    async fn connect(&self, address: &str, port: u16, forward_agent: bool) -> Result<Connection, Error> {
        let Some(tunnel) = &self.tunnel else {
            let mut target = self.settings.target(address, Some(port))?;
            target.forward_agent = forward_agent;
            return client::connect(&target).await;
        };
        // The cluster behind a tunnel is entered as the tunnel is: one user, one set of keys, one known_hosts.
        let target = Target {
            host: address.to_string(),
            port,
            proxy: None,
            forward_agent,
            ..tunnel.target.clone()
        };
        let stream = tokio::time::timeout(target.timeout, session::tcp(&tunnel.connection, address, port)).await;
        let stream = match stream {
            Ok(stream) => stream.map_err(|error| Error(error.to_string()))?,
            Err(_) => return Err(Error("timed out while initiating SSH connection".into())),
        };
        client::connect_over(&target, stream).await
    }

    /// Runs a command on the machine: here, where this is it. Its exit status.
    async fn run(&self, fleet: &impl Fleet, machine: &str, port: u16, words: &[&str]) -> i32 {
        if local::is_here(machine) {
            return local::run(words);
        }
        let machines = match fleet.machines().await {
            Ok(machines) => machines,
            Err(why) => return failed(1, &format!("Error getting machine IP: {why}")),
        };
        let Some(machine) = machines.into_iter().find(|known| known.id == machine) else {
            return failed(
                1,
                &format!("Error getting machine IP: machine {machine} is not in the cluster"),
            );
        };
        if machine.address.is_empty() {
            return failed(1, "Could not determine address of machine.");
        }
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let run = async {
            let connection = self.connect(&machine.address, port, false).await?;
            session::run(&connection, Some(&quoted.join(" "))).await
        };
        match Box::pin(run).await {
            Ok(status) => status,
            Err(error) => failed(255, &format!("Error running remote command: {error}")),
        }
    }
}

impl Fleet for Driver {
    async fn machines(&self) -> Result<Vec<Machine>, String> {
        let machines = Driver::machines(self).await.map_err(|error| error.to_string())?;
        let machine = |machine: schema::Machine| Machine {
            id: machine.id,
            address: machine.primary_ip,
        };
        Ok(machines.into_iter().map(machine).collect())
    }

    async fn unit(&self, name: &str) -> Result<Option<Unit>, String> {
        let unit = Driver::unit(self, name).await.map_err(|error| error.to_string())?;
        Ok(unit.map(|unit| Unit {
            global: super::is_global(&unit),
            inactive: matches!(unit.current_state.as_str(), "" | "inactive"),
            machine: unit.machine_id,
            name: name.to_string(),
        }))
    }
}

/// One of the commands that run on a machine. Its exit status.
pub async fn run(name: &str, context: &Context) -> i32 {
    let Context {
        driver,
        remote,
        command,
        ..
    } = context;
    let text = |name: &str| command.given(name).map(str::to_string);
    let port = command
        .given("ssh-port")
        .and_then(|port| port.parse().ok())
        .unwrap_or(22);
    match name {
        "ssh" => {
            let options = ssh::Options {
                machine: text("machine"),
                unit: text("unit"),
                forward_agent: command.is("A") || command.is("forward-agent"),
                port,
                args: command.args.clone(),
            };
            ssh::run(driver, remote, &options).await
        }
        "status" => status::run(driver, remote, port, &command.args).await,
        _ => {
            let options = journal::Options {
                lines: command
                    .given("lines")
                    .and_then(|lines| lines.parse().ok())
                    .unwrap_or(10),
                follow: command.is("f") || command.is("follow"),
                sudo: command.is("sudo"),
                output: text("output"),
                port,
                args: command.args.clone(),
            };
            journal::run(driver, remote, &options).await
        }
    }
}

fn failed(status: i32, text: &str) -> i32 {
    print("", &format!("{text}\n"));
    status
}

/// In double quotes, as Go's %q: what a unit may be called means the same to a shell.
fn quote(word: &str) -> String {
    let special = |c| matches!(c, '"' | '\\' | '$' | '`');
    let escaped: String = word
        .chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A cluster of two machines and a few units.
    pub struct Fixed;

    impl Fleet for Fixed {
        async fn machines(&self) -> Result<Vec<Machine>, String> {
            let machine = |id: &str, address: &str| Machine {
                id: id.into(),
                address: address.into(),
            };
            Ok(vec![
                machine("1a", "10.0.0.1"),
                machine("1b", "10.0.0.2"),
                machine("2", ""),
            ])
        }

        async fn unit(&self, name: &str) -> Result<Option<Unit>, String> {
            let unit = |machine: &str, inactive, global| Unit {
                name: name.into(),
                machine: machine.into(),
                inactive,
                global,
            };
            match name {
                "1a.service" | "up.service" => Ok(Some(unit("1a", false, false))),
                "down.service" => Ok(Some(unit("", true, false))),
                "glob.service" => Ok(Some(unit("", false, true))),
                "broken.service" => Err("no answer".into()),
                _ => Ok(None),
            }
        }
    }

    #[test]
    fn words_survive_a_shell() {
        for text in ["a.service", "a b", "it's", "$HOME `x` \\x2d \"q\"", "", "a;b&c|d\ne"] {
            for quoted in [quote(text), word(text)] {
                let mut shell = std::process::Command::new("sh");
                let output = shell.arg("-c").arg(format!("printf %s {quoted}")).output();
                let output = output.expect("run a shell");
                assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{quoted}");
            }
        }
        assert_eq!(word("/var/run/fleet.sock"), "/var/run/fleet.sock");
    }
}

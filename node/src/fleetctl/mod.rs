//! fleetctl: global flags, and which command runs.
pub mod remote;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::sys::print;
use remote::{Failure, Fleet, Machine, Remote, SshSettings, Tunnel, Unit, journal, ssh, status};

/// Flags and the words behind them.
struct Parsed {
    flags: Vec<(String, String)>,
    args: Vec<String>,
}

impl Parsed {
    /// Go's rules: one dash or two, and flags end at the first word that is none.
    fn read(words: &[String], switches: &[&str]) -> Result<Parsed, Failure> {
        let (mut flags, mut words) = (Vec::new(), words);
        while let Some((word, rest)) = words.split_first() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                break;
            };
            words = rest;
            if flag.is_empty() {
                break;
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_string()),
                None if switches.contains(&flag) => (flag, "true".to_string()),
                None => {
                    let (value, rest) = words.split_first().ok_or_else(|| Failure {
                        status: 2,
                        text: format!("flag needs an argument: -{flag}\n"),
                    })?;
                    words = rest;
                    (flag, value.clone())
                }
            };
            flags.push((name.to_string(), value));
        }
        let args = words.to_vec();
        Ok(Parsed { flags, args })
    }

    fn text(&self, name: &str) -> Option<String> {
        let found = self.flags.iter().rev().find(|(flag, _)| flag == name);
        found.map(|(_, value)| value.clone())
    }

    fn is(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value == "true")
    }
}

/// The fleet API, at its endpoint.
struct Api<'a> {
    endpoint: &'a str,
    tunnel: Option<&'a Tunnel>,
}

impl Api<'_> {
    async fn get(&self, path: &str) -> Result<Option<Value>, String> {
        let text = self.ask(path).await.map_err(|error| error.to_string())?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("EOF")?;
        match head.split(' ').nth(1) {
            Some("200") => serde_json::from_str(body).map(Some).map_err(|error| error.to_string()),
            Some("404") => Ok(None),
            _ => Err(head.lines().next().unwrap_or_default().to_string()),
        }
    }

    async fn ask(&self, path: &str) -> std::io::Result<String> {
        let request = format!("GET /fleet/v1/{path} HTTP/1.0\r\nHost: fleet\r\n\r\n");
        let mut answer = String::new();
        macro_rules! talk {
            ($stream:expr) => {{
                let mut stream = $stream?;
                stream.write_all(request.as_bytes()).await?;
                stream.read_to_string(&mut answer).await?;
            }};
        }
        let web = self
            .endpoint
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'));
        match (web.and_then(|rest| rest.rsplit_once(':')), self.tunnel) {
            (Some((host, port)), tunnel) => {
                let port = port.parse().map_err(std::io::Error::other)?;
                match tunnel {
                    Some(tunnel) => talk!(tunnel.tcp(host, port).await),
                    None => talk!(TcpStream::connect((host, port)).await),
                }
            }
            (None, tunnel) => {
                let socket = self.endpoint.trim_start_matches("unix://");
                match tunnel {
                    Some(tunnel) => talk!(tunnel.unix(socket).await),
                    None => talk!(UnixStream::connect(socket).await),
                }
            }
        }
        Ok(answer)
    }
}

impl Fleet for Api<'_> {
    async fn machines(&self) -> Result<Vec<Machine>, String> {
        let page = self.get("machines").await?.unwrap_or_default();
        let machines = page["machines"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let machine = |value: &Value| Machine {
            id: text(&value["id"]),
            address: text(&value["primaryIP"]),
        };
        Ok(machines.iter().map(machine).collect())
    }

    async fn unit(&self, name: &str) -> Result<Option<Unit>, String> {
        let Some(unit) = self.get(&format!("units/{name}")).await? else {
            return Ok(None);
        };
        let options = unit["options"].as_array().cloned().unwrap_or_default();
        let global = options
            .iter()
            .any(|option| option["section"] == "X-Fleet" && option["name"] == "Global" && option["value"] == "true");
        Ok(Some(Unit {
            name: name.to_string(),
            machine: unit["machineID"].as_str().unwrap_or_default().to_string(),
            inactive: unit["currentState"].as_str().is_none_or(|state| state == "inactive"),
            global,
        }))
    }
}

pub fn run(args: &[String], env: &[(String, String)]) -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            print("", &format!("fleetctl: cannot start: {error}\n"));
            return 1;
        }
    };
    runtime
        .block_on(Box::pin(command(args, env)))
        .unwrap_or_else(|failure| {
            print("", &failure.text);
            failure.status
        })
}

async fn command(args: &[String], env: &[(String, String)]) -> Result<i32, Failure> {
    let global = Parsed::read(args, &["strict-host-key-checking"])?;
    let given = |name: &str| {
        let variable = format!("FLEETCTL_{}", name.to_uppercase().replace('-', "_"));
        let from_env = || {
            env.iter()
                .find(|(have, _)| *have == variable)
                .map(|(_, value)| value.clone())
        };
        global.text(name).or_else(from_env)
    };
    let Some((name, rest)) = global.args.split_first() else {
        return Err(Failure {
            status: 2,
            text: "Run 'fleetctl help' for usage.\n".into(),
        });
    };
    let own = Parsed::read(rest, &["A", "forward-agent", "f", "follow", "sudo"])?;
    if name == "fd-forward" {
        return Ok(remote::fd_forward::run(&own.args));
    }
    let settings = SshSettings::new(&given, env)?;
    let tunnel = match &settings.tunnel {
        Some(_) => Some(remote::tunnel(&settings).await?),
        None => None,
    };
    let remote = Remote { settings, tunnel };
    let endpoint = given("endpoint").unwrap_or_else(|| "unix:///var/run/fleet.sock".into());
    let api = Api {
        endpoint: &endpoint,
        tunnel: remote.tunnel.as_ref(),
    };
    let port = own.text("ssh-port").and_then(|port| port.parse().ok()).unwrap_or(22);
    let status = match name.as_str() {
        "ssh" => {
            let options = ssh::Options {
                machine: own.text("machine"),
                unit: own.text("unit"),
                forward_agent: own.is("A") || own.is("forward-agent"),
                port,
                args: own.args,
            };
            ssh::run(&api, &remote, &options).await
        }
        "status" => status::run(&api, &remote, port, &own.args).await,
        "journal" => {
            let options = journal::Options {
                lines: own.text("lines").and_then(|lines| lines.parse().ok()).unwrap_or(10),
                follow: own.is("f") || own.is("follow"),
                sudo: own.is("sudo"),
                output: own.text("output"),
                port,
                args: own.args,
            };
            journal::run(&api, &remote, &options).await
        }
        other => {
            return Err(Failure {
                status: 2,
                text: format!("fleetctl: unknown subcommand: {other:?}\nRun 'fleetctl help' for usage.\n"),
            });
        }
    };
    Ok(status)
}

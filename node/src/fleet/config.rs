//! fleetd's settings: a file of `option=value` lines, over it the FLEET_ variables.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tls;

pub const DEFAULT_FILE: &str = "/etc/fleet/fleet.conf";
const MACHINE_ID: &str = "/etc/machine-id";

#[derive(Clone, Debug)]
pub struct Config {
    pub verbosity: i64,
    pub etcd_servers: Vec<String>,
    pub etcd_request_timeout: Duration,
    pub etcd_tls: tls::Files,
    pub etcd_key_prefix: String,
    pub etcd_user: Option<(String, String)>,
    /// Empty: the address by which this machine reaches others.
    pub public_ip: String,
    pub metadata: BTreeMap<String, String>,
    pub agent_ttl: Duration,
    pub engine_reconcile_interval: Duration,
    pub disable_engine: bool,
    /// How many units, states or machines a page of the API has.
    pub token_limit: u16,
    /// Where other machines of the cluster reach this one directly; None: nowhere.
    pub peer_addr: Option<SocketAddr>,
    pub units_directory: PathBuf,
    /// `stop` or `keep`: what becomes of units here once the cluster may have given them to others.
    pub stop_when_lost: bool,
    pub machine_id: String,
    /// What is to be said in the log once there is one.
    pub notes: Vec<String>,
}

const OPTIONS: &[(&str, &str)] = &[
    ("verbosity", "0"),
    ("etcd_servers", "http://127.0.0.1:2379,http://127.0.0.1:4001"),
    ("etcd_request_timeout", "1.0"),
    ("etcd_cafile", ""),
    ("etcd_certfile", ""),
    ("etcd_keyfile", ""),
    ("etcd_key_prefix", "/_coreos.com/fleet/"),
    ("etcd_username", ""),
    ("etcd_password", ""),
    ("public_ip", ""),
    ("metadata", ""),
    ("agent_ttl", "30s"),
    ("engine_reconcile_interval", "2"),
    ("disable_engine", "false"),
    ("units_directory", "/run/fleet/units/"),
    ("disconnect_policy", "stop"),
    ("token_limit", "100"),
    ("peer_addr", "0.0.0.0:0"),
];

/// Options of old that do nothing.
const GONE: [&str; 2] = ["verify_units", "authorized_keys_file"];

/// Reads the settings; `file` was named by --config.
pub fn load(file: Option<&Path>, env: &[(String, String)]) -> Result<Config, String> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let mut notes = Vec::new();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => {
            if file.is_none() {
                notes.push(format!("Using default config file {DEFAULT_FILE}"));
            }
            text
        }
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            notes.push("No provided or default config file found - proceeding without".into());
            String::new()
        }
        Err(error) => return Err(format!("cannot read the config file {}: {error}", path.display())),
    };
    let id = std::fs::read_to_string(MACHINE_ID).map_err(|error| format!("{MACHINE_ID}: {error}"))?;
    let mut config = parse(&text, env, notes)?;
    config.machine_id = id.trim().into();
    if config.machine_id.is_empty() {
        return Err(format!(
            "{MACHINE_ID} is empty: write one with systemd-machine-id-setup"
        ));
    }
    Ok(config)
}

/// The settings of a file's text and an environment.
pub fn parse(text: &str, env: &[(String, String)], mut notes: Vec<String>) -> Result<Config, String> {
    let mut given: BTreeMap<&str, String> = OPTIONS.iter().map(|(name, value)| (*name, value.to_string())).collect();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '[']) {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("line {} of the config file is no option=value: {line}", number + 1))?;
        let (name, value) = (name.trim(), unquoted(value.trim()));
        match given.get_mut(name) {
            Some(setting) => *setting = value.into(),
            None if GONE.contains(&name) => notes.push(format!("{name} is set in the config file and does nothing")),
            None => notes.push(format!(
                "line {} of the config file: there is no option {name}",
                number + 1
            )),
        }
    }
    for (name, value) in &mut given {
        let variable = format!("FLEET_{}", name.to_uppercase());
        if let Some((_, set)) = env.iter().find(|(key, _)| *key == variable) {
            *value = unquoted(set.trim()).into();
        }
    }
    let get = |name: &str| given.get(name).cloned().unwrap_or_default();
    let seconds = |name: &str| {
        let value = get(name);
        let seconds = value
            .parse::<f64>()
            .ok()
            .filter(|seconds| *seconds > 0.0 && *seconds < 1e6);
        let bad = || format!("{name} {value:?} is no number of seconds above 0");
        seconds.map(Duration::from_secs_f64).ok_or_else(bad)
    };
    let path = |name: &str| Some(get(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let etcd_servers = list(&get("etcd_servers"));
    if etcd_servers.is_empty() {
        return Err("etcd_servers names no server: give it URLs, as http://127.0.0.1:2379".into());
    }
    let etcd_tls = tls::Files {
        cert: path("etcd_certfile"),
        key: path("etcd_keyfile"),
        trusted_ca: path("etcd_cafile"),
        client_cert_auth: false,
    };
    if etcd_tls.cert.is_some() != etcd_tls.key.is_some() {
        return Err("etcd_certfile and etcd_keyfile go together: set both or none".into());
    }
    let ttl = get("agent_ttl");
    let agent_ttl = duration(&ttl).filter(|ttl| *ttl >= Duration::from_secs(1));
    Ok(Config {
        verbosity: get("verbosity")
            .parse()
            .map_err(|_| format!("verbosity {:?} is no number", get("verbosity")))?,
        etcd_servers,
        etcd_request_timeout: seconds("etcd_request_timeout")?,
        etcd_tls,
        etcd_key_prefix: get("etcd_key_prefix"),
        etcd_user: Some((get("etcd_username"), get("etcd_password"))).filter(|(name, _)| !name.is_empty()),
        public_ip: get("public_ip"),
        metadata: metadata(&get("metadata")),
        agent_ttl: agent_ttl
            .ok_or_else(|| format!("agent_ttl {ttl:?} is no duration of at least 1s, as 30s or 1m30s"))?,
        engine_reconcile_interval: seconds("engine_reconcile_interval")?,
        disable_engine: match get("disable_engine").as_str() {
            "true" => true,
            "false" => false,
            other => return Err(format!("disable_engine {other:?} is neither true nor false")),
        },
        token_limit: get("token_limit")
            .parse()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| format!("token_limit {:?} is no number from 1 to 65535", get("token_limit")))?,
        peer_addr: match get("peer_addr").as_str() {
            "off" => None,
            address => {
                Some(address.parse().map_err(|_| {
                    format!("peer_addr {address:?} is neither IP:PORT (port 0: any that is free) nor off")
                })?)
            }
        },
        units_directory: get("units_directory").into(),
        stop_when_lost: match get("disconnect_policy").as_str() {
            "stop" => true,
            "keep" => false,
            other => return Err(format!("disconnect_policy {other:?} is neither stop nor keep")),
        },
        machine_id: String::new(),
        notes,
    })
}

fn unquoted(value: &str) -> &str {
    let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    // Of a list each element may be quoted.
    inside.filter(|inside| !inside.contains('"')).unwrap_or(value)
}

/// `["a", "b"]` or `a,b`.
fn list(value: &str) -> Vec<String> {
    let inside = value.trim().trim_start_matches('[').trim_end_matches(']');
    let parts = inside
        .split(',')
        .map(|part| part.trim().trim_matches(['"', '\'']).to_string());
    parts.filter(|part| !part.is_empty()).collect()
}

/// `k=v,k2=v2`; what is no such pair is dropped.
fn metadata(value: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        (!key.is_empty() && !value.is_empty() && !value.contains('=')).then(|| (key.to_string(), value.to_string()))
    };
    value.split(',').filter_map(pair).collect()
}

/// Go's durations, as far as seconds go: `30s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number * factor).ok()?;
        rest = &rest[unit..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_and_variables_win() {
        let text = "# fleet\nverbosity=1\netcd_servers=[\"http://a:1\",\"http://b:2\"]\nmetadata=\"role=a, disk=ssd,bad\"\nagent_ttl=1m30s\nfrob=1\n";
        let env = [
            ("FLEET_PUBLIC_IP".to_string(), "10.0.0.1".to_string()),
            ("FLEET_VERBOSITY".into(), "0".into()),
        ];
        let config = parse(text, &env, Vec::new()).unwrap();
        assert_eq!(config.etcd_servers, ["http://a:1", "http://b:2"]);
        assert_eq!(config.metadata.len(), 2);
        assert_eq!((config.verbosity, config.public_ip.as_str()), (0, "10.0.0.1"));
        assert_eq!(config.agent_ttl, Duration::from_secs(90));
        assert_eq!(config.notes, ["line 6 of the config file: there is no option frob"]);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for text in [
            "nonsense",
            "agent_ttl=x",
            "agent_ttl=30",
            "etcd_certfile=/c",
            "engine_reconcile_interval=0",
            "disconnect_policy=perhaps",
            "token_limit=0",
            "peer_addr=here",
            "etcd_servers=[]",
        ] {
            assert!(parse(text, &[], Vec::new()).is_err(), "{text}");
        }
    }
}

//! What the program's own flags and the FLEETCTL_ variables say, in one place.
use std::path::PathBuf;
use std::time::Duration;

use super::commands::GLOBAL;
use super::flags::Parsed;
use super::remote::SshSettings;
use crate::tls;

#[derive(Clone, Debug)]
pub struct Settings {
    pub endpoints: Vec<String>,
    pub etcd: bool,
    pub etcd_key_prefix: String,
    pub tls: tls::Files,
    /// None: as long as it takes.
    pub request_timeout: Option<Duration>,
    pub debug: bool,
    pub ssh: SshSettings,
}

const API: &str = "unix:///var/run/fleet.sock";
const ETCD: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

/// Takes the variables of flags that were not given.
pub fn with_environment(global: &mut Parsed, env: &[(String, String)]) -> Result<(), String> {
    for flag in GLOBAL {
        if global.given(flag.name).is_some() || matches!(flag.name, "h" | "help" | "version") {
            continue;
        }
        let variable = format!("FLEETCTL_{}", flag.name.to_uppercase().replace('-', "_"));
        let Some((_, value)) = env.iter().find(|(name, _)| *name == variable) else {
            continue;
        };
        let set = global.set(flag, value);
        set.map_err(|why| format!("invalid value {value:?} for {variable}: {why}"))?;
    }
    Ok(())
}

pub fn resolve(global: &Parsed, env: &[(String, String)]) -> Result<Settings, String> {
    let given = |name: &str| {
        let short = (name == "identity").then(|| global.given("i")).flatten();
        global.given(name).or(short).map(str::to_string)
    };
    let ssh = SshSettings::new(&given, env).map_err(|failure| failure.text.trim_end().to_string())?;
    let text = |name: &str| match global.given(name) {
        Some(value) => value.to_string(),
        None => {
            let flag = GLOBAL.iter().find(|flag| flag.name == name);
            flag.map_or(String::new(), |flag| flag.default.into())
        }
    };
    let seconds = |name: &str| Duration::try_from_secs_f64(text(name).parse().unwrap_or(0.0)).unwrap_or(Duration::MAX);
    let endpoint = global.given("endpoint");
    let etcd = match global.given("driver") {
        // As before 0.10, when there was no --driver.
        _ if global.given("experimental-api") == Some("false") => true,
        // As the original does: who names etcd's own port means etcd.
        None => endpoint.is_some_and(|endpoint| endpoint.split(',').all(has_etcds_port)),
        Some("API") => false,
        Some("etcd") => true,
        Some(other) => return Err(format!("unrecognized driver {other:?}")),
    };
    let default = if etcd { ETCD } else { API };
    let endpoints = endpoint.unwrap_or(default).split(',').map(|url| url.trim().to_string());
    let file = |name: &str, old: &str| {
        let given = global.given(name).or(global.given(old)).filter(|path| !path.is_empty());
        given.map(PathBuf::from)
    };
    let tls = tls::Files {
        cert: file("cert-file", "etcd-certfile"),
        key: file("key-file", "etcd-keyfile"),
        trusted_ca: file("ca-file", "etcd-cafile"),
        client_cert_auth: false,
    };
    Ok(Settings {
        endpoints: endpoints.collect(),
        etcd,
        etcd_key_prefix: text("etcd-key-prefix"),
        tls,
        request_timeout: Some(seconds("request-timeout")).filter(|timeout| !timeout.is_zero()),
        debug: global.is("debug"),
        ssh,
    })
}

fn has_etcds_port(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next();
    let port = authority
        .and_then(|authority| authority.rsplit_once(':'))
        .map(|(_, port)| port);
    matches!(port, Some("2379" | "4001"))
}

/// The files that TLS needs, checked in the original's words.
pub fn check_tls(files: &tls::Files) -> Result<(), String> {
    for path in [&files.cert, &files.key, &files.trusted_ca].into_iter().flatten() {
        let readable = std::fs::File::open(path);
        readable.map_err(|error| format!("open {}: {}", path.display(), super::transport::in_gos_words(&error)))?;
    }
    match (&files.cert, &files.key) {
        (Some(_), None) => Err("--cert-file needs --key-file".into()),
        (None, Some(_)) => Err("--key-file needs --cert-file".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleetctl::flags;

    fn of(args: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
        let args: Vec<String> = args.split_whitespace().map(str::to_string).collect();
        let mut global = flags::parse(GLOBAL, &args).unwrap();
        let env: Vec<(String, String)> = env.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        with_environment(&mut global, &env)?;
        resolve(&global, &env)
    }

    #[test]
    fn etcds_port_means_etcd_unless_a_driver_is_named() {
        for (args, etcd) in [
            ("", false),
            ("--endpoint http://h:2379", true),
            ("--endpoint http://h:4001/", true),
            ("--endpoint http://h:2379 --driver API", false),
            ("--endpoint unix:///a,http://h:2379", false),
            ("--driver etcd", true),
            ("--experimental-api=false", true),
        ] {
            assert_eq!(of(args, &[]).unwrap().etcd, etcd, "{args}");
        }
        assert_eq!(of("--driver etcd", &[]).unwrap().endpoints.len(), 2);
        assert_eq!(of("--driver zz", &[]).unwrap_err(), "unrecognized driver \"zz\"");
    }

    #[test]
    fn a_flag_goes_before_its_variable() {
        let env = [("FLEETCTL_ENDPOINT", "http://a:1"), ("FLEETCTL_SSH_TIMEOUT", "2.5")];
        let settings = of("", &env).unwrap();
        assert_eq!(
            (settings.endpoints[0].as_str(), settings.ssh.ssh_timeout.as_millis()),
            ("http://a:1", 2500)
        );
        assert_eq!(of("--endpoint http://b:1", &env).unwrap().endpoints, ["http://b:1"]);
        assert!(of("", &[("FLEETCTL_DEBUG", "perhaps")]).is_err());
        let old = of("", &[("FLEETCTL_ETCD_CAFILE", "/ca")]).unwrap();
        assert_eq!(old.tls.trusted_ca, Some("/ca".into()));
    }
}

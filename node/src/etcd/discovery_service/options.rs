//! The service's flags and DISC_ variables.
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// An etcd that keeps the tokens. Without one the service keeps them itself, in `data_dir`.
    pub etcd: Option<String>,
    /// What tokens' URLs begin with. Without it, the host that the client asked.
    pub host: Option<String>,
    pub addr: String,
    pub data_dir: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    Run(Options),
    Exit { code: i32, stdout: String, stderr: String },
}

const USAGE: &str = "\
usage: discovery [flags]
       start a discovery service for new etcd clusters

\t--addr ':8087'
\t\tAddress to listen on. (DISC_ADDR)
\t--host ''
\t\tWhat the URLs of new tokens begin with, as 'http://discovery.example.com'; the host that the client asked if empty. (DISC_HOST)
\t--etcd ''
\t\tURL of an etcd that keeps the tokens; the service keeps them itself if empty. (DISC_ETCD)
\t--data-dir 'discovery.etcd'
\t\tWhere it keeps them then. (DISC_DATA_DIR)

A flag beats its variable.
";

const NAMES: [&str; 4] = ["addr", "host", "etcd", "data-dir"];

pub fn parse(args: &[String], env: &[(String, String)]) -> Parsed {
    let bad = |why: String| Parsed::Exit {
        code: 2,
        stdout: USAGE.into(),
        stderr: format!("discovery: {why}\n"),
    };
    let mut given: [Option<String>; NAMES.len()] = NAMES.map(|name| {
        let variable = format!("DISC_{}", name.to_uppercase().replace('-', "_"));
        env.iter()
            .find(|(key, _)| *key == variable)
            .map(|(_, value)| value.clone())
    });
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
            return bad(format!("{arg:?} is no flag"));
        };
        if matches!(flag, "h" | "help") {
            return Parsed::Exit {
                code: 0,
                stdout: USAGE.into(),
                stderr: String::new(),
            };
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (flag, None),
        };
        let Some(at) = NAMES.iter().position(|known| *known == name) else {
            return bad(format!("flag provided but not defined: -{name}"));
        };
        match value.or_else(|| args.next().cloned()) {
            Some(value) => given[at] = Some(value),
            None => return bad(format!("flag needs an argument: -{name}")),
        }
    }
    let [addr, host, etcd, data_dir] = given.map(|value| value.filter(|value| !value.is_empty()));
    let url = |value: Option<String>| value.map(|value| value.trim_end_matches('/').to_string());
    let etcd = url(etcd);
    if let Some(etcd) = &etcd
        && !reqwest::Url::parse(etcd).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        return bad(format!("--etcd {etcd:?} is no URL like http://127.0.0.1:2379"));
    }
    Parsed::Run(Options {
        etcd,
        host: url(host),
        addr: addr.unwrap_or_else(|| ":8087".into()),
        data_dir: data_dir.unwrap_or_else(|| "discovery.etcd".into()).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str], env: &[(&str, &str)]) -> Parsed {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        let env: Vec<(String, String)> = env
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        parse(&args, &env)
    }

    #[test]
    fn flags_beat_variables() {
        let Parsed::Run(options) = of(
            &["--host", "http://d/", "-addr=127.0.0.1:1"],
            &[("DISC_ADDR", ":2"), ("DISC_ETCD", "http://e:1")],
        ) else {
            panic!("refused");
        };
        assert_eq!(options.host.as_deref(), Some("http://d"));
        assert_eq!(options.etcd.as_deref(), Some("http://e:1"));
        assert_eq!(options.addr, "127.0.0.1:1");
    }

    #[test]
    fn what_is_wrong_exits_2() {
        for args in [&["word"][..], &["--nonsense"], &["--addr"], &["--etcd", "e:1"]] {
            assert!(matches!(of(args, &[]), Parsed::Exit { code: 2, .. }), "{args:?}");
        }
        assert!(matches!(of(&["-h"], &[]), Parsed::Exit { code: 0, .. }));
    }
}

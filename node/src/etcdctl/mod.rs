//! etcdctl 2.3.8: global flags, the client they make, and which command runs.
mod admin;
mod auth;
mod backup;
mod flags;
mod import;
mod keys;
mod table;
mod watch;

use std::time::Duration;

use crate::client::cluster::{Client, Options};
use crate::client::error::Error;
use crate::sys::print;
use crate::tls::Files;
use flags::Parsed;

pub const VERSION: &str = "2.3.8";

/// How a command ends when it does not end well: exit status, and text for stderr.
pub struct Failure(pub i32, pub String);

impl Failure {
    /// A key command's error.
    pub fn key(code: i32, error: &Error) -> Failure {
        let detail = error.detail().map(|detail| format!("{detail}\n")).unwrap_or_default();
        Failure(code, format!("Error:  {error}\n{detail}"))
    }

    pub fn plain(error: &Error) -> Failure {
        Failure(1, format!("{error}\n"))
    }

    pub fn usage(text: &str) -> Failure {
        Failure(1, format!("{text}\n"))
    }
}

/// What commands are given.
pub struct Context {
    pub global: Parsed,
    pub env: Vec<(String, String)>,
    pub command: Parsed,
}

impl Context {
    fn setting(&self, flag: &str, variable: &str) -> Option<String> {
        let env = || {
            self.env
                .iter()
                .find(|(name, _)| name == variable)
                .map(|(_, value)| value.clone())
        };
        let given = self.global.text(flag).map(str::to_string).or_else(env);
        given.filter(|value| !value.is_empty())
    }

    pub fn output(&self) -> &str {
        self.global.text("output").unwrap_or("simple")
    }

    async fn endpoints(&self) -> Result<Vec<String>, Failure> {
        if let Some(domain) = self.setting("discovery-srv", "ETCDCTL_DISCOVERY_SRV") {
            return discover(&domain).await;
        }
        let given = self
            .setting("endpoints", "ETCDCTL_ENDPOINTS")
            .or_else(|| self.setting("endpoint", "ETCDCTL_ENDPOINT"))
            .or_else(|| self.setting("peers", "ETCDCTL_PEERS"))
            .unwrap_or_else(|| "http://127.0.0.1:2379,http://127.0.0.1:4001".into());
        let scheme = |url: &str| match url.contains("://") || url.starts_with("localhost:") {
            true => url.to_string(),
            false => format!("http://{url}"),
        };
        Ok(given.split(',').map(|url| scheme(url.trim())).collect())
    }

    pub async fn client(&self) -> Result<Client, Failure> {
        self.client_with(!self.global.is("no-sync")).await
    }

    pub async fn client_with(&self, sync: bool) -> Result<Client, Failure> {
        let file = |flag, variable| self.setting(flag, variable).map(Into::into);
        let debug = self.global.is("debug");
        let user = self
            .setting("username", "ETCDCTL_USERNAME")
            .map(|user| match user.split_once(':') {
                Some((name, password)) => (name.to_string(), password.to_string()),
                None => (user.clone(), auth::ask_password("Password: ")),
            });
        let timeout = self.global.text("timeout").and_then(flags::duration);
        let client = Client::new(Options {
            endpoints: self.endpoints().await?,
            tls: Files {
                cert: file("cert-file", "ETCDCTL_CERT_FILE"),
                key: file("key-file", "ETCDCTL_KEY_FILE"),
                trusted_ca: file("ca-file", "ETCDCTL_CA_FILE"),
                client_cert_auth: false,
            },
            user,
            header_timeout: timeout.unwrap_or(Duration::from_secs(1)),
            trace: debug.then_some(|line: &str| print("", line)),
        })
        .map_err(|error| Failure::plain(&error))?;
        let say = |text: String| {
            if debug {
                print("", &text);
            }
        };
        let list = client.endpoints().join(", ");
        if sync {
            say(format!("start to sync cluster using endpoints({list})\n"));
            match self.within(client.sync()).await {
                Ok(()) => {}
                Err(Error::NoEndpoints) => {
                    return Err(Failure(
                        4,
                        format!(
                            "etcd cluster has no published client endpoints.\nTry '--no-sync' if you want to access non-published client endpoints({list}).\nError:  {}\n",
                            Error::NoEndpoints
                        ),
                    ));
                }
                Err(error @ Error::Cluster(_)) => return Err(Failure::key(2, &error)),
                Err(error) => return Err(Failure::key(4, &error)),
            }
            say(format!("got endpoints({}) after sync\n", client.endpoints().join(",")));
        }
        say(format!("Cluster-Endpoints: {}\n", client.endpoints().join(", ")));
        Ok(client)
    }

    /// Ends with --total-timeout.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let total = self.global.text("total-timeout").and_then(flags::duration);
        let total = total.unwrap_or(Duration::from_secs(5));
        tokio::time::timeout(total, work).await.unwrap_or(Err(Error::Deadline))
    }
}

/// The client URLs that a domain's SRV records name: those over TLS, and the plain ones.
async fn discover(domain: &str) -> Result<Vec<String>, Failure> {
    let mut urls = Vec::new();
    let mut errors = Vec::new();
    for (service, scheme) in [("etcd-client-ssl", "https"), ("etcd-client", "http")] {
        match crate::dns::srv(service, domain).await {
            Ok(found) => urls.extend(found.iter().map(|(host, port)| format!("{scheme}://{host}:{port}"))),
            Err(error) => errors.push(error),
        }
    }
    match urls.is_empty() {
        true => Err(Failure::usage(&format!(
            "no SRV records of {domain}: {}",
            errors.join("; ")
        ))),
        false => Ok(urls),
    }
}

/// Runs etcdctl with these arguments; returns its exit status.
pub fn run(args: &[String], env: &[(String, String)]) -> i32 {
    let global = match flags::parse(table::GLOBAL, args) {
        Ok(global) => global,
        Err(error) => return say(&format!("{error}\n\n{}", table::help())),
    };
    if global.is("version") {
        return say(&format!("etcdctl version {VERSION}\n"));
    }
    let words = global.args.clone();
    let Some(first) = words.first().filter(|_| !global.help) else {
        return say(&table::help());
    };
    if matches!(first.as_str(), "help" | "h") {
        return match words.get(1) {
            None => say(&table::help()),
            Some(topic) => say(&table::topic(topic)),
        };
    }
    let (name, rest) = if table::is_group(first) {
        match words.get(1).map(String::as_str) {
            None | Some("help" | "h" | "--help" | "-h") => return say(&table::topic(first)),
            Some(second) => (format!("{first} {second}"), &words[2..]),
        }
    } else {
        (first.clone(), &words[1..])
    };
    let Some(entry) = table::COMMANDS.iter().find(|command| command.0 == name) else {
        let last = name.rsplit(' ').next().unwrap_or_default();
        return say(&format!("No help topic for '{last}'\n"));
    };
    let command = match flags::parse_command(entry.2, rest) {
        Ok(command) => command,
        Err(error) => return say(&format!("Incorrect Usage: {error}\n\n{}", table::topic(&name))),
    };
    if command.help {
        return say(&table::topic(&name));
    }
    let context = Context {
        global,
        env: env.to_vec(),
        command,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print("", &format!("cannot start: {error}\n"));
            return 1;
        }
    };
    match runtime.block_on(dispatch(&name, &context)) {
        Ok(()) => 0,
        Err(Failure(code, text)) => {
            print("", &text);
            code
        }
    }
}

async fn dispatch(name: &str, context: &Context) -> Result<(), Failure> {
    match name {
        "watch" => watch::watch(context).await,
        "exec-watch" => watch::exec_watch(context).await,
        "backup" => backup::run(context).await,
        "import" => import::run(context).await,
        "cluster-health" => admin::health(context).await,
        _ if name.starts_with("member ") => admin::member(name, context).await,
        _ if name.contains(' ') => auth::run(name, context).await,
        _ => keys::run(name, context).await,
    }
}

fn say(text: &str) -> i32 {
    print(text, "");
    0
}

//! Where user-data and metadata come from. A source is a file here, a row in `Source::new` and a flag.
mod cloudsigma;
mod drive;
pub mod http;
mod metadata;
mod vmware;

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::flags::Origin;
use super::log::say;
use super::root::Root;
use crate::cloudconfig::go::quote;

/// How often a source is asked whether it is there, at first and at last, and for how long.
const INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(300);

/// What a source knows of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub hostname: String,
    pub ssh_keys: Vec<String>,
    /// COREOS_PUBLIC_IPV4 and its kin.
    pub addresses: Vec<(&'static str, String)>,
    /// In the format that -convert-netconf names.
    pub network: Option<Vec<u8>>,
}

impl Metadata {
    /// Takes an address if it is one.
    pub fn address(&mut self, variable: &'static str, text: &str) {
        if let Ok(address) = text.trim().parse::<std::net::IpAddr>() {
            self.addresses.retain(|(known, _)| *known != variable);
            self.addresses.push((variable, address.to_string()));
        }
    }
}

pub struct Source {
    origin: Origin,
    root: Root,
}

impl Source {
    pub fn new(origin: Origin, root: Root) -> Source {
        Source { origin, root }
    }

    pub fn kind(&self) -> &'static str {
        match &self.origin {
            Origin::File(_) => "local-file",
            Origin::Url(_) => "url",
            Origin::ConfigDrive(_) => "cloud-drive",
            Origin::Ec2(_) => "ec2-metadata-service",
            Origin::Gce(_) => "gce-metadata-service",
            Origin::CloudSigma => "server-context",
            Origin::DigitalOcean(_) => "digitalocean-metadata-service",
            Origin::Waagent(_) => "waagent",
            Origin::Packet(_) => "packet-metadata-service",
            Origin::ProcCmdline => "proc-cmdline",
            Origin::Guestinfo | Origin::OvfEnv(_) => "vmware",
        }
    }

    async fn is_available(&self) -> bool {
        let exists = |path: &str| {
            let found = std::fs::metadata(self.root.at(path));
            !matches!(found, Err(error) if error.kind() == ErrorKind::NotFound)
        };
        match &self.origin {
            Origin::File(path) | Origin::ConfigDrive(path) => exists(path),
            Origin::Waagent(dir) => exists(&format!("{dir}/provisioned")),
            Origin::Url(url) => http::get(url, &[]).await.is_ok(),
            Origin::Ec2(_) | Origin::Gce(_) | Origin::DigitalOcean(_) | Origin::Packet(_) => {
                metadata::is_available(&self.origin).await
            }
            Origin::ProcCmdline => cmdline_url(&self.root).is_some(),
            Origin::CloudSigma => cloudsigma::is_available(&self.root),
            Origin::Guestinfo => vmware::is_available(&self.root),
            Origin::OvfEnv(path) => vmware::ovf(&self.root, path).is_ok(),
        }
    }

    /// One that is not there now will not come.
    fn is_for_good(&self) -> bool {
        matches!(self.origin, Origin::ProcCmdline | Origin::Guestinfo | Origin::OvfEnv(_))
    }

    pub async fn user_data(&self) -> Result<Vec<u8>, String> {
        match &self.origin {
            Origin::File(path) => self.root.read_go(path),
            Origin::Url(url) => http::get_retry(url).await.map_err(|error| error.to_string()),
            Origin::ConfigDrive(dir) => drive::user_data(&self.root, dir),
            Origin::Waagent(dir) => drive::custom_data(&self.root, dir),
            Origin::Ec2(_) | Origin::Gce(_) | Origin::DigitalOcean(_) | Origin::Packet(_) => {
                metadata::user_data(&self.origin).await
            }
            Origin::ProcCmdline => {
                let url = cmdline_url(&self.root).ok_or("cloud-config-url not found")?;
                http::get_retry(&url).await.map_err(|error| error.to_string())
            }
            Origin::CloudSigma => cloudsigma::user_data().await,
            Origin::Guestinfo => vmware::user_data(&vmware::Guest::Tools).await,
            Origin::OvfEnv(path) => vmware::user_data(&vmware::ovf(&self.root, path)?).await,
        }
    }

    pub async fn metadata(&self) -> Result<Metadata, String> {
        match &self.origin {
            Origin::File(_) | Origin::Url(_) | Origin::ProcCmdline => Ok(Metadata::default()),
            Origin::ConfigDrive(dir) => drive::metadata(&self.root, dir),
            Origin::Waagent(dir) => drive::shared_config(&self.root, dir),
            Origin::Ec2(_) | Origin::Gce(_) | Origin::DigitalOcean(_) | Origin::Packet(_) => {
                metadata::metadata(&self.origin).await
            }
            Origin::CloudSigma => cloudsigma::metadata().await,
            Origin::Guestinfo => vmware::metadata(&vmware::Guest::Tools).await,
            Origin::OvfEnv(path) => vmware::metadata(&vmware::ovf(&self.root, path)?).await,
        }
    }
}

/// The first that is there. All are asked at the same time, again and again until one is, or until it has taken too long.
pub async fn select(sources: &[Source]) -> Option<&Source> {
    let wait = async |source: &Source| {
        let mut interval = INTERVAL;
        loop {
            say(&format!("Checking availability of {}", quote(source.kind())));
            if source.is_available().await {
                return true;
            }
            if source.is_for_good() {
                return false;
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 2).min(MAX_INTERVAL);
        }
    };
    let waiting = sources.iter().map(async |source| wait(source).await.then_some(source));
    let mut waiting: FuturesUnordered<_> = waiting.collect();
    let first = async {
        while let Some(found) = waiting.next().await {
            if found.is_some() {
                return found;
            }
        }
        None
    };
    tokio::time::timeout(LIMIT, first).await.unwrap_or(None)
}

/// The last `cloud-config-url=` on the kernel's command line.
fn cmdline_url(root: &Root) -> Option<String> {
    let text = root.read("/proc/cmdline").ok()?;
    find_url(&String::from_utf8_lossy(&text))
}

fn find_url(cmdline: &str) -> Option<String> {
    let mut url = None;
    for word in cmdline.trim().split(' ') {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        if key.replace('_', "-") != "cloud-config-url" {
            continue;
        }
        match value {
            Some(value) => url = Some(value.to_string()),
            None => say("Found cloud-config-url in /proc/cmdline with no value, ignoring."),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_url_of_the_command_line_counts() {
        let line = "root=/dev/sda cloud-config-url=http://a/ cloud_config_url=http://b/?x=1 quiet\n";
        assert_eq!(find_url(line).as_deref(), Some("http://b/?x=1"));
        assert_eq!(find_url("quiet cloud-config-url"), None);
    }
}

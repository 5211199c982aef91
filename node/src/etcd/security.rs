//! Who this member is to clients and peers, and whom it lets in: certificates from a configuration.
use std::path::PathBuf;
use std::sync::Arc;

use super::config::Config;
use super::urls::{Scheme, Url};
use crate::log;
use crate::tls::connect::Connector;
use crate::tls::server::{self, Acceptor};
use crate::tls::{self, Files, generated};

pub struct Security {
    /// For https listeners; None when there are none.
    pub clients: Option<Arc<Acceptor>>,
    pub peers: Option<Arc<Acceptor>>,
    pub connector: Connector,
    peer_files: Files,
    /// Members with generated certificates cannot verify each other.
    unverified: bool,
    client_files: Files,
    clients_unverified: bool,
}

/// One of the two sides, as its flags and URLs have it.
struct Side<'a> {
    name: &'static str,
    prefix: &'static str,
    files: &'a Files,
    auto: bool,
    dir: PathBuf,
    listen: &'a [Url],
    advertise: &'a [Url],
}

impl Security {
    pub fn new(config: &Config) -> Result<Security, String> {
        let peer = Side {
            name: "peer",
            prefix: "peer-",
            files: &config.peer_tls,
            auto: config.peer_auto_tls,
            dir: config.data_dir.join("fixtures/peer"),
            listen: &config.listen_peer_urls,
            advertise: &config.initial_advertise_peer_urls,
        };
        let client = Side {
            name: "client",
            prefix: "",
            files: &config.client_tls,
            auto: config.client_auto_tls,
            dir: config.data_dir.join("fixtures/client"),
            listen: &config.listen_client_urls,
            advertise: &config.advertise_client_urls,
        };
        let peer_files = peer.files()?;
        // A CA of their own is then checked by, whoever made the certificates.
        let unverified = peer.auto && peer_files.trusted_ca.is_none();
        let connector = match unverified {
            true => Connector::unverified(peer_files.clone()),
            false => Connector::new(peer_files.clone()),
        };
        if !peer_files.is_empty() {
            connector
                .check()
                .map_err(|error| format!("cannot connect to peers over TLS: {error}"))?;
        }
        let client_files = client.files()?;
        Ok(Security {
            peers: peer.acceptor(&peer_files)?,
            clients: client.acceptor(&client_files)?,
            clients_unverified: client.auto && client_files.trusted_ca.is_none(),
            client_files,
            connector,
            peer_files,
            unverified,
        })
    }

    /// For requests to peers.
    pub fn peer_client(&self) -> Result<reqwest::Client, String> {
        crate::client::http_over(self.peer_tls()?)
    }

    /// For requests to other members at their client URLs.
    pub fn member_client(&self) -> Result<reqwest::Client, String> {
        crate::client::http_over(match self.clients_unverified {
            true => tls::client::unverified(&self.client_files)?,
            false => tls::client::config(&self.client_files)?,
        })
    }

    pub fn peer_tls(&self) -> Result<rustls::ClientConfig, String> {
        match self.unverified {
            true => tls::client::unverified(&self.peer_files),
            false => tls::client::config(&self.peer_files),
        }
    }
}

impl Side<'_> {
    /// The files given, or generated.
    fn files(&self) -> Result<Files, String> {
        if !self.auto {
            return Ok(self.files.clone());
        }
        let hosts: Vec<String> = self
            .listen
            .iter()
            .chain(self.advertise)
            .map(|url| url.host.clone())
            .collect();
        let made = generated::ensure(&self.dir, &hosts)?;
        Ok(Files {
            trusted_ca: self.files.trusted_ca.clone(),
            client_cert_auth: self.files.client_cert_auth,
            ..made
        })
    }

    fn acceptor(&self, files: &Files) -> Result<Option<Arc<Acceptor>>, String> {
        let (name, prefix) = (self.name, self.prefix);
        if !files.is_empty() || files.client_cert_auth {
            for url in self.listen.iter().filter(|url| url.scheme == Scheme::Http) {
                log::warning!(
                    "etcdmain",
                    "the {name} URL {url} is plain http: the certificates given (--{prefix}cert-file, --{prefix}client-cert-auth and so on) do not protect it"
                );
            }
        }
        if !self.listen.iter().any(|url| url.scheme == Scheme::Https) {
            return Ok(None);
        }
        if files.cert.is_none() && files.key.is_none() {
            return Err("cannot listen on TLS for given listener: KeyFile and CertFile are not presented".into());
        }
        let acceptor =
            Acceptor::new(files.clone()).map_err(|error| format!("cannot listen on TLS for {name}s: {error}"))?;
        let advertised = self.advertise.iter().filter(|url| url.scheme == Scheme::Https);
        let hosts: Vec<String> = advertised.map(|url| url.host.clone()).collect();
        for fault in server::faults(files, &hosts) {
            log::warning!("etcdmain", "{fault}");
        }
        let with = if files.client_cert_auth {
            ", and asks for theirs"
        } else {
            ""
        };
        let path = files
            .cert
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        log::info!(
            "etcdmain",
            "{name}s are served over TLS with the certificate {path}{with}"
        );
        Ok(Some(Arc::new(acceptor)))
    }
}

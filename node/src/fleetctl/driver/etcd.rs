//! fleet's registry in etcd, read and written without a fleetd in between.
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::super::remote::Tunnel;
use super::super::say;
use super::super::settings::{self, Settings};
use super::tunneled::{self, Endpoints};
use super::{Duty, Error};
use crate::client;
use crate::client::cluster::{Client, Options};
use crate::fleet::VERSION;
use crate::fleet::api;
use crate::fleet::mirror::Mirror;
use crate::fleet::registry::Registry;
use crate::fleet::schema::{Explanation, JobState, Machine, Unit, UnitState};
use crate::unit::{UnitFile, UnitName, UnitOption};

pub struct Etcd {
    registry: Registry,
}

/// Where nothing limits a request.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The last endpoint's error, as the original has it.
fn failed(error: client::error::Error) -> Error {
    Error::Other(match error {
        client::error::Error::Cluster(mut errors) => errors.pop().unwrap_or_default(),
        client::error::Error::Etcd {
            code,
            message,
            cause,
            index,
        } => format!("{code}: {message} ({cause}) [{index}]"),
        other => other.to_string(),
    })
}

impl Etcd {
    pub async fn new(settings: &Settings, tunnel: Option<Arc<Tunnel>>) -> Result<Etcd, String> {
        settings::check_tls(&settings.tls)?;
        let Endpoints { urls, proxy } = match tunnel {
            Some(tunnel) => tunneled::endpoints(&settings.endpoints, &tunnel).await?,
            None => Endpoints {
                urls: settings.endpoints.clone(),
                proxy: None,
            },
        };
        let options = Options {
            endpoints: urls,
            tls: settings.tls.clone(),
            user: None,
            header_timeout: settings.request_timeout.unwrap_or(FOR_EVER),
            trace: settings
                .debug
                .then_some(|line: &str| say::log("DEBUG", "etcd", line.trim_end())),
        };
        let client = match proxy {
            Some(proxy) => Client::over(client::http_behind(&settings.tls, proxy)?, options),
            None => Client::new(options),
        };
        let client = client.map_err(|error| failed(error).to_string())?;
        let etcd = Etcd {
            registry: Registry::new(client, &settings.etcd_key_prefix),
        };
        etcd.warn_of_newer().await;
        Ok(etcd)
    }

    /// A fleet that is newer may keep its registry otherwise.
    async fn warn_of_newer(&self) {
        let newest = match self.read().await {
            Ok(mirror) => mirror
                .machines()
                .into_iter()
                .map(|machine| machine.version)
                .max_by_key(|v| numbers(v)),
            Err(error) => {
                let text = format!("error attempting to check latest fleet version in Registry: {error}");
                say::log("ERROR", "fleetctl", &text);
                return;
            }
        };
        if let Some(newest) = newest.filter(|newest| numbers(newest) > numbers(VERSION)) {
            let line = "####################################################################";
            say::err(line);
            say::err(&format!(
                "WARNING: fleetctl ({VERSION}) is older than the latest registered"
            ));
            say::err(&format!(
                "version of fleet found in the cluster ({newest}). You are strongly"
            ));
            say::err("recommended to upgrade fleetctl to prevent incompatibility issues.");
            say::err(line);
        }
    }

    /// The registry as it is now, from a quorum.
    async fn read(&self) -> Result<MutexGuard<'_, Mirror>, Error> {
        self.registry.fill().await.map_err(failed)?;
        Ok(self.registry.mirror())
    }

    pub async fn machines(&self) -> Result<Vec<Machine>, Error> {
        Ok(api::machines_of(&*self.read().await?))
    }

    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        Ok(api::units_of(&*self.read().await?))
    }

    pub async fn unit(&self, name: &str) -> Result<Option<Unit>, Error> {
        Ok(self.read().await?.unit(name))
    }

    pub async fn states(&self) -> Result<Vec<UnitState>, Error> {
        Ok(api::states_of(&*self.read().await?))
    }

    pub async fn explain(&self, name: &str) -> Result<Option<Explanation>, Error> {
        Ok(api::explanation(&*self.read().await?, name))
    }

    pub async fn create(&self, name: &str, options: &[UnitOption]) -> Result<(), Error> {
        let file = UnitFile::from(options.to_vec());
        match self.registry.create_unit(name, &file, JobState::Inactive).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::Other(format!(
                "unit {name} has just been created by somebody else"
            ))),
            Err(error) => Err(failed(error)),
        }
    }

    pub async fn replace(&self, name: &str, options: &[UnitOption], wanted: JobState) -> Result<(), Error> {
        let file = UnitFile::from(options.to_vec());
        self.registry.replace_unit(name, &file).await.map_err(failed)?;
        self.set_wanted(name, wanted).await
    }

    pub async fn set_wanted(&self, name: &str, wanted: JobState) -> Result<(), Error> {
        if UnitName::new(name).is_template() && wanted != JobState::Inactive {
            return Err(Error::Other(format!("cannot activate template {name:?}")));
        }
        self.registry.set_wanted(name, wanted).await.map(drop).map_err(failed)
    }

    pub async fn destroy(&self, name: &str) -> Result<(), Error> {
        match self.registry.destroy(name).await.map_err(failed)? {
            Some(_) => Ok(()),
            None => Err(Error::Other("unit does not exist".into())),
        }
    }

    pub async fn tell(&self, _: &str, duty: Duty) -> Result<(), Error> {
        Err(Error::Other(format!(
            "a fleetd has to {} machines: ask fleet's API, without --driver=etcd",
            duty.name()
        )))
    }
}

/// A version's numbers; what is none counts as 0.
fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

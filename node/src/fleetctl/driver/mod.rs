//! The cluster as fleetctl sees it, whichever way it is asked: fleet's API, or fleet's keys in etcd.
mod api;
mod etcd;
mod tunneled;

use std::sync::Arc;

use thiserror::Error;

use super::remote::Tunnel;
use super::settings::Settings;
use crate::fleet::schema::{Explanation, JobState, Machine, Unit, UnitState};
use crate::unit::UnitOption;
use api::Api;
use etcd::Etcd;

#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The API refuses, with its status.
    #[error("{}", of_api(*.code, .message, .body))]
    Refused { code: u16, message: String, body: String },
    #[error("{0}")]
    Other(String),
}

/// As the original's client library writes it.
fn of_api(code: u16, message: &str, body: &str) -> String {
    match message {
        "" => format!("googleapi: got HTTP response code {code} with body: {body}"),
        message => format!("googleapi: Error {code}: {message}"),
    }
}

impl Error {
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Refused { code: 404, .. })
    }
}

/// What a machine is told about taking units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    Cordon,
    Uncordon,
    Drain,
}

impl Duty {
    pub fn name(self) -> &'static str {
        match self {
            Duty::Cordon => "cordon",
            Duty::Uncordon => "uncordon",
            Duty::Drain => "drain",
        }
    }
}

pub enum Driver {
    Api(Api),
    Etcd(Box<Etcd>),
}

macro_rules! each {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            Driver::Api($driver) => $call.await,
            Driver::Etcd($driver) => $call.await,
        }
    };
}

impl Driver {
    pub async fn new(settings: &Settings, tunnel: Option<Arc<Tunnel>>) -> Result<Driver, String> {
        match settings.etcd {
            true => Ok(Driver::Etcd(Box::new(Etcd::new(settings, tunnel).await?))),
            false => Ok(Driver::Api(Api::new(settings, tunnel)?)),
        }
    }

    pub async fn machines(&self) -> Result<Vec<Machine>, Error> {
        each!(self, driver => driver.machines())
    }

    /// All units, by name.
    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        each!(self, driver => driver.units())
    }

    pub async fn unit(&self, name: &str) -> Result<Option<Unit>, Error> {
        each!(self, driver => driver.unit(name))
    }

    /// What the machines' systemds say of units, by unit and machine.
    pub async fn states(&self) -> Result<Vec<UnitState>, Error> {
        each!(self, driver => driver.states())
    }

    pub async fn create(&self, name: &str, options: &[UnitOption]) -> Result<(), Error> {
        each!(self, driver => driver.create(name, options))
    }

    /// Gives a unit another file, and says what it shall be.
    pub async fn replace(&self, name: &str, options: &[UnitOption], wanted: JobState) -> Result<(), Error> {
        each!(self, driver => driver.replace(name, options, wanted))
    }

    pub async fn set_wanted(&self, name: &str, wanted: JobState) -> Result<(), Error> {
        each!(self, driver => driver.set_wanted(name, wanted))
    }

    pub async fn destroy(&self, name: &str) -> Result<(), Error> {
        each!(self, driver => driver.destroy(name))
    }

    /// None: there is no such unit.
    pub async fn explain(&self, name: &str) -> Result<Option<Explanation>, Error> {
        each!(self, driver => driver.explain(name))
    }

    pub async fn tell(&self, machine: &str, duty: Duty) -> Result<(), Error> {
        each!(self, driver => driver.tell(machine, duty))
    }
}

//! The machine's own systemd, as the agent uses it: files in fleet's directory, linked to where systemd looks.
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs;
use tokio::sync::Mutex;

use super::agent::{Manager, Status};
use crate::systemd::Systemd;
use crate::unit::{UnitFile, name};

pub struct Host {
    dir: PathBuf,
    /// Made when it is needed, and again after it has failed.
    bus: Mutex<Option<Arc<Systemd>>>,
    bus_address: Option<String>,
}

impl Host {
    pub fn new(dir: &Path, bus_address: Option<String>) -> Host {
        Host {
            dir: dir.into(),
            bus: Mutex::new(None),
            bus_address,
        }
    }

    async fn systemd(&self) -> Result<Arc<Systemd>, String> {
        let mut bus = self.bus.lock().await;
        if let Some(systemd) = &*bus {
            return Ok(systemd.clone());
        }
        let systemd = Arc::new(Systemd::connect(self.bus_address.as_deref()).await?);
        *bus = Some(systemd.clone());
        Ok(systemd)
    }

    /// Passes a result on; after an error the next call connects anew.
    async fn checked<T>(&self, what: &str, result: Result<T, String>) -> Result<T, String> {
        if result.is_err() {
            *self.bus.lock().await = None;
        }
        result.map_err(|error| format!("{what}: {error}"))
    }

    /// The file of a unit. Its name comes out of the registry, where anything may stand.
    fn path(&self, unit: &str) -> Result<PathBuf, String> {
        name::validate(unit)?;
        Ok(self.dir.join(unit))
    }
}

impl Manager for Host {
    async fn units(&self) -> Result<BTreeMap<String, String>, String> {
        let told = |error: std::io::Error| format!("{}: {error}", self.dir.display());
        let mut units = BTreeMap::new();
        let mut entries = match fs::read_dir(&self.dir).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(units),
            Err(error) => return Err(told(error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(told)? {
            let unit = entry.file_name().to_string_lossy().into_owned();
            if name::validate(&unit).is_ok() {
                units.insert(unit, fs::read_to_string(entry.path()).await.map_err(told)?);
            }
        }
        Ok(units)
    }

    async fn load(&self, unit: &str, file: &UnitFile) -> Result<(), String> {
        let path = self.path(unit)?;
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(&self.dir).await.map_err(told)?;
        fs::write(&path, file.text()).await.map_err(told)?;
        let systemd = self.systemd().await?;
        let linked = systemd.link(&path.to_string_lossy()).await;
        self.checked("cannot link it", linked).await?;
        if file.has_section("Install") {
            let enabled = systemd.enable(unit, true).await;
            self.checked("cannot enable it", enabled).await?;
        }
        let reloaded = systemd.reload().await;
        self.checked("cannot have systemd read it", reloaded).await
    }

    async fn start(&self, unit: &str) -> Result<(), String> {
        let systemd = self.systemd().await?;
        // One that failed too often is started no more by systemd. One that has not failed has nothing to reset.
        let _ = systemd.reset_failed(unit).await;
        let begun = systemd.begin(unit).await;
        self.checked("cannot start it", begun).await
    }

    async fn stop(&self, unit: &str) -> Result<(), String> {
        match self.systemd().await?.command(unit, "stop").await {
            Ok(result) if result == "done" || result == "skipped" => Ok(()),
            Ok(result) => Err(format!("cannot stop it: its job ended as {result}")),
            // systemd knows no such unit: nothing runs.
            Err(error) if error.contains("not loaded") => Ok(()),
            Err(error) => self.checked("cannot stop it", Err(error)).await,
        }
    }

    async fn unload(&self, unit: &str) -> Result<(), String> {
        let path = self.path(unit)?;
        let systemd = self.systemd().await?;
        let disabled = systemd.disable(unit).await;
        self.checked("cannot unlink it", disabled).await?;
        // One that has not failed has nothing to reset.
        let _ = systemd.reset_failed(unit).await;
        match fs::remove_file(&path).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(format!("{}: {error}", path.display())),
            _ => {}
        }
        let reloaded = systemd.reload().await;
        self.checked("cannot have systemd forget it", reloaded).await
    }

    async fn statuses(&self, units: &[String]) -> Result<HashMap<String, Status>, String> {
        let listed = self.systemd().await?.states(units).await;
        let listed = self.checked("cannot ask systemd for the units' states", listed).await?;
        let status = |[name, load, active, sub]: [String; 4]| (name, Status { load, active, sub });
        Ok(listed.into_iter().map(status).collect())
    }
}

//! cloud-config, the pure part: text in, messages and a plan out. It knows no disk, no network and no clock.
//!
//! `parse` reads it (the fuzz target's entry), `validate` says what the original says, `strict` what is wrong and where,
//! `plan` what applying it means, step by step. The applet in `cloudinit` gets the text and carries the plan out.
pub mod config;
pub mod content;
mod events;
pub mod files;
pub mod go;
mod lines;
pub mod netconf;
pub mod paths;
pub mod plan;
pub mod schema;
mod sections;
pub mod strict;
pub mod substitute;
#[cfg(test)]
mod tests;
pub mod units;
pub mod validate;
pub mod yaml;

use config::Section;

/// What the first bytes say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Empty,
    Script,
    CloudConfig,
    Unknown,
}

pub fn input(user_data: &[u8]) -> Input {
    let header = user_data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if user_data.is_empty() {
        Input::Empty
    } else if header.starts_with(b"#!") {
        Input::Script
    } else if String::from_utf8_lossy(header).trim_end() == "#cloud-config" {
        Input::CloudConfig
    } else {
        Input::Unknown
    }
}

/// Ignition's configurations are JSON of their own and are left to Ignition.
pub fn is_ignition(user_data: &[u8]) -> bool {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(user_data) else {
        return false;
    };
    json["ignition"]["version"].is_string() || json["ignitionVersion"].is_i64() || json["ignitionVersion"].is_u64()
}

/// User-data that was understood.
#[derive(Clone, Debug, PartialEq)]
pub enum UserData {
    Nothing,
    Ignition,
    Script(Vec<u8>),
    Config(Section),
}

/// Reads user-data whose variables have been put in. An error is worded like the original's.
pub fn parse(user_data: &[u8]) -> Result<UserData, String> {
    match input(user_data) {
        Input::Empty => Ok(UserData::Nothing),
        Input::Script => Ok(UserData::Script(user_data.to_vec())),
        Input::CloudConfig => {
            let document = yaml::parse(user_data).map_err(|error| error.to_string())?;
            config::read(document.as_ref()).map(UserData::Config)
        }
        Input::Unknown if is_ignition(user_data) => Ok(UserData::Ignition),
        Input::Unknown => Err("Unrecognized user-data format".into()),
    }
}

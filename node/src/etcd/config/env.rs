//! The ETCD_ variables: they stand in for flags that were not given, and the log says which were used.
use super::table::{FLAGS, Flag};
use super::values::Given;
use crate::log::{Level, LogLine};

pub fn apply(env: &[(String, String)], given: &mut Given) -> Result<(), String> {
    let mut flags: Vec<(String, &'static Flag)> = FLAGS.iter().map(|f| (f.env(), f)).collect();
    // etcd goes through its flags by name.
    flags.sort_by_key(|(_, flag)| flag.name);
    let shadowed: Vec<&str> = flags
        .iter()
        .filter(|(_, f)| given.is_set(f.name))
        .map(|(key, _)| key.as_str())
        .collect();
    let mut used = Vec::new();
    let mut outcome = Ok(());
    for (key, flag) in &flags {
        let value = env.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str());
        if value.is_empty() || shadowed.contains(&key.as_str()) {
            continue;
        }
        used.push(key.as_str());
        if let Err(e) = given.set(flag, value) {
            outcome = Err(format!("invalid value {value:?} for {key}: {e}"));
        }
        log(
            given,
            Level::Info,
            format!("recognized and used environment variable {key}={value}"),
        );
    }
    for (key, value) in env {
        if used.contains(&key.as_str()) {
            continue;
        }
        if shadowed.contains(&key.as_str()) {
            let text = format!("recognized environment variable {key}, but unused: shadowed by corresponding flag ");
            log(given, Level::Info, text);
        } else if key.starts_with("ETCD_") {
            log(
                given,
                Level::Warning,
                format!("unrecognized environment variable {key}={value}"),
            );
        }
    }
    outcome
}

fn log(given: &mut Given, level: Level, text: String) {
    given.log.push(LogLine::new(level, "flags", text));
}

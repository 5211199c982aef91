//! `fleetctl journal`: what a unit has logged, on the machine it is on.
use super::{Fleet, Remote, failed};
use crate::unit::name::mangle;

#[derive(Clone, Debug)]
pub struct Options {
    pub lines: u64,
    pub follow: bool,
    pub sudo: bool,
    pub output: Option<String>,
    pub port: u16,
    pub args: Vec<String>,
}

pub async fn run(fleet: &impl Fleet, remote: &Remote, options: &Options) -> i32 {
    let [arg] = options.args.as_slice() else {
        return failed(1, "One unit file must be provided.");
    };
    let name = mangle(arg);
    let unit = match fleet.unit(&name).await {
        Ok(Some(unit)) => unit,
        Ok(None) => return failed(1, &format!("Unit {name} does not exist.")),
        Err(why) => return failed(1, &format!("Error retrieving unit {name}: {why}")),
    };
    if unit.global {
        return failed(1, &format!("Unable to retrieve journal of global unit {name}."));
    }
    if unit.inactive {
        return failed(1, &format!("Unit {name} does not appear to be running."));
    }
    let words = words(&unit.name, options);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    remote.run(fleet, &unit.machine, options.port, &words).await
}

fn words(unit: &str, options: &Options) -> Vec<String> {
    let lines = options.lines.to_string();
    let mut words = vec!["journalctl", "--unit", unit, "--no-pager", "-n", &lines];
    if options.sudo {
        words.insert(0, "sudo");
    }
    if let Some(output) = &options.output {
        words.extend(["--output", output]);
    }
    if options.follow {
        words.push("-f");
    }
    words.into_iter().map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_journalctls() {
        let mut options = Options {
            lines: 10,
            follow: false,
            sudo: false,
            output: None,
            port: 22,
            args: Vec::new(),
        };
        let line = |options: &Options| words("a.service", options).join(" ");
        assert_eq!(line(&options), "journalctl --unit a.service --no-pager -n 10");
        options.follow = true;
        options.sudo = true;
        options.output = Some("cat".into());
        assert_eq!(
            line(&options),
            "sudo journalctl --unit a.service --no-pager -n 10 --output cat -f"
        );
    }
}

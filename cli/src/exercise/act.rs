//! What an exercise does: how it is shown, and how it happens. One source for both.
use std::io;
use std::time::{Duration, Instant};

use labnode::shell::word;
use regex_lite::Regex;

use super::model::{Act, Expect, HttpRequest, UnitVerbs};
use super::world::{Outcome, World};

const TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
const USER: &str = "core";

/// What a learner would type, or put where.
pub fn shown(act: &Act) -> String {
    let at = act.at.as_ref().map(ToString::to_string).unwrap_or_default();
    if let Some(script) = typed(act) {
        let mark = if user(act) == "root" { "#" } else { "$" };
        return script
            .trim_end()
            .lines()
            .enumerate()
            .map(|(number, line)| match number {
                0 => format!("{at} {mark} {line}"),
                _ => format!("{:width$}   {line}", "", width = at.len()),
            })
            .collect::<Vec<_>>()
            .join("\n");
    }
    if let Some(write) = &act.write {
        return format!("{at}: the file {}\n{}", write.path, indent(write.text.trim_end()));
    }
    if let Some(unit) = &act.unit {
        return format!("{at} $ {}", commands(unit).join(" && "));
    }
    if let Some(fault) = &act.fault {
        return format!("$ {}", fault.command());
    }
    format!("$ lab {}", act.lab.as_deref().unwrap_or_default())
}

/// What goes to a shell on a node, word by word.
fn typed(act: &Act) -> Option<String> {
    let program = |name: &str, words: &Option<String>| words.as_ref().map(|words| format!("{name} {words}"));
    act.run
        .clone()
        .or_else(|| program("etcdctl", &act.etcd))
        .or_else(|| program("fleetctl", &act.fleet))
        .or_else(|| act.http.as_ref().map(curl))
}

/// An answer of 400 and more is a failure, whose text is worth reading.
fn curl(request: &HttpRequest) -> String {
    let (method, url) = request.target().unwrap_or_default();
    let mut words = vec!["curl -sSL --fail-with-body".to_string()];
    if method != "GET" {
        words.push(format!("-X {method}"));
    }
    words.push(word(url));
    for (name, value) in &request.form {
        words.push(format!("--data-urlencode {}", word(&format!("{name}={value}"))));
    }
    if let Some(body) = &request.body {
        if serde_json::from_str::<serde_json::Value>(body).is_ok() {
            words.push("-H 'Content-Type: application/json'".into());
        }
        words.push(format!("--data-binary {}", word(body)));
    }
    words.join(" ")
}

fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

fn user(act: &Act) -> &str {
    act.user.as_deref().unwrap_or(USER)
}

fn commands(unit: &UnitVerbs) -> Vec<String> {
    let mut commands = Vec::new();
    if unit.reload {
        commands.push("sudo systemctl daemon-reload".to_string());
    }
    let verbs = [
        ("stop", &unit.stop),
        ("disable", &unit.disable),
        ("enable", &unit.enable),
        ("start", &unit.start),
        ("restart", &unit.restart),
    ];
    for (verb, name) in verbs {
        if let Some(name) = name {
            commands.push(format!("sudo systemctl {verb} {name}"));
        }
    }
    commands
}

/// Does it, on every node that it names, again while `retry` says so. Faults are not its business.
pub fn perform(act: &Act, world: &World) -> Result<Outcome, String> {
    let began = Instant::now();
    loop {
        let result = once(act, world);
        let retry = act.retry.map(|retry| retry.duration()).unwrap_or_default();
        match result {
            Err(_) if began.elapsed() < retry => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
}

fn once(act: &Act, world: &World) -> Result<Outcome, String> {
    let limit = act.timeout.map_or(TIMEOUT, |timeout| timeout.duration());
    if let Some(words) = &act.lab {
        let words: Vec<&str> = words.split_whitespace().collect();
        return judge(act, world.lab(&words), "lab");
    }
    let (script, user) = match (typed(act), &act.write, &act.unit) {
        (Some(script), _, _) => (script, user(act)),
        (_, Some(write), _) => (write_script(write), "root"),
        (_, _, Some(unit)) => (
            commands(unit).join("\n").replace("sudo ", "").replace('\n', " && "),
            "root",
        ),
        _ => return Ok(Outcome::default()),
    };
    let nodes = act.at.as_ref().map(|names| world.names(names)).unwrap_or_default();
    let mut all = Outcome::default();
    for node in nodes {
        let outcome = judge(act, world.run(&node, user, &script, limit), &node)?;
        all.stdout += &outcome.stdout;
        all.stderr += &outcome.stderr;
        all.status = outcome.status;
    }
    Ok(all)
}

fn write_script(write: &super::model::Write) -> String {
    let path = word(&write.path);
    // A name of its own first: who reads meanwhile sees the old file or the new one.
    format!(
        "set -e\nmkdir -p \"$(dirname {path})\"\nprintf %s {text} > {path}.new\nchown {owner} {path}.new\n\
         chmod {mode} {path}.new\nmv {path}.new {path}\n",
        text = word(&write.text),
        owner = word(&write.owner),
        mode = word(&write.mode),
    )
}

fn judge(act: &Act, result: io::Result<Outcome>, place: &str) -> Result<Outcome, String> {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) if act.expect != Expect::Ok => {
            return Ok(Outcome {
                stderr: error.to_string(),
                status: -1,
                ..Outcome::default()
            });
        }
        Err(error) => return Err(format!("{place}: {error}")),
    };
    match (act.expect, outcome.status) {
        (Expect::Any, _) | (Expect::Ok, 0) => Ok(outcome),
        (Expect::Fail, status) if status != 0 => Ok(outcome),
        (Expect::Fail, _) => Err(format!(
            "{place}: it succeeded, and was meant to fail: {}",
            outcome.stdout.trim()
        )),
        (Expect::Ok, status) => {
            let said = [outcome.stderr.trim(), outcome.stdout.trim()];
            let said = said
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or("it says nothing");
            Err(format!("{place}: exit {status}: {said}"))
        }
    }
}

/// The values that the output holds.
pub fn captured(act: &Act, outcome: &Outcome) -> Result<Vec<(String, String)>, String> {
    let mut values = Vec::new();
    for (name, pattern) in &act.capture {
        let regex = Regex::new(&format!("(?m){pattern}")).map_err(|error| format!("{pattern:?}: {error}"))?;
        let found = regex
            .captures(&outcome.stdout)
            .or_else(|| regex.captures(&outcome.stderr));
        let found =
            found.ok_or_else(|| format!("{name}: nothing matches {pattern:?} in {:?}", outcome.stdout.trim()))?;
        let value = found.get(1).or_else(|| found.get(0)).map_or("", |part| part.as_str());
        values.push((name.clone(), value.to_string()));
    }
    Ok(values)
}

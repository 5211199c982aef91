//! What vagrant says, as values: its machine-readable status, and what an error of its means (pure).
use crate::failure::Exit;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub name: String,
    pub provider: String,
    /// As the provider calls it: `not_created`, `running`, `poweroff`, `shutoff`.
    pub state: String,
    pub detail: String,
}

/// Of lines `TIME,MACHINE,TYPE,DATA...`.
pub fn machines(text: &str) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(4, ',').skip(1);
        let (Some(name), Some(kind), Some(data)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if name.is_empty() {
            continue;
        }
        if !machines.iter().any(|machine| machine.name == name) {
            machines.push(Machine {
                name: name.to_string(),
                ..Machine::default()
            });
        }
        let Some(machine) = machines.iter_mut().find(|machine| machine.name == name) else {
            continue;
        };
        let data = unescaped(data).replace("\\n", " ");
        match kind {
            "provider-name" => machine.provider = data,
            "state" => machine.state = data,
            "state-human-long" => machine.detail = data,
            _ => {}
        }
    }
    machines.retain(|machine| !machine.state.is_empty());
    machines
}

/// What machine-readable lines `TIME,,error-exit,KIND,TEXT` say, as people read it.
pub fn errors(text: &str) -> String {
    let texts = text.lines().filter_map(|line| {
        let mut fields = line.splitn(5, ',').skip(2);
        (fields.next()? == "error-exit").then(|| fields.nth(1)).flatten()
    });
    let texts: Vec<String> = texts.map(|text| unescaped(text).replace("\\n", "\n")).collect();
    texts.join("\n")
}

fn unescaped(text: &str) -> String {
    text.replace("%!(VAGRANT_COMMA)", ",").replace("\\r", "")
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    pub exit: Exit,
    pub why: String,
    /// None: what the state of the lab suggests.
    pub todo: Option<String>,
}

/// What begins an error of which kind. Vagrant wraps its lines: within one, words are never far apart.
const KNOWN: [(&str, Exit, &str); 17] = [
    ("isn't usable on this system", Exit::Missing, ""),
    ("could not be found, but was requested", Exit::Missing, ""),
    ("No usable default provider could be found", Exit::Missing, ""),
    ("could not detect VirtualBox", Exit::Missing, ""),
    ("Error while connecting to Libvirt", Exit::Missing, ""),
    ("VBoxManage --version", Exit::Missing, ""),
    ("VT-x is not available", Exit::Missing, ""),
    ("kvm: Permission denied", Exit::Missing, ""),
    (
        "another process is already executing",
        Exit::Conflict,
        "wait for that vagrant, or end it",
    ),
    (
        "another Vagrant process",
        Exit::Conflict,
        "wait for that vagrant, or end it",
    ),
    (
        "cannot forward the specified ports",
        Exit::Conflict,
        "lab up --forwarded-ports GUEST=HOST with ports that are free",
    ),
    (
        "port collision",
        Exit::Conflict,
        "lab up --forwarded-ports GUEST=HOST with ports that are free",
    ),
    (
        "A VirtualBox machine with the name",
        Exit::Conflict,
        "remove that machine, or lab up --prefix OTHER",
    ),
    (
        "name is taken already",
        Exit::Conflict,
        "remove that domain, or lab up --prefix OTHER",
    ),
    (
        "Timed out while waiting for the machine to boot",
        Exit::Timeout,
        "lab up once more",
    ),
    (
        "The box you're attempting to add",
        Exit::Failed,
        "lab box add CATALOG, or --box-url for another",
    ),
    (
        "couldn't be accessed",
        Exit::Failed,
        "lab box add FILE --name NAME, or --box-url for another",
    ),
];

/// What its standard error says of why it failed.
pub fn diagnose(said: &str) -> Diagnosis {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join(" ");
    let known = KNOWN.iter().find(|(words, _, _)| text.contains(words));
    let (exit, todo) = known.map_or((Exit::Failed, ""), |(_, exit, todo)| (*exit, *todo));
    // From the line on where that begins; what comes before is what it did.
    let from = known.and_then(|(words, _, _)| {
        let begin = |at: &usize| lines[*at..].join(" ").contains(words);
        (0..lines.len()).rev().find(begin)
    });
    let from = from.unwrap_or(lines.len().saturating_sub(4));
    let why: Vec<&str> = lines[from..].iter().copied().take(5).collect();
    Diagnosis {
        exit,
        why: why.join("\n"),
        todo: (!todo.is_empty()).then(|| todo.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_readable_lines_are_machines_with_their_commas() {
        let text = "1,core-01,metadata,provider,libvirt\n1,core-01,provider-name,libvirt\n1,core-01,state,not_created\n\
                    1,core-01,state-human-long,It is not there%!(VAGRANT_COMMA) run `up`\\nthen.\n1,,ui,info,All\n";
        let expected = Machine {
            name: "core-01".into(),
            provider: "libvirt".into(),
            state: "not_created".into(),
            detail: "It is not there, run `up` then.".into(),
        };
        assert_eq!(machines(text), [expected]);
        let error = "1,,error-exit,Vagrant::Errors::X,One%!(VAGRANT_COMMA)\\ntwo\n";
        assert_eq!(errors(error), "One,\ntwo");
        assert_eq!(machines("nonsense\n1,a\n"), []);
    }

    #[test]
    fn errors_are_told_apart_by_what_vagrant_says() {
        // As vagrant 2.3.4 said it, wrapped.
        let missing = "The provider 'virtualbox' that was requested to back the machine\n'core-01' is reporting that it isn't usable on this system. The\nreason is shown below:\n\nVagrant could not detect VirtualBox! Make sure VirtualBox is properly installed.\n";
        assert_eq!(diagnose(missing).exit, Exit::Missing);
        assert!(diagnose(missing).why.contains("could not detect VirtualBox"));
        let unknown = "The provider 'vmware_fusion' could not be found, but was requested to\nback the machine 'core-01'. Please use a provider that exists.\n";
        assert_eq!(diagnose(unknown).exit, Exit::Missing);
        let locked = "An action 'up' was attempted on the machine 'core-01',\nbut another process is already executing an action on the machine.\nVagrant locks each machine for access by only one process at a time.\n";
        assert_eq!(diagnose(locked).exit, Exit::Conflict, "{:?}", diagnose(locked));
        let slow = "Timed out while waiting for the machine to boot. This means that\nVagrant was unable to communicate with the guest machine within\n";
        assert_eq!(diagnose(slow).exit, Exit::Timeout);
        let other = diagnose("one\ntwo\nthree\nfour\nfive\n");
        assert_eq!(
            (other.exit, other.why.as_str()),
            (Exit::Failed, "two\nthree\nfour\nfive")
        );
        assert_eq!(diagnose("").why, "");
    }
}

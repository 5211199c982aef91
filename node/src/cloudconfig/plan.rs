//! What applying a cloud-config means: a list of steps, made from the configuration and what is known of the machine.
use std::collections::BTreeSet;
use std::fmt;

use super::config::Section;
use super::files::{self, File};
use super::go::{quote, quote_list};
use super::netconf::{Interface, Kind};
use super::units::{Unit, units};
use super::{paths, schema};

/// What the plan depends on besides the configuration.
#[derive(Clone, Debug)]
pub struct Facts {
    pub users: BTreeSet<String>,
    pub hostname: String,
    /// The update.conf to begin with, or why there is none.
    pub update_conf: Result<Vec<u8>, String>,
    pub environment: Vec<u8>,
    /// The machine's network interfaces.
    pub interfaces: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub ssh_key_name: String,
    /// COREOS_PUBLIC_IPV4 and its kin, as far as they are known.
    pub variables: Vec<(&'static str, String)>,
    pub interfaces: Vec<Interface>,
    /// Escape what goes into units, and pass on a user's comment as it is.
    pub strict: bool,
}

/// How a unit's job is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Command,
    Networkd,
    Silent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Goes to the log.
    Say(String),
    Hostname(String),
    /// useradd with these arguments.
    CreateUser {
        name: String,
        args: Vec<String>,
    },
    Password {
        user: String,
        hash: String,
    },
    AuthorizeKeys {
        user: String,
        name: String,
        keys: Vec<String>,
    },
    /// Keys from a URL whose answer is GitHub's list of keys.
    ImportKeys {
        user: String,
        name: String,
        url: String,
    },
    Write(File),
    TakeDown(String),
    Modprobe(Vec<String>),
    Mask(String),
    /// Removes a unit's file if it masks the unit: empty, or a link to /dev/null.
    Unmask(String),
    Enable {
        unit: String,
        runtime: bool,
    },
    Reload,
    Command {
        unit: String,
        command: String,
        telling: Telling,
    },
    /// Nothing after it is done.
    Fail(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub Vec<Step>);

impl Plan {
    fn say(&mut self, text: String) {
        self.0.push(Step::Say(text));
    }

    /// The files it writes, in order.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.0.iter().filter_map(|step| match step {
            Step::Write(file) => Some(file),
            _ => None,
        })
    }

    pub fn failure(&self) -> Option<&str> {
        self.0.iter().find_map(|step| match step {
            Step::Fail(why) => Some(why.as_str()),
            _ => None,
        })
    }
}

/// A step a line, for people.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Say(_) => continue,
                Step::Hostname(name) => writeln!(f, "hostname {name}")?,
                Step::CreateUser { name, .. } => writeln!(f, "create user {name}")?,
                Step::Password { user, .. } => writeln!(f, "set the password of {user}")?,
                Step::AuthorizeKeys { user, keys, .. } => writeln!(f, "authorize {} SSH keys of {user}", keys.len())?,
                Step::ImportKeys { user, url, .. } => writeln!(f, "authorize SSH keys of {user} from {url}")?,
                Step::Write(file) => {
                    let owner = if file.owner.is_empty() { "root" } else { &file.owner };
                    let (permissions, size) = (&file.permissions, file.content.len());
                    writeln!(f, "write {} ({size} bytes, {permissions}, {owner})", file.path)?;
                }
                Step::TakeDown(interface) => writeln!(f, "take down {interface}")?,
                Step::Modprobe(args) => writeln!(f, "modprobe {}", args.join(" "))?,
                Step::Mask(path) => writeln!(f, "mask {path}")?,
                Step::Unmask(path) => writeln!(f, "unmask {path}")?,
                Step::Enable { unit, .. } => writeln!(f, "enable {unit}")?,
                Step::Reload => writeln!(f, "reload systemd")?,
                Step::Command { unit, command, .. } => writeln!(f, "{command} {unit}")?,
                Step::Fail(why) => writeln!(f, "fail: {why}")?,
            }
        }
        Ok(())
    }
}

/// The steps in the original's order. What cannot be done is a step as well: what comes before it is done.
pub fn plan(config: &Section, facts: &Facts, options: &Options) -> Plan {
    let mut plan = Plan::default();
    if let Err(why) = fill(&mut plan, config, facts, options) {
        plan.0.push(Step::Fail(why));
    }
    plan
}

fn fill(plan: &mut Plan, config: &Section, facts: &Facts, options: &Options) -> Result<(), String> {
    let hostname = config.text("hostname");
    if !hostname.is_empty() {
        plan.0.push(Step::Hostname(hostname.clone()));
        plan.say(format!("Set hostname to {hostname}"));
    }
    let mut known = facts.users.clone();
    for user in config.sections("users") {
        self::user(plan, &user, &mut known, options);
    }
    let keys = config.texts("ssh_authorized_keys");
    if !keys.is_empty() {
        plan.0.push(Step::AuthorizeKeys {
            user: "core".into(),
            name: options.ssh_key_name.clone(),
            keys: trimmed(keys),
        });
        plan.say("Authorized SSH keys for core user".into());
    }
    let coreos = config.section("coreos");
    let hostname = if hostname.is_empty() {
        &facts.hostname
    } else {
        &hostname
    };
    let generated = [
        files::oem(&coreos.section("oem")),
        files::update(&coreos.section("update"), &facts.update_conf)?,
        files::hosts(&config.text("manage_etc_hosts"), hostname)?,
        files::flannel(&coreos.section("flannel"), options.strict),
    ];
    let written = config.sections("write_files");
    let written = written.iter().map(|file| File {
        path: paths::absolute(&file.text("path")),
        content: file.bytes("content").to_vec(),
        permissions: file.text("permissions"),
        owner: file.text("owner"),
    });
    let mut wrote_environment = false;
    for file in written.chain(generated.into_iter().flatten()) {
        let path = file.path.clone();
        wrote_environment |= path == "/etc/environment";
        plan.0.push(Step::Write(file));
        plan.say(format!("Wrote file {path} to filesystem"));
    }
    if !wrote_environment && !options.variables.is_empty() {
        let file = files::environment(&facts.environment, &options.variables);
        plan.0.extend(file.map(Step::Write));
        plan.say("Updated /etc/environment".into());
    }
    let mut units = units(&coreos, options.strict);
    if !options.interfaces.is_empty() {
        network(plan, &options.interfaces, facts);
        units.extend(options.interfaces.iter().flat_map(network_units));
    }
    act_on(plan, &units)
}

fn user(plan: &mut Plan, user: &Section, known: &mut BTreeSet<String>, options: &Options) {
    let name = user.text("name");
    if name.is_empty() {
        return plan.say("User object has no 'name' field, skipping".into());
    }
    let hash = user.text("passwd");
    if known.insert(name.clone()) {
        plan.say(format!("Creating user '{name}'"));
        let args = useradd(user, options.strict);
        plan.0.push(Step::CreateUser {
            name: name.clone(),
            args,
        });
    } else {
        plan.say(format!("User '{name}' exists, ignoring creation-time fields"));
        if !hash.is_empty() {
            plan.say(format!("Setting '{name}' user's password"));
            let user = name.clone();
            plan.0.push(Step::Password { user, hash });
        }
    }
    let keys = user.texts("ssh_authorized_keys");
    if !keys.is_empty() {
        plan.say(format!("Authorizing {} SSH keys for user '{name}'", keys.len()));
        plan.0.push(Step::AuthorizeKeys {
            user: name.clone(),
            name: options.ssh_key_name.clone(),
            keys: trimmed(keys),
        });
    }
    let github = [
        vec![user.text("coreos_ssh_import_github")],
        user.texts("coreos_ssh_import_github_users"),
    ]
    .concat();
    for github in github.iter().filter(|name| !name.is_empty()) {
        plan.say(format!(
            "Authorizing github user {github} SSH keys for CoreOS user '{name}'"
        ));
        plan.0.push(Step::ImportKeys {
            user: name.clone(),
            name: format!("github-{github}"),
            url: format!("https://api.github.com/users/{github}/keys"),
        });
    }
    let url = user.text("coreos_ssh_import_url");
    if !url.is_empty() {
        plan.say(format!("Authorizing SSH keys for CoreOS user '{name}' from '{url}'"));
        plan.0.push(Step::ImportKeys {
            name: format!("coreos-cloudinit-{name}"),
            user: name,
            url,
        });
    }
}

fn trimmed(keys: Vec<String>) -> Vec<String> {
    keys.iter().map(|key| key.trim().to_string()).collect()
}

fn useradd(user: &Section, strict: bool) -> Vec<String> {
    let mut args = vec!["--password".to_string()];
    let hash = user.text("passwd");
    args.push(if hash.is_empty() { "*".into() } else { hash });
    let option = |args: &mut Vec<String>, name: &str, value: String| {
        if !value.is_empty() {
            args.extend([name.to_string(), value]);
        }
    };
    let comment = user.text("gecos");
    // The original's comments are in quotes, which become part of them.
    let comment = if strict || comment.is_empty() {
        comment
    } else {
        quote(&comment)
    };
    option(&mut args, "--comment", comment);
    option(&mut args, "--home-dir", user.text("homedir"));
    let home = if user.is("no_create_home") {
        "--no-create-home"
    } else {
        "--create-home"
    };
    args.push(home.into());
    option(&mut args, "--gid", user.text("primary_group"));
    option(&mut args, "--groups", user.texts("groups").join(","));
    for (key, flag) in [
        ("no_user_group", "--no-user-group"),
        ("system", "--system"),
        ("no_log_init", "--no-log-init"),
    ] {
        if user.is(key) {
            args.push(flag.into());
        }
    }
    option(&mut args, "--shell", user.text("shell"));
    args.push(user.text("name"));
    args
}

/// Interfaces have to be down, and the kernel's modules there, before networkd sets them up.
fn network(plan: &mut Plan, interfaces: &[Interface], facts: &Facts) {
    for interface in interfaces
        .iter()
        .filter(|interface| facts.interfaces.contains(&interface.name))
    {
        plan.say(format!("Taking down interface {}", quote(&interface.name)));
        plan.0.push(Step::TakeDown(interface.name.clone()));
    }
    if interfaces
        .iter()
        .any(|interface| matches!(interface.kind, Kind::Vlan { .. }))
    {
        plan.say("Probing LKM \"8021q\" (\"8021q\")".into());
        plan.0.push(Step::Modprobe(vec!["8021q".into()]));
    }
    let bond = interfaces.iter().find_map(|interface| match &interface.kind {
        Kind::Bond { options } => Some(options),
        _ => None,
    });
    if let Some(options) = bond {
        let mut args = vec!["bonding".to_string()];
        args.extend(options.iter().map(|(name, value)| format!("{name}={value}")));
        if options.is_empty() {
            args.push(String::new());
        }
        let printed = quote_list(args.iter().map(String::as_str));
        plan.say(format!("Probing LKM \"bonding\" ({printed})"));
        plan.0.push(Step::Modprobe(args));
    }
    plan.say("Restarting networkd.service".into());
    plan.0.push(Step::Command {
        unit: "systemd-networkd.service".into(),
        command: "restart".into(),
        telling: Telling::Silent,
    });
}

fn network_units(interface: &Interface) -> Vec<Unit> {
    let files = [("netdev", interface.netdev()), ("network", interface.network())];
    let files = files.into_iter().filter(|(_, content)| !content.is_empty());
    let unit = |(kind, content): (&str, String)| Unit {
        name: format!("{}.{kind}", interface.file_name()),
        runtime: true,
        content: content.into_bytes(),
        ..Unit::default()
    };
    files.map(unit).collect()
}

/// All files first, then one reload, then networkd, then the commands in order.
fn act_on(plan: &mut Plan, units: &[Unit]) -> Result<(), String> {
    let (mut reload, mut networkd) = (false, false);
    let mut commands = Vec::new();
    for unit in units {
        let name = quote(&unit.name);
        if unit.name.is_empty() {
            plan.say("Skipping unit without name".into());
            continue;
        }
        let path = unit.path();
        if !unit.content.is_empty() {
            plan.say(format!("Writing unit {name} to filesystem"));
            plan.0.push(Step::Write(File::new(&path, unit.content.clone())));
            plan.say(format!("Wrote unit {name}"));
            reload = true;
        }
        for (drop_in, content) in &unit.drop_ins {
            if drop_in.is_empty() || content.is_empty() {
                continue;
            }
            let path = paths::absolute(&format!("{path}.d/{drop_in}"));
            plan.say(format!("Writing drop-in unit {} to filesystem", quote(drop_in)));
            plan.0.push(Step::Write(File::new(path, content.clone())));
            plan.say(format!("Wrote drop-in unit {}", quote(drop_in)));
            reload = true;
        }
        if unit.mask {
            plan.say(format!("Masking unit file {name}"));
            plan.0.push(Step::Mask(path));
        } else if unit.runtime {
            plan.say(format!("Ensuring runtime unit file {name} is unmasked"));
            plan.0.push(Step::Unmask(path));
        }
        if unit.enable && unit.is_network() {
            plan.say(format!("Skipping enable for network-like unit {name}"));
        } else if unit.enable {
            plan.say(format!("Enabling unit file {name}"));
            plan.0.push(Step::Enable {
                unit: unit.name.clone(),
                runtime: unit.runtime,
            });
            plan.say(format!("Enabled unit {name}"));
        }
        if unit.is_network() {
            networkd = true;
        } else if !unit.command.is_empty() {
            commands.push(unit);
        }
    }
    if reload {
        plan.0.push(Step::Reload);
    }
    if networkd {
        plan.0.push(Step::Command {
            unit: "systemd-networkd.service".into(),
            command: "restart".into(),
            telling: Telling::Networkd,
        });
    }
    for unit in commands {
        let (command, unit) = (unit.command.clone(), unit.name.clone());
        if !(schema::COMMAND.matches)(&command) {
            plan.say(format!("Calling unit command {} on {}", quote(&command), quote(&unit)));
            return Err(format!("Unsupported systemd command {}", quote(&command)));
        }
        let telling = Telling::Command;
        plan.0.push(Step::Command { unit, command, telling });
    }
    Ok(())
}

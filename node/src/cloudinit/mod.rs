//! coreos-cloudinit: gets user-data, says what is wrong with it, carries it out.
mod apply;
mod flags;
pub mod log;
mod root;
mod sources;
mod trace;

use crate::cloudconfig::config::{Section, Value};
use crate::cloudconfig::go::errno;
use crate::cloudconfig::netconf::{self, Interface};
use crate::cloudconfig::plan::{self, Facts, Plan};
use crate::cloudconfig::strict;
use crate::cloudconfig::substitute::{self, VARIABLES, Values};
use crate::cloudconfig::validate::{Severity, validate};
use crate::cloudconfig::{self, UserData, content};
use crate::sys::print;
use apply::Machine;
use flags::{Flags, Origin};
use log::say;
use root::Root;
use sources::{Metadata, Source};
use trace::Trace;

/// Runs it with these arguments; returns its exit status.
pub fn run(args: &[String], env: &[(String, String)]) -> i32 {
    let flags = match flags::parse(args) {
        Ok(flags) => flags,
        Err(exit) => {
            print(&exit.stdout, &exit.stderr);
            return exit.status;
        }
    };
    let variable = |name: &str| {
        let found = env.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let trace = match flags.trace.as_deref().map(Trace::create).transpose() {
        Ok(trace) => trace,
        Err(why) => {
            print("", &format!("coreos-cloudinit: {why}\n"));
            return 1;
        }
    };
    let root = Root::new(&flags.root);
    let machine = Machine::new(root, trace, variable("DBUS_SYSTEM_BUS_ADDRESS"));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print("", &format!("coreos-cloudinit: cannot start: {error}\n"));
            return 1;
        }
    };
    let environment: Values = VARIABLES
        .iter()
        .filter_map(|(_, name)| Some((*name, variable(name).filter(|value| !value.is_empty())?)))
        .collect();
    runtime.block_on(work(&flags, &machine, environment))
}

async fn work(flags: &Flags, machine: &Machine, environment: Values) -> i32 {
    let sources = flags
        .sources
        .iter()
        .map(|origin| Source::new(origin.clone(), machine.root.clone()));
    let sources: Vec<Source> = sources.collect();
    let Some(source) = sources::select(&sources).await else {
        say("No datasources available in time");
        return 1;
    };
    let kind = cloudconfig::go::quote(source.kind());
    say(&format!("Fetching user-data from datasource of type {kind}"));
    let mut failed = false;
    let mut user_data = source.user_data().await.unwrap_or_else(|why| {
        say(&format!(
            "Failed fetching user-data from datasource: {why}. Continuing..."
        ));
        failed = true;
        Vec::new()
    });
    if flags.strict && user_data.starts_with(&GZIP) {
        say("user-data is gzip: --strict takes text only, compress files under write_files instead");
        return 1;
    }
    if user_data.starts_with(&GZIP) {
        user_data = content::gunzip(&user_data).unwrap_or_else(|(why, partial)| {
            say(&format!(
                "Failed decompressing user-data from datasource: {why}. Continuing..."
            ));
            failed = true;
            partial
        });
    }
    if flags.strict {
        if failed {
            return 1;
        }
        return work_strictly(flags, machine, source, &user_data, environment).await;
    }
    match validate(&user_data) {
        Ok(messages) => {
            for message in &messages {
                say(&message.to_string());
            }
            if flags.validate {
                return i32::from(!messages.is_empty());
            }
        }
        Err(why) => {
            let why = cloudconfig::go::quote(&why);
            say(&format!("Failed while validating user_data ({why})"));
            if flags.validate {
                return 1;
            }
        }
    }
    say(&format!("Fetching meta-data from datasource of type {kind}"));
    let metadata = match source.metadata().await {
        Ok(metadata) => metadata,
        Err(why) => {
            say(&format!("Failed fetching meta-data from datasource: {why}"));
            return 1;
        }
    };
    let values = values(environment, &metadata);
    let user_data = substitute::apply(&user_data, &values);
    let (mut config, mut script) = (Section::default(), None);
    match cloudconfig::parse(&user_data) {
        Ok(UserData::Nothing) => {}
        Ok(UserData::Ignition) => {
            print("Detected an Ignition config. Exiting...", "");
            return 0;
        }
        Ok(UserData::Script(text)) => {
            say("Parsing user-data as script");
            script = Some(text);
        }
        Ok(UserData::Config(found)) => {
            say("Parsing user-data as cloud-config");
            config = found;
        }
        Err(why) => {
            if cloudconfig::input(&user_data) == cloudconfig::Input::CloudConfig {
                say("Parsing user-data as cloud-config");
            }
            print(&format!("Failed to parse user-data: {why}\nContinuing...\n"), "");
            failed = true;
        }
    }
    let plan = match prepare(flags, machine, &mut config, metadata, values) {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    if let Err(why) = apply::apply(&plan, machine).await {
        say(&format!("Failed to apply cloud-config: {why}"));
        return 1;
    }
    if let Some(script) = script
        && let Err(why) = apply::run_script(&script, &flags.workspace, false, machine).await
    {
        say(&format!("Failed to run script: {why}"));
        return 1;
    }
    i32::from(failed && !flags.ignore_failure)
}

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Metadata before the environment.
fn values(environment: Values, metadata: &Metadata) -> Values {
    let mut values = environment;
    values.extend(metadata.addresses.iter().cloned());
    values
}

/// Brings metadata and user-data together and makes the plan; the exit status if that cannot be.
fn prepare(
    flags: &Flags,
    machine: &Machine,
    config: &mut Section,
    metadata: Metadata,
    values: Values,
) -> Result<Plan, i32> {
    say("Merging cloud-config from meta-data and user-data");
    merge(config, &metadata);
    let interfaces = interfaces(flags, &metadata).map_err(|why| {
        say(&format!("Failed to generate interfaces: {why}"));
        1
    })?;
    let options = plan::Options {
        ssh_key_name: flags.ssh_key_name.clone(),
        variables: values.into_iter().collect(),
        interfaces,
        strict: flags.strict,
    };
    Ok(plan::plan(config, &facts(&machine.root), &options))
}

/// User-data comes before metadata.
fn merge(config: &mut Section, metadata: &Metadata) {
    let name = config.text("hostname");
    let known = &metadata.hostname;
    if !known.is_empty() && !name.is_empty() {
        say(&format!(
            "Warning: user-data hostname ({name}) overrides metadata hostname ({known})"
        ));
    } else if !known.is_empty() {
        config.set("hostname", Value::Text(known.clone().into()));
    }
    if !metadata.ssh_keys.is_empty() {
        let keys = [config.texts("ssh_authorized_keys"), metadata.ssh_keys.clone()].concat();
        let keys = keys.into_iter().map(|key| Value::Text(key.into()));
        config.set("ssh_authorized_keys", Value::List(keys.collect()));
    }
}

fn interfaces(flags: &Flags, metadata: &Metadata) -> Result<Vec<Interface>, String> {
    let Some(format) = &flags.convert_netconf else {
        return Ok(Vec::new());
    };
    let Some((_, read)) = netconf::FORMATS.iter().find(|(name, _)| name == format) else {
        return Ok(Vec::new());
    };
    let Some(network) = &metadata.network else {
        return Err("the datasource has no network config".into());
    };
    let mut log = Vec::new();
    let found = read(network, &mut log);
    log.iter().for_each(|line| say(line));
    found
}

fn facts(root: &Root) -> Facts {
    let update_conf = match root.read("/etc/coreos/update.conf") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => root.read_go("/usr/share/coreos/update.conf"),
        Err(error) => Err(format!("open /etc/coreos/update.conf: {}", errno(&error))),
        Ok(text) => Ok(text),
    };
    let interfaces = match root.is_apart() {
        true => None,
        false => std::fs::read_dir("/sys/class/net").ok(),
    };
    let interfaces = interfaces.into_iter().flatten().flatten();
    Facts {
        users: root.users(),
        hostname: root.hostname(),
        update_conf,
        environment: root.read("/etc/environment").unwrap_or_default(),
        interfaces: interfaces
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect(),
    }
}

/// All that can be wrong is found first; then all of it is applied, or what failed is said. What validates prints its plan.
async fn work_strictly(
    flags: &Flags,
    machine: &Machine,
    source: &Source,
    user_data: &[u8],
    environment: Values,
) -> i32 {
    let metadata = match source.metadata().await {
        Ok(metadata) => metadata,
        Err(why) => {
            say(&format!("Failed fetching meta-data from datasource: {why}"));
            return 1;
        }
    };
    let values = values(environment, &metadata);
    let file = match &flags.sources[..] {
        [Origin::File(path)] => path.as_str(),
        _ => "user-data",
    };
    let problems = strict::check(user_data, &values);
    for problem in &problems {
        print("", &strict::print(problem, file, user_data));
    }
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    if errors > 0 {
        let what = if errors == 1 { "error" } else { "errors" };
        let applied = if flags.validate { "" } else { "; nothing was applied" };
        print("", &format!("{errors} {what}{applied}\n"));
        return 1;
    }
    let (mut config, mut script) = (Section::default(), None);
    match cloudconfig::parse(&substitute::apply(user_data, &values)) {
        Ok(UserData::Nothing) => {}
        Ok(UserData::Ignition) => {
            say("this is an Ignition config, which is not for coreos-cloudinit");
            return 0;
        }
        Ok(UserData::Script(text)) => script = Some(text),
        Ok(UserData::Config(found)) => config = found,
        Err(why) => {
            say(&format!("{why}; nothing was applied"));
            return 1;
        }
    }
    let plan = match prepare(flags, machine, &mut config, metadata, values) {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    if flags.validate {
        let script = if script.is_some() {
            "start the script as a service\n"
        } else {
            ""
        };
        print(&format!("{plan}{script}"), "");
        return i32::from(plan.failure().is_some());
    }
    if let Err(why) = apply::apply_strictly(&plan, machine).await {
        say(&format!("Failed to apply cloud-config: {why}"));
        return 1;
    }
    if let Some(script) = script
        && let Err(why) = apply::run_script(&script, &flags.workspace, true, machine).await
    {
        say(&format!("Failed to run script: {why}"));
        return 1;
    }
    0
}

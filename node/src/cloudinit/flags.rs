//! The command line: Go's flags, one dash or two, and the original's presets of them.
use crate::cloudconfig::go::{quote, quote_list};
use crate::cloudconfig::netconf;

/// Name, whether it takes a value, help.
type Flag = (&'static str, bool, &'static str);

const FLAGS: &[Flag] = &[
    (
        "convert-netconf",
        true,
        "Translate the datasource's network config from this format (debian, packet, vmware) into networkd units",
    ),
    (
        "from-cloudsigma-metadata",
        false,
        "Download data from CloudSigma server context",
    ),
    (
        "from-configdrive",
        true,
        "Read data from provided cloud-drive directory",
    ),
    (
        "from-digitalocean-metadata",
        true,
        "Download DigitalOcean data from the provided url",
    ),
    ("from-ec2-metadata", true, "Download EC2 data from the provided url"),
    ("from-file", true, "Read user-data from provided file"),
    ("from-gce-metadata", true, "Download GCE data from the provided url"),
    (
        "from-metadata-service",
        false,
        "[DEPRECATED - Use -from-ec2-metadata] Download data from metadata service",
    ),
    (
        "from-packet-metadata",
        true,
        "Download Packet data from metadata service",
    ),
    (
        "from-proc-cmdline",
        false,
        "Parse /proc/cmdline for 'cloud-config-url=<url>', using the cloud-config served by an HTTP GET to <url>",
    ),
    ("from-url", true, "Download user-data from provided url"),
    ("from-vmware-guestinfo", false, "Read data from VMware guestinfo"),
    ("from-vmware-ovf-env", true, "Read data from OVF Environment"),
    ("from-waagent", true, "Read data from provided waagent directory"),
    (
        "ignore-failure",
        false,
        "Exits with 0 status in the event of malformed input from user-data",
    ),
    ("oem", true, "Use the settings specific to the provided OEM"),
    ("root", true, "Put every path under this directory"),
    (
        "ssh-key-name",
        true,
        "Add SSH keys to the system with the given name (default \"coreos-cloudinit\")",
    ),
    (
        "strict",
        false,
        "Refuse what would go wrong, apply all or nothing, report units that fail",
    ),
    (
        "trace",
        true,
        "Write commands and D-Bus calls to this file instead of doing them",
    ),
    (
        "validate",
        false,
        "Validate the user-data but do not apply it to the system",
    ),
    ("version", false, "Print the version and exit"),
    (
        "workspace",
        true,
        "Base directory coreos-cloudinit should use to store data (default \"/var/lib/coreos-cloudinit\")",
    ),
];

/// What a cloud's image calls it with.
const OEMS: &[(&str, &[(&str, &str)])] = &[
    (
        "rackspace-onmetal",
        &[
            ("from-configdrive", "/media/configdrive"),
            ("convert-netconf", "debian"),
        ],
    ),
    ("azure", &[("from-waagent", "/var/lib/waagent")]),
    ("cloudsigma", &[("from-cloudsigma-metadata", "true")]),
    ("packet", &[("from-packet-metadata", "https://metadata.packet.net/")]),
    (
        "vmware",
        &[("from-vmware-guestinfo", "true"), ("convert-netconf", "vmware")],
    ),
    (
        "digitalocean",
        &[("from-digitalocean-metadata", "http://169.254.169.254/")],
    ),
    (
        "ec2-compat",
        &[
            ("from-ec2-metadata", "http://169.254.169.254/"),
            ("from-configdrive", "/media/configdrive"),
        ],
    ),
    ("gce", &[("from-gce-metadata", "http://metadata.google.internal/")]),
];

/// A datasource, in the order in which they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(String),
    Url(String),
    ConfigDrive(String),
    Ec2(String),
    Gce(String),
    CloudSigma,
    DigitalOcean(String),
    Waagent(String),
    Packet(String),
    ProcCmdline,
    Guestinfo,
    OvfEnv(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    pub sources: Vec<Origin>,
    pub convert_netconf: Option<String>,
    pub ignore_failure: bool,
    pub root: String,
    pub ssh_key_name: String,
    pub strict: bool,
    pub trace: Option<String>,
    pub validate: bool,
    pub workspace: String,
}

/// Says no more than this and exits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Exit {
    fn usage(stdout: String) -> Exit {
        Exit {
            status: 2,
            stdout,
            stderr: String::new(),
        }
    }

    fn bad(why: String) -> Exit {
        let stderr = format!("{why}\n{}", help());
        Exit {
            status: 2,
            stdout: String::new(),
            stderr,
        }
    }
}

fn help() -> String {
    let mut text = String::from("Usage of coreos-cloudinit:\n");
    for (name, takes, help) in FLAGS {
        let value = if *takes { " string" } else { "" };
        text += &format!("  -{name}{value}\n    \t{help}\n");
    }
    text
}

type Values = std::collections::BTreeMap<&'static str, String>;

fn read(args: &[String]) -> Result<Values, Exit> {
    let mut values = Values::new();
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        let Some(body) = arg.strip_prefix('-').filter(|body| !body.is_empty()) else {
            break;
        };
        at += 1;
        if arg == "--" {
            break;
        }
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.starts_with(['-', '=']) {
            return Err(Exit::bad(format!("bad flag syntax: {arg}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (body, None),
        };
        let Some((name, takes, _)) = FLAGS.iter().find(|flag| flag.0 == name) else {
            if matches!(name, "help" | "h") {
                let (stdout, stderr) = (String::new(), help());
                return Err(Exit {
                    status: 0,
                    stdout,
                    stderr,
                });
            }
            return Err(Exit::bad(format!("flag provided but not defined: -{name}")));
        };
        let value = match (value, takes) {
            (Some(value), true) => value,
            (Some(value), false) => match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => "true".into(),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => "false".into(),
                _ => {
                    let value = quote(&value);
                    return Err(Exit::bad(format!(
                        "invalid boolean value {value} for -{name}: parse error"
                    )));
                }
            },
            (None, false) => "true".into(),
            (None, true) => {
                let Some(value) = args.get(at) else {
                    return Err(Exit::bad(format!("flag needs an argument: -{name}")));
                };
                at += 1;
                value.clone()
            }
        };
        values.insert(name, value);
    }
    Ok(values)
}

pub fn parse(args: &[String]) -> Result<Flags, Exit> {
    let mut values = read(args)?;
    let oem = values.get("oem").cloned().unwrap_or_default();
    match OEMS.iter().find(|(name, _)| *name == oem) {
        Some((_, preset)) => values.extend(preset.iter().map(|(name, value)| (*name, value.to_string()))),
        None if oem.is_empty() => {}
        None => {
            let known = quote_list(OEMS.iter().map(|(name, _)| *name));
            let oem = quote(&oem);
            let text = format!("Invalid option to -oem: {oem}. Supported options: {known}\n");
            return Err(Exit::usage(text));
        }
    }
    let text = |name: &str| values.get(name).filter(|value| !value.is_empty()).cloned();
    let is = |name: &str| text(name).as_deref() == Some("true");
    if is("version") {
        // The recorded build had no version of its own to print.
        let stdout = "coreos-cloudinit was not built properly\n".into();
        let stderr = String::new();
        return Err(Exit {
            status: 0,
            stdout,
            stderr,
        });
    }
    if let Some(format) = text("convert-netconf")
        && !netconf::FORMATS.iter().any(|(name, _)| *name == format)
    {
        let text =
            format!("Invalid option to -convert-netconf: '{format}'. Supported options: 'debian, packet, vmware'\n");
        return Err(Exit::usage(text));
    }
    let sources = [
        text("from-file").map(Origin::File),
        text("from-url").map(Origin::Url),
        text("from-configdrive").map(Origin::ConfigDrive),
        is("from-metadata-service").then(|| Origin::Ec2("http://169.254.169.254/".into())),
        text("from-ec2-metadata").map(Origin::Ec2),
        text("from-gce-metadata").map(Origin::Gce),
        is("from-cloudsigma-metadata").then_some(Origin::CloudSigma),
        text("from-digitalocean-metadata").map(Origin::DigitalOcean),
        text("from-waagent").map(Origin::Waagent),
        text("from-packet-metadata").map(Origin::Packet),
        is("from-proc-cmdline").then_some(Origin::ProcCmdline),
        is("from-vmware-guestinfo").then_some(Origin::Guestinfo),
        text("from-vmware-ovf-env").map(Origin::OvfEnv),
    ];
    let sources: Vec<Origin> = sources.into_iter().flatten().collect();
    if sources.is_empty() {
        let text = "Provide at least one of --from-file, --from-configdrive, --from-ec2-metadata, --from-gce-metadata, --from-cloudsigma-metadata, --from-packet-metadata, --from-digitalocean-metadata, --from-vmware-guestinfo, --from-waagent, --from-url or --from-proc-cmdline\n";
        return Err(Exit::usage(text.into()));
    }
    Ok(Flags {
        sources,
        convert_netconf: text("convert-netconf"),
        ignore_failure: is("ignore-failure"),
        root: text("root").unwrap_or_else(|| "/".into()),
        ssh_key_name: text("ssh-key-name").unwrap_or_else(|| "coreos-cloudinit".into()),
        strict: is("strict"),
        trace: text("trace"),
        validate: is("validate"),
        workspace: text("workspace").unwrap_or_else(|| "/var/lib/coreos-cloudinit".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Flags, Exit> {
        let args: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        parse(&args)
    }

    #[test]
    fn flags_are_gos() {
        let flags = parsed("--from-file=u -validate=1 -workspace /ws").expect("flags");
        assert_eq!(flags.sources, [Origin::File("u".into())]);
        assert!(flags.validate && flags.workspace == "/ws" && flags.root == "/");
        for (line, why) in [
            ("-nope", "flag provided but not defined: -nope\n"),
            ("-from-file", "flag needs an argument: -from-file\n"),
            (
                "-validate=maybe",
                "invalid boolean value \"maybe\" for -validate: parse error\n",
            ),
        ] {
            let exit = parsed(line).expect_err("no flags");
            assert!(exit.status == 2 && exit.stderr.starts_with(why), "{}", exit.stderr);
        }
        assert_eq!(parsed("-help").expect_err("help").status, 0);
        assert_eq!(parsed("").expect_err("no datasource").status, 2);
    }

    #[test]
    fn a_preset_is_its_flags() {
        let flags = parsed("-oem ec2-compat").expect("flags");
        let expected = [
            Origin::ConfigDrive("/media/configdrive".into()),
            Origin::Ec2("http://169.254.169.254/".into()),
        ];
        assert_eq!(flags.sources, expected);
    }
}

//! The command line: options before or after the host's name, with one dash or two, `=` or a space.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    Version,
    Unknown(String),
    Init,
    NewCert,
    Sign,
    Chain,
    Export,
    Status,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    pub command: Command,
    pub depot_path: String,
    /// The host's name.
    pub name: Option<String>,
    /// Asked for when it is not given.
    pub passphrase: Option<String>,
    pub key_bits: usize,
    pub years: u32,
    pub organization: String,
    pub country: String,
    pub ip: String,
    pub domain: String,
    pub insecure: bool,
}

/// Option, default, the commands that take it (none: all), help.
const OPTIONS: &[(&str, &str, &[Command], &str)] = {
    use Command::{Export, Init, NewCert, Sign};
    &[
        ("depot-path", ".etcd-ca", &[], "Where certificates and keys are kept"),
        (
            "passphrase",
            "",
            &[Init, NewCert, Sign, Export],
            "Passphrase of the private key; asked for if not given",
        ),
        (
            "key-bits",
            "4096",
            &[Init, NewCert],
            "Size of the RSA key, 2048 to 4096",
        ),
        ("years", "10", &[Init, Sign], "How long the certificate holds"),
        (
            "organization",
            "etcd-ca",
            &[Init, NewCert],
            "Organization in the certificate",
        ),
        ("country", "USA", &[Init, NewCert], "Country in the certificate"),
        ("ip", "127.0.0.1", &[NewCert], "Addresses of the host, comma-separated"),
        ("domain", "", &[NewCert], "Further names of the host, comma-separated"),
        (
            "insecure",
            "false",
            &[Export],
            "Export the key without encryption, as etcd needs it",
        ),
    ]
};

const COMMANDS: &[(&str, &str, Command, &str)] = &[
    ("init", "", Command::Init, "Create the certificate authority"),
    (
        "new-cert",
        "NAME",
        Command::NewCert,
        "Create a host's key and certificate request",
    ),
    ("sign", "NAME", Command::Sign, "Sign a host's certificate request"),
    (
        "chain",
        "[NAME]",
        Command::Chain,
        "Print the CA's certificate, and the host's",
    ),
    (
        "export",
        "[NAME]",
        Command::Export,
        "Write certificate and key to stdout, as a tar file",
    ),
    (
        "status",
        "",
        Command::Status,
        "List the certificates and how long they hold",
    ),
    ("help", "", Command::Help, "Print this"),
];

pub fn usage() -> String {
    let mut text = String::from("usage: etcd-ca [--depot-path DIR] COMMAND [OPTIONS] [NAME]\n\nCommands:\n");
    for (name, argument, _, help) in COMMANDS {
        text += &format!("  {:<18} {help}\n", format!("{name} {argument}"));
    }
    text += "\nOptions:\n";
    for (name, default, commands, help) in OPTIONS {
        let of: Vec<&str> = COMMANDS
            .iter()
            .filter(|row| commands.contains(&row.2))
            .map(|row| row.0)
            .collect();
        let of = if of.is_empty() {
            String::new()
        } else {
            format!(" [{}]", of.join(", "))
        };
        text += &format!("  --{name:<16} {help} (default {default:?}){of}\n");
    }
    text
}

pub fn parse(words: &[String]) -> Result<Args, String> {
    let mut args = Args {
        command: Command::Help,
        depot_path: ".etcd-ca".into(),
        name: None,
        passphrase: None,
        key_bits: 4096,
        years: 10,
        organization: "etcd-ca".into(),
        country: "USA".into(),
        ip: "127.0.0.1".into(),
        domain: String::new(),
        insecure: false,
    };
    let mut command = None;
    let mut options: Vec<&str> = Vec::new();
    let mut words = words.iter().map(String::as_str);
    let mut only_names = false;
    while let Some(word) = words.next() {
        let option = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        match option.filter(|_| !only_names && word.len() > 1) {
            Some("") => only_names = true,
            Some("help" | "h") => return Ok(args),
            Some("version" | "v") => {
                return Ok(Args {
                    command: Command::Version,
                    ..args
                });
            }
            Some(option) => {
                let (name, value) = option
                    .split_once('=')
                    .map_or((option, None), |(name, value)| (name, Some(value)));
                let Some((name, ..)) = OPTIONS.iter().find(|row| row.0 == name) else {
                    return Err(format!("Incorrect Usage: flag provided but not defined: -{name}"));
                };
                let value = match value {
                    None if *name == "insecure" => "true",
                    None => words
                        .next()
                        .ok_or_else(|| format!("Incorrect Usage: flag needs an argument: -{name}"))?,
                    Some(value) => value,
                };
                options.push(name);
                set(&mut args, name, value)?;
            }
            None if command.is_none() => {
                let found = COMMANDS
                    .iter()
                    .find(|row| row.0 == word || (word == "h" && row.0 == "help"));
                match found {
                    Some((_, _, Command::Help, _)) => return Ok(args),
                    Some(row) => command = Some(row.2.clone()),
                    None => {
                        return Ok(Args {
                            command: Command::Unknown(word.into()),
                            ..args
                        });
                    }
                }
            }
            None if args.name.is_none() => args.name = Some(word.into()),
            None => return Err(format!("Incorrect Usage: one name at a time, {word:?} is too many")),
        }
    }
    args.command = command.unwrap_or(Command::Help);
    let takes = |option: &&str| {
        let commands = OPTIONS.iter().find(|row| row.0 == *option).map_or(&[][..], |row| row.2);
        commands.is_empty() || commands.contains(&args.command)
    };
    match options
        .iter()
        .find(|option| args.command != Command::Help && !takes(option))
    {
        Some(option) => Err(format!("Incorrect Usage: flag provided but not defined: -{option}")),
        None => Ok(args),
    }
}

fn set(args: &mut Args, name: &str, value: &str) -> Result<(), String> {
    let bad = || format!("Incorrect Usage: invalid value {value:?} for flag -{name}");
    match name {
        "depot-path" => args.depot_path = value.into(),
        "passphrase" => args.passphrase = Some(value.into()),
        "key-bits" => {
            let bits = value.parse().map_err(|_| bad())?;
            // What ring signs with, and what servers and clients of today take.
            if !(2048..=4096).contains(&bits) || bits % 8 != 0 {
                return Err(format!("{}: from 2048 to 4096, a multiple of 8", bad()));
            }
            args.key_bits = bits;
        }
        "years" => {
            args.years = value
                .parse()
                .ok()
                .filter(|years| (1..=1000).contains(years))
                .ok_or_else(bad)?
        }
        "organization" => args.organization = value.into(),
        "country" => args.country = value.into(),
        "ip" => args.ip = value.into(),
        "domain" => args.domain = value.into(),
        "insecure" => args.insecure = matches!(value, "true" | "1" | "t" | "T" | "TRUE" | "True"),
        _ => return Err(bad()),
    }
    Ok(())
}

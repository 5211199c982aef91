//! The help, in the form of fleet 0.11's.
use super::commands::{COMMANDS, Command, GLOBAL, is_hidden};
use super::flags::{Flag, Kind};
use super::table;
use crate::fleet::VERSION;

/// All commands and the program's own flags.
pub fn overview() -> String {
    let mut text = "NAME:\n\tfleetctl - fleetctl is a command-line interface to fleet, the cluster-wide CoreOS init system.\n\nUSAGE: \n\tfleetctl [global options] <command> [command options] [arguments...]\n\n".to_string();
    text += &format!("VERSION:\n\t{VERSION}\n\nCOMMANDS:\n");
    for command in COMMANDS {
        text += &format!("\t{}\t{}\n", command.name, command.summary);
    }
    text += "\nGLOBAL OPTIONS:\n";
    text += &options(GLOBAL);
    text += "\nGlobal options can also be configured via upper-case environment variables prefixed with \"FLEETCTL_\"\nFor example, \"some-flag\" => \"FLEETCTL_SOME_FLAG\"\n\nRun \"fleetctl help <command>\" for more details on a specific command.\n";
    laid_out(&text)
}

/// One command.
pub fn of(command: &Command) -> String {
    let mut text = format!(
        "NAME:\n\tfleetctl {} - {}\n\nUSAGE:\n\tfleetctl {} {}\n\nDESCRIPTION:\n",
        command.name, command.summary, command.name, command.usage
    );
    for line in command.description.lines() {
        text += &format!("\t{line}\n");
    }
    if !command.flags.is_empty() {
        text += "\nOPTIONS:\n";
        text += &options(command.flags);
    }
    text += "\nFor help on global options run \"fleetctl help\"\n";
    laid_out(&text)
}

fn options(flags: &[Flag]) -> String {
    let mut sorted: Vec<&Flag> = flags.iter().filter(|flag| !is_hidden(flag)).collect();
    sorted.sort_by_key(|flag| flag.name);
    let line = |flag: &&Flag| {
        let dashes = if flag.name.len() == 1 { "-" } else { "--" };
        let default = match (flag.default, flag.kind) {
            ("", Kind::Bool) => "false",
            ("", Kind::Int) => "0",
            (text, _) => text,
        };
        format!("\t{dashes}{}={default}\t{}\n", flag.name, flag.help)
    };
    sorted.iter().map(line).collect()
}

fn laid_out(text: &str) -> String {
    table::layout(&text.lines().map(table::cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_is_told_of() {
        let text = overview();
        for command in COMMANDS {
            assert!(text.contains(&format!("\n\t{}\t", command.name)), "{}", command.name);
            let own = of(command);
            assert!(
                command
                    .flags
                    .iter()
                    .all(|flag| own.contains(&format!("-{}=", flag.name)))
            );
        }
        assert!(text.contains("\t--ssh-username=core\t"));
        assert!(!text.contains("hidden"), "{text}");
    }
}

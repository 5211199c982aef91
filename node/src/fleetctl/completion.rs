//! Scripts with which shells complete commands, flags, units and machines.
use super::Failure;
use super::commands::{COMMANDS, Command, GLOBAL, is_hidden};
use super::flags::Flag;
use crate::closest;

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

pub fn run(args: &[String]) -> Result<String, Failure> {
    match args {
        [shell] => match shell.as_str() {
            "bash" => Ok(bash()),
            "zsh" => Ok(zsh()),
            "fish" => Ok(fish()),
            other => {
                let hint = closest::hint(other, SHELLS);
                Err(Failure::new(format!("{other:?} is none of bash, zsh, fish{hint}")))
            }
        },
        _ => Err(Failure::new(
            "One shell must be provided: fleetctl completion bash|zsh|fish",
        )),
    }
}

/// What a command's arguments are, as commands that list them.
fn listing(command: &Command) -> &'static str {
    let machines = "fleetctl list-machines --full --no-legend --fields=machine 2>/dev/null";
    match command.usage.rsplit(' ').next().unwrap_or_default() {
        "MACHINE..." => machines,
        "UNIT..." | "UNIT" => "fleetctl list-unit-files --no-legend --fields=unit 2>/dev/null",
        _ => "",
    }
}

fn dashed(flag: &Flag) -> String {
    let dashes = if flag.name.len() == 1 { "-" } else { "--" };
    format!("{dashes}{}", flag.name)
}

fn words(flags: &[Flag]) -> String {
    let shown = flags.iter().filter(|flag| !is_hidden(flag)).map(dashed);
    shown.collect::<Vec<_>>().join(" ")
}

fn names() -> String {
    COMMANDS
        .iter()
        .map(|command| command.name)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The words that may follow a command without asking the cluster.
fn fixed(command: &Command) -> String {
    match command.name {
        "help" => names(),
        "completion" => SHELLS.join(" "),
        _ => String::new(),
    }
}

/// The shell's own cases, a line for each command.
fn cases(line: impl Fn(&Command) -> String) -> String {
    COMMANDS.iter().map(line).collect()
}

/// Files count where a command takes local unit files.
fn takes_files(command: &Command) -> bool {
    matches!(command.name, "submit" | "load" | "start" | "restart")
}

fn arguments(command: &Command) -> String {
    match (fixed(command).as_str(), listing(command)) {
        ("", "") => String::new(),
        ("", list) => format!("$({list})"),
        (fixed, _) => fixed.to_string(),
    }
}

fn bash() -> String {
    let cases = cases(|command| {
        let files = if takes_files(command) { " files=1" } else { "" };
        let (flags, arguments) = (words(command.flags), arguments(command));
        format!(
            "        {}) flags=\"{flags}\" words=\"{arguments}\"{files} ;;\n",
            command.name
        )
    });
    format!(
        r#"# Completion of fleetctl for bash.
_fleetctl() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command= flags= words= files= at
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${{COMP_WORDS[at]}} in
            -*) ;;
            *) [[ " {names} " == *" ${{COMP_WORDS[at]}} "* ]] && command=${{COMP_WORDS[at]}} && break ;;
        esac
    done
    case $command in
        "") flags="{global}" words="{names}" ;;
{cases}    esac
    [[ $current == -* ]] && words=$flags files=
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ -n $files ]] && COMPREPLY+=($(compgen -f -- "$current"))
}}
complete -o bashdefault -F _fleetctl fleetctl
"#,
        names = names(),
        global = words(GLOBAL),
    )
}

fn zsh() -> String {
    let cases = cases(|command| {
        let files = if takes_files(command) { " files=1" } else { "" };
        let (flags, arguments) = (words(command.flags), arguments(command));
        let arguments = match arguments.starts_with("$(") {
            true => format!("${{(f)\"{arguments}\"}}"),
            false => arguments,
        };
        format!(
            "        {}) flags=({flags}) words_=({arguments}){files} ;;\n",
            command.name
        )
    });
    format!(
        r#"#compdef fleetctl
# Completion of fleetctl for zsh.
_fleetctl() {{
    local command= files= word
    local -a flags words_ known
    known=({names})
    for word in ${{words[2,CURRENT-1]}}; do
        (( ${{known[(Ie)$word]}} )) && command=$word && break
    done
    case $command in
        "") flags=({global}) words_=($known) ;;
{cases}    esac
    if [[ $PREFIX == -* ]]; then
        compadd -- $flags
    else
        compadd -- $words_
        [[ -n $files ]] && _files
    fi
}}
if [[ $funcstack[1] == _fleetctl ]]; then _fleetctl "$@"; else compdef _fleetctl fleetctl; fi
"#,
        names = names(),
        global = words(GLOBAL),
    )
}

fn fish() -> String {
    let mut text = "# Completion of fleetctl for fish.\ncomplete -c fleetctl -f\n".to_string();
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let flag = |condition: &str, flag: &Flag| {
        let short = if flag.name.len() == 1 { "s" } else { "l" };
        let value = match flag.kind {
            super::flags::Kind::Bool => "",
            _ => " -x",
        };
        format!(
            "complete -c fleetctl -n {condition} -{short} {}{value} -d {}\n",
            flag.name,
            quoted(flag.help)
        )
    };
    for of in GLOBAL.iter().filter(|flag| !is_hidden(flag)) {
        text += &flag("__fish_use_subcommand", of);
    }
    for command in COMMANDS {
        let name = command.name;
        text += &format!(
            "complete -c fleetctl -n __fish_use_subcommand -a {name} -d {}\n",
            quoted(command.summary)
        );
        let condition = quoted(&format!("__fish_seen_subcommand_from {name}"));
        for of in command.flags {
            text += &flag(&condition, of);
        }
        let arguments = match (fixed(command), listing(command)) {
            (fixed, "") if fixed.is_empty() => continue,
            (fixed, list) if fixed.is_empty() => format!("({list})"),
            (fixed, _) => fixed,
        };
        let files = if takes_files(command) { " -F" } else { "" };
        text += &format!("complete -c fleetctl -n {condition}{files} -a {}\n", quoted(&arguments));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_knows_every_command_and_flag() {
        for shell in SHELLS {
            let text = run(&[shell.to_string()]).ok().unwrap();
            for command in COMMANDS {
                assert!(text.contains(command.name), "{shell}: {}", command.name);
                let all = command.flags.iter().all(|flag| text.contains(flag.name));
                assert!(all, "{shell}: {}", command.name);
            }
        }
        assert!(run(&["bsh".to_string()]).is_err_and(|failure| failure.1.contains("\"bash\"")));
    }
}

//! Every command and flag.
use super::flags::{Flag, Kind, flag};

pub struct Command {
    pub name: &'static str,
    pub summary: &'static str,
    /// What follows the name.
    pub usage: &'static str,
    pub description: &'static str,
    pub flags: &'static [Flag],
    /// Its arguments are another program's: flags among them are not ours.
    pub foreign: bool,
}

const HIDDEN: &str = "hidden";

pub static GLOBAL: &[Flag] = &[
    flag("h", Kind::Bool, "Print usage information and exit"),
    flag("help", Kind::Bool, "Print usage information and exit"),
    flag("version", Kind::Bool, "Print the version and exit"),
    flag("debug", Kind::Bool, "Print out more debug information to stderr"),
    Flag {
        name: "driver",
        kind: Kind::Text,
        default: "API",
        help: "Adapter used to execute fleetctl commands. Options include \"API\" and \"etcd\".",
    },
    Flag {
        name: "endpoint",
        kind: Kind::Text,
        default: "unix:///var/run/fleet.sock",
        help: "Location of the fleet API if --driver=API. Alternatively, if --driver=etcd, location of the etcd API.",
    },
    Flag {
        name: "etcd-key-prefix",
        kind: Kind::Text,
        default: "/_coreos.com/fleet/",
        help: "Keyspace for fleet data in etcd (development use only!)",
    },
    flag(
        "key-file",
        Kind::Text,
        "Location of TLS key file used to secure communication with the fleet API or etcd",
    ),
    flag(
        "cert-file",
        Kind::Text,
        "Location of TLS cert file used to secure communication with the fleet API or etcd",
    ),
    flag(
        "ca-file",
        Kind::Text,
        "Location of TLS CA file used to secure communication with the fleet API or etcd",
    ),
    flag(
        "tunnel",
        Kind::Text,
        "Establish an SSH tunnel through the provided address for communication with fleet and etcd.",
    ),
    Flag {
        name: "known-hosts-file",
        kind: Kind::Text,
        default: "~/.fleetctl/known_hosts",
        help: "File used to store remote machine fingerprints. Ignored if strict host key checking is disabled.",
    },
    Flag {
        name: "strict-host-key-checking",
        kind: Kind::Bool,
        default: "true",
        help: "Verify host keys presented by remote machines before initiating SSH connections.",
    },
    Flag {
        name: "ssh-timeout",
        kind: Kind::Float,
        default: "10",
        help: "Amount of time in seconds to allow for SSH connection initialization before failing.",
    },
    Flag {
        name: "ssh-username",
        kind: Kind::Text,
        default: "core",
        help: "Username to use when connecting to CoreOS instance.",
    },
    Flag {
        name: "request-timeout",
        kind: Kind::Float,
        default: "3",
        help: "Amount of time in seconds to allow a single request before considering it failed.",
    },
    Flag {
        name: "experimental-api",
        kind: Kind::Bool,
        default: "true",
        help: HIDDEN,
    },
    flag(
        "identity",
        Kind::Text,
        "Private key to log in with, beside those of the agent.",
    ),
    flag("i", Kind::Text, HIDDEN),
    flag(
        "ssh-config",
        Kind::Text,
        "ssh's own configuration, which says what flags leave open. Defaults to ~/.ssh/config.",
    ),
    flag("etcd-keyfile", Kind::Text, HIDDEN),
    flag("etcd-certfile", Kind::Text, HIDDEN),
    flag("etcd-cafile", Kind::Text, HIDDEN),
];

pub fn is_hidden(flag: &Flag) -> bool {
    flag.help == HIDDEN
}

pub const MACHINE_FIELDS: &str = "machine,ip,metadata";
pub const UNIT_FIELDS: &str = "unit,machine,active,sub";
pub const FILE_FIELDS: &str = "unit,hash,dstate,state,target";

const FULL: Flag = flag("full", Kind::Bool, "Do not ellipsize fields on output");
const L: Flag = flag("l", Kind::Bool, "Shorthand for --full");
const NO_LEGEND: Flag = flag("no-legend", Kind::Bool, "Do not print a legend (column headers)");
const FORMAT: Flag = Flag {
    name: "format",
    kind: Kind::Text,
    default: "table",
    help: "table, or json for programs.",
};
const SIGN: Flag = flag("sign", Kind::Bool, "DEPRECATED - this option cannot be used");

const fn fields(default: &'static str, help: &'static str) -> Flag {
    Flag {
        name: "fields",
        kind: Kind::Text,
        default,
        help,
    }
}

const fn attempts(help: &'static str) -> Flag {
    flag("block-attempts", Kind::Int, help)
}

const fn no_block(help: &'static str) -> Flag {
    flag("no-block", Kind::Bool, help)
}

pub static COMMANDS: &[Command] = &[
    Command {
        name: "cat",
        summary: "Output the contents of a submitted unit",
        usage: "UNIT",
        description: "Outputs the unit file that is currently loaded in the cluster. Useful to verify the correct version of a unit is running.",
        flags: &[],
        foreign: false,
    },
    Command {
        name: "completion",
        summary: "Print a script that completes fleetctl's commands, flags and units",
        usage: "bash|zsh|fish",
        description: "For this shell only:\n\tsource <(fleetctl completion bash)\nFor all later ones:\n\tfleetctl completion bash > /etc/bash_completion.d/fleetctl",
        flags: &[],
        foreign: false,
    },
    Command {
        name: "cordon",
        summary: "Give machines no further units",
        usage: "MACHINE...",
        description: "Units that are on these machines stay there. A machine is named by the beginning of its id.",
        flags: &[],
        foreign: false,
    },
    Command {
        name: "destroy",
        summary: "Destroy one or more units in the cluster",
        usage: "[--no-block|--block-attempts=N] UNIT...",
        description: "Completely remove one or more running or submitted units from the cluster.\nDestroyed units are impossible to start unless re-submitted.",
        flags: &[
            attempts(
                "Also wait until no machine has the units any more, performing up to N attempts before giving up. A value of 0 indicates no limit.",
            ),
            no_block("Do not wait until the units are gone from their machines, which is the default."),
        ],
        foreign: false,
    },
    Command {
        name: "drain",
        summary: "Move all units that can run elsewhere away from machines",
        usage: "[--no-block|--block-attempts=N] MACHINE...",
        description: "The machines get no further units, as by cordon. Waits until nothing that can run elsewhere is left there,\nand tells what stays and why.",
        flags: &[
            attempts(
                "Wait until the units have moved, performing up to N attempts before giving up. A value of 0 indicates no limit.",
            ),
            no_block("Do not wait until the units have moved before exiting."),
        ],
        foreign: false,
    },
    Command {
        name: "explain",
        summary: "Say where a unit is or could be, and what speaks against each machine",
        usage: "[--format=json] UNIT",
        description: "For each machine the reason why the unit cannot run there, or that it can.",
        flags: &[FULL, NO_LEGEND, FORMAT],
        foreign: false,
    },
    Command {
        name: "fd-forward",
        summary: "Proxy stdin and stdout to a unix domain socket",
        usage: "SOCKET",
        description: "fleetctl utilizes fd-forward when --tunnel is used and --endpoint is a unix socket. This command is not intended to be called by users directly.",
        flags: &[],
        foreign: false,
    },
    Command {
        name: "help",
        summary: "Show a list of commands or help for one command",
        usage: "[COMMAND]",
        description: "Show a list of commands or detailed help for one command",
        flags: &[],
        foreign: false,
    },
    Command {
        name: "journal",
        summary: "Print the journal of a unit in the cluster to stdout",
        usage: "[--lines=N] [-f|--follow] [--sudo] [--output=FORMAT] [--ssh-port=N] UNIT",
        description: "Outputs the journal of a unit by connecting to the machine that the unit occupies.\n\nRead the last 10 lines:\n\tfleetctl journal foo.service\n\nRead the last 100 lines:\n\tfleetctl journal --lines 100 foo.service",
        flags: &[
            Flag {
                name: "lines",
                kind: Kind::Int,
                default: "10",
                help: "Number of recent log lines to return",
            },
            flag(
                "follow",
                Kind::Bool,
                "Continuously print new entries as they are appended to the journal.",
            ),
            flag("f", Kind::Bool, "Shorthand for --follow"),
            flag("sudo", Kind::Bool, "Execute journal command with sudo"),
            flag("output", Kind::Text, "Output format, as journalctl has them."),
            flag(
                "ssh-port",
                Kind::Int,
                "Connect to remote hosts over SSH using this TCP port.",
            ),
        ],
        foreign: false,
    },
    Command {
        name: "list-machines",
        summary: "Enumerate the current hosts in the cluster",
        usage: "[-l|--full] [--no-legend] [--format=json]",
        description: "Lists all active machines within the cluster. Previously active machines will not appear in this list.\n\nFor easily parsable output, you can remove the column headers:\n\tfleetctl list-machines --no-legend\n\nOutput the list without truncation:\n\tfleetctl list-machines --full",
        flags: &[
            FULL,
            L,
            NO_LEGEND,
            fields(
                MACHINE_FIELDS,
                "Columns to print for each Machine. Valid fields are \"cordon,ip,machine,metadata\"",
            ),
            FORMAT,
        ],
        foreign: false,
    },
    Command {
        name: "list-unit-files",
        summary: "List the units that exist in the cluster.",
        usage: "[--fields] [--full] [--no-legend] [--format=json]",
        description: "Lists all unit files that exist in the cluster (whether or not they are loaded onto a machine).",
        flags: &[
            FULL,
            NO_LEGEND,
            fields(
                FILE_FIELDS,
                "Columns to print for each Unit. Valid fields are \"desc,dstate,global,hash,state,target,tmachine,unit\"",
            ),
            FORMAT,
        ],
        foreign: false,
    },
    Command {
        name: "list-units",
        summary: "List the current state of units in the cluster",
        usage: "[--no-legend] [-l|--full] [--fields] [--format=json]",
        description: "Lists the state of all units in the cluster loaded onto a machine.\n\nFor easily parsable output, you can remove the column headers:\n\tfleetctl list-units --no-legend\n\nOutput the list without ellipses:\n\tfleetctl list-units --full\n\nOr, choose the columns to display:\n\tfleetctl list-units --fields=unit,machine",
        flags: &[
            FULL,
            L,
            NO_LEGEND,
            fields(
                UNIT_FIELDS,
                "Columns to print for each Unit. Valid fields are \"active,hash,load,machine,sub,unit\"",
            ),
            FORMAT,
        ],
        foreign: false,
    },
    Command {
        name: "load",
        summary: "Schedule one or more units in the cluster, first submitting them if necessary.",
        usage: "[--no-block|--block-attempts=N] [--replace] UNIT...",
        description: "Load one or many units in the cluster into systemd, but do not start.\n\nSelect units to load by glob matching for units in the current working directory\nor matching the names of previously submitted units.\n\nFor units which are not global, load operations are performed synchronously,\nwhich means fleetctl will block until it detects that the unit(s) have\ntransitioned to a loaded state. This behaviour can be configured with the\nrespective --block-attempts and --no-block options. Load operations on global\nunits are always non-blocking.",
        flags: &[
            SIGN,
            attempts(
                "Wait until the jobs are loaded, performing up to N attempts before giving up. A value of 0 indicates no limit. Does not apply to global units.",
            ),
            no_block("Do not wait until the jobs have been loaded before exiting. Always the case for global units."),
            flag(
                "replace",
                Kind::Bool,
                "Replace units that are not launched with their local files.",
            ),
        ],
        foreign: false,
    },
    Command {
        name: "restart",
        summary: "Stop and start one or more units, one after the other",
        usage: "[--block-attempts=N] UNIT...",
        description: "Each unit is stopped and started where it is, and the next one waits until systemd says that it is active.\nA unit that does not become active ends the command: those behind it go on as they are.",
        flags: &[attempts(
            "Wait for each step of a unit, performing up to N attempts before giving up. A value of 0 indicates no limit.",
        )],
        foreign: false,
    },
    Command {
        name: "ssh",
        summary: "Open interactive shell on a machine in the cluster",
        usage: "[-A|--forward-agent] [--ssh-port=N] [--machine|--unit] {MACHINE|UNIT} [COMMAND...]",
        description: "Open an interactive shell on a specific machine in the cluster or on the machine where the specified unit is located.\n\nfleetctl tries to detect whether your first argument is a machine or a unit. To skip this check use the --machine or --unit flags.\n\nOpen a shell on a machine:\n\tfleetctl ssh 2444264c-eac2-4eff-a490-32d5e5e4af24\n\nOpen a shell from your laptop, to the machine running a specific unit, using a cluster member as a bastion host:\n\tfleetctl --tunnel 10.10.10.10 ssh foo.service\n\nOpen a shell on a machine and forward the authentication agent connection:\n\tfleetctl ssh --forward-agent 2444264c-eac2-4eff-a490-32d5e5e4af24",
        flags: &[
            flag("machine", Kind::Text, "Open SSH connection to a specific machine."),
            flag(
                "unit",
                Kind::Text,
                "Open SSH connection to machine running provided unit.",
            ),
            flag("A", Kind::Bool, "Shorthand for --forward-agent"),
            flag(
                "forward-agent",
                Kind::Bool,
                "Forward local ssh-agent to target machine.",
            ),
            flag(
                "ssh-port",
                Kind::Int,
                "Connect to remote hosts over SSH using this TCP port.",
            ),
        ],
        foreign: true,
    },
    Command {
        name: "start",
        summary: "Instruct systemd to start one or more units in the cluster, first submitting and loading if necessary.",
        usage: "[--no-block|--block-attempts=N] [--replace] UNIT...",
        description: "Start one or many units on the cluster. Select units to start by glob matching\nfor units in the current working directory or matching names of previously\nsubmitted units.\n\nFor units which are not global, start operations are performed synchronously,\nwhich means fleetctl will block until it detects that the unit(s) have\ntransitioned to being started. This behaviour can be configured with the\nrespective --block-attempts and --no-block options. Start operations on global\nunits are always non-blocking.\n\nStart a single unit:\n\tfleetctl start foo.service\n\nStart an entire directory of units with glob matching:\n\tfleetctl start myservice/*",
        flags: &[
            SIGN,
            attempts(
                "Wait until the units are launched, performing up to N attempts before giving up. A value of 0 indicates no limit. Does not apply to global units.",
            ),
            no_block("Do not wait until the units have launched before exiting. Always the case for global units."),
            flag(
                "replace",
                Kind::Bool,
                "Replace units with their local files, and wait until systemd runs those.",
            ),
        ],
        foreign: false,
    },
    Command {
        name: "status",
        summary: "Output the status of one or more units in the cluster",
        usage: "[--ssh-port=N] UNIT...",
        description: "Output the status of one or more units currently running in the cluster.\nSupports glob matching of units in the current working directory or matches previously started units.\n\nShow status of a single unit:\n\tfleetctl status foo.service\n\nShow status of an entire directory with glob matching:\n\tfleetctl status myservice/*",
        flags: &[flag(
            "ssh-port",
            Kind::Int,
            "Connect to remote hosts over SSH using this TCP port.",
        )],
        foreign: false,
    },
    Command {
        name: "stop",
        summary: "Instruct systemd to stop one or more units in the cluster.",
        usage: "[--no-block|--block-attempts=N] UNIT...",
        description: "Stop one or more units from running in the cluster, but allow them to be started again in the future.\n\nInstructs systemd on the host machine to stop the unit, deferring to systemd\ncompletely for any custom stop directives (i.e. ExecStop option in the unit\nfile).",
        flags: &[
            attempts(
                "Wait until the units are stopped, performing up to N attempts before giving up. A value of 0 indicates no limit. Does not apply to global units.",
            ),
            no_block("Do not wait until the units have stopped before exiting. Always the case for global units."),
        ],
        foreign: false,
    },
    Command {
        name: "submit",
        summary: "Upload one or more units to the cluster without starting them",
        usage: "[--replace] UNIT...",
        description: "Upload one or more units to the cluster without starting them. Useful for validating units before they are started.\n\nThis operation is idempotent; if a named unit already exists in the cluster, it will not be resubmitted.\n\nSubmit a single unit:\n\tfleetctl submit foo.service\n\nSubmit a directory of units with glob matching:\n\tfleetctl submit myservice/*",
        flags: &[
            SIGN,
            flag(
                "replace",
                Kind::Bool,
                "Replace units that are inactive with their local files.",
            ),
        ],
        foreign: false,
    },
    Command {
        name: "uncordon",
        summary: "Let machines take units again",
        usage: "MACHINE...",
        description: "Takes back what cordon and drain have set. A machine is named by the beginning of its id.",
        flags: &[],
        foreign: false,
    },
    Command {
        name: "unload",
        summary: "Unschedule one or more units in the cluster.",
        usage: "[--no-block|--block-attempts=N] UNIT...",
        description: "Unload one or more units, which stops them and takes them off their machines. They stay in the cluster.",
        flags: &[
            attempts(
                "Wait until the units are inactive, performing up to N attempts before giving up. A value of 0 indicates no limit.",
            ),
            no_block("Do not wait until the units have become inactive before exiting."),
        ],
        foreign: false,
    },
    Command {
        name: "verify",
        summary: "DEPRECATED - No longer works",
        usage: "UNIT",
        description: "DEPRECATED - No longer works",
        flags: &[],
        foreign: false,
    },
    Command {
        name: "version",
        summary: "Print the version and exit",
        usage: "",
        description: "Print the version and exit",
        flags: &[],
        foreign: false,
    },
];

pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

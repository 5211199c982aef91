//! Every command and flag, and the help made of them.
use super::flags::{Flag, Kind};

/// A command's name, its usage line, its flags.
pub type Command = (&'static str, &'static str, &'static [Flag]);

pub const GLOBAL: &[Flag] = &[
    ("debug", Kind::Bool, "print every request as a curl command line"),
    (
        "no-sync",
        Kind::Bool,
        "use the endpoints as given, without asking the cluster",
    ),
    ("output, o", Kind::Text, "simple, extended or json"),
    (
        "discovery-srv, D",
        Kind::Text,
        "domain whose SRV records name the cluster",
    ),
    ("peers, C", Kind::Text, "old name of --endpoints"),
    ("endpoint", Kind::Text, "old name of --endpoints"),
    ("endpoints", Kind::Text, "URLs of the cluster, separated by commas"),
    ("cert-file", Kind::Text, "client certificate"),
    ("key-file", Kind::Text, "key of the client certificate"),
    ("ca-file", Kind::Text, "CA that signs the servers' certificates"),
    (
        "username, u",
        Kind::Text,
        "USER[:PASSWORD]; asks for a missing password",
    ),
    ("timeout", Kind::Duration, "time for one endpoint to answer (1s)"),
    (
        "total-timeout",
        Kind::Duration,
        "time for a whole command but watches (5s)",
    ),
    ("version, v", Kind::Bool, "print the version"),
];

const TTL: Flag = ("ttl", Kind::Int, "seconds until it expires");
const QUORUM: Flag = ("quorum, q", Kind::Bool, "read through a quorum");
const SORT: Flag = ("sort", Kind::Bool, "sort by key");
const RECURSIVE: Flag = ("recursive, r", Kind::Bool, "everything below, too");
const AFTER: Flag = ("after-index", Kind::Int, "start after this index");
const PATH: Flag = ("path", Kind::Text, "key, or prefix with *");
const READ: Flag = ("read", Kind::Bool, "read access");
const WRITE: Flag = ("write", Kind::Bool, "write access");
const BOTH: Flag = ("readwrite, rw", Kind::Bool, "read and write access");
const ROLES: Flag = ("roles", Kind::Text, "roles, separated by commas");

pub const COMMANDS: &[Command] = &[
    (
        "backup",
        "back up a member's data",
        &[
            ("data-dir", Kind::Text, "the member's data directory"),
            ("wal-dir", Kind::Text, "its WAL directory, if it is elsewhere"),
            ("backup-dir", Kind::Text, "where the backup goes"),
            (
                "backup-wal-dir",
                Kind::Text,
                "where the backup's WAL goes, if elsewhere",
            ),
            (
                "online",
                Kind::Bool,
                "from a running member at --endpoints instead of a data directory",
            ),
        ],
    ),
    (
        "cluster-health",
        "ask every member how it is",
        &[("forever, f", Kind::Bool, "every 10 seconds, until interrupted")],
    ),
    (
        "mk",
        "KEY [VALUE]: create a key",
        &[("in-order", Kind::Bool, "create below KEY, in order"), TTL],
    ),
    ("mkdir", "KEY: create a directory", &[TTL]),
    (
        "rm",
        "KEY: remove a key or a directory",
        &[
            ("dir", Kind::Bool, "remove an empty directory, too"),
            RECURSIVE,
            ("with-value", Kind::Text, "only if it has this value"),
            ("with-index", Kind::Int, "only if it was modified at this index"),
        ],
    ),
    ("rmdir", "KEY: remove an empty directory", &[]),
    ("get", "KEY: print a key's value", &[SORT, QUORUM]),
    (
        "ls",
        "[KEY]: list a directory",
        &[SORT, RECURSIVE, ("p", Kind::Bool, "a slash after directories"), QUORUM],
    ),
    (
        "set",
        "KEY [VALUE]: write a key",
        &[
            TTL,
            ("swap-with-value", Kind::Text, "only if it has this value"),
            ("swap-with-index", Kind::Int, "only if it was modified at this index"),
        ],
    ),
    ("setdir", "KEY: create a directory, or make a key one", &[TTL]),
    ("update", "KEY [VALUE]: write a key that exists", &[TTL]),
    ("updatedir", "KEY: change an existing directory's TTL", &[TTL]),
    (
        "watch",
        "KEY: wait for a change",
        &[("forever, f", Kind::Bool, "until interrupted"), AFTER, RECURSIVE],
    ),
    (
        "exec-watch",
        "KEY -- COMMAND [ARGS...]: run a command at every change",
        &[
            (
                "after-index",
                Kind::Int,
                "start after the index that follows this one, as etcdctl 2.3 does",
            ),
            RECURSIVE,
        ],
    ),
    ("member list", "list the members", &[]),
    ("member add", "NAME PEER-URL: add a member", &[]),
    (
        "member remove",
        "ID: remove a member",
        &[(
            "force",
            Kind::Bool,
            "even if too few of the others can be reached to go on",
        )],
    ),
    ("member update", "ID PEER-URLS: change a member's peer URLs", &[]),
    (
        "import",
        "read a snapshot of etcd 0.4 into the cluster",
        &[("snap", Kind::Text, "the snapshot's file")],
    ),
    ("user add", "USER[:PASSWORD]: create a user", &[]),
    ("user get", "USER: print a user's roles", &[]),
    ("user list", "list the users", &[]),
    ("user remove", "USER: remove a user", &[]),
    ("user grant", "USER: give roles", &[ROLES]),
    ("user revoke", "USER: take roles", &[ROLES]),
    ("user passwd", "USER: change a password", &[]),
    ("role add", "ROLE: create a role", &[]),
    ("role get", "ROLE: print a role's permissions", &[]),
    ("role list", "list the roles", &[]),
    ("role remove", "ROLE: remove a role", &[]),
    ("role grant", "ROLE: give permissions", &[PATH, READ, WRITE, BOTH]),
    ("role revoke", "ROLE: take permissions", &[PATH, READ, WRITE, BOTH]),
    ("auth enable", "make users and roles count", &[]),
    ("auth disable", "let everyone in", &[]),
];

pub fn is_group(name: &str) -> bool {
    matches!(name, "member" | "user" | "role" | "auth")
}

fn flag_lines(flags: &[Flag]) -> String {
    let dashes = |names: &str| {
        let dash = |name: &str| {
            if name.len() == 1 {
                format!("-{name}")
            } else {
                format!("--{name}")
            }
        };
        names.split(", ").map(dash).collect::<Vec<_>>().join(", ")
    };
    let lines = flags
        .iter()
        .map(|flag| format!("   {:24} {}\n", dashes(flag.0), flag.2));
    lines.collect()
}

pub fn help() -> String {
    let commands = COMMANDS
        .iter()
        .map(|command| format!("   {:16} {}\n", command.0, command.1));
    format!(
        "etcdctl {}: a command line client for etcd\n\nusage: etcdctl [GLOBAL FLAGS] COMMAND [FLAGS] [ARGS...]\n\nCommands:\n{}\nGlobal flags:\n{}",
        super::VERSION,
        commands.collect::<String>(),
        flag_lines(GLOBAL)
    )
}

/// The help of a command, or of a group of them.
pub fn topic(name: &str) -> String {
    let prefix = format!("{name} ");
    let found = COMMANDS
        .iter()
        .filter(|command| command.0 == name || command.0.starts_with(&prefix));
    let text: String = found
        .map(|command| format!("etcdctl {}: {}\n{}", command.0, command.1, flag_lines(command.2)))
        .collect();
    if text.is_empty() {
        return format!("No help topic for '{name}'\n");
    }
    text
}

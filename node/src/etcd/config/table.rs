//! Every flag of the server in one table: the parser, the variables, the usage text and the refusals all read it.
//!
//! To make a feature's flags work: change their fate from `NotYet` to `Used` and read them in resolve.rs.

/// What a flag's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Uint,
    Text,
    OneOf(&'static [&'static str]),
    Urls,
    /// `ip:port`, as etcd 0.4 wrote addresses.
    Addr,
    Cors,
    /// A tag of instances, with options.
    Ec2,
}

/// What is done with a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Used,
    /// Of etcd 0.4, without meaning since: a warning.
    Ignored,
    /// Of etcd 0.4, and starting without its effect would be wrong.
    Removed,
    /// Refused unless its value asks for nothing.
    NotYet(Missing),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    pub why: &'static str,
    pub instead: &'static str,
    /// The value that asks for nothing, where there is one.
    pub harmless: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub group: &'static str,
    pub name: &'static str,
    pub default: &'static str,
    pub kind: Kind,
    pub fate: Fate,
    pub help: &'static str,
}

impl Flag {
    pub fn env(&self) -> String {
        format!("ETCD_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// A boolean's value may be left out; so may that of an ignored flag.
    pub fn is_bool(&self) -> bool {
        self.kind == Kind::Bool || self.fate == Fate::Ignored
    }
}

pub const DEFAULT_NAME: &str = "default";
pub const DEFAULT_PEER_URLS: &str = "http://localhost:2380,http://localhost:7001";
pub const DEFAULT_CLIENT_URLS: &str = "http://localhost:2379,http://localhost:4001";
pub const DEFAULT_INITIAL_CLUSTER: &str = "default=http://localhost:2380,default=http://localhost:7001";
pub const DEFAULT_SNAPSHOT_COUNT: u64 = 10_000;

const PPROF: Missing = Missing {
    why: "this server has no profiles to serve",
    instead: "use perf on the process",
    harmless: Some("false"),
};
const V3: Missing = Missing {
    why: "this server has the v2 API only",
    instead: "leave it out",
    harmless: Some("false"),
};
const V3_ADDR: Missing = Missing { harmless: None, ..V3 };
const V3_RETENTION: Missing = Missing {
    harmless: Some("0"),
    ..V3
};

const STATES: Kind = Kind::OneOf(&["new", "existing"]);
use Fate::{Ignored, NotYet, Removed, Used};
use Kind::{Addr, Bool, Cors, Ec2, OneOf, Text, Uint, Urls};

const fn flag(
    group: &'static str,
    name: &'static str,
    default: &'static str,
    kind: Kind,
    fate: Fate,
    help: &'static str,
) -> Flag {
    Flag {
        group,
        name,
        default,
        kind,
        fate,
        help,
    }
}

const MEMBER: &str = "member";
const CLUSTERING: &str = "clustering";
const PROXYING: &str = "proxy";
const SECURITY: &str = "security";
const LOGGING: &str = "logging";
const UNSAFE: &str = "unsafe";
const PROFILING: &str = "profiling";
const EXPERIMENTAL: &str = "experimental";
const V04: &str = "etcd 0.4 spellings";
const GONE: &str = "etcd 0.4, no longer supported";

// A row a line: read as a table.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    flag(MEMBER, "name", DEFAULT_NAME, Text, Used, "Human-readable name for this member."),
    flag(MEMBER, "data-dir", "", Text, Used, "Path to the data directory; ${name}.etcd if empty."),
    flag(MEMBER, "wal-dir", "", Text, Used, "Path to the dedicated wal directory; inside the data directory if empty."),
    flag(MEMBER, "snapshot-count", "10000", Uint, Used, "Number of committed transactions to trigger a snapshot to disk."),
    flag(MEMBER, "heartbeat-interval", "100", Uint, Used, "Time (in milliseconds) of a heartbeat interval."),
    flag(MEMBER, "election-timeout", "1000", Uint, Used, "Time (in milliseconds) for an election to timeout."),
    flag(MEMBER, "listen-peer-urls", DEFAULT_PEER_URLS, Urls, Used, "List of URLs to listen on for peer traffic."),
    flag(MEMBER, "listen-client-urls", DEFAULT_CLIENT_URLS, Urls, Used, "List of URLs to listen on for client traffic."),
    flag(MEMBER, "max-snapshots", "5", Uint, Used, "Maximum number of snapshot files to retain (0 is unlimited)."),
    flag(MEMBER, "max-wals", "5", Uint, Used, "Maximum number of wal files to retain (0 is unlimited)."),
    flag(MEMBER, "cors", "", Cors, Used, "Comma-separated whitelist of origins for CORS (cross-origin resource sharing)."),
    flag(MEMBER, "event-history-size", "1000", Uint, Used, "Number of events kept for watchers that ask for the past."),
    flag(MEMBER, "version", "false", Bool, Used, "Print the version and exit."),
    flag(CLUSTERING, "initial-advertise-peer-urls", DEFAULT_PEER_URLS, Urls, Used, "This member's peer URLs, as told to the cluster."),
    flag(CLUSTERING, "initial-cluster", DEFAULT_INITIAL_CLUSTER, Text, Used, "Initial cluster configuration for bootstrapping."),
    flag(CLUSTERING, "initial-cluster-state", "new", STATES, Used, "Initial cluster state ('new' or 'existing')."),
    flag(CLUSTERING, "initial-cluster-token", "etcd-cluster", Text, Used, "Keeps clusters with the same members apart."),
    flag(CLUSTERING, "advertise-client-urls", DEFAULT_CLIENT_URLS, Urls, Used, "This member's client URLs, as told to clients."),
    flag(CLUSTERING, "discovery", "", Text, Used, "Discovery URL used to bootstrap the cluster."),
    flag(CLUSTERING, "discovery-fallback", "proxy", OneOf(&["exit", "proxy"]), Used, "What to do when the discovered cluster is full."),
    flag(CLUSTERING, "discovery-proxy", "", Text, Used, "HTTP proxy to use for traffic to discovery service."),
    flag(CLUSTERING, "discovery-srv", "", Text, Used, "DNS srv domain used to bootstrap the cluster."),
    flag(CLUSTERING, "discovery-ec2", "", Ec2, Used, "EC2 tag of the members' instances: KEY=VALUE[,region=R][,endpoint=URL][,min=2]."),
    flag(CLUSTERING, "strict-reconfig-check", "false", Bool, Used, "Reject changes that would lose the quorum; always on here."),
    flag(PROXYING, "proxy", "off", OneOf(&["off", "readonly", "on"]), Used, "Proxy mode setting ('off', 'readonly' or 'on')."),
    flag(PROXYING, "proxy-failure-wait", "5000", Uint, Used, "Time (in milliseconds) an endpoint is held in a failed state."),
    flag(PROXYING, "proxy-refresh-interval", "30000", Uint, Used, "Time (in milliseconds) of the endpoints refresh interval."),
    flag(PROXYING, "proxy-dial-timeout", "1000", Uint, Used, "Time (in milliseconds) for a dial to timeout."),
    flag(PROXYING, "proxy-write-timeout", "5000", Uint, Used, "Time (in milliseconds) for a write to timeout."),
    flag(PROXYING, "proxy-read-timeout", "0", Uint, Used, "Time (in milliseconds) for a read to timeout."),
    flag(SECURITY, "ca-file", "", Text, Used, "Path to the client server TLS CA file (old name)."),
    flag(SECURITY, "cert-file", "", Text, Used, "Path to the client server TLS cert file."),
    flag(SECURITY, "key-file", "", Text, Used, "Path to the client server TLS key file."),
    flag(SECURITY, "client-cert-auth", "false", Bool, Used, "Enable client cert authentication."),
    flag(SECURITY, "trusted-ca-file", "", Text, Used, "Path to the client server TLS trusted CA file."),
    flag(SECURITY, "auto-tls", "false", Bool, Used, "Client TLS with generated certificates."),
    flag(SECURITY, "peer-ca-file", "", Text, Used, "Path to the peer server TLS CA file (old name)."),
    flag(SECURITY, "peer-cert-file", "", Text, Used, "Path to the peer server TLS cert file."),
    flag(SECURITY, "peer-key-file", "", Text, Used, "Path to the peer server TLS key file."),
    flag(SECURITY, "peer-client-cert-auth", "false", Bool, Used, "Enable peer client cert authentication."),
    flag(SECURITY, "peer-trusted-ca-file", "", Text, Used, "Path to the peer server TLS trusted CA file."),
    flag(SECURITY, "peer-auto-tls", "false", Bool, Used, "Peer TLS with generated certificates."),
    flag(LOGGING, "debug", "false", Bool, Used, "Enable debug-level logging for etcd."),
    flag(LOGGING, "log-package-levels", "", Text, Used, "Log level of each package, as 'etcdmain=CRITICAL,etcdserver=DEBUG'."),
    flag(UNSAFE, "force-new-cluster", "false", Bool, Used, "Force to create a new one-member cluster."),
    flag(PROFILING, "enable-pprof", "false", Bool, NotYet(PPROF), "Serve profiles at the client URLs."),
    flag(EXPERIMENTAL, "experimental-v3demo", "false", Bool, NotYet(V3), "The v3 API's demo."),
    flag(EXPERIMENTAL, "experimental-gRPC-addr", "127.0.0.1:2378", Text, NotYet(V3_ADDR), "Where the v3 demo listens."),
    flag(EXPERIMENTAL, "experimental-auto-compaction-retention", "0", Uint, NotYet(V3_RETENTION), "Hours of history that the v3 demo keeps."),
    flag(V04, "addr", "", Addr, Used, "Use --advertise-client-urls instead."),
    flag(V04, "bind-addr", "", Addr, Used, "Use --listen-client-urls instead."),
    flag(V04, "peer-addr", "", Addr, Used, "Use --initial-advertise-peer-urls instead."),
    flag(V04, "peer-bind-addr", "", Addr, Used, "Use --listen-peer-urls instead."),
    flag(GONE, "peers", "", Text, Removed, "Refused: use --initial-cluster."),
    flag(GONE, "peers-file", "", Text, Removed, "Refused: use --initial-cluster."),
    flag(GONE, "cluster-active-size", "", Text, Ignored, "Ignored."),
    flag(GONE, "cluster-remove-delay", "", Text, Ignored, "Ignored."),
    flag(GONE, "cluster-sync-interval", "", Text, Ignored, "Ignored."),
    flag(GONE, "config", "", Text, Ignored, "Ignored."),
    flag(GONE, "force", "", Text, Ignored, "Ignored."),
    flag(GONE, "max-result-buffer", "", Text, Ignored, "Ignored."),
    flag(GONE, "max-retry-attempts", "", Text, Ignored, "Ignored."),
    flag(GONE, "peer-heartbeat-interval", "", Text, Ignored, "Ignored."),
    flag(GONE, "peer-election-timeout", "", Text, Ignored, "Ignored."),
    flag(GONE, "retry-interval", "", Text, Ignored, "Ignored."),
    flag(GONE, "snapshot", "", Text, Ignored, "Ignored."),
    flag(GONE, "v", "", Text, Ignored, "Ignored."),
    flag(GONE, "vv", "", Text, Ignored, "Ignored."),
];

pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|f| f.name == name)
}

//! The sections whose keys become variables of a service: key, type, variable, in the order in which they are written.
use super::schema::Kind::{Bool, Float, Int};
use super::schema::{Key, key, text};
use super::schema::{PROXY, WINDOW_LENGTH, WINDOW_START};

const ETCD2_ONLY: &str = "etcd2 options no longer work for etcd";

pub const ETCD: &[Key] = &[
    text("addr").env("ETCD_ADDR"),
    text("advertise_client_urls")
        .env("ETCD_ADVERTISE_CLIENT_URLS")
        .deprecated(ETCD2_ONLY),
    text("bind_addr").env("ETCD_BIND_ADDR"),
    text("ca_file").env("ETCD_CA_FILE"),
    text("cert_file").env("ETCD_CERT_FILE"),
    key("cluster_active_size", Int).env("ETCD_CLUSTER_ACTIVE_SIZE"),
    key("cluster_remove_delay", Float).env("ETCD_CLUSTER_REMOVE_DELAY"),
    key("cluster_sync_interval", Float).env("ETCD_CLUSTER_SYNC_INTERVAL"),
    text("cors").env("ETCD_CORS"),
    text("data_dir").env("ETCD_DATA_DIR"),
    text("discovery").env("ETCD_DISCOVERY"),
    text("discovery_fallback")
        .env("ETCD_DISCOVERY_FALLBACK")
        .deprecated(ETCD2_ONLY),
    text("discovery_srv").env("ETCD_DISCOVERY_SRV").deprecated(ETCD2_ONLY),
    text("discovery_proxy")
        .env("ETCD_DISCOVERY_PROXY")
        .deprecated(ETCD2_ONLY),
    key("election_timeout", Int)
        .env("ETCD_ELECTION_TIMEOUT")
        .deprecated(ETCD2_ONLY),
    key("force_new_cluster", Bool)
        .env("ETCD_FORCE_NEW_CLUSTER")
        .deprecated(ETCD2_ONLY),
    text("graphite_host").env("ETCD_GRAPHITE_HOST"),
    key("heartbeat_interval", Int)
        .env("ETCD_HEARTBEAT_INTERVAL")
        .deprecated(ETCD2_ONLY),
    key("http_read_timeout", Float).env("ETCD_HTTP_READ_TIMEOUT"),
    key("http_write_timeout", Float).env("ETCD_HTTP_WRITE_TIMEOUT"),
    text("initial_advertise_peer_urls")
        .env("ETCD_INITIAL_ADVERTISE_PEER_URLS")
        .deprecated(ETCD2_ONLY),
    text("initial_cluster")
        .env("ETCD_INITIAL_CLUSTER")
        .deprecated(ETCD2_ONLY),
    text("initial_cluster_state")
        .env("ETCD_INITIAL_CLUSTER_STATE")
        .deprecated(ETCD2_ONLY),
    text("initial_cluster_token")
        .env("ETCD_INITIAL_CLUSTER_TOKEN")
        .deprecated(ETCD2_ONLY),
    text("key_file").env("ETCD_KEY_FILE"),
    text("listen_client_urls")
        .env("ETCD_LISTEN_CLIENT_URLS")
        .deprecated(ETCD2_ONLY),
    text("listen_peer_urls")
        .env("ETCD_LISTEN_PEER_URLS")
        .deprecated(ETCD2_ONLY),
    key("max_result_buffer", Int).env("ETCD_MAX_RESULT_BUFFER"),
    key("max_retry_attempts", Int).env("ETCD_MAX_RETRY_ATTEMPTS"),
    key("max_snapshots", Int)
        .env("ETCD_MAX_SNAPSHOTS")
        .deprecated(ETCD2_ONLY),
    key("max_wals", Int).env("ETCD_MAX_WALS").deprecated(ETCD2_ONLY),
    text("name").env("ETCD_NAME"),
    text("peer_addr").env("ETCD_PEER_ADDR"),
    text("peer_bind_addr").env("ETCD_PEER_BIND_ADDR"),
    text("peer_ca_file").env("ETCD_PEER_CA_FILE"),
    text("peer_cert_file").env("ETCD_PEER_CERT_FILE"),
    key("peer_election_timeout", Int).env("ETCD_PEER_ELECTION_TIMEOUT"),
    key("peer_heartbeat_interval", Int).env("ETCD_PEER_HEARTBEAT_INTERVAL"),
    text("peer_key_file").env("ETCD_PEER_KEY_FILE"),
    text("peers").env("ETCD_PEERS"),
    text("peers_file").env("ETCD_PEERS_FILE"),
    text("proxy").env("ETCD_PROXY").deprecated(ETCD2_ONLY),
    key("retry_interval", Float).env("ETCD_RETRY_INTERVAL"),
    key("snapshot", Bool).env("ETCD_SNAPSHOT"),
    key("snapshot_count", Int).env("ETCD_SNAPSHOTCOUNT"),
    text("trace").env("ETCD_TRACE"),
    key("verbose", Bool).env("ETCD_VERBOSE"),
    key("very_verbose", Bool).env("ETCD_VERY_VERBOSE"),
    key("very_very_verbose", Bool).env("ETCD_VERY_VERY_VERBOSE"),
];

pub const ETCD2: &[Key] = &[
    text("advertise_client_urls").env("ETCD_ADVERTISE_CLIENT_URLS"),
    text("ca_file")
        .env("ETCD_CA_FILE")
        .deprecated("ca_file obsoleted by trusted_ca_file and client_cert_auth"),
    text("cert_file").env("ETCD_CERT_FILE"),
    key("client_cert_auth", Bool).env("ETCD_CLIENT_CERT_AUTH"),
    text("cors").env("ETCD_CORS"),
    text("data_dir").env("ETCD_DATA_DIR"),
    key("debug", Bool).env("ETCD_DEBUG"),
    text("discovery").env("ETCD_DISCOVERY"),
    text("discovery_fallback").env("ETCD_DISCOVERY_FALLBACK"),
    text("discovery_srv").env("ETCD_DISCOVERY_SRV"),
    text("discovery_proxy").env("ETCD_DISCOVERY_PROXY"),
    key("election_timeout", Int).env("ETCD_ELECTION_TIMEOUT"),
    key("enable_pprof", Bool).env("ETCD_ENABLE_PPROF"),
    key("force_new_cluster", Bool).env("ETCD_FORCE_NEW_CLUSTER"),
    key("heartbeat_interval", Int).env("ETCD_HEARTBEAT_INTERVAL"),
    text("initial_advertise_peer_urls").env("ETCD_INITIAL_ADVERTISE_PEER_URLS"),
    text("initial_cluster").env("ETCD_INITIAL_CLUSTER"),
    text("initial_cluster_state").env("ETCD_INITIAL_CLUSTER_STATE"),
    text("initial_cluster_token").env("ETCD_INITIAL_CLUSTER_TOKEN"),
    text("key_file").env("ETCD_KEY_FILE"),
    text("listen_client_urls").env("ETCD_LISTEN_CLIENT_URLS"),
    text("listen_peer_urls").env("ETCD_LISTEN_PEER_URLS"),
    text("log_package_levels").env("ETCD_LOG_PACKAGE_LEVELS"),
    key("max_snapshots", Int).env("ETCD_MAX_SNAPSHOTS"),
    key("max_wals", Int).env("ETCD_MAX_WALS"),
    text("name").env("ETCD_NAME"),
    text("peer_ca_file")
        .env("ETCD_PEER_CA_FILE")
        .deprecated("peer_ca_file obsoleted peer_trusted_ca_file and peer_client_cert_auth"),
    text("peer_cert_file").env("ETCD_PEER_CERT_FILE"),
    text("peer_key_file").env("ETCD_PEER_KEY_FILE"),
    key("peer_client_cert_auth", Bool).env("ETCD_PEER_CLIENT_CERT_AUTH"),
    text("peer_trusted_ca_file").env("ETCD_PEER_TRUSTED_CA_FILE"),
    text("proxy").env("ETCD_PROXY").valid(&PROXY),
    key("proxy_dial_timeout", Int).env("ETCD_PROXY_DIAL_TIMEOUT"),
    key("proxy_failure_wait", Int).env("ETCD_PROXY_FAILURE_WAIT"),
    key("proxy_read_timeout", Int).env("ETCD_PROXY_READ_TIMEOUT"),
    key("proxy_refresh_interval", Int).env("ETCD_PROXY_REFRESH_INTERVAL"),
    key("proxy_write_timeout", Int).env("ETCD_PROXY_WRITE_TIMEOUT"),
    key("snapshot_count", Int).env("ETCD_SNAPSHOT_COUNT"),
    key("strict_reconfig_check", Bool).env("ETCD_STRICT_RECONFIG_CHECK"),
    text("trusted_ca_file").env("ETCD_TRUSTED_CA_FILE"),
    text("wal_dir").env("ETCD_WAL_DIR"),
];

pub const FLEET: &[Key] = &[
    text("agent_ttl").env("FLEET_AGENT_TTL"),
    text("authorized_keys_file").env("FLEET_AUTHORIZED_KEYS_FILE"),
    key("disable_engine", Bool).env("FLEET_DISABLE_ENGINE"),
    key("engine_reconcile_interval", Float).env("FLEET_ENGINE_RECONCILE_INTERVAL"),
    text("etcd_cafile").env("FLEET_ETCD_CAFILE"),
    text("etcd_certfile").env("FLEET_ETCD_CERTFILE"),
    text("etcd_keyfile").env("FLEET_ETCD_KEYFILE"),
    text("etcd_key_prefix").env("FLEET_ETCD_KEY_PREFIX"),
    key("etcd_request_timeout", Float).env("FLEET_ETCD_REQUEST_TIMEOUT"),
    text("etcd_servers").env("FLEET_ETCD_SERVERS"),
    text("etcd_username").env("FLEET_ETCD_USERNAME"),
    text("etcd_password").env("FLEET_ETCD_PASSWORD"),
    text("metadata").env("FLEET_METADATA"),
    text("public_ip").env("FLEET_PUBLIC_IP"),
    key("token_limit", Int).env("FLEET_TOKEN_LIMIT"),
    key("verbosity", Int).env("FLEET_VERBOSITY"),
    key("verify_units", Bool).env("FLEET_VERIFY_UNITS"),
];

pub const FLANNEL: &[Key] = &[
    text("etcd_endpoints").env("FLANNELD_ETCD_ENDPOINTS"),
    text("etcd_cafile").env("FLANNELD_ETCD_CAFILE"),
    text("etcd_certfile").env("FLANNELD_ETCD_CERTFILE"),
    text("etcd_keyfile").env("FLANNELD_ETCD_KEYFILE"),
    text("etcd_prefix").env("FLANNELD_ETCD_PREFIX"),
    text("etcd_username").env("FLANNELD_ETCD_USERNAME"),
    text("etcd_password").env("FLANNELD_ETCD_PASSWORD"),
    text("ip_masq").env("FLANNELD_IP_MASQ"),
    text("subnet_file").env("FLANNELD_SUBNET_FILE"),
    text("interface").env("FLANNELD_IFACE"),
    text("public_ip").env("FLANNELD_PUBLIC_IP"),
];

pub const LOCKSMITH: &[Key] = &[
    text("endpoint").env("LOCKSMITHD_ENDPOINT"),
    text("etcd_cafile").env("LOCKSMITHD_ETCD_CAFILE"),
    text("etcd_certfile").env("LOCKSMITHD_ETCD_CERTFILE"),
    text("etcd_keyfile").env("LOCKSMITHD_ETCD_KEYFILE"),
    text("etcd_username").env("LOCKSMITHD_ETCD_USERNAME"),
    text("etcd_password").env("LOCKSMITHD_ETCD_PASSWORD"),
    text("group").env("LOCKSMITHD_GROUP"),
    text("window_start").env("REBOOT_WINDOW_START").valid(&WINDOW_START),
    text("window_length").env("REBOOT_WINDOW_LENGTH").valid(&WINDOW_LENGTH),
];

//! From a lab to the texts that others read (pure).

/// The user data of a node whose user has none: it starts etcd, with the others where there is a token.
pub fn user_data(token: Option<&str>) -> String {
    let discovery = token.map_or_else(String::new, |url| format!("    discovery: {url}\n"));
    format!(
        "#cloud-config\n\ncoreos:\n  etcd2:\n{discovery}    \
         advertise-client-urls: http://$public_ipv4:2379\n    \
         initial-advertise-peer-urls: http://$private_ipv4:2380\n    \
         listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001\n    \
         listen-peer-urls: http://$private_ipv4:2380,http://$private_ipv4:7001\n  \
         units:\n    - name: etcd2.service\n      command: start\n"
    )
}

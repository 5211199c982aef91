//! Names and addresses of a lab's members (pure).

pub const MAX_INSTANCES: u8 = 9;
pub const DEFAULT_INSTANCES: u8 = 3;
pub const DEFAULT_CLIENT_PORT: u16 = 2379;
/// Room for a client and a peer port, with numbers that are easy to keep in mind.
const STEP: u16 = 10;
/// The highest client port of core-01 that leaves the last member a peer port.
pub const MAX_CLIENT_PORT: u16 = u16::MAX - 1 - (MAX_INSTANCES as u16 - 1) * STEP;

/// What a lab is made of; fixed once its members have data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    pub num_instances: u8,
    pub client_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub client_port: u16,
    pub peer_port: u16,
}

impl Member {
    pub fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }
}

impl Topology {
    pub fn members(&self) -> Vec<Member> {
        let member = |number: u8| {
            let client_port = self.client_port + u16::from(number - 1) * STEP;
            Member {
                name: format!("core-{number:02}"),
                client_port,
                peer_port: client_port + 1,
            }
        };
        (1..=self.num_instances).map(member).collect()
    }

    pub fn endpoints(&self) -> String {
        let urls: Vec<String> = self.members().iter().map(Member::client_url).collect();
        urls.join(",")
    }

    fn initial_cluster(&self) -> String {
        let members = self.members();
        let pairs: Vec<String> = members.iter().map(|m| format!("{}={}", m.name, m.peer_url())).collect();
        pairs.join(",")
    }

    /// What a member's `labnode` is called with.
    pub fn arguments(&self, member: &Member, data_dir: &str) -> Vec<String> {
        let flags = [
            ("name", member.name.clone()),
            ("data-dir", data_dir.to_string()),
            ("listen-client-urls", member.client_url()),
            ("advertise-client-urls", member.client_url()),
            ("listen-peer-urls", member.peer_url()),
            ("initial-advertise-peer-urls", member.peer_url()),
            ("initial-cluster", self.initial_cluster()),
        ];
        let flags = flags.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]);
        ["etcd".to_string()].into_iter().chain(flags).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_next_member_is_ten_ports_further() {
        let topology = Topology {
            num_instances: 3,
            client_port: 2379,
        };
        let ports: Vec<_> = topology
            .members()
            .into_iter()
            .map(|m| (m.name, m.client_port, m.peer_port))
            .collect();
        let expected = [
            ("core-01", 2379, 2380),
            ("core-02", 2389, 2390),
            ("core-03", 2399, 2400),
        ];
        assert_eq!(
            ports,
            expected.map(|(name, client, peer)| (name.to_string(), client, peer))
        );
    }

    #[test]
    fn the_last_of_nine_members_still_has_a_peer_port() {
        let topology = Topology {
            num_instances: MAX_INSTANCES,
            client_port: MAX_CLIENT_PORT,
        };
        assert_eq!(topology.members().last().map(|m| m.peer_port), Some(u16::MAX));
    }

    #[test]
    fn a_member_is_told_of_all_members() {
        let topology = Topology {
            num_instances: 2,
            client_port: 100,
        };
        let arguments = topology.arguments(&topology.members()[1], "data");
        let after = |flag: &str| {
            let at = arguments.iter().position(|argument| argument == flag)?;
            arguments.get(at + 1).map(String::as_str)
        };
        assert_eq!(after("--name"), Some("core-02"));
        assert_eq!(
            after("--initial-cluster"),
            Some("core-01=http://127.0.0.1:101,core-02=http://127.0.0.1:111")
        );
    }
}

//! Member and cluster ids, computed as etcd 2 computes them, so that two nodes given the same flags agree without talking.
use sha1::{Digest, Sha1};

/// The id of a member with these peer URLs. `added_at` (unix seconds) is given for members added at run time only: it lets
/// the same URLs come back under a new id after a removal.
pub fn member_id(peer_urls: &[String], token: &str, added_at: Option<u64>) -> u64 {
    let mut sorted: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url);
    }
    hash.update(token);
    if let Some(seconds) = added_at {
        hash.update(seconds.to_string());
    }
    first_eight(hash)
}

/// The id of the cluster that these members bootstrap.
pub fn cluster_id(ids: &[u64]) -> u64 {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for id in sorted {
        hash.update(id.to_be_bytes());
    }
    first_eight(hash)
}

/// An id as it is shown everywhere: hexadecimal without leading zeros.
pub fn hex(id: u64) -> String {
    format!("{id:x}")
}

fn first_eight(hash: Sha1) -> u64 {
    hash.finalize()
        .iter()
        .take(8)
        .fold(0, |id, byte| id << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|u| u.to_string()).collect()
    }

    #[test]
    fn a_default_start_has_the_ids_every_etcd_2_walkthrough_shows() {
        let member = member_id(
            &strings(&["http://localhost:2380", "http://localhost:7001"]),
            "etcd-cluster",
            None,
        );
        assert_eq!(hex(member), "ce2a822cea30bfca");
        assert_eq!(hex(cluster_id(&[member])), "7e27652122e8b2ae");
    }

    #[test]
    fn one_peer_url_gives_the_id_that_etcd_3_shows() {
        // Seen in Debian's etcd 3.4.23, which computes ids in the same way.
        let member = member_id(&strings(&["http://localhost:2380"]), "etcd-cluster", None);
        assert_eq!(hex(member), "8e9e05c52164694d");
        assert_eq!(hex(cluster_id(&[member])), "cdf818194e3a8c32");
    }

    #[test]
    fn the_order_of_urls_and_members_does_not_matter() {
        let (a, b) = ("http://10.0.0.1:2380", "http://10.0.0.2:2380");
        assert_eq!(
            member_id(&strings(&[a, b]), "t", None),
            member_id(&strings(&[b, a]), "t", None)
        );
        assert_eq!(cluster_id(&[1, 2]), cluster_id(&[2, 1]));
    }

    #[test]
    fn the_time_of_adding_gives_another_id() {
        let url = strings(&["http://10.0.0.1:2380"]);
        assert_ne!(member_id(&url, "t", Some(1)), member_id(&url, "t", None));
        assert_ne!(member_id(&url, "t", Some(1)), member_id(&url, "t", Some(2)));
    }

    #[test]
    fn an_id_is_shown_without_leading_zeros() {
        assert_eq!(hex(0x0a1b), "a1b");
    }
}

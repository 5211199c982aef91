//! What all faults together make of the links between nodes (pure): computed anew for every set of them.
use std::net::Ipv4Addr;

use super::{Fault, Names};
use crate::wire::{Link, Links, mac};

/// Names and addresses of all nodes; the host's way to them is never disturbed, so that one can look.
pub fn links<'a>(faults: impl Iterator<Item = &'a Fault>, nodes: &[(String, Ipv4Addr)]) -> Links {
    let mut links = Links::new();
    for fault in faults {
        let mut put = |from: &str, to: &str, link: &Link| {
            let address = |name: &str| nodes.iter().find(|(own, _)| own == name).map(|(_, address)| *address);
            if let (Some(one), Some(other)) = (address(from), address(to))
                && from != to
            {
                links.entry((mac(one), mac(other))).or_default().add(link);
            }
        };
        let mut outward = |at: &Names, to: Option<&Names>, link: &Link| {
            for from in at.iter() {
                for (name, _) in nodes {
                    if to.is_none_or(|to| to.has(name)) {
                        put(from, name, link);
                    }
                }
            }
        };
        let cut = Link {
            cut: true,
            ..Link::default()
        };
        match fault {
            Fault::Partition(partition) => {
                let rest: Vec<String> = nodes
                    .iter()
                    .map(|(name, _)| name.clone())
                    .filter(|name| !partition.groups.iter().any(|group| group.has(name)))
                    .collect();
                let mut groups = partition.groups.clone();
                if groups.len() == 1 {
                    groups.push(Names(rest));
                }
                for (at, one) in groups.iter().enumerate() {
                    for (_, other) in groups.iter().enumerate().filter(|(other, _)| *other != at) {
                        outward(one, Some(other), &cut);
                    }
                }
            }
            Fault::Oneway(oneway) => outward(&oneway.from, Some(&oneway.to), &cut),
            Fault::Delay(delay) => {
                let link = Link {
                    delay: delay.by.duration(),
                    jitter: delay.jitter.unwrap_or_default().duration(),
                    ..Link::default()
                };
                outward(&delay.at, delay.to.as_ref(), &link);
            }
            Fault::Loss(loss) => {
                let link = Link {
                    loss: loss.percent / 100.0,
                    ..Link::default()
                };
                outward(&loss.at, loss.to.as_ref(), &link);
            }
            Fault::Rate(rate) => {
                let link = Link {
                    rate: Some(rate.limit.0 / 8),
                    ..Link::default()
                };
                outward(&rate.at, rate.to.as_ref(), &link);
            }
            _ => {}
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Delay, Oneway, Partition};

    fn nodes() -> Vec<(String, Ipv4Addr)> {
        (1..=3u8)
            .map(|n| (format!("core-0{n}"), Ipv4Addr::new(172, 17, 8, 100 + n)))
            .collect()
    }

    fn names(text: &str) -> Names {
        text.parse().expect("names")
    }

    /// Which pairs are cut, as digits.
    fn cuts(faults: &[Fault]) -> Vec<String> {
        let of = |mac: &[u8; 6]| mac[5] - 100;
        links(faults.iter(), &nodes())
            .iter()
            .filter(|(_, link)| link.cut)
            .map(|((from, to), _)| format!("{}{}", of(from), of(to)))
            .collect()
    }

    #[test]
    fn a_group_alone_is_cut_off_from_all_others_in_both_directions() {
        let alone = Fault::Partition(Partition {
            groups: vec![names("core-02")],
        });
        assert_eq!(cuts(&[alone]), ["12", "21", "23", "32"]);
        let two = Fault::Partition(Partition {
            groups: vec![names("core-01"), names("core-02")],
        });
        assert_eq!(cuts(&[two]), ["12", "21"]);
    }

    #[test]
    fn one_way_is_one_way() {
        let oneway = Fault::Oneway(Oneway {
            from: names("core-01"),
            to: names("core-02,core-03"),
        });
        assert_eq!(cuts(&[oneway]), ["12", "13"]);
    }

    #[test]
    fn faults_on_the_same_link_add_up_and_each_goes_alone() {
        let delay = |to: Option<&str>, by: &str| {
            Fault::Delay(Delay {
                at: names("core-01"),
                to: to.map(names),
                by: by.parse().expect("a time"),
                jitter: None,
            })
        };
        let both = [delay(None, "10ms"), delay(Some("core-03"), "5ms")];
        let of = |faults: &[Fault]| -> Vec<u128> {
            let links = links(faults.iter(), &nodes());
            links.values().map(|link| link.delay.as_millis()).collect()
        };
        assert_eq!(of(&both), [10, 15]);
        assert_eq!(of(&both[1..]), [5]);
        assert_eq!(of(&[]), [0u128; 0]);
    }
}

//! Views of every kind, what is decided in them, and whole groups that find each other in a disorderly world.
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn url(n: usize) -> String {
    format!("http://10.0.0.{n}:2380")
}

fn urls(n: usize) -> Vec<Url> {
    vec![Url::parse(&url(n)).unwrap()]
}

fn instance(n: usize) -> Instance {
    Instance {
        id: format!("i-{n}"),
        state: State::Running,
        address: Some(format!("10.0.0.{n}")),
        tags: Vec::new(),
    }
}

fn founders(list: &[usize]) -> Founders {
    list.iter().map(|n| (format!("i-{n}"), vec![url(*n)])).collect()
}

fn waiting(n: usize, list: &[usize]) -> Waiting {
    Waiting {
        name: format!("i-{n}"),
        peer_urls: vec![url(n)],
        founders: founders(list),
    }
}

fn other(n: usize, said: Said) -> Other {
    Other {
        id: format!("i-{n}"),
        url: url(n),
        said,
    }
}

fn member(n: usize, id: u64, name: &str) -> MemberInfo {
    MemberInfo {
        id,
        name: name.into(),
        peer_urls: vec![url(n)],
        client_urls: Vec::new(),
    }
}

fn at(own: &Waiting, others: &[Other], min: usize) -> Step {
    let view = View {
        own,
        others,
        min,
        may_found: true,
    };
    decide(&view, &address)
}

#[track_caller]
fn waits(step: Step, why: &str, list: &[usize]) {
    match step {
        Step::Wait { why: said, founders } => {
            assert!(said.contains(why), "{said:?} does not say {why:?}");
            assert_eq!(founders, self::founders(list));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_alone_waits_for_a_second() {
    waits(at(&waiting(1, &[]), &[], 2), "1 of 2 instances", &[]);
    // Unless one is enough.
    waits(at(&waiting(1, &[]), &[], 1), "agreeing", &[1]);
    assert_eq!(at(&waiting(1, &[1]), &[], 1), Step::Found(founders(&[1])));
}

#[test]
fn a_list_is_begun_with_when_all_have_told_it() {
    let says = |list| [other(2, Said::Waits(waiting(2, list)))];
    waits(at(&waiting(1, &[]), &says(&[]), 2), "agreeing", &[1, 2]);
    waits(at(&waiting(1, &[1, 2]), &says(&[]), 2), "agreeing", &[1, 2]);
    waits(at(&waiting(1, &[]), &says(&[1, 2]), 2), "agreeing", &[1, 2]);
    waits(at(&waiting(1, &[1, 2]), &says(&[1, 2, 3]), 2), "agreeing", &[1, 2]);
    assert_eq!(
        at(&waiting(1, &[1, 2]), &says(&[1, 2]), 2),
        Step::Found(founders(&[1, 2]))
    );
}

#[test]
fn nobody_begins_while_an_instance_is_silent() {
    let others = [
        other(2, Said::Waits(waiting(2, &[1, 2, 3]))),
        other(3, Said::Nothing("connection refused".into())),
    ];
    let why = "no answer from i-3 at http://10.0.0.3:2380 (connection refused)";
    waits(at(&waiting(1, &[1, 2, 3]), &others, 2), why, &[]);
}

#[test]
fn the_same_name_or_url_twice_is_said() {
    let mut twin = waiting(2, &[]);
    twin.name = "i-1".into();
    waits(
        at(&waiting(1, &[]), &[other(2, Said::Waits(twin))], 2),
        "both have the name \"i-1\"",
        &[],
    );
    let mut squatter = waiting(2, &[]);
    squatter.peer_urls = vec![url(1)];
    waits(
        at(&waiting(1, &[]), &[other(2, Said::Waits(squatter))], 2),
        "the same peer URL",
        &[],
    );
}

#[test]
fn who_may_only_join_begins_nothing() {
    let view = View {
        own: &waiting(1, &[1, 2]),
        others: &[other(2, Said::Waits(waiting(2, &[1, 2])))],
        min: 2,
        may_found: false,
    };
    waits(decide(&view, &address), "none is begun", &[]);
}

#[test]
fn a_cluster_that_runs_is_joined_whoever_else_is_silent() {
    let known = Known {
        cluster_id: 7,
        members: vec![member(2, 22, "i-2")],
    };
    let others = [
        other(2, Said::Runs(known.clone())),
        other(3, Said::Nothing("connection refused".into())),
    ];
    let replace = vec![];
    assert_eq!(at(&waiting(1, &[]), &others, 2), Step::Join { known, replace });
}

#[test]
fn a_member_that_is_declared_and_unstarted_is_this_one() {
    let known = |cluster_id| Known {
        cluster_id,
        members: vec![member(1, 11, ""), member(2, 22, "i-2")],
    };
    let be = |cluster, first| Step::Be {
        member: 11,
        cluster,
        first,
    };
    let step = at(&waiting(1, &[]), &[other(2, Said::Runs(known(7)))], 2);
    assert_eq!(step, be(7, None), "it was added");
    let first = ids::cluster_id(&[11, 22]);
    let step = at(&waiting(1, &[]), &[other(2, Said::Runs(known(first)))], 2);
    let members = BTreeMap::from([(11, vec![url(1)]), (22, vec![url(2)])]);
    assert_eq!(step, be(first, Some(members)), "the cluster began with it");
}

#[test]
fn a_member_at_our_url_that_has_run_is_replaced() {
    let known = Known {
        cluster_id: 7,
        members: vec![member(1, 11, "i-0"), member(2, 22, "i-2")],
    };
    let step = at(&waiting(1, &[]), &[other(2, Said::Runs(known.clone()))], 2);
    assert_eq!(
        step,
        Step::Join {
            known,
            replace: vec![11]
        }
    );
}

#[test]
fn one_that_knows_nobody_yet_is_waited_for_and_several_clusters_are_not_chosen_from() {
    let runs = |n, cluster_id, members| other(n, Said::Runs(Known { cluster_id, members }));
    waits(
        at(&waiting(1, &[]), &[runs(2, 7, vec![])], 2),
        "does not know the others",
        &[],
    );
    let two = [runs(2, 7, vec![]), runs(3, 8, vec![])];
    waits(at(&waiting(1, &[]), &two, 2), "several clusters", &[]);
    let both = [runs(2, 7, vec![]), runs(3, 7, vec![member(3, 33, "i-3")])];
    assert!(matches!(at(&waiting(1, &[]), &both, 2), Step::Join { .. }));
}

#[test]
fn an_instance_is_looked_for_at_its_address_or_where_its_tag_says() {
    let like = |text| Url::parse(text).unwrap();
    let mut one = instance(1);
    assert_eq!(
        peer_url(&one, &like("https://10.0.0.9:7001")).as_deref(),
        Some("https://10.0.0.1:7001")
    );
    one.address = Some("fd00::1".into());
    assert_eq!(
        peer_url(&one, &like("http://[fd00::9]:2380")).as_deref(),
        Some("http://[fd00::1]:2380")
    );
    one.address = None;
    assert_eq!(peer_url(&one, &like("http://10.0.0.9:2380")), None);
    one.tags = vec![(PEER_URL_TAG.into(), "http://h:1".into())];
    assert_eq!(
        peer_url(&one, &like("http://10.0.0.9:2380")).as_deref(),
        Some("http://h:1")
    );
    one.tags = vec![(PEER_URL_TAG.into(), "h:1".into())];
    assert_eq!(peer_url(&one, &like("http://10.0.0.9:2380")), None);
}

#[test]
fn the_own_instance_is_known_by_its_id_or_its_address() {
    let all = [instance(1), instance(2)];
    assert_eq!(own(&all, Some("i-1"), &urls(2), &address), Some(&all[0]));
    assert_eq!(own(&all, Some("i-elsewhere"), &urls(2), &address), Some(&all[1]));
    assert_eq!(own(&all, None, &urls(3), &address), None);
}

#[test]
fn a_member_is_gone_when_no_instance_that_may_come_back_has_its_address() {
    let members = [member(1, 11, ""), member(2, 22, "i-2"), member(3, 33, "i-3")];
    let mut all = vec![instance(1), instance(2)];
    let names = |all: &[Instance]| -> Vec<u64> {
        let gone = gone(&members, &urls(1), all, &address);
        gone.iter().map(|member| member.id).collect()
    };
    assert_eq!(names(&all), [33]);
    all.push(Instance {
        state: State::Stopped,
        ..instance(3)
    });
    assert_eq!(names(&all), [0; 0]);
    // A list without ourselves is of something else.
    assert_eq!(names(&[instance(2)]), [0; 0]);
}

#[test]
fn a_member_whose_name_does_not_resolve_is_not_gone() {
    let mut named = member(2, 22, "i-2");
    named.peer_urls = vec!["http://two.test:2380".into()];
    let members = [named];
    assert_eq!(gone(&members, &urls(1), &[instance(1)], &address).len(), 0);
    let resolve = |host: &str| match host {
        "two.test" => address("10.0.0.2"),
        other => address(other),
    };
    assert_eq!(gone(&members, &urls(1), &[instance(1)], &resolve).len(), 1);
    assert_eq!(gone(&members, &urls(1), &[instance(1), instance(2)], &resolve).len(), 0);
}

/// A group of instances: what each of them sees, says, and has become.
struct World {
    nodes: Vec<Node>,
    clusters: Vec<Cluster>,
    min: usize,
}

struct Node {
    /// Which instances EC2 shows to this one; it shows more as time goes by. The first one is shown to all: lists
    /// without a common instance are those that nothing here could bring together.
    sees: BTreeSet<usize>,
    told: Waiting,
    /// What it has heard and not acted on yet.
    heard: Option<Vec<Other>>,
    cluster: Option<usize>,
}

struct Cluster {
    id: u64,
    members: Vec<MemberInfo>,
    founders: BTreeSet<u64>,
    started: BTreeSet<u64>,
}

impl Cluster {
    fn works(&self) -> bool {
        self.founders.intersection(&self.started).count() > self.founders.len() / 2
    }
}

fn id_of(n: usize) -> u64 {
    ids::member_id(&[url(n)], "etcd=prod", None)
}

impl World {
    fn new(size: usize, min: usize) -> World {
        let node = |n| Node {
            sees: BTreeSet::from([n, 0]),
            told: waiting(n, &[]),
            heard: None,
            cluster: None,
        };
        World {
            nodes: (0..size).map(node).collect(),
            clusters: Vec::new(),
            min,
        }
    }

    /// Node `n` asks those that it sees; `lost` are not heard.
    fn hear(&mut self, n: usize, lost: &[usize]) {
        let said = |m: usize| match self.nodes[m].cluster {
            _ if lost.contains(&m) => Said::Nothing("lost".into()),
            Some(cluster) => Said::Runs(Known {
                cluster_id: self.clusters[cluster].id,
                members: self.clusters[cluster].members.clone(),
            }),
            None => Said::Waits(self.nodes[m].told.clone()),
        };
        let others = self.nodes[n].sees.iter().filter(|m| **m != n);
        self.nodes[n].heard = Some(others.map(|m| other(*m, said(*m))).collect());
    }

    /// Node `n` acts on what it has heard.
    fn act(&mut self, n: usize) {
        if self.nodes[n].cluster.is_some() {
            return;
        }
        let Some(heard) = self.nodes[n].heard.take() else {
            return;
        };
        match at(&self.nodes[n].told, &heard, self.min) {
            Step::Wait { founders, .. } => self.nodes[n].told.founders = founders,
            Step::Found(list) => self.found(n, &list),
            Step::Be { member, cluster, first } => {
                let at = self.clusters.iter().position(|one| one.id == cluster).unwrap();
                let founders = &self.clusters[at].founders;
                assert!(
                    first.is_none_or(|first| first.keys().eq(founders)),
                    "it began with others"
                );
                self.clusters[at].started.insert(member);
                self.nodes[n].cluster = Some(at);
            }
            Step::Join { known, replace } => {
                assert_eq!(replace, [0; 0], "nobody here has lost its data");
                let cluster = self.clusters.iter_mut().find(|one| one.id == known.cluster_id).unwrap();
                // Without a quorum nothing is added, and what is there is not added again.
                if cluster.works() && !cluster.members.iter().any(|member| member.peer_urls == [url(n)]) {
                    cluster.members.push(member(n, 1000 + n as u64, ""));
                }
                self.nodes[n].told.founders.clear();
            }
        }
    }

    fn found(&mut self, n: usize, list: &Founders) {
        let members: Vec<MemberInfo> = list
            .values()
            .map(|urls| MemberInfo {
                id: ids::member_id(urls, "etcd=prod", None),
                peer_urls: urls.clone(),
                ..MemberInfo::default()
            })
            .collect();
        let all: Vec<u64> = members.iter().map(|member| member.id).collect();
        let id = ids::cluster_id(&all);
        let at = self.clusters.iter().position(|one| one.id == id).unwrap_or_else(|| {
            self.clusters.push(Cluster {
                id,
                members,
                founders: all.into_iter().collect(),
                started: BTreeSet::new(),
            });
            self.clusters.len() - 1
        });
        self.clusters[at].started.insert(id_of(n));
        self.nodes[n].cluster = Some(at);
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Shown(usize, usize),
    Hear(usize, Option<usize>),
    Act(usize),
    /// The process starts again, without data: it has forgotten what it told.
    Restart(usize),
}

fn event(size: usize) -> impl Strategy<Value = Event> {
    let n = 0..size;
    prop_oneof![
        3 => (n.clone(), n.clone()).prop_map(|(n, m)| Event::Shown(n, m)),
        6 => (n.clone(), proptest::option::weighted(0.1, n.clone())).prop_map(|(n, lost)| Event::Hear(n, lost)),
        6 => n.clone().prop_map(Event::Act),
        1 => n.prop_map(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever EC2 shows to whom and when, and whoever hears whom late or not at all.
    #[test]
    fn all_end_in_one_cluster((size, min, events) in (2..6usize).prop_flat_map(|size| {
        (Just(size), 1..=size.min(3), proptest::collection::vec(event(size), 0..200))
    })) {
        let mut world = World::new(size, min);
        for event in events {
            match event {
                Event::Shown(n, m) => { world.nodes[n].sees.insert(m); }
                Event::Hear(n, lost) => world.hear(n, lost.as_slice()),
                Event::Act(n) => world.act(n),
                Event::Restart(n) if world.nodes[n].cluster.is_none() => {
                    world.nodes[n].heard = None;
                    world.nodes[n].told.founders.clear();
                }
                Event::Restart(_) => {}
            }
            let works = world.clusters.iter().filter(|cluster| cluster.works()).count();
            prop_assert!(works < 2, "two clusters work");
        }
        // At last EC2 shows all to all, and everybody is heard.
        for n in 0..size {
            world.nodes[n].sees.extend(0..size);
        }
        for _ in 0..3 * size {
            for n in 0..size {
                world.hear(n, &[]);
                world.act(n);
            }
        }
        let first = world.nodes[0].cluster;
        prop_assert!(first.is_some());
        prop_assert!(world.nodes.iter().all(|node| node.cluster == first), "not all are in the same cluster");
        prop_assert!(world.clusters[first.unwrap()].works());
    }

    #[test]
    fn nobody_is_gone_who_has_an_instance(members in proptest::collection::btree_set(1..9usize, 1..6), there in proptest::collection::btree_set(1..9usize, 0..8)) {
        let own = *members.first().unwrap();
        let list: Vec<MemberInfo> = members.iter().map(|n| member(*n, *n as u64, "x")).collect();
        let instances: Vec<Instance> = there.iter().map(|n| instance(*n)).collect();
        let found: BTreeSet<usize> = gone(&list, &urls(own), &instances, &address).iter().map(|member| member.id as usize).collect();
        let wanted: BTreeSet<usize> = if there.contains(&own) { members.difference(&there).copied().collect() } else { BTreeSet::new() };
        prop_assert_eq!(found, wanted);
    }
}

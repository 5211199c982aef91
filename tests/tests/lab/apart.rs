//! Labs beside each other, with the same names and addresses.
use corelab_tests::lab::Lab;

#[test]
fn two_labs_with_the_same_addresses_do_not_meet() {
    let (one, two) = (Lab::bare(2), Lab::bare(2));
    one.ok(&["up"]);
    two.ok(&["up"]);
    let ports = |lab: &Lab| -> Vec<u64> {
        ["core-01", "core-02"]
            .map(|node| lab.node(node)["ssh_port"].as_u64().expect("a port"))
            .to_vec()
    };
    let (of_one, of_two) = (ports(&one), ports(&two));
    assert!(
        of_one.iter().all(|port| !of_two.contains(port)),
        "{of_one:?} {of_two:?}"
    );
    // Who answers at core-01's address is each lab's own core-01.
    let keys: Vec<String> = [&one, &two]
        .into_iter()
        .map(|lab| {
            let own = lab.on("core-01", "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub");
            let seen = lab.on(
                "core-02",
                "ssh-keyscan -t ed25519 172.17.8.101 2>/dev/null | cut -d' ' -f3",
            );
            assert_eq!(own, seen);
            own
        })
        .collect();
    assert_ne!(keys[0], keys[1]);
    // A node that only one of them has is not there for the other.
    one.ok(&["destroy", "-f", "core-02"]);
    let alone = one.lab(&["ssh", "core-01", "--", "ping -c 1 -W 1 172.17.8.102"]);
    assert_eq!(alone.status.code(), Some(1));
    two.on("core-01", "ping -c 1 -W 5 172.17.8.102");
    one.ok(&["destroy", "-f"]);
    two.on("core-02", "ping -c 1 -W 5 172.17.8.101");
    two.ok(&["destroy", "-f"]);
    one.gone();
    two.gone();
}

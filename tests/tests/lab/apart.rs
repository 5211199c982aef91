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
    for (lab, word) in [(&one, "one"), (&two, "two")] {
        // A server on the same address and port in each.
        lab.on("core-01", &format!("echo {word} > word"));
        lab.on(
            "core-01",
            "sudo systemd-run -q --unit=serve --socket-property=ListenStream=8000 --socket-property=Accept=yes \
             -p StandardOutput=socket cat /home/core/word",
        );
    }
    for (lab, word) in [(&one, "one"), (&two, "two")] {
        assert_eq!(lab.on("core-02", "cat < /dev/tcp/172.17.8.101/8000").trim(), word);
    }
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

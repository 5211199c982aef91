//! What an ordinary user has beyond the tests that are the same for everybody: nothing is his that is not below his own.
use corelab_tests::lab::{Lab, Who};

#[test]
fn root_inside_is_nobody_outside_and_a_reboot_needs_nobody_else() {
    let lab = Lab::bare_of(Who::User, 1);
    lab.ok(&["up"]);
    assert_eq!(lab.on("core-01", "sudo id -u").trim(), "0");
    assert_eq!(lab.on("core-01", "systemctl is-system-running").trim(), "running");
    let owner = lab.sh("stat -c %U .lab/lab.json");
    assert_eq!(owner, lab.sh("id -un"), "the lab is the user's");
    let doctor = lab.lab(&["doctor"]);
    assert!(
        String::from_utf8_lossy(&doctor.stdout).contains("namespaces"),
        "{doctor:?}"
    );
    lab.ok(&["halt", "core-01"]);
    lab.ok(&["up"]);
    assert_eq!(lab.sh("lab exec core-01 -- hostname").trim(), "core-01");
    lab.gone();
}

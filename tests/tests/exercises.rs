//! Every exercise proves something: red before, green after, and red again without any one of its actions.
use std::fs;
use std::path::Path;
use std::process::Command;

use corelab_tests::lab::Lab;
use corelab_tests::tools::{self, outputs, run};

/// Of a machine that has much else to do: an exercise alone takes less than a minute.
const LIMIT: &str = "900";

fn prove(name: &str) {
    let lab = Lab::new();
    let mut command = Command::new("timeout");
    command.args(["--foreground", "-k", "5", LIMIT]).arg(tools::lab());
    lab.surround(&mut command);
    let output = run(command.args(["prove", name]));
    assert!(output.status.success(), "{name}: {}", outputs(&output));
}

macro_rules! exercises {
    ($($test:ident = $name:literal,)*) => {
        const PROVED: &[&str] = &[$($name),*];

        $(
            #[test]
            fn $test() {
                prove($name);
            }
        )*
    };
}

exercises! {
    one_member = "01-one-member",
    two_are_worse = "02-two-are-worse",
    three_members = "03-three-members",
    discovery = "04-discovery",
    disaster_recovery = "05-disaster-recovery",
    partitions = "06-partitions",
    tls = "07-tls",
    users_and_roles = "08-users-and-roles",
    keys_and_watches = "09-keys-and-watches",
    tour_of_a_node = "10-tour-of-a-node",
    fleet = "11-fleet",
    losing_a_machine = "12-losing-a-machine",
    database_set = "13-database-set",
    delivery = "14-delivery",
    slow_and_full = "15-slow-and-full",
}

#[test]
fn every_exercise_is_among_them() {
    let labs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../labs");
    let mut names: Vec<String> = fs::read_dir(labs)
        .expect("the exercises")
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().join("lab.yaml").is_file()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, PROVED);
}

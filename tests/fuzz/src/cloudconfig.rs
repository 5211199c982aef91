//! User data: whatever it is, it is read or refused, checked, and made a plan of.
#![no_main]
use std::collections::BTreeSet;

use labnode::cloudconfig::plan::{self, Facts, Options};
use labnode::cloudconfig::substitute::{self, Values};
use labnode::cloudconfig::{UserData, netconf, parse, strict, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let values = Values::default();
    let data = &substitute::apply(data, &values);
    let _ = validate::validate(data);
    for problem in strict::check(data, &values) {
        strict::print(&problem, "user-data", data);
    }
    if let Ok(UserData::Config(config)) = parse(data) {
        let facts = Facts {
            users: BTreeSet::new(),
            hostname: "core-01".into(),
            update_conf: Ok(Vec::new()),
            environment: Vec::new(),
            interfaces: Vec::new(),
        };
        let options = Options {
            ssh_key_name: "fuzz".into(),
            variables: Vec::new(),
            interfaces: Vec::new(),
            strict: data.len() % 2 == 0,
        };
        plan::plan(&config, &facts, &options);
    }
    let mut log = Vec::new();
    let _ = netconf::debian::read(data, &mut log);
    let _ = netconf::packet::read(data, &mut log);
    let _ = netconf::vmware::read(data, &mut log);
});

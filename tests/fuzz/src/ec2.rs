//! EC2's answers.
#![no_main]
use labnode::etcd::ec2::answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let _ = answer::parse(data);
    let _ = answer::parse_error(data);
});

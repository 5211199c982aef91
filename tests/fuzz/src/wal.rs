//! A log whose segments hold anything: it opens, or says what is damaged.
#![no_main]
#[path = "../../../node/tests/simulation/disk.rs"]
#[allow(dead_code)]
mod disk;

use std::path::Path;

use bytes::Bytes;
use labnode::raft::wal::{self, Head, format};
use libfuzzer_sys::fuzz_target;

// The first byte says how the rest is laid on the disk: as it is, behind a
// segment's head, or in frames with right checksums.
fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let _ = format::parse_records(&Bytes::copy_from_slice(rest));
    let platters = disk::SimDisk::new(1);
    let (disk, dir) = (platters.mount(), Path::new("/wal"));
    let mut out = Vec::new();
    let mut number = 0;
    let mut put = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        format::begin_frame(&mut frame);
        fill(&mut frame);
        format::end_frame(&mut frame, number);
        number += 1;
        out.extend_from_slice(&frame);
    };
    if kind % 3 > 0 {
        put(&|frame| format::put_head(frame, &Head::default()));
    }
    if kind % 3 > 1 {
        for piece in rest.split(|byte| *byte == 0xff) {
            put(&|frame| frame.extend_from_slice(piece));
        }
    } else {
        out.extend_from_slice(rest);
    }
    let segment = disk.open(&dir.join(format::segment_name(0, 0))).unwrap();
    segment.write_at(&out, 0).unwrap();
    for salvage in [false, true] {
        let _ = wal::open(disk.clone(), dir, None, 5, salvage).map_err(|error| error.to_string());
    }
});

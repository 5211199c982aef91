//! The log on a real disk: what is written is read back, what a crash tore is cut, what was damaged is refused.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::{Meta, OpenError, Opened, Request, create, format, open};
use crate::raft::disk::{Disk, OsDisk};
use crate::raft::types::{Batch, Entry, IoFlushed, LeaderId, Vote, log_id};

const META: Meta = Meta {
    member_id: 1,
    cluster_id: 2,
};

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

fn begin(dir: &Path) -> Opened {
    create(disk(), dir, META, 5).expect("a new log")
}

fn reopen(dir: &Path) -> Result<Opened, OpenError> {
    open(disk(), dir, None, 5, false).map(|opened| opened.expect("there is a log"))
}

fn entry(term: u64, index: u64, text: &str) -> Entry {
    let payload = if text.is_empty() {
        EntryPayload::Blank
    } else {
        EntryPayload::Normal(Batch(Bytes::copy_from_slice(text.as_bytes())))
    };
    Entry {
        log_id: log_id(term, index),
        payload,
    }
}

fn append(opened: &Opened, entries: Vec<Entry>) {
    for entry in &entries {
        opened.index.lock().unwrap().push(entry.clone(), None);
    }
    write(opened, Request::Append(entries, IoFlushed::noop()));
}

fn write(opened: &Opened, request: Request) {
    assert!(
        opened.writer.lock().unwrap().write(&mut vec![request]),
        "room on the disk"
    );
}

fn truncate(opened: &Opened, after: u64) {
    opened.index.lock().unwrap().truncate_after(Some(after));
    write(opened, Request::Truncate(Some(after), oneshot::channel().0));
}

fn purge(opened: &Opened, term: u64, upto: u64) {
    opened.index.lock().unwrap().purge(log_id(term, upto));
    write(opened, Request::Purge(log_id(term, upto), oneshot::channel().0));
}

fn entries(opened: &Opened) -> Vec<Entry> {
    opened
        .index
        .lock()
        .unwrap()
        .read(0, u64::MAX, usize::MAX)
        .expect("readable entries")
}

fn segment(dir: &Path) -> PathBuf {
    dir.join(format::segment_name(0, 0))
}

/// The offset of every frame, and of the end.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![0];
    loop {
        let at = *offsets.last().unwrap();
        let header: [u8; format::FRAME_HEADER] = bytes[at..at + format::FRAME_HEADER].try_into().unwrap();
        match format::FrameHeader::parse(&header) {
            Some(header) => {
                offsets.push((at + format::FRAME_HEADER + header.len).next_multiple_of(format::FRAME_HEADER))
            }
            None => return offsets,
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let opened = begin(dir.path());
    append(&opened, vec![entry(1, 0, ""), entry(1, 1, "one"), entry(1, 2, "two")]);
    let vote = Vote {
        leader_id: LeaderId::new(3, 9),
        committed: true,
    };
    opened.index.lock().unwrap().vote = Some(vote);
    write(&opened, Request::Vote(vote, oneshot::channel().0));
    truncate(&opened, 1);
    append(&opened, vec![entry(3, 2, "other"), entry(3, 3, "three")]);
    purge(&opened, 1, 0);
    opened.index.lock().unwrap().committed = Some(log_id(3, 2));
    append(&opened, vec![entry(3, 4, "four")]);
    drop(opened);
    let again = reopen(dir.path()).unwrap();
    assert_eq!(
        entries(&again),
        vec![
            entry(1, 1, "one"),
            entry(3, 2, "other"),
            entry(3, 3, "three"),
            entry(3, 4, "four")
        ]
    );
    let index = again.index.lock().unwrap();
    assert_eq!(
        (index.vote, index.purged, index.committed),
        (Some(vote), Some(log_id(1, 0)), Some(log_id(3, 2)))
    );
    assert_eq!(again.meta, META);
}

#[test]
fn a_file_cut_anywhere_in_its_last_frame_loses_that_frame_alone() {
    let dir = tempfile::tempdir().unwrap();
    let opened = begin(dir.path());
    append(&opened, vec![entry(1, 0, "kept")]);
    append(&opened, vec![entry(1, 1, "torn"), entry(1, 2, "torn, too")]);
    drop(opened);
    let bytes = std::fs::read(segment(dir.path())).unwrap();
    let offsets = frames(&bytes);
    let (last, end) = (offsets[offsets.len() - 2], offsets[offsets.len() - 1]);
    // The padding behind a frame carries nothing.
    let header: [u8; format::FRAME_HEADER] = bytes[last..last + format::FRAME_HEADER].try_into().unwrap();
    let full = last + format::FRAME_HEADER + format::FrameHeader::parse(&header).unwrap().len;
    assert!(full <= end);
    for cut in last + 1..full {
        std::fs::write(segment(dir.path()), &bytes[..cut]).unwrap();
        let again = reopen(dir.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(entries(&again), vec![entry(1, 0, "kept")], "cut at {cut}");
        append(&again, vec![entry(1, 1, "after")]);
        drop(again);
        assert_eq!(entries(&reopen(dir.path()).unwrap()).len(), 2, "cut at {cut}");
    }
}

#[test]
fn a_byte_flipped_anywhere_in_a_written_frame_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let opened = begin(dir.path());
    append(&opened, vec![entry(1, 0, "first")]);
    append(&opened, vec![entry(1, 1, "second")]);
    append(&opened, vec![entry(1, 2, "last")]);
    drop(opened);
    let bytes = std::fs::read(segment(dir.path())).unwrap();
    let offsets = frames(&bytes);
    for pair in offsets.windows(2) {
        let header: [u8; format::FRAME_HEADER] = bytes[pair[0]..pair[0] + format::FRAME_HEADER].try_into().unwrap();
        let len = format::FrameHeader::parse(&header).unwrap().len;
        for at in pair[0]..pair[0] + format::FRAME_HEADER + len {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            std::fs::write(segment(dir.path()), &damaged).unwrap();
            match reopen(dir.path()) {
                Err(OpenError::Damaged { offset, .. }) => assert_eq!(offset, pair[0] as u64, "flipped at {at}"),
                Err(error) => panic!("flipped at {at}: {error}"),
                Ok(_) => panic!("flipped at {at} and opened"),
            }
        }
    }
}

#[test]
fn a_sector_that_never_reached_the_disk_cuts_the_last_frame() {
    let dir = tempfile::tempdir().unwrap();
    let opened = begin(dir.path());
    append(&opened, vec![entry(1, 0, "kept")]);
    append(&opened, vec![entry(1, 1, &"x".repeat(4000))]);
    drop(opened);
    let mut bytes = std::fs::read(segment(dir.path())).unwrap();
    bytes[1024..1536].fill(0);
    std::fs::write(segment(dir.path()), &bytes).unwrap();
    assert_eq!(entries(&reopen(dir.path()).unwrap()), vec![entry(1, 0, "kept")]);
}

#[test]
fn a_segment_that_was_never_finished_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let opened = begin(dir.path());
    append(&opened, vec![entry(1, 0, "kept")]);
    drop(opened);
    let unfinished = dir.path().join(format::segment_name(1, 1));
    std::fs::write(&unfinished, vec![0; 4096]).unwrap();
    assert_eq!(entries(&reopen(dir.path()).unwrap()), vec![entry(1, 0, "kept")]);
    assert!(!unfinished.exists());
}

#[test]
fn entries_out_of_memory_come_back_from_disk_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let opened = begin(dir.path());
    let big = |index: u64| entry(1, index, &format!("{index}-{}", "y".repeat(3 << 20)));
    for index in 0..30 {
        append(&opened, vec![big(index)]);
    }
    let segments = disk().list(dir.path()).unwrap().len();
    assert!(segments > 1, "90 MiB in {segments} segment");
    let check = |opened: &Opened| {
        for index in 0..30 {
            let read = opened.index.lock().unwrap().read(index, index + 1, 1).unwrap();
            assert!(read == vec![big(index)], "entry {index}");
        }
    };
    check(&opened);
    drop(opened);
    check(&reopen(dir.path()).unwrap());
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Truncate(u8),
    Purge(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5u8).prop_map(Step::Append),
        1 => (0..6u8).prop_map(Step::Truncate),
        1 => (0..6u8).prop_map(Step::Purge),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_sequence_of_changes_survives_a_restart(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = begin(dir.path());
        let mut model: Vec<Entry> = Vec::new();
        let mut next = 0;
        let mut term = 1;
        for step in steps {
            match step {
                Step::Append(count) => {
                    let new: Vec<Entry> = (next..next + u64::from(count)).map(|index| entry(term, index, &format!("{term}.{index}"))).collect();
                    next += u64::from(count);
                    model.extend(new.clone());
                    append(&opened, new);
                }
                Step::Truncate(count) if usize::from(count) < model.len() => {
                    model.truncate(model.len() - usize::from(count));
                    next = model.last().unwrap().log_id.index + 1;
                    truncate(&opened, next - 1);
                    term += 1;
                }
                Step::Purge(count) if usize::from(count) < model.len() => {
                    let gone = model[usize::from(count)].log_id;
                    model.drain(..=usize::from(count));
                    purge(&opened, gone.leader_id.term, gone.index);
                }
                Step::Reopen => {
                    drop(opened);
                    opened = reopen(dir.path()).unwrap();
                }
                _ => {}
            }
        }
        drop(opened);
        prop_assert_eq!(entries(&reopen(dir.path()).unwrap()), model);
    }

    #[test]
    fn arbitrary_bytes_are_no_records_and_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = format::parse_records(&Bytes::from(bytes));
    }
}

//! A damaged disk: what a crash tore is cut off with a word, what was damaged later is refused with the way out.
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use corelab_tests::cluster::{Cluster, Member, Setup};
use corelab_tests::eventually;

/// Longer than a few sectors of 512 bytes.
const LONG: usize = 3000;

/// A frame of the log: see node/src/raft/wal/format.rs.
#[derive(Clone, Copy, Debug)]
struct Frame {
    offset: u64,
    len: u64,
}

impl Frame {
    const HEADER: u64 = 16;

    /// In the middle of the payload.
    fn middle(self) -> u64 {
        self.offset + Frame::HEADER + self.len / 2
    }
}

fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    found.retain(|path| path.to_string_lossy().ends_with(suffix));
    found.sort();
    found
}

/// The newest segment of a member's log, and its frames.
#[track_caller]
fn log_of(member: &Member) -> (PathBuf, Vec<Frame>) {
    let path = files(&member.data_dir.join("member/wal"), ".wal")
        .pop()
        .expect("a segment");
    let bytes = fs::read(&path).expect("read the segment");
    let (mut frames, mut offset) = (Vec::new(), 0usize);
    while let Some(header) = bytes
        .get(offset..offset + 16)
        .filter(|header| header.iter().any(|byte| *byte != 0))
    {
        let len = u32::from_le_bytes(header[..4].try_into().expect("four bytes")) as usize;
        frames.push(Frame {
            offset: offset as u64,
            len: len as u64,
        });
        offset += (16 + len).next_multiple_of(16);
    }
    (path, frames)
}

#[track_caller]
fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).expect("open");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ 0x55], offset).expect("write");
}

/// A member with the keys k0 to k9, killed; each key was written by a frame of its own.
#[track_caller]
fn killed_after_ten_writes() -> Cluster {
    let mut cluster = Setup::members(1).start();
    for number in 0..10 {
        cluster.members[0].set(&format!("/k{number}"), &format!("value={}", "v".repeat(LONG)));
    }
    cluster.members[0].kill9();
    cluster
}

/// The frame that wrote a key, and how many came after it.
#[track_caller]
fn frame_of(member: &Member, key: &str) -> (PathBuf, Frame) {
    let (path, frames) = log_of(member);
    let bytes = fs::read(&path).expect("read the segment");
    let has = |frame: &&Frame| {
        let start = (frame.offset + Frame::HEADER) as usize;
        let payload = &bytes[start..start + frame.len as usize];
        payload
            .windows(key.len() + 1)
            .any(|window| window == format!("/{key}").as_bytes())
    };
    let frame = *frames
        .iter()
        .find(has)
        .unwrap_or_else(|| panic!("{key} is not in the log"));
    (path, frame)
}

#[track_caller]
fn assert_holds(member: &Member, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let key = member.key(&format!("/k{number}"));
        assert_eq!(
            key["node"]["value"].as_str().map(str::len),
            Some(LONG),
            "k{number}: {key}"
        );
    }
}

/// Starts a member that has to refuse; its log has to say all of this.
#[track_caller]
fn assert_refuses(member: &mut Member, texts: &[&str]) {
    member.start();
    let status = member.wait_exit();
    let log = member.log();
    let last = log.lines().last().unwrap_or_default();
    assert_eq!(status.code(), Some(1), "{log}");
    for text in texts {
        assert!(last.contains(text), "{text:?} is not in {last:?}");
    }
}

#[track_caller]
fn assert_refuses_damage_at(member: &mut Member, path: &Path, frame: Frame) {
    let place = format!("{} is damaged at byte {}", path.display(), frame.offset);
    assert_refuses(
        member,
        &[&place, "cannot be repaired", "Restore this member from a backup"],
    );
}

#[test]
fn a_log_that_ends_within_a_record_is_cut_and_has_everything_before() {
    let mut cluster = killed_after_ten_writes();
    let member = &mut cluster.members[0];
    let (path, frame) = frame_of(member, "k9");
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(frame.middle()))
        .expect("truncate");
    member.restart();
    let cut = format!("cut the torn end of {} at byte {}", path.display(), frame.offset);
    assert!(member.log().contains(&cut), "{}", member.log());
    assert_holds(member, 0..9);
    assert_eq!(member.key("/k9")["errorCode"], 100);
    // The log goes on behind the cut.
    member.set("/k9", &format!("value={}", "v".repeat(LONG)));
    member.kill9();
    member.restart();
    assert_holds(member, 0..10);
}

#[test]
fn a_last_record_of_which_a_sector_is_missing_is_cut() {
    let mut cluster = killed_after_ten_writes();
    let member = &mut cluster.members[0];
    let (path, frame) = frame_of(member, "k9");
    let file = File::options().write(true).open(&path).expect("open the segment");
    // As after a power cut: one sector of the write did not make it, and nothing came after.
    file.write_all_at(&[0; 512], frame.middle().next_multiple_of(512))
        .expect("write");
    let end = frame.offset + Frame::HEADER + frame.len;
    let rest = file.metadata().expect("its size").len() - end;
    file.write_all_at(&vec![0; rest as usize], end).expect("write");
    member.restart();
    assert!(member.log().contains("cut the torn end"), "{}", member.log());
    assert_holds(member, 0..9);
}

#[test]
fn a_flipped_byte_before_a_good_record_is_refused_with_file_and_offset() {
    let mut cluster = killed_after_ten_writes();
    let member = &mut cluster.members[0];
    let (path, frame) = frame_of(member, "k5");
    flip(&path, frame.middle());
    assert_refuses_damage_at(member, &path, frame);
    // Refusing changes nothing: repaired by hand, all is there.
    flip(&path, frame.middle());
    member.restart();
    assert_holds(member, 0..10);
}

#[test]
fn a_flipped_byte_in_a_record_header_is_refused() {
    let mut cluster = killed_after_ten_writes();
    let member = &mut cluster.members[0];
    let (path, frame) = frame_of(member, "k5");
    flip(&path, frame.offset + 1);
    assert_refuses_damage_at(member, &path, frame);
}

#[test]
fn a_flipped_byte_in_the_last_whole_record_is_refused() {
    let mut cluster = killed_after_ten_writes();
    let member = &mut cluster.members[0];
    let (path, frames) = log_of(member);
    let last = *frames.last().expect("frames");
    flip(&path, last.middle());
    assert_refuses_damage_at(member, &path, last);
}

#[test]
fn zeros_over_a_record_before_a_good_one_are_refused() {
    let mut cluster = killed_after_ten_writes();
    let member = &mut cluster.members[0];
    let (path, frame) = frame_of(member, "k5");
    let file = File::options().write(true).open(&path).expect("open the segment");
    file.write_all_at(&vec![0; (Frame::HEADER + frame.len) as usize], frame.offset)
        .expect("write");
    assert_refuses_damage_at(member, &path, frame);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let mut first = Setup::members(1).start();
    let mut second = Setup::members(1).data_dir(0, &first.members[0].data_dir).prepare();
    assert_refuses(&mut second.members[0], &["open wal error: file already locked"]);
    first.members[0].set("/still", "value=here");
    // Whatever way the first one went, the directory is free again.
    first.members[0].kill9();
    first.members[0].restart();
    assert_eq!(first.members[0].key("/still")["node"]["value"], "here");
}

/// A member that was killed with at least two snapshots and the keys of all its writes.
#[track_caller]
fn killed_with_snapshots(count: usize, writes: usize) -> (Cluster, Vec<PathBuf>) {
    let mut cluster = Setup::members(1).flag("snapshot-count", count).start();
    let member = &mut cluster.members[0];
    let mut threads = Vec::new();
    for part in 0..4 {
        let client = member.client;
        threads.push(std::thread::spawn(move || -> std::io::Result<()> {
            let mut conn = corelab_tests::http::Conn::open(client)?;
            for number in 0..writes / 4 {
                conn.ask("PUT", &format!("/v2/keys/p{part}/{number}"), Some("value=v"))?;
            }
            Ok(())
        }));
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("a writer").expect("writes"));
    let snap_dir = member.data_dir.join("member/snap");
    let snapshots = eventually("two snapshots", || {
        Some(files(&snap_dir, ".snap")).filter(|found| found.len() >= 2)
    });
    member.kill9();
    drop(snapshots);
    (cluster, files(&snap_dir, ".snap"))
}

#[test]
fn a_broken_newest_snapshot_is_put_aside_for_the_one_before_it_and_the_log() {
    let (mut cluster, snapshots) = killed_with_snapshots(200, 1000);
    let newest = snapshots.last().expect("a snapshot");
    flip(newest, fs::metadata(newest).expect("its size").len() / 2);
    let member = &mut cluster.members[0];
    member.restart();
    assert!(
        member
            .log()
            .contains(&format!("cannot read snapshot {}", newest.display())),
        "{}",
        member.log()
    );
    assert!(newest.with_extension("snap.broken").is_file());
    for part in 0..4 {
        let listing = member.key(&format!("/p{part}"));
        assert_eq!(listing["node"]["nodes"].as_array().map(Vec::len), Some(250));
    }
}

#[test]
fn a_log_without_the_snapshot_that_it_needs_is_refused() {
    let (mut cluster, snapshots) = killed_with_snapshots(1000, 24_000);
    for snapshot in &snapshots {
        flip(snapshot, fs::metadata(snapshot).expect("its size").len() / 2);
    }
    let texts = [
        "no good snapshot covers what was purged from the log",
        "restore this member from a backup",
    ];
    assert_refuses(&mut cluster.members[0], &texts);
}

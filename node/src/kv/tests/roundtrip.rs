//! Snapshots: the same store again, and no panic whatever the bytes are.
use proptest::{collection::vec, prelude::*};

use super::{
    model::{command, run_all},
    *,
};

fn bytes(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Vec::new();
    snapshot.write(&mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_snapshot_read_back_is_an_equal_store(commands in vec(command(), 0..60), after in vec(command(), 0..20)) {
        let mut store = Store::new(20);
        run_all(&mut store, &commands, NOW);
        let listing = store.get_json("/");
        let snapshot = store.snapshot();
        let before = bytes(&snapshot);

        let mut other = Store::new(20);
        let read = Snapshot::read(&mut &before[..], 20).unwrap();
        prop_assert_eq!(read.index(), store.index());
        other.restore(read);
        prop_assert_eq!(&other.get_json("/"), &listing);
        prop_assert_eq!(other.next_expiry(), store.next_expiry());
        // One more read was counted on each side since.
        prop_assert_eq!(other.stats().sets_success, store.stats().sets_success);

        let (mine, theirs) = (run_all(&mut store, &after, NOW + SECOND), run_all(&mut other, &after, NOW + SECOND));
        prop_assert_eq!(mine, theirs);
        prop_assert_eq!(store.get_json("/"), other.get_json("/"));
        prop_assert_eq!(bytes(&snapshot), before, "a later write shows in an earlier snapshot");
    }

    #[test]
    fn broken_bytes_are_an_error_and_no_panic(
        commands in vec(command(), 0..30),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut store = Store::new(10);
        run_all(&mut store, &commands, NOW);
        let whole = bytes(&store.snapshot());
        let cut = cut.index(whole.len());
        prop_assert!(Snapshot::read(&mut &whole[..cut], 10).is_err());

        let mut changed = whole;
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        if let Ok(snapshot) = Snapshot::read(&mut &changed[..], 10) {
            // What is accepted has to be usable.
            store.restore(snapshot);
            run_all(&mut store, &commands, NOW);
            store.get_json("/");
        }
    }

    #[test]
    fn noise_is_no_snapshot(noise in vec(any::<u8>(), 0..200)) {
        let _ = Snapshot::read(&mut &noise[..], 10);
        let _ = Snapshot::read(&mut &[&[1, 0], &noise[..]].concat()[..], 10);
    }
}

#[test]
fn a_length_beyond_the_input_allocates_nothing_big() {
    let mut store = store();
    store.set("/a", "1");
    let mut broken = bytes(&store.snapshot());
    broken.truncate(18);
    broken.extend([0xff; 8]);
    broken.extend([0x7f; 64]);
    let error = Snapshot::read(&mut &broken[..], 10).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn a_snapshot_keeps_the_history_and_the_counters() {
    let mut store = store();
    store.set("/a", "1");
    store.set_ttl("/a", "2", 5);
    let read = Snapshot::read(&mut &bytes(&store.snapshot())[..], 1).unwrap();
    let mut other = Store::new(1);
    other.restore(read);
    assert_eq!(other.stats(), store.stats());
    assert_eq!(watch(&mut other, "/a", false, false, 2).take(), ["set /a 2"]);
    assert!(
        other
            .watch(&key("/a"), false, false, 1, Box::new(Seen::default()))
            .is_err()
    );
}

//! Keys of very many segments, on a small stack.
use super::*;

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(test)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn sixty_thousand_segments_are_set_read_watched_saved_and_removed() {
    on_a_small_stack(|| {
        let path = "/d".repeat(60_000);
        let mut store = store();
        let seen = watch(&mut store, "/", true, true, 0);
        let leaf = watch(&mut store, &path, false, true, 0);
        assert!(store.set(&path, "1").starts_with("{action:set"));
        assert!(store.get(&key(&path), NOW).is_ok());
        let mut bytes = Vec::new();
        let snapshot = store.snapshot();
        snapshot.write(&mut bytes).unwrap();
        let copy = Snapshot::read(&mut &bytes[..], 10).unwrap();
        store.rm("/d", false, true);
        drop(snapshot);
        assert_eq!((seen.take().len(), leaf.take().len()), (2, 2));
        assert_eq!(store.get_json("/"), "{action:get,node:{dir:true}}");
        store.restore(copy);
        assert!(store.get(&key(&path), NOW).is_ok());
    });
}

#[test]
fn wide_and_deep_trees_are_dropped_while_a_snapshot_shares_them() {
    on_a_small_stack(|| {
        let mut store = store();
        for n in 0..40 {
            store.set(&format!("/w{n}{}", "/d".repeat(3_000)), "1");
        }
        let snapshot = store.snapshot();
        store.set(&format!("/w7{}/x", "/d".repeat(2_000)), "2");
        drop(store);
        drop(snapshot);
    });
}

/// A listing repeats the whole path at each level, so it grows with the square of the depth: 3,000 do here.
#[test]
fn a_deep_listing_is_rendered_without_recursion() {
    on_a_small_stack(|| {
        let mut store = store();
        store.set(&"/d".repeat(3_000), "1");
        assert_eq!(store.get_json("/d").matches("nodes:").count(), 2_999);
    });
}

//! Watches: who is told, from when on, for how long.
use super::*;

#[test]
fn a_plain_watch_sees_its_own_key_once() {
    let mut store = store();
    store.mkdir("/d", None);
    let seen = watch(&mut store, "/d", false, false, 0);
    store.set("/d/a", "1");
    assert!(seen.take().is_empty());
    store.rm("/d", false, true);
    assert_eq!(seen.take(), ["delete /d 3"]);
    assert!(!seen.is_open());
    assert_eq!(store.stats().watchers, 0);
}

#[test]
fn a_recursive_watch_sees_all_below_and_no_sibling() {
    let mut store = store();
    let seen = watch(&mut store, "/d", true, true, 0);
    for path in ["/dd", "/d-d", "/d/a/b", "/d", "/c"] {
        store.set(path, "1");
    }
    assert_eq!(seen.take(), ["set /d/a/b 3"]);
    store.rm("/d", false, true);
    store.set("/d", "1");
    assert_eq!(seen.take(), ["delete /d 5", "set /d 6"]);
}

#[test]
fn all_ancestors_are_told_among_lookalikes() {
    let mut store = store();
    let paths = ["/", "/a", "/a/b", "/a/b/c", "/a/b-", "/a-", "/a/a", "/a/b/b", "/0"];
    let seen: Vec<Seen> = paths
        .iter()
        .map(|path| watch(&mut store, path, true, true, 0))
        .collect();
    store.set("/a/b/c", "1");
    let told: Vec<_> = paths
        .iter()
        .zip(&seen)
        .filter(|(_, seen)| !seen.take().is_empty())
        .map(|(path, _)| *path)
        .collect();
    assert_eq!(told, ["/", "/a", "/a/b", "/a/b/c"]);
}

#[test]
fn a_stream_is_told_of_a_delete_once() {
    let mut store = store();
    store.set("/d/a", "1");
    let key_itself = watch(&mut store, "/d/a", false, true, 0);
    let recursive = watch(&mut store, "/d", true, true, 0);
    store.rm("/d/a", false, false);
    store.rm("/d", true, false);
    assert_eq!(key_itself.take(), ["delete /d/a 2"]);
    assert_eq!(recursive.take(), ["delete /d/a 2", "delete /d 3"]);
}

#[test]
fn removing_a_directory_tells_watches_of_what_existed_below() {
    let mut store = store();
    store.set("/d/a/b", "1");
    let existing = watch(&mut store, "/d/a/b", false, false, 0);
    let missing = watch(&mut store, "/d/zz", false, false, 0);
    let beside = watch(&mut store, "/d-", false, false, 0);
    store.rm("/d", false, true);
    assert_eq!(existing.take(), ["delete /d 2"]);
    assert!(missing.take().is_empty() && beside.take().is_empty());
    assert_eq!(watch(&mut store, "/d/zz", false, false, 2).take(), ["delete /d 2"]);
}

#[test]
fn hidden_keys_wake_only_who_looks_for_them() {
    let mut store = store();
    let above = watch(&mut store, "/", true, true, 0);
    let direct = watch(&mut store, "/_h", false, true, 0);
    let inside = watch(&mut store, "/_d", true, true, 0);
    for path in ["/_h", "/d/_h", "/_d/a", "/v"] {
        store.set(path, "1");
    }
    assert_eq!(above.take(), ["set /v 4"]);
    assert_eq!(direct.take(), ["set /_h 1"]);
    assert_eq!(inside.take(), ["set /_d/a 3"]);
}

#[test]
fn the_history_does_return_hidden_keys() {
    let mut store = store();
    store.set("/_h", "1");
    store.set("/v", "1");
    assert_eq!(watch(&mut store, "/", true, false, 1).take(), ["set /_h 1"]);
}

#[test]
fn a_watch_from_the_past_is_answered_from_history() {
    let mut store = store();
    store.set("/b", "1");
    store.set("/a", "1");
    store.set("/a", "2");
    assert_eq!(watch(&mut store, "/a", false, false, 1).take(), ["set /a 2"]);
    assert_eq!(watch(&mut store, "/a", false, false, 3).take(), ["set /a 3"]);
    assert_eq!(store.stats().watchers, 0);
}

#[test]
fn a_watch_from_the_future_ignores_what_comes_before() {
    let mut store = store();
    let seen = watch(&mut store, "/a", false, false, 3);
    for value in ["1", "2", "3", "4"] {
        store.set("/a", value);
    }
    assert_eq!(seen.take(), ["set /a 3"]);
    watch(&mut store, "/a", false, false, u64::MAX);
    store.set("/a", "5");
}

#[test]
fn a_stream_from_the_past_goes_on_without_gap_or_double() {
    let mut store = store();
    for value in ["1", "2", "3"] {
        store.set("/a", value);
    }
    let seen = watch(&mut store, "/a", false, true, 2);
    store.set("/a", "4");
    assert_eq!(seen.take(), ["set /a 2", "set /a 3", "set /a 4"]);
}

#[test]
fn a_forgotten_index_is_refused() {
    let mut store = Store::new(3);
    for _ in 0..5 {
        store.set("/a", "1");
    }
    let ask = |store: &mut Store, since| store.watch(&key("/a"), false, false, since, Box::new(Seen::default()));
    let error = ask(&mut store, 2).unwrap_err();
    assert_eq!((error.code, error.index), (Code::EventIndexCleared, 5));
    assert_eq!(&error.cause[..], b"the requested history has been cleared [3/2]");
    assert!(ask(&mut store, 3).is_ok());
}

#[test]
fn a_sink_that_refuses_is_dropped() {
    struct Full(u32);
    impl Sink for Full {
        fn send(&mut self, _: &Arc<Event>) -> bool {
            self.0 = self.0.saturating_sub(1);
            self.0 > 0
        }
    }
    let mut store = store();
    store.watch(&key("/a"), false, true, 0, Box::new(Full(2))).unwrap();
    store.set("/a", "1");
    assert_eq!(store.stats().watchers, 1);
    store.set("/a", "2");
    assert_eq!(store.stats().watchers, 0);
    assert_eq!(
        store.watch(&key("/a"), false, true, 1, Box::new(Full(1))).unwrap(),
        None
    );
}

#[test]
fn an_unwatched_sink_is_dropped_alone() {
    let mut store = store();
    let (one, two) = (Seen::default(), Seen::default());
    let id = store
        .watch(&key("/a"), false, true, 0, Box::new(one.clone()))
        .unwrap()
        .unwrap();
    store.watch(&key("/a"), false, true, 0, Box::new(two.clone())).unwrap();
    store.unwatch(id);
    store.unwatch(id);
    store.set("/a", "1");
    assert_eq!((one.take().len(), two.take().len(), store.stats().watchers), (0, 1, 1));
    assert!(!one.is_open() && two.is_open());
}

#[test]
fn an_event_is_rendered_once_for_all_who_ask_alike() {
    let mut store = store();
    let event = store.apply(
        &Command::Delete {
            path: key("/a"),
            dir: false,
            recursive: false,
        },
        NOW,
    );
    assert!(event.is_err());
    let set = Command::Set {
        path: key("/a"),
        dir: false,
        value: "1".into(),
        ttl: None,
        refresh: false,
    };
    let event = store.apply(&set, NOW).unwrap();
    assert_eq!(event.json(2).as_ptr(), event.json(2).as_ptr());
    assert!(
        event
            .json(0)
            .starts_with(b"{\"action\":\"set\",\"node\":{\"key\":\"/1/a\",")
    );
}

#[test]
fn a_restored_store_tells_its_watchers_what_they_missed() {
    let mut leader = store();
    let mut follower = store();
    for store in [&mut leader, &mut follower] {
        store.set("/a", "1");
        store.set("/d/a", "1");
    }
    let key_a = watch(&mut follower, "/a", false, true, 0);
    let below = watch(&mut follower, "/d/a", false, false, 0);
    let future = watch(&mut follower, "/a", false, false, 6);
    leader.set("/a", "2");
    leader.rm("/d", false, true);
    leader.update("/a", "", Some(9), true);
    follower.restore(leader.snapshot());
    assert_eq!(key_a.take(), ["set /a 3"]);
    assert_eq!(below.take(), ["delete /d 4"]);
    follower.set("/a", "3");
    assert_eq!((key_a.take().len(), future.take().len()), (1, 1));
}

#[test]
fn a_gap_in_the_restored_history_closes_all_watches() {
    let mut leader = Store::new(2);
    let mut follower = store();
    let seen = watch(&mut follower, "/a", false, true, 0);
    for _ in 0..4 {
        leader.set("/a", "1");
    }
    follower.restore(leader.snapshot());
    assert!(!seen.is_open() && seen.take().is_empty());
    assert_eq!((follower.stats().watchers, follower.index()), (0, 4));
}

//! Deadlines: shown, reached, renewed.
use super::*;

#[test]
fn a_ttl_is_shown_with_its_date() {
    let mut store = store();
    assert_eq!(
        store.set_ttl("/a", "1", 100),
        "{action:set,node:{key:/a,value:1,expiration:2016-01-02T15:05:45Z,ttl:100,mI:1,cI:1}}"
    );
    assert_eq!(
        store.get_at("/a", false, NOW + 2 * SECOND + 1),
        "{action:get,node:{key:/a,value:1,expiration:2016-01-02T15:05:45Z,ttl:98,mI:1,cI:1}}"
    );
}

#[test]
fn a_ttl_of_zero_is_due_at_once() {
    let mut store = store();
    assert_eq!(
        store.set_ttl("/a", "1", 0),
        "{action:set,node:{key:/a,value:1,expiration:2016-01-02T15:04:05Z,mI:1,cI:1}}"
    );
    assert_eq!(store.next_expiry(), Some(NOW));
    assert_eq!(store.expire(NOW), 1);
    assert_eq!(
        store.get_json("/a"),
        "{errorCode:100,message:Key not found,cause:/a,index:2}"
    );
}

#[test]
fn a_late_key_is_gone_before_its_event() {
    let mut store = store();
    store.mkdir("/d", Some(1));
    store.set("/d/a", "1");
    store.set_ttl("/e/b", "1", 1);
    let late = NOW + SECOND;
    assert_eq!(
        store.get_at("/d/a", false, late),
        "{errorCode:100,message:Key not found,cause:/d,index:3}"
    );
    assert_eq!(
        store.get_at("/", true, late),
        "{action:get,node:{dir:true,nodes:[{key:/e,dir:true,mI:3,cI:3}]}}"
    );
    assert_eq!(store.get(KEYS, late).unwrap().children().count(), 1);
    assert!(store.get(&key("/d/a"), late - 1).is_ok());
}

#[test]
fn a_directory_expires_in_one_event() {
    let mut store = store();
    store.mkdir("/p/d", Some(1));
    store.set_ttl("/p/d/a", "1", 1);
    let parent = watch(&mut store, "/p", true, true, 0);
    let child = watch(&mut store, "/p/d/a", false, false, 0);
    let missing = watch(&mut store, "/p/d/zz", false, false, 0);
    assert_eq!(store.expire(NOW + SECOND), 1);
    assert_eq!(parent.take(), ["expire /p/d 3"]);
    assert_eq!(child.take(), ["expire /p/d 3"]);
    assert!(missing.take().is_empty());
    assert_eq!(store.stats().expire_count, 1);
    assert_eq!(store.next_expiry(), None);
}

#[test]
fn an_expire_event_shows_neither_value_nor_dir() {
    let mut store = store();
    store.mkdir("/d", Some(1));
    store.expire(NOW + SECOND);
    let history = Seen::default();
    struct Json(Seen);
    impl Sink for Json {
        fn send(&mut self, event: &Arc<Event>) -> bool {
            self.0.0.lock().unwrap().push(text(event.json(2)));
            true
        }
    }
    store
        .watch(&key("/d"), false, false, 2, Box::new(Json(history.clone())))
        .unwrap();
    assert_eq!(
        history.take(),
        [
            "{action:expire,node:{key:/d,mI:2,cI:1},prevNode:{key:/d,dir:true,expiration:2016-01-02T15:04:06Z,mI:1,cI:1}}"
        ]
    );
}

#[test]
fn keys_expire_by_deadline_then_creation() {
    let mut store = store();
    let seen = watch(&mut store, "/", true, true, 4);
    store.set_ttl("/c", "1", 3);
    store.set_ttl("/b", "1", 1);
    store.set_ttl("/a", "1", 1);
    assert_eq!(store.expire(NOW + 3 * SECOND - 1), 2);
    assert_eq!(store.expire(NOW + 3 * SECOND), 1);
    assert_eq!(seen.take(), ["expire /b 4", "expire /a 5", "expire /c 6"]);
}

#[test]
fn a_write_without_ttl_makes_a_key_permanent() {
    let mut store = store();
    for write in [
        |store: &mut Store| store.set("/a", "2"),
        |store: &mut Store| store.update("/a", "2", None, false),
        |store: &mut Store| store.cas("/a", Some("1"), 0, "2"),
        |store: &mut Store| store.rm("/a", false, false),
        |store: &mut Store| store.cad("/a", Some("1"), 0),
        |store: &mut Store| store.mkdir("/a", None),
    ] {
        store.set_ttl("/a", "1", 2);
        assert!(store.next_expiry().is_some());
        write(&mut store);
        assert_eq!(store.next_expiry(), None);
    }
    assert_eq!(store.expire(u64::MAX), 0);
}

#[test]
fn removing_a_directory_forgets_the_deadlines_below() {
    let mut store = store();
    store.set_ttl("/d/a/b", "1", 2);
    store.set_ttl("/dd", "1", 3);
    store.rm("/d", false, true);
    assert_eq!(store.next_expiry(), Some(NOW + 3 * SECOND));
}

#[test]
fn a_refresh_keeps_the_value_and_wakes_nobody() {
    let mut store = store();
    store.set_ttl("/a", "1", 10);
    let seen = watch(&mut store, "/a", false, true, 0);
    assert_eq!(
        store.update("/a", "", Some(50), true),
        "{action:update,node:{key:/a,value:1,expiration:2016-01-02T15:04:55Z,ttl:50,mI:2,cI:1},prevNode:{key:/a,value:1,expiration:2016-01-02T15:04:15Z,ttl:10,mI:1,cI:1}}"
    );
    let swap = Command::CompareAndSwap {
        path: key("/a"),
        prev_value: Some("1".into()),
        prev_index: 0,
        value: Path::new(),
        ttl: Some(60),
        refresh: true,
    };
    assert!(
        store
            .run(swap)
            .starts_with("{action:compareAndSwap,node:{key:/a,value:1,")
    );
    let set = Command::Set {
        path: key("/a"),
        dir: false,
        value: Path::new(),
        ttl: Some(60),
        refresh: true,
    };
    assert!(store.run(set).starts_with("{action:set,node:{key:/a,value:1,"));
    assert!(seen.take().is_empty());
    store.set("/a", "2");
    assert_eq!(seen.take(), ["set /a 5"]);
    assert_eq!(watch(&mut store, "/a", false, false, 2).take(), ["set /a 5"]);
}

#[test]
fn a_refresh_needs_a_key() {
    let mut store = store();
    let set = Command::Set {
        path: key("/a/b"),
        dir: false,
        value: Path::new(),
        ttl: Some(50),
        refresh: true,
    };
    let missing = "{errorCode:100,message:Key not found,cause:/a,index:0}";
    assert_eq!(store.run(set), missing);
    assert_eq!(store.update("/a", "", Some(50), true), missing);
}

#[test]
fn a_directory_gets_a_new_deadline_and_keeps_its_indexes() {
    let mut store = store();
    store.mkdir("/d", Some(10));
    store.update("/d", "", Some(60), true);
    assert_eq!(
        store.get_json("/d"),
        "{action:get,node:{key:/d,dir:true,expiration:2016-01-02T15:05:05Z,ttl:60,mI:1,cI:1}}"
    );
}

#[test]
fn two_nodes_of_one_creation_and_deadline_both_expire() {
    let mut store = store();
    store.set("/d/e/a", "1");
    store.update("/d/e", "", Some(5), false);
    store.update("/d/e/a", "1", Some(5), false);
    store.set_ttl("/x", "1", 5);
    assert_eq!(store.expire(NOW + 5 * SECOND), 2);
    assert_eq!(
        store.get_json("/"),
        "{action:get,node:{dir:true,nodes:[{key:/d,dir:true,mI:1,cI:1}]}}"
    );
}

#[test]
fn an_endless_ttl_does_not_wrap_into_the_past() {
    let mut store = store();
    let answer = store.set_ttl("/a", "1", u64::MAX);
    assert!(
        answer.contains("expiration:2554-07-21T23:34:33Z,ttl:16994997028,"),
        "{answer}"
    );
}

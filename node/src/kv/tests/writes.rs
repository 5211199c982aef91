//! The answers of writes, as recorded from etcd 2.3.8.
use super::*;

#[test]
fn a_set_creates_and_then_replaces() {
    let mut store = store();
    assert_eq!(store.set("/a", "1"), "{action:set,node:{key:/a,value:1,mI:1,cI:1}}");
    assert_eq!(
        store.set("/a", "1"),
        "{action:set,node:{key:/a,value:1,mI:2,cI:2},prevNode:{key:/a,value:1,mI:1,cI:1}}"
    );
    assert_eq!(store.index(), 2);
}

#[test]
fn only_a_first_set_and_a_create_are_created() {
    let mut store = store();
    let set = Command::Set {
        path: key("/a"),
        dir: false,
        value: Path::new(),
        ttl: None,
        refresh: false,
    };
    assert!(store.apply(&set, NOW).unwrap().is_created());
    assert!(!store.apply(&set, NOW).unwrap().is_created());
    let post = Command::Create {
        path: key("/q"),
        dir: false,
        value: Path::new(),
        ttl: None,
        unique: true,
    };
    assert!(store.apply(&post, NOW).unwrap().is_created());
}

#[test]
fn a_missing_key_is_named_up_to_its_first_missing_segment() {
    let mut store = store();
    store.set("/d/a", "1");
    assert_eq!(
        store.get_json("/nope/deeper"),
        "{errorCode:100,message:Key not found,cause:/nope,index:1}"
    );
    assert_eq!(
        store.get_json("/d/x/y"),
        "{errorCode:100,message:Key not found,cause:/d/x,index:1}"
    );
    assert_eq!(
        store.rm("/x/y", false, true),
        "{errorCode:100,message:Key not found,cause:/x,index:1}"
    );
}

#[test]
fn a_file_in_the_way_is_not_a_directory() {
    let mut store = store();
    store.set("/a", "1");
    let error = "{errorCode:104,message:Not a directory,cause:/a,index:1}";
    assert_eq!(store.set("/a/b/c", "2"), error);
    assert_eq!(store.create("/a/b", "2", false), error);
    assert_eq!(store.create("/a", "2", true), error);
    assert_eq!(store.get_json("/a/b"), error);
}

#[test]
fn a_directory_is_not_overwritten() {
    let mut store = store();
    assert_eq!(store.mkdir("/d", None), "{action:set,node:{key:/d,dir:true,mI:1,cI:1}}");
    let error = "{errorCode:102,message:Not a file,cause:/d,index:1}";
    assert_eq!(store.mkdir("/d", None), error);
    assert_eq!(store.set("/d", "1"), error);
    assert_eq!(store.update("/d", "1", None, false), error);
    assert_eq!(store.cas("/d", Some("x"), 0, "1"), error);
    assert_eq!(store.cad("/d", None, 1), error);
    assert_eq!(store.rm("/d", false, false), error);
    assert_eq!(
        store.create("/d", "1", false),
        "{errorCode:105,message:Key already exists,cause:/d,index:1}"
    );
}

#[test]
fn a_directory_replaces_a_file() {
    let mut store = store();
    store.set("/a", "1");
    assert_eq!(
        store.mkdir("/a", None),
        "{action:set,node:{key:/a,dir:true,mI:2,cI:2},prevNode:{key:/a,value:1,mI:1,cI:1}}"
    );
}

#[test]
fn a_delete_shows_what_was_there() {
    let mut store = store();
    store.set("/p/q/a", "1");
    assert_eq!(
        store.rm("/p/q/a", false, false),
        "{action:delete,node:{key:/p/q/a,mI:2,cI:1},prevNode:{key:/p/q/a,value:1,mI:1,cI:1}}"
    );
    assert_eq!(
        store.get_json("/p"),
        "{action:get,node:{key:/p,dir:true,nodes:[{key:/p/q,dir:true,mI:1,cI:1}],mI:1,cI:1}}"
    );
}

#[test]
fn a_full_directory_needs_recursive() {
    let mut store = store();
    store.set("/d/_h", "1");
    assert_eq!(
        store.rm("/d", true, false),
        "{errorCode:108,message:Directory not empty,cause:/d,index:1}"
    );
    assert_eq!(
        store.rm("/d", false, true),
        "{action:delete,node:{key:/d,dir:true,mI:2,cI:1},prevNode:{key:/d,dir:true,mI:1,cI:1}}"
    );
}

#[test]
fn the_root_is_read_only() {
    let mut store = store();
    let error = "{errorCode:107,message:Root is read only,cause:/,index:0}";
    assert_eq!(store.set("/", "1"), error);
    assert_eq!(store.mkdir("/", None), error);
    assert_eq!(store.create("/", "1", false), error);
    assert_eq!(store.update("/", "1", None, false), error);
    assert_eq!(store.cas("/", Some("x"), 0, "1"), error);
    assert_eq!(store.rm("/", true, true), error);
    assert_eq!(
        store.cad("/", Some("x"), 0),
        "{errorCode:102,message:Not a file,index:0}"
    );
    for path in ["/", "/0", "//1/"] {
        let delete = Command::Delete {
            path: path.into(),
            dir: true,
            recursive: true,
        };
        assert_eq!(store.apply(&delete, NOW).unwrap_err().code, Code::RootROnly);
    }
}

#[test]
fn an_update_keeps_the_creation() {
    let mut store = store();
    store.set("/a", "1");
    assert_eq!(
        store.update("/a", "2", None, false),
        "{action:update,node:{key:/a,value:2,mI:2,cI:1},prevNode:{key:/a,value:1,mI:1,cI:1}}"
    );
    assert_eq!(store.get_json("/a"), "{action:get,node:{key:/a,value:2,mI:2,cI:1}}");
}

#[test]
fn an_updated_directory_shows_an_index_that_it_does_not_keep() {
    let mut store = store();
    store.mkdir("/d", None);
    assert_eq!(
        store.update("/d", "", None, false),
        "{action:update,node:{key:/d,dir:true,mI:2,cI:1},prevNode:{key:/d,dir:true,mI:1,cI:1}}"
    );
    assert_eq!(store.get_json("/d"), "{action:get,node:{key:/d,dir:true,mI:1,cI:1}}");
    assert_eq!(store.index(), 2);
}

#[test]
fn conditions_are_compared_and_named() {
    let mut store = store();
    store.set("/a", "1");
    let error = |cause: &str| format!("{{errorCode:101,message:Compare failed,cause:{cause},index:1}}");
    assert_eq!(store.cas("/a", Some("x"), 0, "2"), error("[x != 1]"));
    assert_eq!(store.cas("/a", None, 7, "2"), error("[7 != 1]"));
    assert_eq!(store.cas("/a", Some("1"), 7, "2"), error("[7 != 1]"));
    assert_eq!(store.cad("/a", Some("2"), 8), error("[2 != 1] [8 != 1]"));
    assert_eq!(
        store.cas("/a", Some("1"), 1, "2"),
        "{action:compareAndSwap,node:{key:/a,value:2,mI:2,cI:1},prevNode:{key:/a,value:1,mI:1,cI:1}}"
    );
    assert_eq!(
        store.cad("/a", Some("2"), 2),
        "{action:compareAndDelete,node:{key:/a,mI:3,cI:1},prevNode:{key:/a,value:2,mI:2,cI:1}}"
    );
    assert_eq!(
        store.cas("/a", Some("1"), 0, "2"),
        "{errorCode:100,message:Key not found,cause:/a,index:3}"
    );
}

#[test]
fn values_are_compared_by_their_bytes() {
    let mut store = store();
    let value = Path::from_static(b"\xff");
    let set = Command::Set {
        path: key("/a"),
        dir: false,
        value: value.clone(),
        ttl: None,
        refresh: false,
    };
    assert_eq!(store.run(set), "{action:set,node:{key:/a,value:\\ufffd,mI:1,cI:1}}");
    let prev_value = Some(value);
    let delete = Command::CompareAndDelete {
        path: key("/a"),
        prev_value,
        prev_index: 0,
    };
    assert!(store.apply(&delete, NOW).is_ok());
}

#[test]
fn in_order_keys_are_named_by_the_index() {
    let mut store = store();
    assert_eq!(
        store.create("/q", "1", true),
        "{action:create,node:{key:/q/00000000000000000001,value:1,mI:1,cI:1}}"
    );
    store.set("/x", "1");
    assert_eq!(
        store.create("/", "2", true),
        "{action:create,node:{key:/00000000000000000003,value:2,mI:3,cI:3}}"
    );
}

#[test]
fn failures_do_not_move_the_index_and_are_counted() {
    let mut store = store();
    store.set("/a", "1");
    store.cas("/a", Some("x"), 0, "2");
    store.rm("/zz", false, false);
    store.create("/a", "1", false);
    store.get_json("/a");
    store.get_json("/b");
    let expected = Stats {
        gets_success: 1,
        gets_fail: 1,
        sets_success: 1,
        delete_fail: 1,
        create_fail: 1,
        compare_and_swap_fail: 1,
        ..Stats::default()
    };
    assert_eq!(store.stats(), expected);
    assert_eq!(store.index(), 1);
}

#[test]
fn a_store_moves_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Store>();
    is_send::<Snapshot>();
    is_send::<View>();
}

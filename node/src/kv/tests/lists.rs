//! Listings: levels, order, hidden keys.
use super::*;

#[test]
fn a_listing_is_one_level_unless_recursive() {
    let mut store = store();
    store.set("/d/b/c", "2");
    store.set("/d/a", "1");
    assert_eq!(
        store.get_at("/d", false, NOW),
        "{action:get,node:{key:/d,dir:true,nodes:[{key:/d/a,value:1,mI:2,cI:2},{key:/d/b,dir:true,mI:1,cI:1}],mI:1,cI:1}}"
    );
    assert_eq!(
        store.get_json("/d"),
        "{action:get,node:{key:/d,dir:true,nodes:[{key:/d/a,value:1,mI:2,cI:2},{key:/d/b,dir:true,nodes:[{key:/d/b/c,value:2,mI:1,cI:1}],mI:1,cI:1}],mI:1,cI:1}}"
    );
}

#[test]
fn the_root_has_neither_key_nor_index() {
    let mut store = store();
    assert_eq!(store.get_json("/"), "{action:get,node:{dir:true}}");
    store.set("/a", "1");
    assert_eq!(
        store.get_json("/"),
        "{action:get,node:{dir:true,nodes:[{key:/a,value:1,mI:1,cI:1}]}}"
    );
}

#[test]
fn the_root_of_all_lists_the_namespaces() {
    let store = store();
    let mut out = Vec::new();
    store.get(b"/", NOW).unwrap().write_get(&mut out, 0, true, true, NOW);
    assert_eq!(
        text(out.into()),
        "{action:get,node:{key:/,dir:true,nodes:[{key:/0,dir:true},{key:/1,dir:true}]}}"
    );
}

#[test]
fn names_are_sorted_by_bytes() {
    let mut store = store();
    for name in ["/b", "/B", "/a", "/10", "/2", "/a b", "/a+b"] {
        store.set(name, "");
    }
    let view = store.get(KEYS, NOW).unwrap();
    let names: Vec<_> = view
        .children()
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(names, ["10", "2", "B", "a", "a b", "a+b", "b"]);
}

#[test]
fn hidden_keys_are_read_but_not_listed() {
    let mut store = store();
    store.set("/_d/a", "1");
    store.set("/d/_h", "1");
    assert_eq!(
        store.get_json("/"),
        "{action:get,node:{dir:true,nodes:[{key:/d,dir:true,mI:2,cI:2}]}}"
    );
    assert_eq!(
        store.get_json("/d/_h"),
        "{action:get,node:{key:/d/_h,value:1,mI:2,cI:2}}"
    );
    assert_eq!(
        store.get_json("/_d"),
        "{action:get,node:{key:/_d,dir:true,nodes:[{key:/_d/a,value:1,mI:1,cI:1}],mI:1,cI:1}}"
    );
}

#[test]
fn a_view_walks_like_the_tree_and_does_not_change() {
    let mut store = store();
    store.set("/d/a", "1");
    let view = store.get(&key("/d"), NOW).unwrap();
    store.set("/d/a", "2");
    store.set("/d/b", "2");
    let (name, child) = view.children().next().unwrap();
    assert_eq!(
        (name, child.value(), child.path()),
        (&b"a"[..], Some(&b"1"[..]), &b"/1/d/a"[..])
    );
    assert_eq!(
        (view.children().count(), view.is_dir(), child.is_dir()),
        (1, true, false)
    );
    assert_eq!((child.created_index(), child.modified_index()), (1, 1));
}

#[test]
fn a_path_is_read_however_it_is_spelled() {
    let mut store = store();
    store.set("//a///b/", "1");
    assert_eq!(
        store.get_json("/x/../a/./b"),
        "{action:get,node:{key:/a/b,value:1,mI:1,cI:1}}"
    );
}

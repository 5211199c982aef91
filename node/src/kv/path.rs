//! Paths as bytes: splitting, cleaning, and who is below whom.
use super::Shared;

/// Each segment together with the offset at which it ends, so that `&path[..end]` names it in full.
pub(super) fn segments(path: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        loop {
            if start >= path.len() {
                return None;
            }
            let end = path[start..]
                .iter()
                .position(|&b| b == b'/')
                .map_or(path.len(), |n| start + n);
            let segment = (&path[start..end], end);
            start = end + 1;
            if !segment.0.is_empty() {
                return Some(segment);
            }
        }
    })
}

/// A clean path's parent and last segment: `/a/b` is `/a` and `b`.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(0) | None => (b"/", path.strip_prefix(b"/").unwrap_or(path)),
        Some(at) => (&path[..at], &path[at + 1..]),
    }
}

/// The path that etcd takes this one for: absolute, without empty, `.` and `..` segments.
pub(super) fn clean(path: &[u8]) -> Shared {
    let dirty = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    if path == b"/" || (path.first() == Some(&b'/') && !path[1..].split(|&b| b == b'/').any(dirty)) {
        return Shared::from(path);
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for (segment, _) in segments(path) {
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for segment in kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Shared::from(out)
}

/// Whether `path` lies strictly below the directory `dir`.
pub(super) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    match dir {
        b"/" => path.len() > 1,
        _ => path.len() > dir.len() && path[dir.len()] == b'/' && path.starts_with(dir),
    }
}

/// Whether a watcher on `watched` must not see `key` because a `_segment` lies between the two.
pub(super) fn is_hidden(watched: &[u8], key: &[u8]) -> bool {
    let rest = if watched == b"/" {
        key
    } else {
        key.get(watched.len()..).unwrap_or_default()
    };
    rest.windows(2).any(|pair| pair == b"/_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_as_go_cleans_it() {
        for (dirty, clean_one) in [
            ("/", "/"),
            ("", "/"),
            ("/a", "/a"),
            ("a", "/a"),
            ("/a/", "/a"),
            ("//a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../a", "/a"),
            ("/a..b/...", "/a..b/..."),
        ] {
            assert_eq!(&*clean(dirty.as_bytes()), clean_one.as_bytes(), "{dirty}");
        }
    }

    #[test]
    fn siblings_with_the_same_prefix_are_not_below() {
        assert!(is_below(b"/d/a", b"/d"));
        assert!(!is_below(b"/dd", b"/d"));
        assert!(!is_below(b"/d", b"/d"));
        assert!(is_below(b"/d", b"/"));
        assert!(!is_below(b"/", b"/"));
    }

    #[test]
    fn only_segments_below_the_watched_path_can_hide_a_key() {
        assert!(is_hidden(b"/a", b"/a/_h"));
        assert!(is_hidden(b"/", b"/_h"));
        assert!(!is_hidden(b"/_d", b"/_d/a"));
        assert!(!is_hidden(b"/a/b/c", b"/a"));
    }
}

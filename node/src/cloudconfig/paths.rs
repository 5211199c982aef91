//! Paths as text, the way Go's path package sees them.

/// path.Clean: no `.`, no `..` that can be resolved, no double slashes.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

/// The same from the root on, whether it began there or not.
pub fn absolute(path: &str) -> String {
    clean(&format!("/{path}"))
}

pub fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((dir, _)) => dir,
        None => ".",
    }
}

pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(clean("/a//b/./../c/"), "/a/c");
        assert_eq!(absolute("../../etc/x"), "/etc/x");
        assert_eq!(absolute("opt/x"), "/opt/x");
        assert_eq!((clean("../a"), clean("")), ("../a".into(), ".".into()));
        assert_eq!((parent("/x"), parent("/a/b"), name("/a/b")), ("/", "/a", "b"));
    }
}

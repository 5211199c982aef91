//! The user namespace in which an ordinary user is root: users of his own, by way of newuidmap.
use std::fs;
use std::io;
use std::process::Command;

use super::clone::USERS;

/// Maps this user to root in the process's namespace, and his subordinate users to all others.
pub fn map(pid: i32) -> io::Result<()> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let name = user_name(uid)?;
    for (program, file, own) in [("newuidmap", "/etc/subuid", uid), ("newgidmap", "/etc/subgid", gid)] {
        let text = fs::read_to_string(file).unwrap_or_default();
        let first = range(&text, &name, own).ok_or_else(|| {
            let needed = USERS - 1;
            io::Error::other(format!(
                "{file} gives {name} no {needed} subordinate ids: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}`"
            ))
        })?;
        let arguments = [pid as u32, 0, own, 1, 1, first, USERS - 1].map(|number| number.to_string());
        let output = Command::new(program).args(arguments).output().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{program} (Debian package uidmap) cannot be run: {error}"),
            )
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(io::Error::other(format!("{program} failed: {said}")));
        }
    }
    Ok(())
}

fn user_name(uid: u32) -> io::Result<String> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_string())
    });
    Ok(named.unwrap_or_else(|| uid.to_string()))
}

/// The first of a user's subordinate ids, where there are enough of them: `name-or-id:first:count`.
fn range(text: &str, name: &str, id: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.trim().parse::<u32>().ok()?);
        ((owner == name || owner == id.to_string()) && count >= USERS - 1).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_belongs_to_a_name_or_a_number_and_is_large_enough() {
        let text = "a:100000:65536\nb:1:10\n1007:300000:65535\n";
        assert_eq!(range(text, "a", 1), Some(100_000));
        assert_eq!(range(text, "b", 2), None);
        assert_eq!(range(text, "c", 1007), Some(300_000));
    }
}

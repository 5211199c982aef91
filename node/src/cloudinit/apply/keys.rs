//! SSH keys: through update-ssh-keys where the system has it, else the same files written here.
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use super::Machine;
use crate::cloudconfig::go::errno;
use crate::cloudinit::sources::http;

/// What update-ssh-keys keeps its sets of keys in, each under its name; authorized_keys is all of them together.
const SETS: &str = ".ssh/authorized_keys.d";

pub async fn authorize(machine: &Machine, user: &str, name: &str, keys: &[String]) -> Result<(), String> {
    let text = format!("{}\n", keys.join("\n"));
    if machine.has("update-ssh-keys") {
        return machine
            .run_telling("update-ssh-keys", &["-u", user, "-a", name], &text)
            .await
            .map_err(|(status, output)| format!("Call to update-ssh-keys failed with {status}: {output}"));
    }
    let Some((uid, gid, home)) = machine.root.user(user) else {
        return Err(format!("cannot authorize SSH keys: there is no user {user:?}"));
    };
    let home = machine.root.at(&home);
    update(&home, name, &text, (uid, gid))
        .map_err(|error| format!("cannot authorize SSH keys in {}: {}", home.display(), errno(&error)))
}

fn update(home: &Path, name: &str, text: &str, (uid, gid): (u32, u32)) -> io::Result<()> {
    let sets = home.join(SETS);
    fs::create_dir_all(&sets)?;
    for dir in [home.join(".ssh"), sets.clone()] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        chown(&dir, Some(uid), Some(gid))?;
    }
    let write = |path: &Path, text: &str| {
        let temp = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&temp);
        io::Write::write_all(&mut file?, text.as_bytes())?;
        chown(&temp, Some(uid), Some(gid))?;
        fs::rename(&temp, path)
    };
    write(&sets.join(name.replace('/', "_")), text)?;
    let mut names: Vec<_> = fs::read_dir(&sets)?.collect::<Result<_, _>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    let mut all = String::new();
    for set in names {
        all += &fs::read_to_string(set.path())?;
    }
    write(&home.join(".ssh/authorized_keys"), &all)
}

/// Keys as GitHub lists them: `[{"id": 1, "key": "ssh-rsa ..."}]`.
pub async fn fetch(url: &str) -> Result<Vec<String>, String> {
    let body = http::get_retry(url).await.map_err(|error| error.to_string())?;
    let json: serde_json::Value = serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))?;
    let list = json.as_array().ok_or_else(|| format!("{url}: not a list of keys"))?;
    let keys = list
        .iter()
        .map(|key| key["key"].as_str().unwrap_or_default().trim().to_string());
    Ok(keys.collect())
}

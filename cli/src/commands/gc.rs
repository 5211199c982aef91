//! `lab gc`: removes what labs have left that nobody can reach any more.
use std::fs;
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::args::Gc;
use crate::failure::Failure;
use crate::local::leftovers;
use crate::project::{cache_home, state_home};
use crate::ui;

pub fn run(args: &Gc) -> Result<(), Failure> {
    let mut removed = 0;
    for entry in fs::read_dir(state_home()).into_iter().flatten().flatten() {
        let dir = entry.path();
        let id = entry.file_name().to_string_lossy().into_owned();
        if !idle(&dir) {
            continue;
        }
        // A control group without its supervisor holds nothing but names.
        leftovers(&id);
        let project = fs::read_to_string(dir.join("project")).unwrap_or_default();
        let kept = fs::read_to_string(Path::new(project.trim()).join(".lab/lab.json"))
            .is_ok_and(|text| text.contains(&format!("\"{id}\"")));
        if kept {
            continue;
        }
        ui::lines(&format!(
            "the lab {id} of {}",
            if project.is_empty() { "?" } else { project.trim() }
        ));
        if !args.dry_run && fs::remove_dir_all(&dir).is_ok() {
            removed += 1;
        }
    }
    if args.images {
        ui::lines(&format!("unpacked images in {}", cache_home().display()));
        if !args.dry_run {
            let _ = fs::remove_dir_all(cache_home().join("images"));
        }
    }
    ui::lines(&format!("{removed} labs removed"));
    Ok(())
}

/// No supervisor holds its lock.
fn idle(dir: &Path) -> bool {
    match fs::File::open(dir.join("lock")) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(_) => true,
    }
}

//! `lab gc`: removes what labs have left that nobody can reach any more.
use std::fs;
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::args::Gc;
use crate::failure::Failure;
use crate::local::client::Supervisor;
use crate::local::erase::erase;
use crate::local::leftovers;
use crate::project::{cache_home, state_home};
use crate::ui;

pub fn run(args: &Gc) -> Result<(), Failure> {
    let mut removed = 0;
    for entry in fs::read_dir(state_home()).into_iter().flatten().flatten() {
        let dir = entry.path();
        let id = entry.file_name().to_string_lossy().into_owned();
        let project = fs::read_to_string(dir.join("project")).unwrap_or_default();
        let home = Path::new(&project).join(".lab");
        // A command that is at work there may be about to start one.
        if !project.is_empty() && !idle(&home.join("lock")) {
            continue;
        }
        let kept = fs::read_to_string(home.join("lab.json")).is_ok_and(|text| text.contains(&format!("\"{id}\"")));
        let runs = !idle(&dir.join("lock"));
        if !args.dry_run && !runs {
            // A control group without its supervisor holds nothing but names.
            leftovers(&id);
        }
        // Whose it is has to be known before anything that runs is ended.
        if !project.is_empty() && kept || project.is_empty() && runs {
            continue;
        }
        if runs && !args.dry_run {
            // Its directory is gone, and with it every way to it but this.
            match Supervisor::find(&dir).map(|supervisor| supervisor.end(|_| {})) {
                Some(Ok(_)) => leftovers(&id),
                _ => continue,
            }
        }
        ui::lines(&format!(
            "the lab {id} of {}",
            if project.is_empty() { "?" } else { &project }
        ));
        if !args.dry_run && erase(&dir).is_ok() {
            removed += 1;
        }
    }
    if args.images {
        ui::lines(&format!("unpacked images in {}", cache_home().display()));
        if !args.dry_run {
            let _ = erase(&cache_home().join("images"));
        }
    }
    ui::lines(&format!("{removed} labs removed"));
    Ok(())
}

/// Nobody holds the lock.
fn idle(lock: &Path) -> bool {
    match fs::File::open(lock) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(_) => true,
    }
}

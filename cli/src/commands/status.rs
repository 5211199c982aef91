//! `lab status`: who runs, and whether it is well.
use crate::member::Member;
use crate::ui::{self, Failure};

pub fn run() -> Result<(), Failure> {
    ui::line(&format!(
        "{:<8} {:<9} {:<8} {:<24} LOG",
        "NAME", "STATE", "PID", "CLIENTS"
    ));
    for member in Member::known() {
        let pid = member.pid();
        let state = match pid {
            None => "stopped",
            Some(_) if member.is_healthy() => "healthy",
            Some(_) => "unhealthy",
        };
        let pid = pid.map_or("-".into(), |pid| pid.to_string());
        let log = member.log_file();
        ui::line(&format!(
            "{:<8} {state:<9} {pid:<8} {:<24} {}",
            member.name,
            member.client_url(),
            log.display()
        ));
    }
    Ok(())
}

//! What the API knows and fleet's did not: restarts, machines that are spared, a unit's status and journal.
use super::{Answer, Api, Refused, refuse, registry_failed, values};
use crate::fleet::schema::Cordon;
use crate::fleet::tail::{self, Question};
use crate::unit::name;

impl Api {
    pub(super) async fn restart(&self, name: &str) -> Result<Answer, Refused> {
        let wanted = {
            let mirror = self.registry.mirror();
            mirror.unit(name).map(|unit| unit.desired_state)
        };
        match wanted.as_deref() {
            None => return refuse(404, "unit does not exist"),
            Some("launched") => {}
            Some(state) => return refuse(409, format!("unit is {state}: only a launched one can be restarted")),
        }
        let index = self.registry.restart(name).await.map_err(registry_failed)?;
        self.shown(index).await;
        Ok(Answer::Done(204))
    }

    pub(super) async fn cordon(&self, id: &str, action: &str) -> Result<Answer, Refused> {
        let known = self.registry.mirror().machine(id).is_some();
        let cordon = match action {
            "cordon" => Cordon::Cordoned,
            "drain" => Cordon::Draining,
            // Also for a machine that is gone: it may come back.
            _ => Cordon::None,
        };
        if !known && cordon != Cordon::None {
            return refuse(404, "machine does not exist");
        }
        let index = self.registry.set_cordon(id, cordon).await.map_err(registry_failed)?;
        self.shown(index).await;
        Ok(Answer::Done(204))
    }

    /// A unit's status or journal, from the machine that has it; `machineID` chooses one for a global unit.
    pub(super) async fn tail(&self, name: &str, resource: &str, query: &str) -> Result<Answer, Refused> {
        name::validate(name).map_err(|text| (400, text))?;
        let first = |field: &str| values(query, field).into_iter().next();
        let question = match Question::read(resource, first) {
            Some(Ok(question)) => question,
            Some(Err(text)) => return refuse(400, text),
            None => return refuse(404, ""),
        };
        let (machine, peer) = {
            let mirror = self.registry.mirror();
            let Some(job) = mirror.jobs.get(name).filter(|job| job.hash.is_some()) else {
                return refuse(404, "unit does not exist");
            };
            let global = job.requirements.as_ref().is_some_and(|of| of.global);
            let machine = match (global, first("machineID")) {
                (true, Some(machine)) => Some(machine),
                (true, None) => Some(self.machine_id.clone()),
                (false, _) => job.target.clone(),
            };
            let Some(machine) = machine else {
                return refuse(409, "unit is on no machine");
            };
            let peer = mirror.peers.get(&machine).cloned();
            (machine, peer)
        };
        if machine == self.machine_id {
            let tail = tail::here(name, &question);
            return tail.map(Answer::Tail).map_err(|error| (500, error.to_string()));
        }
        let Some(peer) = peer else {
            return refuse(
                502,
                format!("Machine({machine}) has the unit and does not listen for others: ask it, or use ssh"),
            );
        };
        let tail = self.peers.ask(&peer, name, &question).await;
        tail.map(Answer::Tail).map_err(|error| {
            (
                502,
                format!("Machine({machine}) has the unit and cannot be asked: {error}"),
            )
        })
    }
}

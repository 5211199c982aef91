//! The counters behind /v2/stats/store.
use super::{command::Command, json};

/// How often each operation succeeded and failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub gets_success: u64,
    pub gets_fail: u64,
    pub sets_success: u64,
    pub sets_fail: u64,
    pub delete_success: u64,
    pub delete_fail: u64,
    pub update_success: u64,
    pub update_fail: u64,
    pub create_success: u64,
    pub create_fail: u64,
    pub compare_and_swap_success: u64,
    pub compare_and_swap_fail: u64,
    pub compare_and_delete_success: u64,
    pub compare_and_delete_fail: u64,
    pub expire_count: u64,
    /// Open watches at this moment: the one field that is no counter.
    pub watchers: u64,
}

impl Stats {
    pub(super) fn count(&mut self, command: &Command, ok: bool) {
        let (success, fail) = match command {
            Command::Set { .. } => (&mut self.sets_success, &mut self.sets_fail),
            Command::Create { .. } => (&mut self.create_success, &mut self.create_fail),
            Command::Update { .. } => (&mut self.update_success, &mut self.update_fail),
            Command::CompareAndSwap { .. } => (&mut self.compare_and_swap_success, &mut self.compare_and_swap_fail),
            Command::Delete { .. } => (&mut self.delete_success, &mut self.delete_fail),
            Command::CompareAndDelete { .. } => {
                (&mut self.compare_and_delete_success, &mut self.compare_and_delete_fail)
            }
        };
        *if ok { success } else { fail } += 1;
    }

    /// Every field under etcd's name and in its order.
    pub(super) fn fields(&mut self) -> [(&'static str, &mut u64); 16] {
        [
            ("getsSuccess", &mut self.gets_success),
            ("getsFail", &mut self.gets_fail),
            ("setsSuccess", &mut self.sets_success),
            ("setsFail", &mut self.sets_fail),
            ("deleteSuccess", &mut self.delete_success),
            ("deleteFail", &mut self.delete_fail),
            ("updateSuccess", &mut self.update_success),
            ("updateFail", &mut self.update_fail),
            ("createSuccess", &mut self.create_success),
            ("createFail", &mut self.create_fail),
            ("compareAndSwapSuccess", &mut self.compare_and_swap_success),
            ("compareAndSwapFail", &mut self.compare_and_swap_fail),
            ("compareAndDeleteSuccess", &mut self.compare_and_delete_success),
            ("compareAndDeleteFail", &mut self.compare_and_delete_fail),
            ("expireCount", &mut self.expire_count),
            ("watchers", &mut self.watchers),
        ]
    }

    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        let mut object = json::Object::open(&mut out);
        for (name, value) in self.clone().fields() {
            json::number(object.field(name), value);
        }
        object.close();
        String::from_utf8(out).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_etcds_names_in_etcds_order() {
        let stats = Stats {
            gets_success: 1,
            watchers: 2,
            ..Stats::default()
        };
        let json = stats.to_json();
        assert!(
            json.starts_with("{\"getsSuccess\":1,\"getsFail\":0,\"setsSuccess\":0,"),
            "{json}"
        );
        assert!(
            json.ends_with("\"compareAndDeleteFail\":0,\"expireCount\":0,\"watchers\":2}"),
            "{json}"
        );
    }
}

//! How often each endpoint was asked, by what it answered.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

const ENDPOINTS: [&str; 3] = ["health", "new", "token"];
/// Methods that are counted by name: a client cannot make up more and more counters.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "head", "options", "patch"];

#[derive(Default)]
pub struct Metrics(Mutex<BTreeMap<(&'static str, u16, &'static str), u64>>);

impl Metrics {
    pub fn count(&self, endpoint: &'static str, status: u16, method: &str) {
        let known = METHODS.iter().find(|known| known.eq_ignore_ascii_case(method));
        let key = (endpoint, status, known.copied().unwrap_or("unknown"));
        *self.0.lock().unwrap().entry(key).or_default() += 1;
    }

    pub fn text(&self) -> String {
        let counts = self.0.lock().unwrap();
        let mut out = String::new();
        for endpoint in ENDPOINTS {
            let name = format!("endpoint_{endpoint}_requests_total");
            // Writing into a String cannot fail.
            let _ = writeln!(out, "# HELP {name} How many /{endpoint} requests were processed.");
            let _ = writeln!(out, "# TYPE {name} counter");
            for ((of, code, method), count) in counts.iter() {
                if *of == endpoint {
                    let _ = writeln!(out, "{name}{{code=\"{code}\",method=\"{method}\"}} {count}");
                }
            }
        }
        out
    }
}

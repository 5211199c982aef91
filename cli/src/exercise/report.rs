//! What is left of a run: JSON for programs, JUnit for CI.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::Verdict;
use super::timeline::Moment;
use super::traffic::Summary;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub name: String,
    pub title: String,
    pub steps: Vec<StepReport>,
    pub timeline: Vec<Moment>,
    pub took_ms: u64,
    /// Points got, and to be had; nobody gets any who lets it run by itself.
    pub points: Option<(u32, u32)>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StepReport {
    pub id: String,
    pub title: String,
    pub green: bool,
    pub took_ms: u64,
    pub checks: Vec<CheckReport>,
    pub traffic: Option<Summary>,
    /// Got, and to be had, by somebody who is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<(u32, u32)>,
    /// What went wrong apart from checks.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckReport {
    pub id: String,
    pub green: bool,
    pub saw: String,
    pub took_ms: u64,
    pub metric: Option<String>,
}

impl From<&Verdict> for CheckReport {
    fn from(verdict: &Verdict) -> CheckReport {
        CheckReport {
            id: verdict.id.clone(),
            green: verdict.green,
            saw: verdict.saw.clone(),
            took_ms: verdict.took.as_millis() as u64,
            metric: verdict.metric.clone(),
        }
    }
}

impl Report {
    pub fn is_green(&self) -> bool {
        self.steps.iter().all(|step| step.green)
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    pub fn took(&self) -> Duration {
        Duration::from_millis(self.took_ms)
    }

    /// A case for each check, beneath a suite for each step.
    pub fn junit(&self) -> String {
        let seconds = |millis: u64| format!("{:.3}", millis as f64 / 1000.0);
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        text += &format!(
            "<testsuites name=\"{}\" time=\"{}\">\n",
            escape(&self.name),
            seconds(self.took_ms)
        );
        for step in &self.steps {
            let red = step.checks.iter().filter(|check| !check.green).count() + usize::from(step.error.is_some());
            text += &format!(
                "  <testsuite name=\"{}.{}\" tests=\"{}\" failures=\"{red}\" time=\"{}\">\n",
                escape(&self.name),
                escape(&step.id),
                step.checks.len() + usize::from(step.error.is_some()),
                seconds(step.took_ms)
            );
            for check in &step.checks {
                let head = format!(
                    "    <testcase classname=\"{}.{}\" name=\"{}\" time=\"{}\"",
                    escape(&self.name),
                    escape(&step.id),
                    escape(&check.id),
                    seconds(check.took_ms)
                );
                text += &match check.green {
                    true => format!("{head}/>\n"),
                    false => format!("{head}><failure message=\"{}\"/></testcase>\n", escape(&check.saw)),
                };
            }
            if let Some(error) = &step.error {
                text += &format!(
                    "    <testcase classname=\"{}.{}\" name=\"do\"><failure message=\"{}\"/></testcase>\n",
                    escape(&self.name),
                    escape(&step.id),
                    escape(error)
                );
            }
            text += "  </testsuite>\n";
        }
        text + "</testsuites>\n"
    }
}

/// For XML and HTML; what neither may hold becomes a blank.
pub fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_string(),
            '<' => "&lt;".to_string(),
            '>' => "&gt;".to_string(),
            '"' => "&quot;".to_string(),
            c if c.is_control() && c != '\n' && c != '\t' => " ".to_string(),
            c => c.to_string(),
        })
        .collect()
}

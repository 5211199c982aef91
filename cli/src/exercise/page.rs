//! A run as one page that needs nothing else: steps, checks, and a picture of what happened when.
use std::fmt::Write;

use super::report::{Report, StepReport, escape};
use super::runner::{Kind, Moment};

const WIDTH: f64 = 900.0;
/// Where the lanes begin: left of it are their names.
const LEFT: f64 = 110.0;
const LANE: f64 = 26.0;
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#6b7280;--line:#d6dae0;--back:#fff;--ok:#1a7f4b;--bad:#c0352b;\
--fault:#d9822b;--lead:#3465a4;--step:#eef1f5}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa3ad;--line:#3a414a;--back:#15181c;--ok:#4cc38a;\
--bad:#f0736a;--fault:#f0a35e;--lead:#7aa7e0;--step:#20262d}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:920px;margin:2rem auto;\
padding:0 1rem}h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p.sum{color:var(--soft);\
margin:0 0 1rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem .25rem 0;\
border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600}td.n{white-space:nowrap}\
.ok{color:var(--ok)}.bad{color:var(--bad)}svg{width:100%;height:auto;display:block}svg text{fill:var(--ink);\
font:12px system-ui,sans-serif}svg .soft{fill:var(--soft)}code{font-size:.9em}";

impl Report {
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
             <h1>{0}</h1>\n<p class=\"sum\">{1}</p>\n",
            escape(&self.title),
            escape(&self.summary())
        );
        page += "<h2>What happened when</h2>\n";
        page += &self.picture();
        page += "<h2>Steps</h2>\n<table>\n<tr><th></th><th>Step</th><th>Check</th><th>Seen</th><th>After</th></tr>\n";
        for step in &self.steps {
            page += &rows(step);
        }
        page + "</table>\n</html>\n"
    }

    pub fn summary(&self) -> String {
        let green = self.steps.iter().filter(|step| step.green).count();
        let mut text = format!(
            "{}: {green} of {} steps green, {:.1} s",
            self.name,
            self.steps.len(),
            self.took_ms as f64 / 1000.0
        );
        if let Some((got, of)) = self.points {
            let _ = write!(text, ", {got} of {of} points");
        }
        for traffic in self.steps.iter().filter_map(|step| step.traffic.as_ref()) {
            let lost = traffic.lost.map_or("not counted".to_string(), |lost| lost.to_string());
            let _ = write!(
                text,
                "; writes acknowledged {}, lost {lost}, unavailable for {:.1} s",
                traffic.acknowledged,
                traffic.unavailable_ms as f64 / 1000.0
            );
        }
        text
    }

    fn picture(&self) -> String {
        let end = self.took_ms.max(1) as f64;
        let x = |at: u64| LEFT + (WIDTH - LEFT - 10.0) * (at as f64 / end).min(1.0);
        let of = |kind: Kind| self.timeline.iter().filter(move |moment| moment.kind == kind);
        let faults = spans(&self.timeline, self.took_ms);
        let lanes = 4 + faults.len().max(1);
        let height = LANE * lanes as f64 + 30.0;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"steps, checks, leader, writes and faults \
             over time\">\n"
        );
        let middle = |lane: usize| LANE * lane as f64 + LANE / 2.0;
        let name = |lane: usize, text: &str| {
            format!(
                "<text class=\"soft\" x=\"0\" y=\"{}\">{text}</text>\n",
                middle(lane) + 4.0
            )
        };
        svg += &name(0, "step");
        svg += &name(1, "checks");
        svg += &name(2, "leader");
        svg += &name(3, "failed writes");
        svg += &name(4, "faults");
        let steps: Vec<&Moment> = of(Kind::Step).collect();
        for (index, step) in steps.iter().enumerate() {
            let (from, to) = (
                x(step.at_ms),
                x(steps.get(index + 1).map_or(self.took_ms, |next| next.at_ms)),
            );
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"2\" width=\"{:.1}\" height=\"{:.1}\" fill=\"var(--step)\" rx=\"3\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text><title>{}</title>",
                (to - from - 2.0).max(1.0),
                height - 30.0,
                from + 4.0,
                middle(0) + 4.0,
                index + 1,
                escape(&step.text)
            );
        }
        for (kind, colour) in [(Kind::Green, "ok"), (Kind::Red, "bad")] {
            for moment in of(kind) {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"var(--{colour})\"><title>{}</title></circle>",
                    x(moment.at_ms),
                    middle(1),
                    escape(&moment.text)
                );
            }
        }
        let leaders: Vec<&Moment> = of(Kind::Leader).collect();
        for (index, leader) in leaders.iter().enumerate() {
            let (from, to) = (
                x(leader.at_ms),
                x(leaders.get(index + 1).map_or(self.took_ms, |next| next.at_ms)),
            );
            let none = leader.text == "nobody";
            let _ = writeln!(
                svg,
                "<line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"var(--{})\" \
                 stroke-width=\"3\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                if none { "bad" } else { "lead" },
                from + 2.0,
                middle(2) - 4.0,
                escape(&leader.text),
                y = middle(2) + 4.0
            );
        }
        for failed in of(Kind::WriteFailed) {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"2\" height=\"12\" fill=\"var(--bad)\"/>",
                x(failed.at_ms),
                middle(3) - 6.0
            );
        }
        for (lane, (text, from, to)) in faults.iter().enumerate() {
            let (from, to, y) = (x(*from), x(*to), middle(4 + lane));
            // Its words go where there is room.
            let (at, anchor) = if from > WIDTH * 0.6 {
                (from - 4.0, "end")
            } else {
                (to + 4.0, "start")
            };
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\" rx=\"2\" fill=\"var(--fault)\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                y - 5.0,
                (to - from).max(2.0),
                y + 4.0,
                escape(text)
            );
        }
        for tick in 0..=4u64 {
            let at = self.took_ms * tick / 4;
            let _ = writeln!(
                svg,
                "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1} s</text>",
                x(at),
                height - 10.0,
                at as f64 / 1000.0
            );
        }
        svg + "</svg>\n"
    }
}

/// Each fault's text, begin and end.
fn spans(timeline: &[Moment], end: u64) -> Vec<(String, u64, u64)> {
    let mut spans: Vec<(String, u64, Option<u64>)> = Vec::new();
    for moment in timeline {
        match moment.kind {
            Kind::Fault => spans.push((moment.text.clone(), moment.at_ms, None)),
            Kind::Healed => {
                let open = spans
                    .iter_mut()
                    .find(|(text, _, to)| *text == moment.text && to.is_none());
                if let Some((_, _, to)) = open {
                    *to = Some(moment.at_ms);
                }
            }
            _ => {}
        }
    }
    spans
        .into_iter()
        .map(|(text, from, to)| (text, from, to.unwrap_or(end)))
        .collect()
}

fn rows(step: &StepReport) -> String {
    let mut text = String::new();
    let mark = |green: bool| {
        if green {
            "<span class=\"ok\">ok</span>"
        } else {
            "<span class=\"bad\">red</span>"
        }
    };
    for (index, check) in step.checks.iter().enumerate() {
        let title = if index == 0 { escape(&step.title) } else { String::new() };
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{title}</td><td><code>{}</code></td><td>{}</td><td class=\"n\">{:.1} s</td></tr>",
            mark(check.green),
            escape(&check.id),
            escape(&check.saw),
            check.took_ms as f64 / 1000.0
        );
    }
    if let Some(error) = &step.error {
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td></td><td>{}</td><td></td></tr>",
            mark(false),
            escape(&step.title),
            escape(error)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lasts_from_its_begin_to_its_own_end() {
        let moment = |at_ms, kind, text: &str| Moment {
            at_ms,
            kind,
            text: text.into(),
        };
        let timeline = [
            moment(1, Kind::Fault, "a"),
            moment(2, Kind::Fault, "b"),
            moment(3, Kind::Healed, "a"),
        ];
        assert_eq!(spans(&timeline, 9), [("a".to_string(), 1, 3), ("b".to_string(), 2, 9)]);
    }

    #[test]
    fn what_was_printed_cannot_break_the_page() {
        let report = Report {
            schema: "lab.report/1",
            name: "x".into(),
            title: "<b>&".into(),
            steps: vec![StepReport {
                id: "s".into(),
                title: "s".into(),
                error: Some("</table><script>".into()),
                ..StepReport::default()
            }],
            timeline: Vec::new(),
            took_ms: 0,
            points: None,
        };
        let page = report.html();
        assert!(page.contains("<title>&lt;b&gt;&amp;</title>"), "{page}");
        assert!(!page.contains("<script>"), "{page}");
    }
}

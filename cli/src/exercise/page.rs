//! A run as one page that needs nothing else: steps, checks, and a picture of what happened when.
use std::fmt::Write;

use super::picture;
use super::report::{Report, StepReport, escape};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#626a75;--line:#d6dae0;--back:#fff;--ok:#1a7f4b;--bad:#c0352b;\
--fault:#d9822b;--lead:#3465a4;--step:#eef1f5}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa3ad;--line:#3a414a;--back:#15181c;--ok:#4cc38a;\
--bad:#f0736a;--fault:#d9822b;--lead:#7aa7e0;--step:#20262d}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:920px;margin:2rem auto;\
padding:0 1rem}h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p.sum{color:var(--soft);\
margin:0 0 1rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem .3rem 0;\
border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600}\
td.t{min-width:9em}td.w{overflow-wrap:anywhere}td.n{white-space:nowrap}span.ok{color:var(--ok)}span.bad{color:var(--bad)}code{font-size:.9em}\
.scroll{overflow-x:auto}svg{display:block;width:100%;min-width:640px}\
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .soft{fill:var(--soft)}\
svg .on{paint-order:stroke;stroke:var(--step);stroke-width:3px}.ok{fill:var(--ok)}.bad{fill:var(--bad)}\
.lead{fill:var(--lead)}.fault{fill:var(--fault)}.step{fill:var(--step)}.gap{fill:url(#away)}\
.away{stroke:var(--soft);stroke-width:2}.grid{stroke:var(--line)}\
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;margin:.4rem 0 0;color:var(--soft);\
font-size:.85em}.legend i{display:inline-block;width:12px;height:4px;margin-right:.4em;vertical-align:middle;\
background:var(--ink)}.legend .dot{width:8px;height:8px;border-radius:4px}.legend .tick{width:2px;height:12px}\
.legend .ok{background:var(--ok)}.legend .bad{background:var(--bad)}.legend .lead{background:var(--lead)}\
.legend .fault{background:var(--fault);height:8px}\
@media(max-width:600px){table,tbody,tr,td{display:block}tr:first-child{display:none}tr{padding:.4rem 0;\
border-bottom:1px solid var(--line)}td{border:0;padding:0}td:empty{display:none}td.s,td.c{display:inline-block;\
padding-right:.5em}td.t{font-weight:600}td.n{color:var(--soft)}td.n:before{content:'after '}}";

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
        page += &picture::svg(&self.timeline, self.took_ms);
        page += "<h2>Steps</h2>\n<table>\n<tr><th>Step</th><th></th><th>Check</th><th>Seen</th><th>After</th></tr>\n";
        for (index, step) in self.steps.iter().enumerate() {
            page += &rows(index + 1, step);
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
}

fn rows(number: usize, step: &StepReport) -> String {
    let mut text = String::new();
    let mark = |green: bool| {
        if green {
            "<span class=\"ok\">ok</span>"
        } else {
            "<span class=\"bad\">red</span>"
        }
    };
    for (index, check) in step.checks.iter().enumerate() {
        let title = match index {
            0 => format!("{number}. {}", escape(&step.title)),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "<tr><td class=\"t\">{title}</td><td class=\"s\">{}</td><td class=\"c\"><code>{}</code></td><td class=\"w\">{}</td>\
             <td class=\"n\">{:.1} s</td></tr>",
            mark(check.green),
            escape(&check.id),
            escape(&check.saw),
            check.took_ms as f64 / 1000.0
        );
    }
    if let Some(error) = &step.error {
        let _ = writeln!(
            text,
            "<tr><td class=\"t\">{}</td><td class=\"s\">{}</td><td></td><td class=\"w\">{}</td><td></td></tr>",
            escape(&step.title),
            mark(false),
            escape(error)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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

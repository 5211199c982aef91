//! What happened when, as a picture: steps, checks, leaders, writes that failed and faults, each on a lane of its own.
use std::fmt::Write;

use super::report::escape;
use super::timeline::{Kind, Moment};

const WIDTH: f64 = 900.0;
/// Where the lanes begin: left of it are their names.
const LEFT: f64 = 90.0;
const RIGHT: f64 = WIDTH - 16.0;
const LANE: f64 = 26.0;
/// Below the lanes: times.
const AXIS: f64 = 26.0;
/// How wide it is that nobody was there, for however long.
const AWAY: f64 = 22.0;
/// Of a letter, about; words go where there is room.
const LETTER: f64 = 6.6;
/// Times are this far from each other at least.
const TICK: f64 = 70.0;
const FIRST_FAULT: usize = 4;
const LEGEND: &[(&str, &str)] = &[
    ("dot ok", "check is green"),
    ("dot bad", "check is red"),
    ("bar lead", "somebody leads"),
    ("bar bad", "nobody leads"),
    ("tick bad", "a write failed"),
    ("bar fault", "a fault is in force"),
];

/// With what its colours mean. It is as wide as it has to be to be read: what is around it may scroll.
pub fn svg(timeline: &[Moment], took_ms: u64) -> String {
    let faults = faults(timeline, took_ms);
    let scale = Scale::of(timeline, took_ms);
    let lanes = FIRST_FAULT + faults.len().max(1);
    let bottom = LANE * lanes as f64;
    let mut svg = format!(
        "<div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"steps, checks, leader, failed \
         writes and faults over time\">\n<defs><pattern id=\"away\" width=\"6\" height=\"6\" \
         patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><line class=\"away\" y2=\"6\"/></pattern></defs>\n",
        bottom + AXIS
    );
    svg += &steps(timeline, took_ms, &scale, bottom);
    svg += &times(took_ms, &scale, bottom);
    for away in timeline.iter().filter(|moment| moment.kind == Kind::Away) {
        let (from, to) = (scale.end(away.at_ms), scale.x(away.at_ms));
        let said = format!("away {}", away.text);
        svg += &rect("gap", from, 0.0, to, bottom, &said);
        // Where no fault has its words.
        let (x, y) = ((from + to) / 2.0 + 4.0, LANE * 2.0);
        let _ = writeln!(
            svg,
            "<text class=\"on\" text-anchor=\"middle\" transform=\"translate({x:.1} {y:.1}) rotate(-90)\">{}</text>",
            escape(&said)
        );
    }
    for (lane, name) in ["step", "checks", "leader", "failed writes", "faults"]
        .into_iter()
        .enumerate()
    {
        svg += &text("soft", 0.0, baseline(lane), name);
    }
    for (kind, class) in [(Kind::Green, "ok"), (Kind::Red, "bad")] {
        for moment in timeline.iter().filter(|moment| moment.kind == kind) {
            let _ = writeln!(
                svg,
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{}\" r=\"4\"><title>{}</title></circle>",
                scale.x(moment.at_ms),
                middle(1),
                escape(&moment.text)
            );
        }
    }
    svg += &leaders(timeline, took_ms, &scale);
    for failed in timeline.iter().filter(|moment| moment.kind == Kind::WriteFailed) {
        let x = scale.x(failed.at_ms);
        svg += &rect("bad", x, middle(3) - 6.0, x + 2.0, 12.0, "a write failed");
    }
    for (lane, span) in faults.iter().enumerate() {
        let (from, to) = (scale.x(span.from), scale.end(span.to).max(scale.x(span.from) + 2.0));
        let lane = FIRST_FAULT + lane;
        svg += &rect("fault", from, middle(lane) - 5.0, to, 10.0, span.text);
        let wide = span.text.chars().count() as f64 * LETTER;
        let x = match () {
            () if to + 4.0 + wide <= WIDTH => to + 4.0,
            () if from - 4.0 - wide >= LEFT => from - 4.0 - wide,
            // Longer than what is left on either side: on the bar itself.
            () => from + 4.0,
        };
        svg += &text("on", x, baseline(lane), span.text);
    }
    svg += "</svg></div>\n<ul class=\"legend\">";
    for (class, name) in LEGEND {
        let _ = write!(svg, "<li><i class=\"{class}\"></i>{name}</li>");
    }
    svg + "</ul>\n"
}

/// Time to place: as time goes, but for what nobody saw.
struct Scale {
    per_ms: f64,
    away: Vec<u64>,
}

impl Scale {
    fn of(timeline: &[Moment], took_ms: u64) -> Scale {
        let away = timeline.iter().filter(|moment| moment.kind == Kind::Away);
        let away: Vec<u64> = away.map(|moment| moment.at_ms).collect();
        let gaps = (AWAY * away.len() as f64).min((RIGHT - LEFT) / 2.0);
        Scale {
            per_ms: (RIGHT - LEFT - gaps) / took_ms.max(1) as f64,
            away,
        }
    }

    fn place(&self, at: u64, gaps: usize) -> f64 {
        (LEFT + self.per_ms * at as f64 + AWAY * gaps as f64).min(RIGHT)
    }

    /// Where something happens, or begins.
    fn x(&self, at: u64) -> f64 {
        self.place(at, self.away.iter().filter(|away| **away <= at).count())
    }

    /// Where something ends: that somebody goes away comes after it.
    fn end(&self, at: u64) -> f64 {
        self.place(at, self.away.iter().filter(|away| **away < at).count())
    }
}

struct Span<'a> {
    text: &'a str,
    from: u64,
    to: u64,
}

/// What lasts until the next of its kind.
fn until_next(timeline: &[Moment], kind: Kind, end: u64) -> Vec<Span<'_>> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open = false;
    for moment in timeline {
        if moment.kind != kind && moment.kind != Kind::Away {
            continue;
        }
        if let Some(last) = spans.last_mut().filter(|_| open) {
            last.to = moment.at_ms;
        }
        open = moment.kind == kind;
        if open {
            spans.push(Span {
                text: &moment.text,
                from: moment.at_ms,
                to: end,
            });
        }
    }
    spans
}

/// Each from its begin to its own end; nothing lasts while somebody is away.
fn faults(timeline: &[Moment], end: u64) -> Vec<Span<'_>> {
    let mut spans: Vec<(Span, bool)> = Vec::new();
    for moment in timeline {
        if moment.kind == Kind::Fault {
            let span = Span {
                text: &moment.text,
                from: moment.at_ms,
                to: end,
            };
            spans.push((span, true));
        }
        let mut ended = spans.iter_mut().filter(|(span, open)| {
            *open
                && match moment.kind {
                    Kind::Healed => span.text == moment.text,
                    kind => kind == Kind::Away,
                }
        });
        let close = |(span, open): &mut (Span, bool)| (span.to, *open) = (moment.at_ms, false);
        match moment.kind {
            Kind::Healed => ended.next().into_iter().for_each(close),
            _ => ended.for_each(close),
        }
    }
    spans.into_iter().map(|(span, _)| span).collect()
}

fn steps(timeline: &[Moment], took_ms: u64, scale: &Scale, bottom: f64) -> String {
    let mut svg = String::new();
    for step in until_next(timeline, Kind::Step, took_ms) {
        let (from, to) = (scale.x(step.from), scale.end(step.to));
        svg += &rect("step", from, 0.0, (to - 2.0).max(from + 1.0), bottom, step.text);
        let number = step.text.split('.').next().unwrap_or_default();
        if to - from > number.len() as f64 * LETTER + 6.0 {
            svg += &text("", from + 4.0, baseline(0), number);
        }
    }
    svg
}

fn leaders(timeline: &[Moment], took_ms: u64, scale: &Scale) -> String {
    let mut svg = String::new();
    for leader in until_next(timeline, Kind::Leader, took_ms) {
        let (from, to) = (scale.x(leader.from), scale.end(leader.to));
        let class = if leader.text == "nobody" { "bad" } else { "lead" };
        svg += &rect(class, from, middle(2) + 4.0, to.max(from + 1.0), 3.0, leader.text);
        if to - from > leader.text.chars().count() as f64 * LETTER {
            svg += &text("", from + 2.0, middle(2), leader.text);
        }
    }
    svg
}

/// The axis: round numbers, as many as there is room for.
fn times(took_ms: u64, scale: &Scale, bottom: f64) -> String {
    let least = (TICK / scale.per_ms.max(f64::MIN_POSITIVE)) as u64;
    let steps = [100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000];
    let minutes = [1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440].map(|minutes| minutes * 60_000);
    let every = steps.into_iter().chain(minutes).find(|step| *step >= least);
    let every = every.unwrap_or_else(|| least.max(1).next_multiple_of(86_400_000));
    let mut svg = String::new();
    for at in (0..=took_ms).step_by(every as usize) {
        let x = scale.x(at);
        let said = match every {
            0..1000 => format!("{:.1} s", at as f64 / 1000.0),
            1000..60_000 if took_ms < 120_000 => format!("{} s", at / 1000),
            _ => format!("{}:{:02} min", at / 60_000, at / 1000 % 60),
        };
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text class=\"soft\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{said}</text>",
            bottom + 18.0
        );
    }
    svg
}

fn middle(lane: usize) -> f64 {
    LANE * lane as f64 + LANE / 2.0
}

fn baseline(lane: usize) -> f64 {
    middle(lane) + 4.0
}

fn rect(class: &str, from: f64, y: f64, to: f64, height: f64, title: &str) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{height}\" rx=\"2\"><title>{}</title></rect>\n",
        to - from,
        escape(title)
    )
}

fn text(class: &str, x: f64, y: f64, text: &str) -> String {
    format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y}\">{}</text>\n",
        escape(text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at_ms: u64, kind: Kind, text: &str) -> Moment {
        Moment {
            at_ms,
            kind,
            text: text.into(),
        }
    }

    #[test]
    fn a_fault_lasts_from_its_begin_to_its_own_end_and_not_while_nobody_is_there() {
        let timeline = [
            moment(1, Kind::Fault, "a"),
            moment(2, Kind::Fault, "b"),
            moment(3, Kind::Healed, "a"),
            moment(4, Kind::Away, "5m"),
            moment(6, Kind::Fault, "c"),
        ];
        let spans: Vec<_> = faults(&timeline, 9)
            .iter()
            .map(|span| (span.text, span.from, span.to))
            .collect();
        assert_eq!(spans, [("a", 1, 3), ("b", 2, 4), ("c", 6, 9)]);
    }

    #[test]
    fn a_step_that_goes_on_later_leaves_a_gap() {
        let timeline = [
            moment(0, Kind::Step, "1. one"),
            moment(10, Kind::Step, "2. two"),
            moment(20, Kind::Away, "5m"),
            moment(20, Kind::Step, "2. two"),
        ];
        let spans: Vec<_> = until_next(&timeline, Kind::Step, 40)
            .iter()
            .map(|span| (span.from, span.to))
            .collect();
        assert_eq!(spans, [(0, 10), (10, 20), (20, 40)]);
        let scale = Scale::of(&timeline, 40);
        assert_eq!(scale.x(20) - scale.end(20), AWAY);
        assert!((scale.x(40) - RIGHT).abs() < 0.01);
        let page = svg(&timeline, 40);
        assert!(page.contains("away 5m"), "{page}");
        assert_eq!(page.matches("<title>2. two</title>").count(), 2);
    }

    #[test]
    fn times_are_round_and_do_not_meet() {
        for took in [900, 8_100, 20_000, 95_000, 600_000, 7_200_000, 400_000_000] {
            let axis = times(took, &Scale::of(&[], took), 100.0);
            let count = axis.matches("<text").count();
            assert!((2..=12).contains(&count), "{took}: {axis}");
        }
    }
}

//! The only place that prints: phases and results on stdout, errors on stderr.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is this file's job")]
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// Longer lines are hard to read.
const WIDEST: usize = 88;
const NARROWEST: usize = 20;
const INDENT: usize = 4;
const TICK: Duration = Duration::from_millis(100);
/// Where nobody sees a line change, this long may pass without a word.
const SILENCE: Duration = Duration::from_secs(10);

/// One line for a phase that is over.
pub fn phase(text: &str, time: Duration) {
    lines(&format!("{:>6.2} s  {text}", time.as_secs_f64()));
}

/// A reader that is gone, as in `lab status | head -1`, is no error.
pub fn lines(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// For whoever reads along; a result it is not.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A question, and the line that is typed.
pub fn ask(question: &str) -> String {
    let _ = write!(io::stderr().lock(), "{question}");
    let mut answer = String::new();
    let _ = io::stdin().read_line(&mut answer);
    answer
}

/// A line that somebody types; none: nobody does any more.
pub fn read_line() -> Option<String> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(1..) => Some(line.trim_end_matches('\n').to_string()),
        _ => None,
    }
}

/// Running text, as wide as the terminal is and no wider than is read with ease. Indented lines stay as they are.
pub fn paragraphs(text: &str) {
    for line in wrapped(text, width()) {
        lines(&line);
    }
}

/// What may be typed, side by side as far as there is room.
pub fn choices(all: &[&str]) {
    for line in filled(all.iter().copied(), "  ", width()) {
        lines(&line);
    }
}

/// Running text below something else, a paragraph for each of its lines.
pub fn indented(text: &str) {
    for line in text.lines() {
        for part in wrapped(line.trim_start(), width() - INDENT) {
            lines(&format!("{:INDENT$}{part}", ""));
        }
    }
}

fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    let width = if size == 0 { WIDEST } else { size.min(WIDEST) };
    width.max(NARROWEST)
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    for line in text.trim_end().lines() {
        if line.trim().is_empty() || line.starts_with(' ') {
            all.extend(filled(words.drain(..), " ", width));
            all.push(line.trim_end().to_string());
        } else {
            words.extend(line.split_whitespace());
        }
    }
    all.extend(filled(words.into_iter(), " ", width));
    all
}

fn filled<'a>(pieces: impl Iterator<Item = &'a str>, gap: &str, width: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for piece in pieces {
        match all.last_mut() {
            Some(last) if last.chars().count() + gap.len() + piece.chars().count() <= width => {
                *last += &format!("{gap}{piece}");
            }
            _ => all.push(piece.to_string()),
        }
    }
    all
}

/// What is still waited for: a line that changes on a terminal, and elsewhere one every ten seconds.
pub struct Waiting {
    bar: ProgressBar,
    nodes: RefCell<BTreeMap<String, String>>,
    said: Cell<Instant>,
}

impl Waiting {
    pub fn new() -> Waiting {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(TICK);
        Waiting {
            bar,
            nodes: RefCell::default(),
            said: Cell::new(Instant::now()),
        }
    }

    /// This node waits for that.
    pub fn say(&self, node: &str, what: &str) {
        self.nodes.borrow_mut().insert(node.into(), what.into());
        self.show();
    }

    /// This node waits for nothing any more.
    pub fn forget(&self, node: &str) {
        self.nodes.borrow_mut().remove(node);
        self.show();
    }

    fn show(&self) {
        self.bar.set_message(self.text());
    }

    fn text(&self) -> String {
        let nodes = self.nodes.borrow();
        let texts: Vec<String> = nodes.iter().map(|(node, what)| format!("{node}: {what}")).collect();
        texts.join("  ")
    }

    /// Called again and again while waiting.
    pub fn turn(&self) {
        if self.bar.is_hidden() && self.said.get().elapsed() >= SILENCE {
            self.said.set(Instant::now());
            note(&format!("waiting for {}", self.text()));
        }
    }

    /// A line that stays.
    pub fn line(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}

/// How far a long piece of work is, in steps that are counted by the lines it prints.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub fn new(what: &str, steps: u64) -> Progress {
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {elapsed} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what.to_string());
        bar.enable_steady_tick(TICK);
        if bar.is_hidden() {
            note(&format!("{what}: this takes about a minute"));
        }
        Progress { bar }
    }

    pub fn step(&self, text: &str) {
        self.bar.inc(1);
        self.bar.set_message(text.to_string());
        if self.bar.is_hidden() && text.starts_with("I: ") {
            note(text);
        }
    }

    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}

/// Something went wrong, and the rest goes on.
pub fn warning(what: &str, why: &str, todo: &str) {
    let why = why.replace('\n', "\n         ");
    note(&format!("warning: {what}\n  why:   {why}\n  do:    {todo}"));
}

pub fn failure(failure: &Failure) {
    let _ = writeln!(io::stderr().lock(), "{}", describe(failure));
}

fn describe(failure: &Failure) -> String {
    let below = |text: &str| text.replace('\n', "\n         ");
    let excerpt = failure.excerpt.iter().map(|text| format!("\n         {}", below(text)));
    format!(
        "error: {}\n  where: {}{}\n  why:   {}\n  do:    {}",
        failure.what,
        failure.place,
        excerpt.collect::<String>(),
        below(&failure.why),
        below(&failure.todo)
    )
}

/// How much of a file has come: a bar on a terminal, nothing elsewhere.
pub struct Bytes {
    bar: ProgressBar,
}

impl Bytes {
    pub fn new(what: &str) -> Bytes {
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta}");
        let bar = ProgressBar::no_length().with_message(what.to_string());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bytes { bar }
    }

    pub fn set(&self, have: u64, total: Option<u64>) {
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(have);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A `lab` command as it can be typed here: by the path we were called by, where the PATH may not know us.
pub fn command(rest: &str) -> String {
    let called = std::env::args().next().filter(|name| name.contains('/'));
    format!("{} {rest}", called.as_deref().unwrap_or("lab"))
}

/// Columns as wide as their widest cell.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn an_error_has_four_parts_with_the_log_lines_below_each_other() {
        let text = describe(&Failure::new(Exit::Failed, "it ended", "x.log", "one\ntwo", "lab up"));
        let expected = "error: it ended\n  where: x.log\n  why:   one\n         two\n  do:    lab up";
        assert_eq!(text, expected);
    }

    #[test]
    fn running_text_is_wrapped_and_what_is_indented_stays() {
        let text = "One two\nthree four.\n\n    etcdctl  set a b\nFive\n";
        let expected = ["One two", "three", "four.", "", "    etcdctl  set a b", "Five"];
        assert_eq!(wrapped(text, 9), expected);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["NAME", "PID"], ["core-01", "7"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&rows), "NAME     PID\ncore-01  7");
    }
}

//! What the log shows, and how a line looks.
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::log;

/// The levels belong to the process, so these tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|e| e.into_inner())
}

fn shown(level: Level, packages: &str, events: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let layer = LogLayer {
        write: move |line: &str| sink.lock().unwrap().push(line[27..].to_string()),
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let packages = if packages.is_empty() {
            Vec::new()
        } else {
            parse_package_levels(packages).unwrap()
        };
        replace_levels(Levels {
            global: level,
            packages,
        });
        events();
    });
    replace_levels(Levels::DEFAULT);
    lines.lock().unwrap().clone()
}

fn one_of_each() {
    log::critical!("etcdmain", "one {}", 1);
    log::error!("etcdmain", "two");
    log::warning!("etcdmain", "three");
    log::notice!("etcdmain", "four");
    log::info!("etcdmain", "five");
    log::debug!("etcdmain", "six");
}

#[test]
fn a_line_has_etcds_form() {
    let at = UNIX_EPOCH + Duration::new(1_465_054_445, 123_456_789);
    assert_eq!(
        format_line(at, Level::Notice, "raft", "text"),
        "2016-06-04 15:34:05.123456 N | raft: text\n"
    );
}

#[test]
fn leap_days_and_year_ends_are_dated_right() {
    assert_eq!(date(0), (1970, 1, 1));
    assert_eq!(date(11_016), (2000, 2, 29));
    assert_eq!(date(16_860), (2016, 2, 29));
    assert_eq!(date(17_166), (2016, 12, 31));
}

#[test]
fn text_from_outside_cannot_forge_a_line() {
    assert!(format_line(UNIX_EPOCH, Level::Info, "p", "a\nb\n").ends_with("I | p: a\\nb\n"));
}

#[test]
fn info_and_above_are_shown_by_default() {
    let _turn = turn();
    let want = [
        "C | etcdmain: one 1\n",
        "E | etcdmain: two\n",
        "W | etcdmain: three\n",
        "N | etcdmain: four\n",
        "I | etcdmain: five\n",
    ];
    assert_eq!(shown(Level::Info, "", one_of_each), want);
}

#[test]
fn each_level_hides_what_is_below_it() {
    let _turn = turn();
    use Level::*;
    for (i, level) in [Critical, Error, Warning, Notice, Info, Debug].into_iter().enumerate() {
        assert_eq!(shown(level, "", one_of_each).len(), i + 1);
    }
}

#[test]
fn a_package_level_beats_the_global_one() {
    let _turn = turn();
    assert_eq!(
        shown(Level::Info, "etcdmain=CRITICAL", one_of_each),
        ["C | etcdmain: one 1\n"]
    );
    assert_eq!(shown(Level::Error, "etcdserver=DEBUG", one_of_each).len(), 2);
    assert_eq!(shown(Level::Error, "*=DEBUG", one_of_each).len(), 6);
}

#[test]
fn setting_the_level_at_run_time_covers_every_package() {
    let _turn = turn();
    let lines = shown(Level::Info, "etcdmain=CRITICAL", || {
        set_level(Level::Debug);
        one_of_each();
    });
    assert_eq!(lines.len(), 6);
}

fn chatter() {
    tracing::error!(target: "openraft::core", "gone");
    tracing::warn!(target: "openraft::core", id = 7, "slow");
    tracing::debug!(target: "openraft::core", "vote");
    tracing::warn!(target: "mio::poll", "odd");
    tracing::info!(target: "mio::poll", "fine");
}

#[test]
fn openraft_shows_errors_only_and_other_crates_warnings() {
    let _turn = turn();
    assert_eq!(shown(Level::Info, "", chatter), ["E | raft: gone\n", "W | mio: odd\n"]);
}

#[test]
fn debug_shows_what_openraft_says_with_its_fields() {
    let _turn = turn();
    let want = [
        "E | raft: gone\n",
        "W | raft: slow id=7\n",
        "D | raft: vote\n",
        "W | mio: odd\n",
    ];
    assert_eq!(shown(Level::Debug, "", chatter), want);
    assert_eq!(shown(Level::Info, "raft=DEBUG", chatter), want);
}

#[test]
fn a_hidden_line_does_not_evaluate_its_arguments() {
    let _turn = turn();
    let lines = shown(Level::Info, "", || log::debug!("etcdmain", "{}", unreachable_text()));
    assert!(lines.is_empty());
}

fn unreachable_text() -> String {
    panic!("a hidden line was formatted")
}

#[test]
fn every_spelling_of_a_level_that_etcd_takes_is_taken() {
    for (text, level) in [
        ("CRITICAL", Level::Critical),
        ("0", Level::Error),
        ("W", Level::Warning),
        ("NOTICE", Level::Notice),
    ] {
        assert_eq!(text.parse(), Ok(level));
    }
    assert_eq!("info".parse::<Level>().unwrap_err(), "couldn't parse log level info");
}

#[test]
fn bad_package_levels_are_named() {
    assert_eq!(
        parse_package_levels("foo").unwrap_err(),
        "oddly structured `pkg=level` option: foo"
    );
    assert_eq!(
        parse_package_levels("a=INFO,b=LOUD").unwrap_err(),
        "couldn't parse log level LOUD"
    );
}

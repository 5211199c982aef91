//! Exercises with somebody at a terminal: steps on Enter or by hand, going away in the middle, going on, going back.
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use corelab_tests::lab::{Lab, Who};
use corelab_tests::terminal::Terminal;
use corelab_tests::{eventually, tools};
use rustix::process::Signal;

/// The second step is in the middle of its work, with its fault in force, until there is a file `go`.
const EXERCISE: &str = "\
lab: 1
title: Three files
time: 1m
topology: { num_instances: 1, bare: true }
steps:
- id: one
  title: The first file
  say: |
    Running text is wrapped where the window ends, and this sentence is longer than the window of the test is wide.
  do: [ { at: core-01, run: touch one } ]
  check: [ { id: one, at: core-01, file: { path: /home/core/one }, within: 2s, why: \"The file is not there yet, and this is why it is red, in words.\" } ]
- id: two
  title: The second file, with a wrong clock
  do:
  - { fault: { clock: { at: core-01, by: 2h } } }
  - { at: core-01, run: \"touch busy; until test -e go; do sleep 0.1; done; touch two\", timeout: 110s }
  check: [ { id: two, at: core-01, file: { path: /home/core/two } } ]
- id: three
  title: The third file
  do: [ { at: core-01, run: touch three } ]
  check: [ { id: three, at: core-01, file: { path: /home/core/three } } ]
";
/// The last thing that is shown before somebody's turn.
const TURN: &str = "[q] leave";

/// The exercise, its lab, and somebody who does it.
struct Lesson {
    who: Who,
    lab: Lab,
    place: PathBuf,
}

impl Lesson {
    #[track_caller]
    fn of(who: Who, exercise: &str) -> Lesson {
        let lab = Lab::of(who);
        fs::create_dir_all(lab.dir().join("labs/01-files")).expect("make the exercise's folder");
        lab.write("labs/01-files/lab.yaml", exercise);
        let place = lab.state().join("lab/learn/01-files");
        Lesson { who, lab, place }
    }

    /// `lab learn` on a terminal.
    #[track_caller]
    fn learn(&self, columns: u16) -> Terminal {
        let mut command = match self.who {
            // Nothing in between: it can be killed.
            Who::Root => {
                let mut command = Command::new(tools::lab());
                self.lab.surround(&mut command);
                command.env("NO_COLOR", "1");
                command
            }
            Who::User => {
                let mut command = self.lab.command("env");
                command.args(["NO_COLOR=1", "lab"]);
                command
            }
        };
        command.args(["learn", "files"]);
        Terminal::spawn(command, columns)
    }

    /// In the exercise's lab, as from another shell.
    fn inside(&self, words: &[&str]) -> Output {
        let mut command = self.lab.command("sh");
        command.args(["-c", "cd \"$0\" && exec lab \"$@\""]).arg(&self.place);
        tools::run(command.args(words))
    }

    /// Does this line of shell succeed on the node?
    fn holds(&self, line: &str) -> bool {
        self.inside(&["ssh", "core-01", "--", line]).status.success()
    }

    fn back(&self, step: &[&str]) -> Output {
        self.lab.lab(&[&["back", "files"], step].concat())
    }

    fn faults(&self) -> String {
        String::from_utf8_lossy(&self.inside(&["fault", "ls"]).stdout).into_owned()
    }

    /// The first step is done, by Enter, and its check green; the second one is next.
    #[track_caller]
    fn second_step(&self, check: &str) -> Terminal {
        let mut terminal = self.learn(100);
        terminal.until(TURN);
        terminal.type_in("\r");
        terminal.until(&format!("ok {check}"));
        terminal.until("── 2 of ");
        terminal.until(TURN);
        terminal
    }

    /// Up to the middle of the second step.
    #[track_caller]
    fn in_the_middle(&self) -> Terminal {
        let mut terminal = self.second_step("one");
        terminal.type_in("\r");
        eventually("the second step is at work", || {
            self.holds("test -e busy").then_some(())
        });
        assert!(self.faults().contains("clock core-01"), "{}", self.faults());
        terminal
    }

    /// After it was broken off: nothing of the step goes on, and the exercise does, where it was.
    #[track_caller]
    fn goes_on(&self) {
        eventually("the fault is undone", || {
            (!self.faults().contains("clock")).then_some(())
        });
        assert!(self.holds("test ! -e /run/lab/clock"));
        eventually("its command has ended", || {
            self.holds("! pgrep -f '[b]ash --login -s'").then_some(())
        });

        let mut terminal = self.learn(100);
        terminal.until("01-files: on at step 2");
        terminal.until("2 of 3");
        terminal.until(TURN);
        assert!(self.holds("touch go"));
        terminal.type_in("\r");
        terminal.until("ok two");
        terminal.until("3 of 3");
        terminal.until(TURN);
        terminal.type_in("\r");
        terminal.until("ok three");
        terminal.until("3 of 3 steps green");
        terminal.until("3 of 3 points");
        terminal.until("report.html");
        assert!(terminal.wait().success(), "{}", terminal.shown());
        let page = fs::read_to_string(self.place.join("report.html")).expect("the report");
        // All of it, with the step that was broken off twice.
        for (title, times) in [("1. The first file", 1), ("2. The second file, with a wrong clock", 2)] {
            let count = page.matches(&format!("<title>{title}</title>")).count();
            assert_eq!(count, times, "{title}: {page}");
        }
        assert!(page.contains("<title>away "), "{page}");
        self.left_nothing();
    }

    #[track_caller]
    fn left_nothing(&self) {
        let learn = self.lab.state().join("lab/learn").display().to_string();
        let left: Vec<String> = self.lab.leftovers().into_iter().filter(|what| *what != learn).collect();
        assert_eq!(left, Vec::<String>::new(), "the exercise has left this");
    }
}

impl Drop for Lesson {
    fn drop(&mut self) {
        if self.place.join(".lab").exists() {
            let _ = self.inside(&["destroy", "-f"]);
        }
    }
}

#[track_caller]
fn broken_off_by(who: Who, end: impl FnOnce(&mut Terminal)) {
    let lesson = Lesson::of(who, EXERCISE);
    let mut terminal = lesson.in_the_middle();
    end(&mut terminal);
    terminal.wait();
    lesson.goes_on();
}

fn ctrl_c_in_the_middle_of_a_step_undoes_its_fault_and_it_goes_on_there(who: Who) {
    broken_off_by(who, |terminal| terminal.type_in("\u{3}"));
}

#[test]
fn a_terminal_that_is_closed_in_the_middle_of_a_step_undoes_its_fault() {
    broken_off_by(Who::Root, |terminal| terminal.close());
}

#[test]
fn sigkill_in_the_middle_of_a_step_undoes_its_fault() {
    broken_off_by(Who::Root, |terminal| terminal.signal(Signal::KILL));
}

fn what_is_done_in_another_shell_is_noticed_and_going_back_brings_the_moment_before(who: Who) {
    let lesson = Lesson::of(who, EXERCISE);
    let mut terminal = lesson.learn(100);
    terminal.until(TURN);
    assert!(lesson.holds("touch one"));
    terminal.until("it is done");
    terminal.until("ok one");
    terminal.until("2 of 3");
    terminal.until(TURN);
    // Broken off half way: the moment before the step is not that of going on.
    assert!(lesson.holds("touch half"));
    terminal.type_in("q\r");
    terminal.until("It goes on at this step");
    assert!(terminal.wait().success());
    let mut terminal = lesson.learn(100);
    terminal.until("on at step 2");
    terminal.until(TURN);
    terminal.type_in("q\r");
    terminal.wait();
    let said = tools::outputs(&lesson.back(&["2"]));
    assert!(said.contains("back before step 2"), "{said}");
    assert!(lesson.holds("test -e one && test ! -e half"));

    let said = tools::outputs(&lesson.back(&[]));
    assert!(said.contains("back before step 1"), "{said}");
    assert!(lesson.holds("test ! -e one"));
    let mut terminal = lesson.learn(100);
    terminal.until("on at step 1");
    terminal.until("1 of 3");
    terminal.until(TURN);
    terminal.type_in("\r");
    terminal.until("ok one");
    terminal.until("2 of 3");
    terminal.until(TURN);
    // And from within.
    terminal.type_in("b\r");
    terminal.until("back before step 1");
    terminal.until("1 of 3");
    terminal.until(TURN);
    assert!(lesson.holds("test ! -e one"));
}

#[test]
fn a_narrow_window_gets_no_longer_lines_and_no_colour() {
    let lesson = Lesson::of(Who::Root, EXERCISE);
    let mut terminal = lesson.learn(60);
    terminal.until(TURN);
    // Red, and explained.
    terminal.type_in("c\r");
    terminal.until("RED one");
    terminal.until(TURN);
    for typed in ["w\r", "h\r", "s\r", "?\r", "r\r"] {
        terminal.type_in(typed);
        terminal.until(TURN);
    }
    terminal.type_in("q\r");
    terminal.until("It goes on at this step");
    terminal.wait();
    let shown = terminal.shown();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let state = lesson.lab.state().display().to_string();
    let long: Vec<&str> = shown
        .lines()
        // A command stays in one piece, so that it can be copied.
        .filter(|line| !line.contains(" $ ") && !line.contains(&state) && !line.contains("/lab "))
        .filter(|line| line.trim_end().chars().count() > 60)
        .collect();
    assert_eq!(long, Vec::<&str>::new(), "{shown}");
    let running = shown
        .lines()
        .filter(|line| line.contains("Running text is wrapped where the window ends"));
    assert_eq!(running.count(), 1, "{shown}");
}

/// The second step needs what the first one has made, and leaves nothing but what it is for.
const GUARDED: &str = "\
lab: 1
title: A copy
time: 1m
topology: { num_instances: 1, bare: true }
steps:
- id: first
  title: Something to copy
  do: [ { at: core-01, run: echo first > original } ]
  check: [ { id: first, at: core-01, file: { path: /home/core/original } } ]
- id: copy
  title: The copy
  guard: [ { id: original, at: core-01, file: { path: /home/core/original }, why: The original is gone. } ]
  do: [ { at: core-01, run: touch busy; cp original copy || true } ]
  check: [ { id: copy, at: core-01, file: { path: /home/core/copy }, within: 1s } ]
  then: [ { id: tidy, at: core-01, file: { path: /home/core/busy, absent: true } } ]
  cleanup: [ { at: core-01, run: rm busy } ]
";

fn what_cannot_be_won_any_more_is_said_and_a_step_back_mends_it(who: Who) {
    let lesson = Lesson::of(who, GUARDED);
    let mut terminal = lesson.second_step("first");
    assert!(lesson.holds("rm original"));
    terminal.type_in("\r");
    terminal.until("RED copy");
    terminal.until("lost: original: The original is gone.");
    terminal.until(TURN);
    assert!(lesson.holds("test -e busy"));
    terminal.type_in("b\r");
    terminal.until("back before step 1");
    terminal.until(TURN);
    terminal.type_in("\r");
    terminal.until("ok first");
    terminal.until(TURN);
    terminal.type_in("\r");
    terminal.until("ok copy");
    terminal.until("ok tidy");
    terminal.until("2 of 2 steps green");
    assert!(terminal.wait().success(), "{}", terminal.shown());
    lesson.left_nothing();
}

#[test]
fn an_exercise_that_runs_by_itself_ends_red_where_its_guard_is() {
    let lesson = Lesson::of(
        Who::Root,
        &GUARDED.replace("/home/core/original }, why", "/home/core/other }, why"),
    );
    let output = lesson.lab.lab(&["learn", "files", "--auto", "--json", "report.json"]);
    let said = tools::outputs(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("RED original") && said.contains("The original is gone."),
        "{said}"
    );
    assert!(!said.contains("RED copy"), "{said}");
    assert!(lesson.lab.sh("cat report.json").contains("\"original\""));
    lesson.left_nothing();
}

/// Two nodes that tell each other numbers, one after the other, from the first step on.
const TALK: &str = "\
lab: 1
title: A talk
time: 1m
topology: { num_instances: 2, bare: true }
steps:
- id: talk
  title: They begin
  do:
  - at: core-02
    write:
      path: /etc/systemd/system/hears.socket
      text: |
        [Socket]
        ListenStream=7000
        Accept=yes
  - at: core-02
    write:
      path: /etc/systemd/system/hears@.service
      text: |
        [Service]
        StandardInput=socket
        ExecStart=/bin/bash -c 'while read n; do echo $n >> /home/core/heard; echo $n; done'
  - { at: core-02, unit: { reload: true, start: hears.socket } }
  - at: core-01
    run: |
      cat > says <<'END'
      exec 3<> /dev/tcp/172.17.8.102/7000
      for ((n = 1; ; n++)); do echo $n >> said; echo $n >&3; read -u 3 back; done
      END
      setsid bash says < /dev/null > /dev/null 2>&1 &
  check: [ { id: heard, at: core-02, file: { path: /home/core/heard, matches: '^100$' } } ]
- id: later
  title: Some time later
  do: [ { at: core-01, run: touch later } ]
  check: [ { id: later, at: core-01, file: { path: /home/core/later } } ]
";

fn the_moment_that_is_kept_is_the_same_on_all_nodes(who: Who) {
    let lesson = Lesson::of(who, TALK);
    let mut terminal = lesson.second_step("heard");
    terminal.type_in("q\r");
    terminal.wait();
    let said = tools::outputs(&lesson.back(&["2"]));
    assert!(said.contains("back before step 2"), "{said}");
    let last = |node: &str, file: &str| -> u64 {
        let output = lesson.inside(&["ssh", node, "--", &format!("tail -n 1 {file}")]);
        let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
        text.parse().unwrap_or_else(|_| panic!("{text:?}: {output:?}"))
    };
    // What was heard had been said, and nothing is said before the last word was heard.
    let (said, heard) = (last("core-01", "said"), last("core-02", "heard"));
    assert!(heard == said || heard + 1 == said, "said {said}, heard {heard}");
    assert!(heard > 100, "{heard}");
}

corelab_tests::for_everybody! {
    ctrl_c_in_the_middle_of_a_step_undoes_its_fault_and_it_goes_on_there
    what_is_done_in_another_shell_is_noticed_and_going_back_brings_the_moment_before
    what_cannot_be_won_any_more_is_said_and_a_step_back_mends_it
    the_moment_that_is_kept_is_the_same_on_all_nodes
}

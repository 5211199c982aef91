//! Waiting for nodes: what is said meanwhile, how long, and what Ctrl-C does.
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::failure::{Exit, Failure};
use crate::lab::{Lab, refused};
use crate::local::client::Supervisor;
use crate::local::protocol::{Event, NodeStatus, Request, State, Trouble};
use crate::ui;

/// What a shell makes of an end by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Has the supervisor do it and tells of each node, until all are ready, the time is over, or somebody types Ctrl-C.
pub fn follow(lab: &Lab, supervisor: &Supervisor, request: &Request, limit: Option<Duration>) -> Result<(), Failure> {
    let began = Instant::now();
    let waiting = ui::Waiting::new();
    let pending: RefCell<BTreeMap<String, String>> = RefCell::default();
    let over = || limit.is_some_and(|limit| began.elapsed() >= limit);
    let interrupt = Interrupt::catch();
    let result = supervisor.ask_while(
        request,
        |event| {
            let Event::Node(node) = event else { return };
            if node.state == State::Booting {
                pending.borrow_mut().insert(node.name.clone(), node.detail.clone());
                waiting.say(&node.name, &node.detail);
            } else {
                pending.borrow_mut().remove(&node.name);
                waiting.forget(&node.name);
                if node.state == State::Ready {
                    waiting.line(|| ready(node));
                }
            }
        },
        || {
            waiting.turn();
            !interrupt.came() && !over()
        },
    );
    drop(interrupt);
    waiting.done();
    let pending = pending.into_inner();
    let lines: Vec<String> = pending.iter().map(|(node, what)| format!("{node}: {what}")).collect();
    match result {
        Ok(Some(Event::Failed {
            reason,
            what,
            place,
            why,
            todo,
        })) => Err(refused(reason, what, place, why, todo)),
        Ok(Some(_)) => Ok(()),
        Ok(None) if over() => Err(Failure::new(
            Exit::Timeout,
            format!(
                "not ready after {} s; the nodes run on",
                limit.unwrap_or_default().as_secs()
            ),
            lab.project.root.display(),
            lines.join("\n"),
            ui::command("up  # waits on"),
        )),
        Ok(None) => Err(Failure::new(
            Exit::Status(INTERRUPTED),
            "interrupted; the nodes run on",
            lab.project.root.display(),
            lines.join("\n"),
            format!("{}, or {}", ui::command("up  # waits on"), ui::command("destroy")),
        )),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            "the lab's supervisor gave no answer",
            supervisor.socket.display(),
            error,
            ui::command("up"),
        )),
    }
}

/// A node is there whatever becomes of its units; who typed the cloud-config wants to know of them.
pub fn say_troubles(nodes: &[NodeStatus]) {
    for node in nodes {
        for Trouble { unit, log } in &node.troubles {
            let name = &node.name;
            // Two shells read it, ours and the node's.
            let quoted = match unit.contains('\\') {
                true => format!("\"'{unit}'\""),
                false => unit.clone(),
            };
            let todo = ui::command(&format!("ssh {name} -- sudo journalctl -u {quoted}"));
            ui::warning(&format!("{unit} failed on {name}"), &log.join("\n"), &todo);
        }
    }
}

fn ready(node: &NodeStatus) {
    let mut text = format!("{} ready", node.name);
    if !node.detail.is_empty() {
        text += &format!(" ({})", node.detail);
    }
    ui::phase(&text, Duration::from_millis(node.millis));
}

static CAME: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    CAME.store(true, Ordering::Relaxed);
}

/// While it lives, Ctrl-C does not end this program but is remembered.
struct Interrupt(libc::sighandler_t);

impl Interrupt {
    fn catch() -> Interrupt {
        CAME.store(false, Ordering::Relaxed);
        let handler: extern "C" fn(libc::c_int) = note;
        // SAFETY: the handler stores to an atomic and does nothing else.
        Interrupt(unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) })
    }

    fn came(&self) -> bool {
        CAME.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // SAFETY: this is what was there before.
        unsafe { libc::signal(libc::SIGINT, self.0) };
    }
}

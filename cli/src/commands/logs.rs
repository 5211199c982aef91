//! `lab logs`, `lab console`, `lab port`: what a node printed, its terminal, its ports.
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write, stdin, stdout};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::args::{Console, Logs, Nodes};
use crate::commands::vagrant;
use crate::failure::Failure;
use crate::lab::Lab;
use crate::ui;
use crate::vagrant::Vagrant;

/// Ctrl-], as with telnet.
const ESCAPE: u8 = 0x1d;
const FOLLOW: Duration = Duration::from_millis(100);

/// The console of every boot so far.
pub fn logs(args: &Logs) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    vagrant::refuse(
        &lab,
        "log of their consoles",
        "lab up --enable-serial-logging, then see vagrant/log",
    )?;
    let path = lab
        .state
        .join("nodes")
        .join(&lab.named(std::slice::from_ref(&args.node))?[0].name)
        .join("console.log");
    let failed = |error| lab.cannot("read the node's console", error);
    let mut file = File::open(&path).map_err(failed)?;
    let mut text = Vec::new();
    loop {
        text.clear();
        file.read_to_end(&mut text).map_err(failed)?;
        if stdout().write_all(&text).and_then(|()| stdout().flush()).is_err() || !args.follow {
            return Ok(());
        }
        std::thread::sleep(FOLLOW);
        // A node that was destroyed and made again begins anew.
        if file
            .metadata()
            .is_ok_and(|metadata| metadata.len() < file.stream_position().unwrap_or(0))
        {
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
        }
    }
}

pub fn console(args: &Console) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    vagrant::refuse(&lab, "console", "lab up --vm-gui shows their screens")?;
    let name = &lab.named(std::slice::from_ref(&args.node))?[0].name;
    let failed = |error| lab.cannot("attach to the node's console", error);
    let mut stream = lab.running()?.console(name).map_err(failed)?;
    ui::note(&format!("attached to {name}; Ctrl-] lets go"));
    let _raw = Raw::set();
    let mut buffer = [0; 4096];
    loop {
        let input = stdin();
        let mut ready = [PollFd::new(&input, PollFlags::IN), PollFd::new(&stream, PollFlags::IN)];
        poll(&mut ready, None).map_err(|error| failed(error.into()))?;
        let (typed, printed) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
        if printed {
            match stream.read(&mut buffer).map_err(failed)? {
                0 => return Ok(()),
                read => stdout()
                    .write_all(&buffer[..read])
                    .and_then(|()| stdout().flush())
                    .map_err(failed)?,
            }
        }
        if typed {
            let read = rustix::io::read(stdin(), &mut buffer[..]).map_err(|error| failed(error.into()))?;
            if read == 0 || buffer[..read].contains(&ESCAPE) {
                return Ok(());
            }
            stream.write_all(&buffer[..read]).map_err(failed)?;
        }
    }
}

pub fn port(args: &Nodes) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    if let Some(vagrant) = Vagrant::of(&lab) {
        let all: Vec<String> = lab.named(&args.nodes)?.iter().map(|node| node.name.clone()).collect();
        // Vagrant tells of one machine at a time.
        return all
            .iter()
            .try_for_each(|name| vagrant::verb(&vagrant, &lab, &["port"], std::slice::from_ref(name)));
    }
    let mut rows = vec![["NODE", "GUEST", "HOST"].map(String::from).to_vec()];
    for node in lab.named(&args.nodes)? {
        for forward in &node.forwards {
            rows.push(vec![
                node.name.clone(),
                forward.guest.to_string(),
                format!("127.0.0.1:{}", forward.host),
            ]);
        }
    }
    ui::lines(&ui::table(&rows));
    Ok(())
}

/// The terminal as the node's programs want it, and back when this is dropped.
struct Raw(rustix::termios::Termios);

impl Raw {
    fn set() -> Option<Raw> {
        let before = tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

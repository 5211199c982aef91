//! watch and exec-watch.
use std::process::Command;

use super::keys::{missing, show};
use super::{Context, Failure};
use crate::client::keys::{Response, Watcher};
use crate::sys::print;

/// The next change; none once the user has interrupted. Changes that come faster than they are taken can be gone from
/// the server's history: then it says which, and goes on.
async fn next(watcher: &mut Watcher<'_>) -> Result<Option<Response>, Failure> {
    loop {
        let response = tokio::select! {
            response = watcher.next() => response,
            _ = tokio::signal::ctrl_c() => return Ok(None),
        };
        let error = match response {
            Ok(response) => return Ok(Some(response)),
            Err(error) => error,
        };
        let Some(missed) = watcher.skip_forgotten(&error) else {
            return Err(Failure::key(4, &error));
        };
        let (first, last) = missed.into_inner();
        print(
            "",
            &format!(
                "missed what happened at the indexes {first} to {last}: the server's history begins after them; going on there\n"
            ),
        );
    }
}

pub async fn watch(context: &Context) -> Result<(), Failure> {
    let flags = &context.command;
    let key = flags.arg(0).ok_or_else(|| missing("key"))?;
    let client = context.client().await?;
    let mut watcher = client.watch(key, flags.is("recursive"), flags.int("after-index"));
    while let Some(response) = next(&mut watcher).await? {
        let Some(node) = response.node.as_ref().filter(|node| !node.dir) else {
            continue;
        };
        if flags.is("recursive") {
            print(&format!("[{}] {}\n", response.action, node.key), "");
        }
        show(context, &response);
        if !flags.is("forever") {
            break;
        }
    }
    Ok(())
}

pub async fn exec_watch(context: &Context) -> Result<(), Failure> {
    let flags = &context.command;
    let (key, command) = match flags.args.as_slice() {
        [key, dashes, command @ ..] if dashes == "--" && !command.is_empty() => (key, command),
        [command @ .., key] if !command.is_empty() => (key, command),
        _ => return Err(missing("key and command to exec")),
    };
    let client = context.client().await?;
    let after = match flags.int("after-index") {
        0 => 0,
        after => after + 1,
    };
    let mut watcher = client.watch(key, flags.is("recursive"), after);
    while let Some(response) = next(&mut watcher).await? {
        let Some(node) = &response.node else { continue };
        if node.dir {
            print("", &format!("Ignored dir {} change", node.key));
            continue;
        }
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .env("ETCD_WATCH_ACTION", &response.action)
            .env("ETCD_WATCH_KEY", &node.key)
            .env("ETCD_WATCH_MODIFIED_INDEX", node.modified_index.to_string())
            .env("ETCD_WATCH_VALUE", &node.value)
            .spawn()
            .map_err(|_| {
                let name = &command[0];
                let text = match name.contains('/') {
                    true => format!("fork/exec {name}: no such file or directory"),
                    false => format!("exec: \"{name}\": executable file not found in $PATH"),
                };
                Failure(1, text)
            })?;
        std::thread::spawn(move || child.wait());
    }
    Ok(())
}

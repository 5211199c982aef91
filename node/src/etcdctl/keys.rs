//! The commands on keys, and how an answer is printed.
use std::io::Read;

use super::{Context, Failure};
use crate::client::error::Error;
use crate::client::keys::{Delete, Get, Node, Response, Set};
use crate::sys::print;

pub fn missing(what: &str) -> Failure {
    Failure(1, format!("Error:  {what} required\n"))
}

/// Prints an answer in the format that -o names.
pub fn show(context: &Context, response: &Response) {
    let none = Node::default();
    let node = response.node.as_ref().unwrap_or(&none);
    let deleted = response.action == "delete";
    let before = response.prev_node.as_ref().map(|node| node.value.as_str());
    match context.output() {
        "simple" if deleted => print(&format!("PrevNode.Value: {}\n", before.unwrap_or_default()), ""),
        "simple" => print(&format!("{}\n", node.value), ""),
        "extended" => {
            let before = before
                .map(|value| format!("PrevNode.Value: {value}\n"))
                .unwrap_or_default();
            let value = if deleted {
                String::new()
            } else {
                format!("\n{}\n", node.value)
            };
            print(
                &format!(
                    "Key: {}\nCreated-Index: {}\nModified-Index: {}\n{before}TTL: {}\nIndex: {}\n{value}",
                    node.key,
                    node.created_index,
                    node.modified_index,
                    node.ttl.unwrap_or(0),
                    response.index
                ),
                "",
            );
        }
        "json" => match serde_json::to_string(response) {
            Ok(text) => {
                let text = text
                    .replace('<', "\\u003c")
                    .replace('>', "\\u003e")
                    .replace('&', "\\u0026");
                print(&format!("{text}\n"), "");
            }
            Err(error) => print("", &format!("{error}\n")),
        },
        other => print("", &format!("Unsupported output format: {other}\n")),
    }
}

fn value(context: &Context) -> Result<String, Failure> {
    if let Some(value) = context.command.arg(1) {
        return Ok(value.to_string());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    match read {
        Ok(n) if n > 0 => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        _ => Err(missing("value")),
    }
}

fn list(node: &Node, slash: bool, out: &mut String) {
    for child in node.nodes.iter().flatten() {
        out.push_str(&child.key);
        out.push_str(if slash && child.dir { "/\n" } else { "\n" });
        list(child, slash, out);
    }
}

pub async fn run(name: &str, context: &Context) -> Result<(), Failure> {
    let flags = &context.command;
    let key = match flags.arg(0) {
        Some(key) => key,
        None if name == "ls" => "/",
        None => return Err(missing("key")),
    };
    let text = match name {
        "mk" | "set" | "update" => value(context)?,
        _ => String::new(),
    };
    let filled = |name: &str| flags.text(name).map(str::to_string);
    let prev_exist = match name {
        "mk" | "mkdir" => Some(false),
        "update" | "updatedir" => Some(true),
        _ => None,
    };
    let set = Set {
        prev_value: filled("swap-with-value"),
        prev_index: flags.int("swap-with-index"),
        prev_exist,
        ttl: flags.int("ttl"),
        dir: name.ends_with("dir"),
        refresh: false,
    };
    let get = Get {
        recursive: flags.is("recursive"),
        sorted: flags.is("sort"),
        quorum: flags.is("quorum"),
    };
    let delete = Delete {
        prev_value: filled("with-value"),
        prev_index: flags.int("with-index"),
        recursive: flags.is("recursive"),
        dir: flags.is("dir") || name == "rmdir",
    };
    let client = context.client().await?;
    let work = async {
        match name {
            "get" | "ls" => client.get(key, &get).await,
            "rm" | "rmdir" => client.delete(key, &delete).await,
            "mk" if flags.is("in-order") => client.create_in_order(key, &text, set.ttl).await,
            _ => client.set(key, &text, &set).await,
        }
    };
    let response = context
        .within(work)
        .await
        .map_err(|error: Error| Failure::key(4, &error))?;
    let none = Node::default();
    let node = response.node.as_ref().unwrap_or(&none);
    match name {
        "ls" => {
            let mut out = String::new();
            if !node.dir {
                out = format!("{}\n", node.key);
            }
            list(node, flags.is("p"), &mut out);
            print(&out, "");
        }
        "get" if node.dir => return Err(Failure(1, format!("{}: is a directory\n", node.key))),
        "rm" if node.dir => {}
        "mkdir" | "setdir" | "updatedir" | "rmdir" => {}
        _ => show(context, &response),
    }
    Ok(())
}

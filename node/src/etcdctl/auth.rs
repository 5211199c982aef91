//! The user, role and auth commands, and the password prompt.
use serde_json::{Value, json};

use super::{Context, Failure};
use crate::sys::print;
use crate::terminal;

/// Asks on stdout, as the original does, with its word about a stdin that is no terminal.
pub fn ask_password(prompt: &str) -> String {
    print(prompt, "");
    let secret = terminal::read_secret();
    let hidden = secret.as_ref().is_ok_and(|secret| secret.hidden);
    if !hidden {
        print(
            "",
            &"stty: 'standard input': Inappropriate ioctl for device\n".repeat(2),
        );
    }
    print("\n", "");
    secret.map(|secret| secret.line).unwrap_or_default()
}

fn lines(list: &Value) -> String {
    let names = list.as_array().cloned().unwrap_or_default();
    names
        .iter()
        .filter_map(Value::as_str)
        .map(|name| format!("\t{name}\n"))
        .collect()
}

pub async fn run(name: &str, context: &Context) -> Result<(), Failure> {
    let (group, verb) = name.split_once(' ').unwrap_or((name, ""));
    let flags = &context.command;
    let kind = if group == "user" { "users" } else { "roles" };
    let client = if group == "auth" || verb == "list" {
        context.client().await?
    } else {
        if flags.args.is_empty() {
            let what = if group == "user" { "username" } else { "role name" };
            return Err(Failure::usage(&format!("Please provide a {what}")));
        }
        context.client().await?
    };
    let subject = flags.arg(0).unwrap_or_default();
    let plain = |error| Failure::plain(&error);
    let title = if group == "user" { "User" } else { "Role" };
    let done = match (group, verb) {
        ("auth", "enable") => {
            context.within(client.enable_auth(true)).await.map_err(plain)?;
            "Authentication Enabled\n".to_string()
        }
        ("auth", _) => {
            context.within(client.enable_auth(false)).await.map_err(plain)?;
            "Authentication Disabled\n".to_string()
        }
        (_, "list") => {
            let names = context.within(client.auth_list(kind)).await.map_err(plain)?;
            names.iter().map(|name| format!("{name}\n")).collect()
        }
        ("user", "get") => {
            let user = context.within(client.auth_get(kind, subject)).await.map_err(plain)?;
            let roles = user["roles"].as_array().cloned().unwrap_or_default();
            let name = |role: &Value| role.as_str().or(role["role"].as_str()).map(str::to_string);
            let roles: Vec<String> = roles.iter().filter_map(name).collect();
            format!("User: {subject}\nRoles:  {}\n", roles.join(" ")).replace("Roles:  \n", "Roles: \n")
        }
        ("role", "get") => {
            let role = context.within(client.auth_get(kind, subject)).await.map_err(plain)?;
            let kv = &role["permissions"]["kv"];
            format!(
                "Role: {subject}\nKV Read:\n{}KV Write:\n{}",
                lines(&kv["read"]),
                lines(&kv["write"])
            )
        }
        (_, "remove") => {
            context.within(client.auth_remove(kind, subject)).await.map_err(plain)?;
            format!("{title} {subject} removed\n")
        }
        (_, "add") => {
            let (subject, password) = match subject.split_once(':') {
                Some((name, password)) if group == "user" => (name, Some(password.to_string())),
                _ => (subject, None),
            };
            if context.within(client.auth_get(kind, subject)).await.is_ok() {
                return Err(Failure::usage(&format!("{title} {subject} already exists")));
            }
            if group == "user" {
                let password = password.unwrap_or_else(|| ask_password("New password: "));
                let change = json!({ "password": password });
                context.within(client.put_user(subject, change)).await.map_err(plain)?;
            } else {
                let change = json!({ "permissions": { "kv": { "read": null, "write": null } } });
                context.within(client.put_role(subject, change)).await.map_err(plain)?;
            }
            format!("{title} {subject} created\n")
        }
        ("user", "passwd") => {
            context.within(client.auth_get(kind, subject)).await.map_err(plain)?;
            let change = json!({ "password": ask_password("New password: ") });
            context.within(client.put_user(subject, change)).await.map_err(plain)?;
            "Password updated\n".to_string()
        }
        ("user", _) => {
            let Some(roles) = flags.text("roles").filter(|roles| !roles.is_empty()) else {
                return Err(Failure::usage("No roles specified; please use `-roles`"));
            };
            let mut change = json!({});
            change[verb] = json!(roles.split(',').collect::<Vec<_>>());
            context.within(client.auth_get(kind, subject)).await.map_err(plain)?;
            context.within(client.put_user(subject, change)).await.map_err(plain)?;
            format!("User {subject} updated\n")
        }
        _ => {
            let path = flags.text("path").unwrap_or_default();
            if path.is_empty() {
                return Err(Failure::usage("No path specified; please use `-path`"));
            }
            if !path.starts_with('/') {
                return Err(Failure::usage(&format!(
                    "Not canonical path; please use `-path=/{path}`"
                )));
            }
            let (read, write, both) = (flags.is("read"), flags.is("write"), flags.is("readwrite"));
            if [read, write, both].iter().filter(|given| **given).count() != 1 {
                return Err(Failure::usage(
                    "Please specify exactly one of -read, -write or -readwrite",
                ));
            }
            let paths = |given: bool| if given { vec![path] } else { Vec::new() };
            let mut change = json!({});
            change[verb] = json!({ "kv": { "read": paths(read || both), "write": paths(write || both) } });
            context.within(client.auth_get(kind, subject)).await.map_err(plain)?;
            context.within(client.put_role(subject, change)).await.map_err(plain)?;
            format!("Role {subject} updated\n")
        }
    };
    print(&done, "");
    Ok(())
}

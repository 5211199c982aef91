//! cluster-health and the member commands.
use super::{Context, Failure};
use crate::sys::print;

pub async fn health(context: &Context) -> Result<(), Failure> {
    loop {
        let client = context.client_with(false).await?;
        let members = context.within(client.members()).await;
        let members = members.map_err(|_| Failure(5, "cluster may be unhealthy: failed to list members\n".into()))?;
        let mut well = false;
        for member in members {
            let mut seen = false;
            for url in &member.client_urls {
                match client.health(url).await {
                    Ok(healthy) => {
                        let word = if healthy { "healthy" } else { "unhealthy" };
                        let id = &member.id;
                        print(&format!("member {id} is {word}: got {word} result from {url}\n"), "");
                        well |= healthy;
                        seen = true;
                        break;
                    }
                    Err(error) => print(
                        &format!(
                            "failed to check the health of member {} on {url}: Get \"{url}/health\": {error}\n",
                            member.id
                        ),
                        "",
                    ),
                }
            }
            if member.client_urls.is_empty() {
                let id = &member.id;
                print(
                    &format!("member {id} is unreachable: no available published client urls\n"),
                    "",
                );
            } else if !seen {
                let urls = member.client_urls.join(" ");
                print(
                    &format!("member {} is unreachable: [{urls}] are all unreachable\n", member.id),
                    "",
                );
            }
        }
        print(
            if well {
                "cluster is healthy\n"
            } else {
                "cluster is unhealthy\n"
            },
            "",
        );
        if !context.command.is("forever") {
            return if well { Ok(()) } else { Err(Failure(5, String::new())) };
        }
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_secs(10)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

pub async fn member(name: &str, context: &Context) -> Result<(), Failure> {
    let args = &context.command.args;
    let wrong = match (name, args.len()) {
        ("member list", 0) | ("member add" | "member update", 2) | ("member remove", 1) => None,
        ("member list", _) => Some("No arguments accepted"),
        ("member add", _) => Some("Provide a name and a single member peerURL"),
        ("member remove", _) => Some("Provide a single member ID"),
        _ => {
            Some("Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)")
        }
    };
    if let Some(text) = wrong {
        return Err(Failure::usage(text));
    }
    if matches!(name, "member add" | "member update") {
        let bad = |url: &&str| !url.starts_with("http://") && !url.starts_with("https://");
        if let Some(url) = args[1].split(',').find(bad) {
            return Err(Failure::usage(&format!("URL scheme must be http or https: {url}")));
        }
    }
    let client = context.client().await?;
    let plain = |error| Failure::plain(&error);
    match name {
        "member list" => {
            let members = context.within(client.members()).await.map_err(plain)?;
            let leader = context
                .within(client.leader())
                .await
                .map(|leader| leader.id)
                .unwrap_or_default();
            for m in members {
                let peers = m.peer_urls.join(",");
                let line = match m.name.is_empty() {
                    true => format!("{}[unstarted]: peerURLs={peers}\n", m.id),
                    false => format!(
                        "{}: name={} peerURLs={peers} clientURLs={} isLeader={}\n",
                        m.id,
                        m.name,
                        m.client_urls.join(","),
                        m.id == leader
                    ),
                };
                print(&line, "");
            }
        }
        "member add" => {
            let added = context.within(client.add_member(&args[1])).await.map_err(plain)?;
            let mut list = Vec::new();
            for m in context.within(client.members()).await.map_err(plain)? {
                let name = if m.id == added.id { &args[0] } else { &m.name };
                list.extend(m.peer_urls.iter().map(|url| format!("{name}={url}")));
            }
            print(
                &format!(
                    "Added member named {} with ID {} to cluster\n\nETCD_NAME=\"{}\"\nETCD_INITIAL_CLUSTER=\"{}\"\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
                    args[0],
                    added.id,
                    args[0],
                    list.join(",")
                ),
                "",
            );
        }
        "member remove" => {
            let id = &args[0];
            let members = context.within(client.members()).await.map_err(plain)?;
            if !members.iter().any(|member| member.id == *id) {
                let text = format!("Couldn't find a member in the cluster with an ID of {id}.");
                return Err(Failure::usage(&text));
            }
            let removed = context.within(client.remove_member(id, context.command.is("force")));
            removed.await.map_err(plain)?;
            print(&format!("Removed member {id} from cluster\n"), "");
        }
        _ => {
            let urls: Vec<String> = args[1].split(',').map(str::to_string).collect();
            context
                .within(client.update_member(&args[0], &urls))
                .await
                .map_err(plain)?;
            print(&format!("Updated member with ID {} in cluster\n", args[0]), "");
        }
    }
    Ok(())
}

//! `lab token`: a fresh discovery token.
use crate::args::Token;
use crate::config::Discovery;
use crate::failure::{Exit, Failure};
use crate::{discovery, lab, ui};

pub fn run(args: &Token) -> Result<(), Failure> {
    let settings = lab::of_here()?;
    let service = match (&args.url, &settings.discovery.value) {
        (Some(url), _) | (None, Discovery::Url(url)) => url,
        (None, Discovery::Public) => discovery::PUBLIC,
        (None, Discovery::Own | Discovery::None) => {
            return Err(Failure::new(
                Exit::Failed,
                "there is no service to ask for a token",
                format!(
                    "discovery: {} ({})",
                    settings.discovery.value, settings.discovery.origin
                ),
                "nodes of this lab are told of each other without a token of your own",
                ui::command(&format!("token --url {}", discovery::PUBLIC)),
            ));
        }
    };
    let token = discovery::fetch(service, args.size.unwrap_or(settings.num_instances.value))?;
    ui::lines(&token.url);
    Ok(())
}

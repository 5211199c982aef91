//! The user's ssh-agent: its keys, and lending it to the other side.
use std::path::Path;

use russh::Channel;
use russh::client::Msg;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;

use super::Error;
use crate::cloudconfig::go::errno;

pub const MISSING: &str = "SSH_AUTH_SOCK environment variable is not set. Verify ssh-agent is running. See \
    https://github.com/coreos/fleet/blob/master/Documentation/using-the-client.md for help.";

pub struct Agent {
    pub client: AgentClient<UnixStream>,
    pub identities: Vec<AgentIdentity>,
}

impl Agent {
    pub async fn open(socket: &Path) -> Result<Agent, Error> {
        let stream = dial(socket).await?;
        let mut client = AgentClient::connect(stream);
        let identities = client.request_identities().await;
        let identities = identities.map_err(|error| Error(format!("agent: {}: {error}", socket.display())))?;
        Ok(Agent { client, identities })
    }
}

async fn dial(socket: &Path) -> Result<UnixStream, Error> {
    let stream = UnixStream::connect(socket).await;
    stream.map_err(|error| {
        let why = errno(&error);
        Error(format!("dial unix {}: connect: {why}", socket.display()))
    })
}

/// Joins a channel that the server opens with the agent. Without one the channel is refused.
pub async fn lend(socket: &Path, channel: Channel<Msg>, reply: russh::client::ChannelOpenHandle) {
    let Ok(mut agent) = dial(socket).await else {
        return;
    };
    reply.accept().await;
    tokio::spawn(async move {
        // Ends when either side has had enough; there is nobody to tell.
        let _ = copy_bidirectional(&mut channel.into_stream(), &mut agent).await;
    });
}

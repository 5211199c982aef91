//! Ways from the host to a node: forwarded ports, and connections handed to whoever asks on the lab's socket.
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::node::Node;
use super::protocol::Forward;

#[derive(Debug, Default)]
pub struct Forwards(BTreeMap<u16, Open>);

#[derive(Debug)]
struct Open {
    forward: Forward,
    /// None as long as the node has not been up: its port is kept for it, and answers nobody.
    node: watch::Sender<Option<Arc<Node>>>,
    task: JoinHandle<()>,
}

impl Forwards {
    /// Listens on these ports and no others from now on, but for those that come back: somebody else has them.
    pub async fn set(&mut self, wanted: &[Forward]) -> io::Result<Vec<Forward>> {
        let is_over = |(port, open): (&u16, &Open)| (!wanted.contains(&open.forward)).then_some(*port);
        for port in self.0.iter().filter_map(is_over).collect::<Vec<_>>() {
            if let Some(open) = self.0.remove(&port) {
                open.task.abort();
                // It may be wanted for another node.
                let _ = open.task.await;
            }
        }
        let mut taken = Vec::new();
        for forward in wanted {
            if self.0.contains_key(&forward.host) {
                continue;
            }
            let listener = match listen(forward.host) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    taken.push(forward.clone());
                    continue;
                }
                listener => listener?,
            };
            let (node, of) = watch::channel(None);
            let open = Open {
                forward: forward.clone(),
                node,
                task: tokio::spawn(serve(listener, of, forward.guest)),
            };
            self.0.insert(forward.host, open);
        }
        Ok(taken)
    }

    /// Each port leads to its node as it is now.
    pub fn lead(&self, nodes: &BTreeMap<String, Arc<Node>>) {
        for open in self.0.values() {
            open.node.send_replace(nodes.get(&open.forward.node).cloned());
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on 127.0.0.1:{port}: {error}")))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve(listener: TcpListener, node: watch::Receiver<Option<Arc<Node>>>, port: u16) {
    loop {
        let Ok((mut client, _)) = listener.accept().await else {
            // Out of descriptors: some will be closed.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let Some(node) = node.borrow().clone() else { continue };
        tokio::spawn(async move {
            if let Ok(mut inner) = node.connect(port).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut inner).await;
            }
        });
    }
}

/// One line, and the connection's descriptor with its first byte.
pub async fn hand_over(to: UnixStream, stream: &TcpStream) -> io::Result<()> {
    let line = b"\"done\"\n";
    to.async_io(tokio::io::Interest::WRITABLE, || {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [stream.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(&to, &[IoSlice::new(line)], &mut control, SendFlags::empty())?;
        Ok(())
    })
    .await
}

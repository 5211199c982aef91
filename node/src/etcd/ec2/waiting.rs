//! How members without data talk while they wait for each other: a question and an answer at the peer URLs.
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::decide::{Said, Waiting};
use crate::client::reason;
use crate::etcd::http::conn::{self, Handler, Next};
use crate::etcd::http::reply::JSON;
use crate::etcd::http::{Reply, Request};
use crate::etcd::listen::{self, Bound};
use crate::etcd::remote::{self, Remote};
use crate::tls::server::Acceptor;

/// How long an instance has to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who waits is not ready to serve; the body says the rest.
const STATUS: u16 = 503;
const MAX_ANSWER: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Answer {
    waiting: Waiting,
}

/// Answers at the peer URLs until it is dropped: then its connections are closed, and those that come later wait for
/// the member.
pub struct Answers {
    told: Arc<Mutex<Waiting>>,
    tasks: Vec<JoinHandle<()>>,
    _over: watch::Sender<()>,
}

impl Answers {
    pub fn start(peers: &[Bound], tls: Option<Arc<Acceptor>>, told: Waiting) -> Result<Answers, String> {
        let told = Arc::new(Mutex::new(told));
        let (_over, over) = watch::channel(());
        let start = |bound: &Bound| {
            let listener = bound.listen_for_now().map_err(|error| error.to_string())?;
            let tls = tls.clone().filter(|_| bound.https);
            let (told, over) = (told.clone(), over.clone());
            let serve = listen::accept(listener, move |stream| {
                let (tls, mut over) = (tls.clone(), over.clone());
                let front = Front(told.clone());
                async move {
                    let served = async {
                        match tls {
                            None => serve(stream, front).await,
                            Some(tls) => {
                                if let Some(stream) = tls.accept(stream).await {
                                    serve(stream, front).await;
                                }
                            }
                        }
                    };
                    tokio::select! {
                        () = served => {}
                        _ = over.changed() => {}
                    }
                }
            });
            Ok(tokio::spawn(serve))
        };
        let tasks = peers.iter().map(start).collect::<Result<_, String>>()?;
        Ok(Answers { told, tasks, _over })
    }

    pub fn told(&self) -> Waiting {
        self.told.lock().unwrap().clone()
    }

    /// Changes what the others are told.
    pub fn tell(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.told.lock().unwrap());
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, front: Front) {
    let _ = conn::serve(stream, BytesMut::new(), &front).await;
}

struct Front(Arc<Mutex<Waiting>>);

impl Handler for Front {
    type Handed = Infallible;

    async fn handle(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Infallible> {
        match request.split_target().0 {
            "/members" => {
                let waiting = self.0.lock().unwrap().clone();
                let body = serde_json::to_vec(&Answer { waiting }).unwrap_or_default();
                reply.start(STATUS).header("Content-Type", JSON).body(&body);
            }
            _ => reply.error(STATUS, "this member waits for others"),
        }
        Next::Answered
    }
}

/// Asks the member at a peer URL.
pub async fn ask(remote: &Remote, url: &str) -> Said {
    let asked = tokio::time::timeout(PATIENCE, async {
        let answer = remote.get(url).await?;
        if answer.status().as_u16() != STATUS {
            return remote::known(answer).await.map(Said::Runs);
        }
        if answer.content_length().is_none_or(|len| len > MAX_ANSWER) {
            return Err(format!("it is no peer URL of an etcd member (answer {STATUS})"));
        }
        let body = answer.bytes().await.map_err(|error| reason(&error))?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| format!("it is no peer URL of an etcd member (answer {STATUS})"))?;
        match answer.waiting.name.is_empty() {
            true => Err("it does not know yet which instance it is on".to_string()),
            false => Ok(Said::Waits(answer.waiting)),
        }
    });
    match asked.await {
        Ok(Ok(said)) => said,
        Ok(Err(why)) => Said::Nothing(why),
        Err(_) => Said::Nothing("no answer in time".into()),
    }
}

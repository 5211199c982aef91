//! The discovery service: hands out tokens under which the members of a new cluster find each other.
mod metrics;
mod options;
mod routes;
mod store;

use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::api;
use super::http::conn::{self, Taken};
use super::listen;
use super::proxy::forward;
use crate::log::{self, Level};
use crate::sys;
use options::{Options, Parsed};
use routes::{Handed, Service};
use store::Store;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Runs the service with these arguments; returns its exit status.
pub fn run(args: &[String], env: &[(String, String)]) -> i32 {
    let options = match options::parse(args, env) {
        Parsed::Run(options) => options,
        Parsed::Exit { code, stdout, stderr } => {
            sys::print(&stdout, &stderr);
            return code;
        }
    };
    log::init(Level::Info, &[]);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::critical!("discovery", "cannot start: {error}");
            return 1;
        }
    };
    match runtime.block_on(serve(options)) {
        Ok(signal) => sys::die_of(signal),
        Err(text) => {
            log::critical!("discovery", "{text}");
            1
        }
    }
}

/// Serves until a signal, and returns that.
async fn serve(options: Options) -> Result<i32, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(text)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(text)?;
    let address = match options.addr.strip_prefix(':') {
        Some(port) => format!("[::]:{port}"),
        None => options.addr.clone(),
    };
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen on --addr {}: {error}", options.addr))?;
    let store = Store::open(&options).await?;
    let service = Arc::new(Service::new(options.host.clone(), store));
    log::info!("discovery", "discovery server started on {}", options.addr);
    sys::notify_ready();
    tokio::spawn(listen::accept(listener, {
        let service = service.clone();
        move |stream| {
            let service = service.clone();
            async move {
                let mut next = Some((stream, BytesMut::new()));
                while let Some((stream, buffered)) = next {
                    next = match conn::serve(stream, buffered, &*service).await {
                        Ok(Some(taken)) => go_on(taken).await.unwrap_or(None),
                        _ => None,
                    };
                }
            }
        }
    }));
    let signal = tokio::select! {
        _ = interrupt.recv() => SIGINT,
        _ = terminate.recv() => SIGTERM,
    };
    service.store.shutdown().await;
    Ok(signal)
}

type Stream = tokio::net::TcpStream;

async fn go_on(taken: Taken<Stream, Handed>) -> std::io::Result<Option<(Stream, BytesMut)>> {
    match taken.split() {
        (Handed::Own(handed), rest) => api::Handed::run(rest.with(handed)).await,
        (Handed::Passing(handed), rest) => forward::run(rest.with(handed)).await,
    }
}

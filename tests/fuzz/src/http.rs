//! A client's bytes: requests are read one after the other, and every answer is HTTP.
#![no_main]
use bytes::BytesMut;
use labnode::etcd::api::keys;
use labnode::etcd::http::conn::{Handler, Next, serve};
use labnode::etcd::http::{Reply, Request, path};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Keys;

impl Handler for Keys {
    type Handed = ();

    async fn handle(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<()> {
        let target = request.target.split('?').next().unwrap_or_default();
        let cleaned = path::unescape(target).and_then(|path| path::cleaned(&path));
        match keys::parse(request) {
            Ok(_) => reply.start(200).body(cleaned.unwrap_or_default().as_slice()),
            Err(error) => reply.start(400).body(&error.cause),
        }
        Next::Answered
    }
}

fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(data).await.unwrap();
        client.shutdown().await.unwrap();
        let answers = async {
            let mut answers = Vec::new();
            client.read_to_end(&mut answers).await.unwrap();
            answers
        };
        let (_, answers) = tokio::join!(serve(server, BytesMut::new(), &Keys), answers);
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."));
    });
});

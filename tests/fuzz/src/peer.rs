//! What another member sends: frames, messages, batches.
#![no_main]
use bytes::{Bytes, BytesMut};
use labnode::raft::{batch, change, peer, rpc, types};
use libfuzzer_sys::fuzz_target;

fn messages(data: &Bytes) {
    let Some((kind, _)) = data.split_first() else {
        return;
    };
    let body = data.slice(1..);
    match *kind {
        rpc::APPEND => {
            if let Ok((time, request)) = rpc::parse_append(body) {
                let again = rpc::append(&request, time).slice(1..);
                let (_, parsed) = rpc::parse_append(again).expect("what was read is written alike");
                assert_eq!(parsed.entries, request.entries);
            }
        }
        rpc::SNAPSHOT => drop(rpc::parse::<rpc::SnapshotPart>(&body)),
        rpc::CHANGE => drop(rpc::parse::<change::Change>(&body)),
        rpc::FORWARD => {
            if batch::header(&body).is_some() {
                let batch = batch::stamp(body, 7);
                batch::commands(&batch).for_each(drop);
            }
        }
        _ => {
            drop(rpc::parse_answer::<rpc::Forwarded>(&body));
            drop(rpc::parse_answer::<change::Changed>(&body));
            drop(rpc::parse::<types::Vote>(&body));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    messages(&Bytes::copy_from_slice(data));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(peer::serve(
        data,
        tokio::io::sink(),
        BytesMut::new(),
        |message| async move {
            messages(&message);
            message
        },
    ));
});

//! Clients that are slow, wrong or mean: they are cut off, and nobody else notices.
use std::net::SocketAddr;

use corelab_tests::cluster::Setup;
use corelab_tests::http::{self, Conn};

/// Sends bytes that make no good request; returns the status of the answer, if there was one, after the connection
/// was closed.
#[track_caller]
fn send(to: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut conn = Conn::open(to).expect("connect");
    // The server may have answered and closed before all of it is sent.
    let _ = conn.send_raw(bytes);
    let text = String::from_utf8_lossy(&conn.rest().expect("the server closes the connection")).into_owned();
    text.split(' ').nth(1).and_then(|status| status.parse().ok())
}

#[track_caller]
fn assert_serves(to: SocketAddr) {
    let answer = http::ask(to, "PUT", "/v2/keys/well", Some("value=1")).expect("others are served");
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

#[test]
fn a_malformed_request_gets_400_and_the_next_client_is_served() {
    let cluster = Setup::members(1).start();
    let to = cluster.members[0].client;
    let put = "PUT /v2/keys/x HTTP/1.1\r\nHost: x\r\n";
    let chunked = format!("{put}Transfer-Encoding: chunked\r\n\r\n");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "garbage",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        ),
        ("no path", b"GET\r\n\r\n".to_vec()),
        (
            "a header without a colon",
            b"GET / HTTP/1.1\r\nnonsense\r\n\r\n".to_vec(),
        ),
        (
            "both lengths",
            format!("{put}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").into(),
        ),
        (
            "two lengths",
            format!("{put}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd").into(),
        ),
        (
            "a length that is no number",
            format!("{put}Content-Length: -1\r\n\r\n").into(),
        ),
        (
            "a chunk size that is no number",
            format!("{chunked}zz\r\nabc\r\n0\r\n\r\n").into(),
        ),
        (
            "an endless chunk size",
            format!("{chunked}{}\r\n", "1".repeat(100)).into(),
        ),
        (
            "a chunk of almost 2^64 bytes after another",
            format!("{chunked}1\r\na\r\nffffffffffffffff\r\n{}", "x".repeat(100)).into(),
        ),
        (
            "a chunk that is longer than its size",
            format!("{chunked}1\r\nabcdef\r\n0\r\n\r\n").into(),
        ),
        (
            "an unknown encoding",
            format!("{put}Transfer-Encoding: gzip\r\n\r\n").into(),
        ),
    ];
    for (what, bytes) in cases {
        assert_eq!(send(to, &bytes), Some(400), "{what}");
        assert_serves(to);
    }
}

#[test]
fn a_head_that_is_too_large_gets_431() {
    let cluster = Setup::members(1).start();
    let to = cluster.members[0].client;
    let long = format!("GET /v2/keys/ HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(send(to, long.as_bytes()), Some(431));
    let many = format!("GET /v2/keys/ HTTP/1.1\r\n{}\r\n", "X-Many: x\r\n".repeat(5000));
    assert_eq!(send(to, many.as_bytes()), Some(431));
    assert_serves(to);
}

#[test]
fn a_form_that_is_too_large_gets_400_with_code_210() {
    let cluster = Setup::members(1).start();
    let member = &cluster.members[0];
    let form = format!("value={}", "x".repeat(11 << 20));
    let answer = member.put("/large", &form).expect("an answer");
    assert_eq!(
        (answer.status, &answer.json()["errorCode"]),
        (400, &210.into()),
        "{}",
        answer.text()
    );
    assert_serves(member.client);
}

#[test]
fn a_client_that_is_slow_with_its_head_is_cut_off_while_others_are_served() {
    let cluster = Setup::members(1).start();
    let to = cluster.members[0].client;
    let mute = std::thread::spawn(move || send(to, b"GET /v2/keys/ HTTP/1.1\r\nX-Half: "));
    // One byte a second, for ever: only a limit on the whole head ends this.
    let drip = std::thread::spawn(move || {
        let mut conn = Conn::open(to).expect("connect");
        let deadline = std::time::Instant::now() + corelab_tests::LIMIT;
        conn.send_raw(b"GET /v2/keys/ HTTP/1.1\r\nX-Drip: ").expect("send");
        while conn.send_raw(b"x").is_ok() {
            assert!(
                std::time::Instant::now() < deadline,
                "a dripping client is never cut off"
            );
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    });
    while !mute.is_finished() {
        assert_serves(to);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(mute.join().expect("the mute client"), Some(408));
    drip.join().expect("the dripping client");
    assert_serves(to);
}

#[test]
fn a_client_that_is_slow_with_its_body_is_cut_off() {
    let cluster = Setup::members(1).start();
    let to = cluster.members[0].client;
    let mut conn = Conn::open(to).expect("connect");
    conn.send_raw(b"PUT /v2/keys/x HTTP/1.1\r\nContent-Length: 100\r\n\r\nvalue=")
        .expect("send");
    conn.rest().expect("the server closes the connection");
    assert_eq!(cluster.members[0].key("/x")["errorCode"], 100);
}

#[test]
fn chunked_bodies_pipelines_http_1_0_and_expect_continue_work() {
    let cluster = Setup::members(1).start();
    let member = &cluster.members[0];
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let mut conn = Conn::open(member.client).expect("connect");
    let request = format!(
        "PUT /v2/keys/c HTTP/1.1\r\nHost: x\r\n{form}Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nval\r\nB\r\nue=chunked!\r\n0\r\n\r\n"
    );
    conn.send_raw(request.as_bytes()).expect("send");
    assert_eq!(
        conn.answer(false).expect("an answer").json()["node"]["value"],
        "chunked!"
    );

    let pipeline: String = (0..50)
        .map(|number| match number % 2 {
            0 => format!("PUT /v2/keys/p HTTP/1.1\r\nHost: x\r\n{form}Content-Length: 8\r\n\r\nvalue={number:02}"),
            _ => "GET /v2/keys/p HTTP/1.1\r\nHost: x\r\n\r\n".to_string(),
        })
        .collect();
    conn.send_raw(pipeline.as_bytes()).expect("send");
    for number in 0..50 {
        let answer = conn.answer(false).expect("an answer").json();
        assert_eq!(
            answer["node"]["value"],
            format!("{:02}", number / 2 * 2),
            "answer {number}: {answer}"
        );
    }

    conn.send_raw(
        format!("PUT /v2/keys/e HTTP/1.1\r\nHost: x\r\n{form}Expect: 100-continue\r\nContent-Length: 7\r\n\r\n")
            .as_bytes(),
    )
    .expect("send");
    assert_eq!(conn.head().expect("a go-ahead").status, 100);
    conn.send_raw(b"value=1").expect("send");
    assert_eq!(conn.answer(false).expect("an answer").status, 201);

    let mut old = Conn::open(member.client).expect("connect");
    old.send_raw(b"GET /v2/keys/c HTTP/1.0\r\n\r\n").expect("send");
    let answer = old.answer(false).expect("an answer");
    assert_eq!(
        (answer.status, &answer.json()["node"]["value"]),
        (200, &"chunked!".into())
    );
    assert!(old.rest().expect("closed").is_empty());
}

#[test]
fn many_idle_connections_keep_nobody_out() {
    let cluster = Setup::members(1).start();
    let to = cluster.members[0].client;
    let idle: Vec<Conn> = (0..500).map(|_| Conn::open(to).expect("connect")).collect();
    assert_serves(to);
    drop(idle);
    assert_serves(to);
}

#[test]
fn a_key_nested_beyond_reason_is_refused() {
    let cluster = Setup::members(1).start();
    let member = &cluster.members[0];
    let nested = |depth: usize| member.put(&"/d".repeat(depth), "value=1").expect("an answer");
    assert_eq!(nested(500).status, 201);
    let refused = nested(30_000);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("nested deeper than"), "{}", refused.text());
    assert_serves(member.client);
}

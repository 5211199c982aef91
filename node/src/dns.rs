//! SRV records: asks the machine's name servers over UDP, and over TCP when an answer does not fit.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use packet::{Answer, Record};

pub mod packet;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// How long a server has for one answer, and how often each is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// Name servers that are asked at most, as the C library does it.
const MAX_SERVERS: usize = 3;
const MAX_UDP: usize = 4096;

/// Targets and ports of `_service._tcp.domain`, the preferred ones first. `service` without the underscore.
pub async fn srv(service: &str, domain: &str) -> Result<Vec<(String, u16)>, String> {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    srv_from(&name_servers(&text), service, domain).await
}

/// The same, from these name servers.
pub async fn srv_from(servers: &[SocketAddr], service: &str, domain: &str) -> Result<Vec<(String, u16)>, String> {
    let name = format!("_{service}._tcp.{}", domain.trim_end_matches('.'));
    let cannot = |why: &str| format!("lookup {name}: {why}");
    let mut last = "there is no name server to ask".to_string();
    for _ in 0..ROUNDS {
        for server in servers {
            match ask(*server, &name).await {
                Ok(Answer::Records(records)) if records.is_empty() => return Err(cannot("no such host")),
                Ok(Answer::Records(records)) => return Ok(preferred(records)),
                Ok(Answer::NoSuchName) => return Err(cannot("no such host")),
                Ok(Answer::Failed(code)) => last = format!("the name server {server} refuses with code {code}"),
                Ok(Answer::Truncated) => last = format!("the name server {server} cuts its answer off"),
                Err(why) => last = format!("the name server {server}: {why}"),
            }
        }
    }
    Err(cannot(&last))
}

/// The `nameserver` lines of a resolv.conf; without any, this machine.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
    });
    let mut servers: Vec<SocketAddr> = addresses
        .take(MAX_SERVERS)
        .map(|address| (address, PORT).into())
        .collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    servers
}

/// By priority; heavier ones first where it is equal.
fn preferred(mut records: Vec<Record>) -> Vec<(String, u16)> {
    records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
    records.into_iter().map(|record| (record.target, record.port)).collect()
}

async fn ask(server: SocketAddr, name: &str) -> Result<Answer, String> {
    let id = rand::random();
    let query = packet::query(id, name)?;
    let over_udp = timeout(PATIENCE, udp(server, &query, id)).await;
    match over_udp.map_err(|_| format!("no answer within {PATIENCE:?}"))? {
        Ok(Answer::Truncated) => {
            let over_tcp = timeout(PATIENCE, tcp(server, &query, id)).await;
            over_tcp.map_err(|_| format!("no answer over TCP within {PATIENCE:?}"))?
        }
        answer => answer,
    }
}

async fn udp(server: SocketAddr, query: &[u8], id: u16) -> Result<Answer, String> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let text = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind(any).await.map_err(text)?;
    // Connected: what others send is not received.
    socket.connect(server).await.map_err(text)?;
    socket.send(query).await.map_err(text)?;
    let mut buffer = [0; MAX_UDP];
    loop {
        let len = socket.recv(&mut buffer).await.map_err(text)?;
        // An answer to something else is no reason to give up.
        if packet::answers(&buffer[..len], query, id) {
            return packet::parse(&buffer[..len]);
        }
    }
}

async fn tcp(server: SocketAddr, query: &[u8], id: u16) -> Result<Answer, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(server).await.map_err(text)?;
    let mut message = (query.len() as u16).to_be_bytes().to_vec();
    message.extend_from_slice(query);
    stream.write_all(&message).await.map_err(text)?;
    let len = stream.read_u16().await.map_err(text)?;
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await.map_err(text)?;
    if !packet::answers(&answer, query, id) {
        return Err("it answers another question".into());
    }
    packet::parse(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_names_the_servers() {
        let text =
            "# nameserver 9.9.9.9\nsearch lan\nnameserver 10.0.0.1\nnameserver ::1\nnameserver x\noptions ndots:1\n";
        let want: Vec<SocketAddr> = vec!["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        assert_eq!(name_servers(text), want);
        assert_eq!(name_servers(""), vec!["127.0.0.1:53".parse::<SocketAddr>().unwrap()]);
    }

    /// Answers one question with these bytes behind its id.
    async fn server(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                let _ = socket.send_to(&answer(&buffer[..len]), from).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_said_so_and_a_broken_server_is_passed_over() {
        let broken = server(|query| query[..5].to_vec()).await;
        let failing = server(|query| {
            let mut answer = query.to_vec();
            (answer[2], answer[3]) = (0x81, 0x82);
            answer
        })
        .await;
        let nobody = server(|query| {
            let mut answer = query.to_vec();
            (answer[2], answer[3]) = (0x81, 0x83);
            answer
        })
        .await;
        let answer = srv_from(&[failing, nobody], "etcd-server", "lab.test.").await;
        assert_eq!(
            answer,
            Err("lookup _etcd-server._tcp.lab.test: no such host".to_string())
        );
        let answer = srv_from(&[broken, nobody], "etcd-server", "lab.test").await;
        assert_eq!(
            answer,
            Err("lookup _etcd-server._tcp.lab.test: no such host".to_string())
        );
    }

    #[test]
    fn the_preferred_come_first() {
        let record = |priority, weight, target: &str| Record {
            priority,
            weight,
            port: 1,
            target: target.into(),
        };
        let order = preferred(vec![record(2, 9, "c"), record(1, 1, "b"), record(1, 5, "a")]);
        let names: Vec<&str> = order.iter().map(|(target, _)| target.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}

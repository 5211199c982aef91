//! An EC2 without Amazon: moto's server, the instances in it, and members that find each other by their tags.
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::http::{self, Conn};
use crate::ports::{self, Port};
use crate::process::Process;
use crate::{eventually, python, tools};

const IMAGE: &str = "ami-12c6146b";
pub const REGION: &str = "eu-west-1";

/// What moto's server needs of itself, without what it brings for services that are not EC2.
const PACKAGES: [&str; 3] = ["moto[ec2,iam]==5.2.5", "flask", "flask-cors"];

pub struct Moto {
    process: Process,
    address: SocketAddr,
    subnet: String,
    /// The first two numbers of all its instances' addresses, on this machine's loopback.
    net: String,
    _port: Port,
}

impl Moto {
    #[track_caller]
    pub fn start(dir: &Path) -> Moto {
        Moto::start_at(ports::claim(), dir)
    }

    #[track_caller]
    pub fn start_at(port: Port, dir: &Path) -> Moto {
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let mut command = Command::new(python::bin("moto", &PACKAGES).join("moto_server"));
        command
            .args(["-H", "127.0.0.1", "-p", &port.number.to_string()])
            .current_dir(dir);
        let mut moto = Moto {
            process: Process::spawn(command, &dir.join("moto.log")),
            address,
            subnet: String::new(),
            net: format!("127.{}", rand::random_range(64..128)),
            _port: port,
        };
        eventually("moto answers", || {
            http::ask(address, "GET", "/moto-api/data.json", None).ok()
        });
        let block = format!("{}.0.0/16", moto.net);
        let vpc = moto.ec2(&format!("Action=CreateVpc&CidrBlock={block}"));
        let vpc = text_of(&vpc, "vpcId");
        let subnet = moto.ec2(&format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock={block}"));
        moto.subnet = text_of(&subnet, "subnetId");
        moto
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// One call of an API, as whoever: by default moto lets everybody in.
    #[track_caller]
    pub fn call(&self, service: &str, form: &str) -> String {
        let mut conn = Conn::open(self.address).expect("connect to moto");
        let length = form.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=none\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n",
            self.address
        );
        conn.send_raw(format!("{head}{form}").as_bytes()).expect("ask moto");
        let answer = conn.answer(false).expect("moto's answer");
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
        answer.text()
    }

    #[track_caller]
    pub fn ec2(&self, form: &str) -> String {
        self.call("ec2", &format!("{form}&Version=2016-11-15"))
    }

    #[track_caller]
    pub fn iam(&self, form: &str) -> String {
        self.call("iam", &format!("{form}&Version=2010-05-08"))
    }

    /// From now on a request needs a signature by somebody who may make it.
    #[track_caller]
    pub fn check_signatures(&self) {
        let answer = http::ask_json(self.address, "POST", "/moto-api/reset-auth", "0").expect("moto's answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// An address for an instance, not used before.
    pub fn free_address(&self) -> String {
        format!(
            "{}.{}.{}",
            self.net,
            rand::random_range(1..255),
            rand::random_range(4..250)
        )
    }

    /// A new instance's id.
    #[track_caller]
    pub fn run(&self, address: &str, tags: &[(&str, &str)]) -> String {
        let tags = tags.iter().enumerate().map(|(at, (key, value))| {
            let tag = format!("TagSpecification.1.Tag.{}", at + 1);
            format!("&{tag}.Key={key}&{tag}.Value={value}")
        });
        let answer = self.ec2(&format!(
            "Action=RunInstances&ImageId={IMAGE}&MinCount=1&MaxCount=1&SubnetId={}&PrivateIpAddress={address}&TagSpecification.1.ResourceType=instance{}",
            self.subnet,
            tags.collect::<String>()
        ));
        text_of(&answer, "instanceId")
    }

    #[track_caller]
    pub fn terminate(&self, id: &str) {
        self.ec2(&format!("Action=TerminateInstances&InstanceId.1={id}"));
    }

    #[track_caller]
    pub fn stop(&self, id: &str) {
        self.ec2(&format!("Action=StopInstances&InstanceId.1={id}"));
    }
}

/// The first element of this name.
#[track_caller]
pub fn text_of(xml: &str, name: &str) -> String {
    let text = xml
        .split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once("</"));
    let (text, _) = text.unwrap_or_else(|| panic!("no <{name}> in {xml}"));
    text.to_string()
}

/// The ports that all members of a test have, each at its own address.
pub struct Ports {
    pub client: Port,
    pub peer: Port,
}

impl Ports {
    pub fn claim() -> Ports {
        Ports {
            client: ports::claim(),
            peer: ports::claim(),
        }
    }
}

/// What runs on an instance: a member that is given a tag and no list.
pub struct Machine {
    pub address: String,
    pub client: SocketAddr,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Machine {
    /// `discovery`: the value of --discovery-ec2.
    pub fn new(address: &str, ports: &Ports, scheme: &str, discovery: &str, dir: &Path) -> Machine {
        let client = format!("{scheme}://{address}:{}", ports.client.number);
        let peer = format!("{scheme}://{address}:{}", ports.peer.number);
        let data = dir.join(format!("{address}.etcd"));
        let args = [
            format!("--data-dir={}", data.display()),
            format!("--discovery-ec2={discovery}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
        ];
        let env = [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        Machine {
            address: address.into(),
            client: SocketAddr::new(address.parse().expect("an address"), ports.client.number),
            args: args.into(),
            env: env.map(|(name, value)| (name.into(), value.into())).into(),
        }
    }

    pub fn log_name(&self) -> String {
        format!("{}.log", self.address)
    }

    /// Starts it, on its data of before if there is some.
    #[track_caller]
    pub fn start(&self, dir: &Path) -> Process {
        let mut command = Command::new(tools::labnode());
        command.arg("etcd").args(&self.args).current_dir(dir);
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("HOME", dir).envs(self.env.iter().cloned());
        Process::spawn(command, &dir.join(self.log_name()))
    }

    pub fn get(&self, path: &str) -> Option<http::Answer> {
        http::ask(self.client, "GET", path, None).ok()
    }

    /// The names of the members that it knows, and the cluster's id.
    pub fn cluster(&self) -> Option<(Vec<String>, String)> {
        let answer = self.get("/v2/members")?;
        let id = answer.header("X-Etcd-Cluster-Id")?.to_string();
        let members = answer.json();
        let names = members["members"].as_array()?.iter();
        let mut names: Vec<String> = names
            .map(|member| member["name"].as_str().unwrap_or_default().into())
            .collect();
        names.sort();
        Some((names, id))
    }
}

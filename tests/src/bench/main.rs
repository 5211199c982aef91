//! `bench`: drives our server and Debian's etcd 3.4 by turns with one client and prints a table with ratios;
//! `bench load` drives a server that already runs.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod auth;
mod histogram;
mod http;
mod lab;
mod load;
mod million;
mod report;
mod server;
mod start;
mod steady;
mod watch;

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::report::Report;
use crate::server::{Scratch, Side};

#[derive(Parser)]
#[command(
    about = "Compare etcd v2 servers under the same load",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Mode>,
    #[command(flatten)]
    compare: Compare,
}

#[derive(Subcommand)]
enum Mode {
    /// Drive a running server and print what it did
    Load(Load),
    /// Start and destroy labs of real nodes
    Lab {
        /// lab beside this binary unless given
        #[arg(long)]
        program: Option<std::path::PathBuf>,
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

#[derive(Args)]
struct Compare {
    /// Our server's command; labnode beside this binary unless given
    #[arg(long)]
    ours: Option<String>,
    /// The command of the server to compare with
    #[arg(long, default_value = "/usr/bin/etcd --enable-v2=true")]
    peer: String,
    /// Sections to run; all unless given
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// Only the section of one million keys
    #[arg(long, conflicts_with_all = ["only", "quick"])]
    million: bool,
    /// One round of one second, without the million keys
    #[arg(long)]
    quick: bool,
    /// Cluster sizes
    #[arg(long, value_delimiter = ',', default_values_t = [1, 3])]
    members: Vec<usize>,
    /// Connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    conns: Vec<usize>,
    /// Rounds; each figure is the median of them
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of a round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Given to both servers; 100000 is the peer's own default
    #[arg(long, default_value_t = 100_000)]
    snapshot_count: u64,
    /// Keys of the million section, at most a million
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    keys: u64,
}

#[derive(Args)]
struct Load {
    /// Client addresses; connections are spread over them equally
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    url: Vec<String>,
    #[arg(long, value_enum, default_value = "put")]
    op: Op,
    #[arg(long, default_value_t = 64)]
    conns: usize,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Section {
    Put,
    Get,
    Qget,
    Watch,
    Start,
    Auth,
    Million,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Op {
    Put,
    Get,
    Qget,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    // 2000 watchers and the servers' ends of them do not fit in the usual 1024; the servers inherit the limit.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).context("raise the limit of open files")?;
    match cli.command {
        Some(Mode::Load(load)) => drive(&load),
        Some(Mode::Lab { program, rounds }) => {
            let program = program.unwrap_or(std::env::current_exe()?.with_file_name("lab"));
            lab::measure(&program, rounds)
        }
        None => compare(&cli.compare),
    }
}

fn compare(args: &Compare) -> Result<()> {
    let ours = match &args.ours {
        Some(command) => words(command),
        None => {
            let labnode = std::env::current_exe()?.with_file_name("labnode");
            ensure!(
                labnode.exists(),
                "{} is not there: build it, or give --ours",
                labnode.display()
            );
            vec![labnode.display().to_string(), "etcd".into()]
        }
    };
    let peer = words(&args.peer);
    ensure!(!ours.is_empty() && !peer.is_empty(), "--ours and --peer need a command");
    ensure!(
        args.rounds > 0 && args.seconds > 0.0,
        "--rounds and --seconds are at least one round of some time"
    );
    ensure!(
        args.members.iter().chain(&args.conns).all(|n| *n > 0),
        "--members and --conns count from 1"
    );
    let sides = [
        Side {
            name: "ours",
            command: ours,
        },
        Side {
            name: "peer",
            command: peer,
        },
    ];
    let (rounds, seconds) = if args.quick {
        (1, 1.0)
    } else {
        (args.rounds, args.seconds)
    };
    let runs = |section| match section {
        Section::Million => !args.quick && (args.million || args.only.is_empty() || args.only.contains(&section)),
        _ => !args.million && (args.only.is_empty() || args.only.contains(&section)),
    };
    let scratch = Scratch::new()?;
    let mut report = Report::new(&scratch.path, &sides)?;

    let ops: Vec<_> = [
        (Section::Put, Op::Put),
        (Section::Get, Op::Get),
        (Section::Qget, Op::Qget),
    ]
    .into_iter()
    .filter_map(|(section, op)| runs(section).then_some(op))
    .collect();
    for members in &args.members {
        if ops.is_empty() && !runs(Section::Watch) {
            break;
        }
        let clusters = steady::start(&sides, *members, args.snapshot_count, &scratch.path, &mut report)?;
        let plan = steady::Plan {
            conns: &args.conns,
            rounds,
            window: Duration::from_secs_f64(seconds),
        };
        for op in &ops {
            steady::measure(&clusters, *op, &plan, &mut report)?;
        }
        if runs(Section::Watch) {
            watch::fan_out(&clusters, &mut report)?;
        }
    }
    if runs(Section::Start) {
        start::measure(&sides, args.snapshot_count, &scratch.path, &mut report)?;
    }
    if runs(Section::Auth) {
        let plan = steady::Plan {
            conns: &args.conns,
            rounds,
            window: Duration::from_secs_f64(seconds),
        };
        auth::measure(&sides, &plan, args.snapshot_count, &scratch.path, &mut report)?;
    }
    if runs(Section::Million) {
        let size = million::Size {
            keys: args.keys as usize,
            snapshot_count: args.snapshot_count,
        };
        million::measure(&sides, &size, &scratch.path, &mut report)?;
    }
    print!("{report}");
    Ok(())
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

fn drive(args: &Load) -> Result<()> {
    let targets: Vec<SocketAddr> = args.url.iter().map(|url| address(url)).collect::<Result<_>>()?;
    if args.op != Op::Put {
        steady::fill(&targets)?;
    }
    let window = Duration::from_secs_f64(args.seconds);
    let outcome = load::run(steady::job(
        args.op,
        args.conns.max(1),
        &targets,
        &[],
        window,
        &mut |_| false,
    ))?;
    println!("ops/s  {:.0}", outcome.ops_per_second());
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        println!("{name:<6} {:.3} ms", outcome.latency.ms(quantile));
    }
    println!("max    {:.3} ms", outcome.latency.max_ms());
    println!(
        "client {:.1} us of CPU per operation",
        outcome.per_op(outcome.client_cpu_us)
    );
    ensure!(outcome.errors == 0, "{} errors", outcome.errors);
    Ok(())
}

fn address(url: &str) -> Result<SocketAddr> {
    let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let mut found = host
        .to_socket_addrs()
        .with_context(|| format!("--url {url}: want http://HOST:PORT"))?;
    found.next().with_context(|| format!("--url {url}: no address"))
}

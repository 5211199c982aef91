//! The applet table: the name it is called by, or else the first argument, picks the program.
use std::path::Path;
use std::process::exit;

/// A program by its name, and what runs it: arguments without the program's name in, exit status out.
type Applet = (&'static str, fn(&[String], &[(String, String)]) -> i32);

const APPLETS: &[Applet] = &[
    ("etcd", labnode::etcd::run::run),
    ("etcd2", labnode::etcd::run::run),
    ("etcd-ca", labnode::ca::run),
    ("discovery", labnode::etcd::discovery_service::run),
    ("etcdctl", labnode::etcdctl::run),
    ("fleetd", labnode::fleet::daemon::run),
    ("fleetctl", labnode::fleetctl::run),
    ("coreos-cloudinit", labnode::cloudinit::run),
    ("cloud-init", labnode::cloudinit::run),
];

fn main() {
    let args: Vec<String> = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let env: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    let called = args
        .first()
        .map(|path| {
            Path::new(path)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        })
        .unwrap_or_default();
    let find = |name: &str| APPLETS.iter().find(|(applet, _)| *applet == name);
    if let Some((_, run)) = find(&called) {
        exit(run(&args[1..], &env));
    }
    if let Some((_, run)) = args.get(1).and_then(|name| find(name)) {
        exit(run(&args[2..], &env));
    }
    let names: Vec<&str> = APPLETS.iter().map(|(name, _)| *name).collect();
    let usage = format!(
        "usage: labnode APPLET [ARGS...]\n\nApplets: {}\nA link named after an applet runs it, too.\n",
        names.join(", ")
    );
    match args.get(1).map(String::as_str) {
        Some("--help" | "-h" | "help") => labnode::sys::print(&usage, ""),
        Some("--version" | "version") => labnode::sys::print(&format!("labnode {}\n", env!("CARGO_PKG_VERSION")), ""),
        Some(name) => {
            labnode::sys::print("", &format!("labnode: there is no applet {name:?}\n{usage}"));
            exit(2);
        }
        None => {
            labnode::sys::print("", &usage);
            exit(2);
        }
    }
}

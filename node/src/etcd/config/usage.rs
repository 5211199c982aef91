//! What --help and a bad flag print, made from the flag table.
use super::table::{FLAGS, Fate};

pub const USAGE: &str = "\
usage: etcd [flags]
       start an etcd server

       etcd --version
       show the version of etcd

       etcd -h | --help
       show the help information about etcd
";

pub fn flags() -> String {
    let mut text = String::new();
    let mut group = "";
    for flag in FLAGS {
        if flag.group != group {
            group = flag.group;
            text += &format!("\n{group} flags:\n\n");
        }
        let default = if flag.name == "data-dir" {
            "${name}.etcd"
        } else {
            flag.default
        };
        let mark = if matches!(flag.fate, Fate::NotYet(_)) {
            " (not available yet)"
        } else {
            ""
        };
        text += &match flag.fate {
            Fate::Ignored | Fate::Removed => format!("\t--{}\n\t\t{}\n", flag.name, flag.help),
            _ => format!("\t--{} '{default}'{mark}\n\t\t{}\n", flag.name, flag.help),
        };
    }
    text + "\nEach flag has a variable: ETCD_ and its name in capitals, with _ for -. A flag beats its variable.\n"
}

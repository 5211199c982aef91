//! `lab box` with boxes on disk and behind a server that can stop halfway.
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

mod common;

/// Where `lab box` is typed.
struct Boxes(common::Dir);

impl Boxes {
    fn new() -> Boxes {
        Boxes(common::Dir::new())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        self.0.ok(&[&["box"], arguments].concat())
    }

    /// What a command says that exits 1.
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let (code, text) = self.0.fails(&[&["box"], arguments].concat());
        assert_eq!(code, 1, "{arguments:?}: {text}");
        text
    }

    /// A box file; its SHA-256.
    fn make_box(&self, file: &str, provider: &str, filling: &str) -> String {
        let bytes = box_bytes(provider, filling);
        fs::write(self.path().join(file), &bytes).expect("a box file");
        sha256(&bytes)
    }

    fn catalog(&self, versions: &[(&str, &str, &str)]) {
        fs::write(self.path().join("mine.json"), catalog_text("mine", versions)).expect("a catalog");
    }
}

fn box_bytes(provider: &str, filling: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [
        ("metadata.json", format!("{{\"provider\":\"{provider}\"}}")),
        ("box.img", filling.to_string()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, text.as_bytes())
            .expect("a file in the box");
    }
    archive.into_inner().expect("a box")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Version, URL and SHA-256 of each.
fn catalog_text(name: &str, versions: &[(&str, &str, &str)]) -> String {
    let entry = |(version, url, checksum): &(&str, &str, &str)| {
        format!(
            r#"{{"version":"{version}","providers":[{{"name":"virtualbox","url":"{url}","checksum_type":"sha256","checksum":"{checksum}"}}]}}"#
        )
    };
    let versions: Vec<String> = versions.iter().map(entry).collect();
    format!(r#"{{"name":"{name}","versions":[{}]}}"#, versions.join(","))
}

#[test]
fn versions_come_from_a_catalog_are_updated_and_pruned() {
    let dir = Boxes::new();
    let (one, two, three) = (
        dir.make_box("1.box", "virtualbox", "1"),
        dir.make_box("2.box", "virtualbox", "2"),
        dir.make_box("3.box", "virtualbox", "3"),
    );
    dir.catalog(&[("1.2.0", "1.box", &one), ("1.10.0", "2.box", &two)]);
    assert_eq!(
        dir.ok(&["add", "mine.json", "--box-version", "~> 1.2.0"]),
        "added mine (virtualbox, 1.2.0)\n"
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("data/lab/boxes/mine/1.2.0/virtualbox/box.img")).expect("the image"),
        "1"
    );
    assert_eq!(
        dir.ok(&["outdated", "--global"]),
        "* 'mine' for 'virtualbox' is outdated! Current: 1.2.0. Latest: 1.10.0\n"
    );
    assert!(
        dir.ok(&["update", "--box", "mine"])
            .ends_with("added mine (virtualbox, 1.10.0)\n")
    );
    assert_eq!(
        dir.ok(&["list"]),
        "mine (virtualbox, 1.2.0)\nmine (virtualbox, 1.10.0)\n"
    );
    assert_eq!(
        dir.ok(&["outdated", "--global"]),
        "* 'mine' for 'virtualbox' (1.10.0) is up to date\n"
    );
    dir.catalog(&[("2.0.0", "3.box", &three)]);
    assert!(
        dir.ok(&["outdated", "--global"]).contains("Latest: 2.0.0"),
        "a changed catalog is seen at once"
    );
    assert_eq!(dir.ok(&["prune", "-n"]), "would remove mine (virtualbox, 1.2.0)\n");
    fs::write(dir.path().join("lab.yaml"), "box_name: mine\nimage_version: 1.2.0\n").expect("a lab.yaml");
    assert!(dir.ok(&["prune"]).contains("kept mine (virtualbox, 1.2.0)"));
    assert_eq!(dir.ok(&["prune", "-f"]), "removed mine (virtualbox, 1.2.0)\n");
    assert_eq!(dir.ok(&["prune"]), "no old versions to remove\n");
    fs::remove_file(dir.path().join("mine.json")).expect("the catalog");
    assert!(
        dir.ok(&["outdated", "--global"]).contains("cannot be checked"),
        "offline is no failure"
    );
    assert_eq!(
        dir.ok(&["remove", "mine", "virtualbox"]),
        "removed mine (virtualbox, 1.10.0)\n"
    );
    assert!(!dir.path().join("data/lab/boxes/mine").exists());
}

#[test]
fn a_box_that_is_there_is_not_replaced_unasked() {
    let dir = Boxes::new();
    dir.make_box("a.box", "libvirt", "a");
    assert_eq!(dir.ok(&["add", "team/mine", "a.box"]), "added team/mine (libvirt, 0)\n");
    assert!(
        dir.fails(&["add", "team/mine", "a.box", "--provider", "libvirt"])
            .contains("installed already")
    );
    dir.ok(&["add", "team/mine", "a.box", "--force"]);
    let list = dir.ok(&["list", "--format", "json"]);
    assert!(
        list.starts_with(r#"{"boxes":[{"catalog":null,"name":"team/mine""#),
        "{list}"
    );
    assert!(
        dir.ok(&["outdated", "--global"])
            .contains("wasn't added from a catalog")
    );
    assert!(dir.fails(&["add", "a.box"]).contains("needs a name"));
    assert!(
        dir.fails(&["add", "--name", "x/../../y", "a.box"])
            .contains("no name for a box")
    );
    assert!(dir.fails(&["remove", "nothing"]).contains("not installed"));
    fs::write(dir.path().join("b.box"), "no archive").expect("a file");
    assert!(dir.fails(&["add", "b", "b.box"]).contains("no box"));
    let left: Vec<_> = fs::read_dir(dir.path().join("data/lab/boxes"))
        .expect("boxes")
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(left, ["team-VAGRANTSLASH-mine"], "nothing half unpacked is left");
}

#[test]
fn a_wrong_checksum_is_shown_with_both() {
    let dir = Boxes::new();
    let right = dir.make_box("a.box", "virtualbox", "a");
    let wrong = "0".repeat(64);
    dir.catalog(&[("1.0.0", "a.box", &wrong)]);
    let text = dir.fails(&["add", "mine.json"]);
    assert!(
        text.contains(&format!("Expected: {wrong}")) && text.contains(&format!("Received: {right}")),
        "{text}"
    );
    assert!(dir.ok(&["list"]).starts_with("no boxes"));
    dir.ok(&["add", "mine.json", "--checksum-type", "sha256", "--checksum", &right]);
}

/// Serves files, each with its bytes, its tag, and after how many bytes the first answer stops.
#[derive(Default)]
struct Served {
    files: Vec<(&'static str, Vec<u8>, String, Option<usize>)>,
    /// Paths, and the byte that they were asked from.
    asked: Vec<(String, usize)>,
}

fn serve(served: &Arc<Mutex<Served>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let served = Arc::clone(served);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &served);
        }
    });
    url
}

fn answer(mut stream: TcpStream, served: &Mutex<Served>) {
    let lines = BufReader::new(stream.try_clone().expect("the connection"))
        .lines()
        .map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head
        .first()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or("/")
        .to_string();
    let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name).map(str::to_string));
    let mut served = served.lock().expect("the files");
    let Some(file) = served.files.iter_mut().find(|file| file.0 == path) else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    };
    let range = header("range: bytes=").and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
    let from = range
        .filter(|_| header("if-range: ").as_ref() == Some(&file.2))
        .unwrap_or(0);
    let (length, stop) = (file.1.len(), file.3.take().unwrap_or(file.1.len()));
    let status = match from {
        0 => "200 OK".to_string(),
        from => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{length}",
            length - 1
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        file.2,
        length - from
    );
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&file.1[from..stop.max(from)]));
    served.asked.push((path, from));
}

#[test]
fn a_download_goes_on_where_it_stopped_unless_the_file_has_changed() {
    let dir = Boxes::new();
    let bytes = box_bytes("virtualbox", &"x".repeat(100_000));
    let served = Arc::new(Mutex::new(Served::default()));
    let url = serve(&served);
    let text = catalog_text("mine", &[("1.0.0", "boxes/a.box", &sha256(&bytes))]);
    served.lock().expect("the files").files = vec![
        ("/mine.json", text.clone().into_bytes(), "\"c\"".into(), None),
        ("/boxes/a.box", bytes.clone(), "\"1\"".into(), Some(60_000)),
    ];
    let catalog = format!("{url}/mine.json");
    assert!(
        dir.fails(&["add", &catalog])
            .contains("it stopped after 60000 bytes, which are kept")
    );
    assert!(dir.ok(&["list"]).starts_with("no boxes"));
    assert_eq!(dir.ok(&["add", &catalog]), "added mine (virtualbox, 1.0.0)\n");
    let asked = |served: &Mutex<Served>| {
        served
            .lock()
            .expect("the files")
            .asked
            .iter()
            .filter(|(path, _)| path == "/boxes/a.box")
            .map(|(_, from)| *from)
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(&served), [0, 60_000]);

    let other = box_bytes("virtualbox", &"y".repeat(100_000));
    let text = catalog_text("mine", &[("2.0.0", "boxes/a.box", &sha256(&other))]);
    let mut files = served.lock().expect("the files");
    files.files[0].1 = text.into_bytes();
    files.files[1].3 = Some(60_000);
    drop(files);
    dir.fails(&["add", &catalog]);
    let mut files = served.lock().expect("the files");
    files.files[1].1 = other;
    files.files[1].2 = "\"2\"".into();
    drop(files);
    assert!(
        dir.ok(&["update", "--box", "mine"])
            .ends_with("added mine (virtualbox, 2.0.0)\n"),
        "bytes of two files are not mixed"
    );
    let left = fs::read_dir(dir.path().join("data/lab/boxes/.downloads"))
        .expect("downloads")
        .count();
    assert_eq!(left, 0, "what was used is removed");
    assert!(dir.fails(&["add", &format!("{url}/nothing.json")]).contains("404"));
}

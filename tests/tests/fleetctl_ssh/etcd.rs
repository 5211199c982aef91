//! etcd behind a tunnel, with TLS from here to there.
use corelab_tests::ca::Ca;
use corelab_tests::cluster::Setup;

use super::*;

#[test]
fn etcd_is_reached_over_tls_through_a_tunnel() {
    let ca = Ca::default();
    let host = ca.host("host", "127.0.0.1");
    let cluster = Setup::members(1).certified_clients(&ca, &host).publish();
    let url = cluster.members[0].url();
    let (user, sshd) = User::with_a_host();
    let tunnel = sshd.name().replace(['[', ']'], "");
    let text = |path: &Path| path.display().to_string();
    let (ca_file, crt, key) = (text(&ca.crt), text(&host.crt), text(&host.key));
    let own = ["--cert-file", &crt, "--key-file", &key];
    let through = |endpoint: &str, own: &[&str], args: &[&str]| {
        let begin = [
            "--tunnel",
            &tunnel,
            "--driver=etcd",
            "--endpoint",
            endpoint,
            "--ca-file",
            &ca_file,
        ];
        user.run(&[&begin[..], own, args].concat(), "")
    };
    let unit = "[Service]\nExecStart=/bin/sleep 1\n";
    let file = user.path("hello.service");
    fs::write(&file, unit).expect("write a unit");
    let submitted = through(&url, &own, &["submit", &text(&file)]);
    assert_said(&submitted, 0, "Unit hello.service inactive\n", "");
    assert_said(&through(&url, &own, &["cat", "hello"]), 0, unit, "");
    // One endpoint that is not there, and of plain HTTP at that, does no harm.
    let closed = format!("127.0.0.1:{}", ports::claim().number);
    let both = format!("http://{closed},{url}");
    let (status, stdout, stderr) = said(&through(&both, &own, &["cat", "hello"]));
    assert_eq!((status, stdout.as_str()), (0, unit), "{stderr}");
    assert!(
        stderr.contains(&format!("{closed} cannot be had through the tunnel: ")),
        "{stderr}"
    );
    // The name counts that was typed, whatever the way there.
    let named = url.replace("127.0.0.1", "localhost");
    let (status, _, stderr) = said(&through(&named, &own, &["cat", "hello"]));
    assert!(status == 1 && stderr.contains("certificate"), "{stderr}");
    // etcd asks for a certificate through the tunnel, too.
    let (status, _, stderr) = said(&through(&url, &[], &["cat", "hello"]));
    assert!(status == 1 && !stderr.contains("through the tunnel"), "{stderr}");
    // It is the tunnel's machine that connects, and says why it cannot.
    let (status, _, stderr) = said(&through(&format!("https://{closed}"), &own, &["cat", "hello"]));
    let why =
        format!("{closed} cannot be had through the tunnel: ssh: rejected: connect failed (Connection refused)\n");
    assert!(status == 1 && stderr.contains(&why), "{stderr}");
}

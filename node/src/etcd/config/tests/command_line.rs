//! The command line, read as Go reads it.
use super::*;

#[test]
fn one_and_two_dashes_with_and_without_equals_are_the_same() {
    for args in [
        &["-name", "a"][..],
        &["--name", "a"],
        &["-name=a"],
        &["--name=a"],
        &["--name=b", "-name=a"],
        &["-name=a", "--"],
    ] {
        assert_eq!(config(args).name, "a", "{args:?}");
    }
}

#[test]
fn the_value_of_a_flag_may_look_like_a_flag_or_hold_equals() {
    assert_eq!(config(&["--name", "--x"]).name, "--x");
    assert_eq!(config(&["--initial-cluster-token=a=b"]).initial_cluster_token, "a=b");
    assert_eq!(config(&["--initial-cluster-token="]).initial_cluster_token, "");
}

#[test]
fn a_boolean_takes_its_value_only_after_equals() {
    for (arg, level) in [
        ("-debug", Level::Debug),
        ("--debug=T", Level::Debug),
        ("--debug=1", Level::Debug),
        ("-debug=false", Level::Info),
    ] {
        assert_eq!(config(&[arg]).log_level, level, "{arg}");
    }
    unverified(&["-debug", "true"], "'true' is not a valid flag");
}

#[test]
fn numbers_are_written_as_in_go() {
    for (text, count) in [
        ("7", 7),
        ("0x10", 16),
        ("010", 8),
        ("0o10", 8),
        ("0b11", 3),
        ("1_000", 1000),
        ("0x_f", 15),
    ] {
        assert_eq!(config(&["--max-wals", text]).max_wals, count, "{text}");
    }
    for text in ["", "x", "-1", "+1", "1.5", "_1", "1_", "1__0", "0x", "08", " 1"] {
        bad_flag(
            &["--max-wals", text],
            &format!("invalid value {text:?} for flag -max-wals: parse error"),
        );
    }
}

#[test]
fn bad_flags_exit_2_with_gos_words_and_the_usage() {
    bad_flag(&["-nope"], "flag provided but not defined: -nope");
    bad_flag(&["--nope=1"], "flag provided but not defined: -nope");
    bad_flag(&["---name"], "bad flag syntax: ---name");
    bad_flag(&["--=x"], "bad flag syntax: --=x");
    bad_flag(&["-name"], "flag needs an argument: -name");
    bad_flag(
        &["--debug=maybe"],
        r#"invalid boolean value "maybe" for -debug: parse error"#,
    );
    bad_flag(
        &["--version=x"],
        r#"invalid boolean value "x" for -version: parse error"#,
    );
    let number = "99999999999999999999";
    bad_flag(
        &["--max-wals", number],
        r#"invalid value "99999999999999999999" for flag -max-wals: value out of range"#,
    );
    bad_flag(
        &["--snapshot-count=many"],
        r#"invalid value "many" for flag -snapshot-count: parse error"#,
    );
    bad_flag(
        &["--heartbeat-interval=100ms"],
        r#"invalid value "100ms" for flag -heartbeat-interval: parse error"#,
    );
    bad_flag(
        &["--initial-cluster-state=bad"],
        r#"invalid value "bad" for flag -initial-cluster-state: invalid value"#,
    );
    bad_flag(&["--proxy=zz"], r#"invalid value "zz" for flag -proxy: invalid value"#);
    bad_flag(
        &["--discovery-fallback=x"],
        r#"invalid value "x" for flag -discovery-fallback: invalid value"#,
    );
    bad_flag(
        &["--cors=a\u{1}"],
        r#"invalid value "a\u{1}" for flag -cors: Invalid CORS origin: parse "a\u{1}": net/url: invalid control character in URL"#,
    );
    bad_flag(
        &["-peers", "a:7001"],
        r#"invalid value "a:7001" for flag -peers: flag "-peers" is no longer supported."#,
    );
    bad_flag(
        &["-peers-file", "f"],
        r#"invalid value "f" for flag -peers-file: flag "-peers-file" is no longer supported."#,
    );
    bad_flag(
        &["-addr", "localhost:4001"],
        r#"invalid value "localhost:4001" for flag -addr: bad IP in address specification"#,
    );
    bad_flag(
        &["-addr", "127.0.0.1:x"],
        r#"invalid value "127.0.0.1:x" for flag -addr: bad port in address specification"#,
    );
    bad_flag(
        &["-addr", "127.0.0.1"],
        r#"invalid value "127.0.0.1" for flag -addr: address 127.0.0.1: missing port in address"#,
    );
    bad_flag(
        &["-addr", "::1:1"],
        r#"invalid value "::1:1" for flag -addr: address ::1:1: too many colons in address"#,
    );
}

#[test]
fn bad_urls_exit_2_whatever_flag_they_are_in() {
    let flags = [
        "listen-peer-urls",
        "listen-client-urls",
        "initial-advertise-peer-urls",
        "advertise-client-urls",
    ];
    for flag in flags {
        for (value, text) in [
            ("x", "URL scheme must be http or https: x"),
            ("", "URL scheme must be http or https: "),
            ("http://127.0.0.1:1,,", "URL scheme must be http or https: "),
            (
                "http://127.0.0.1",
                "URL address does not have the form \"host:port\": http://127.0.0.1",
            ),
            (
                "http://127.0.0.1:1/a",
                "URL must not contain a path: http://127.0.0.1:1/a",
            ),
        ] {
            bad_flag(
                &[&format!("--{flag}={value}")],
                &format!("invalid value {value:?} for flag -{flag}: {text}"),
            );
        }
    }
}

#[test]
fn a_word_that_is_no_flag_is_refused() {
    unverified(&["foo"], "'foo' is not a valid flag");
    unverified(&["-"], "'-' is not a valid flag");
    unverified(&["--", "-name"], "'-name' is not a valid flag");
    unverified(&["--name", "a", "foo", "--nope"], "'foo' is not a valid flag");
}

#[test]
fn flags_of_0_4_without_meaning_are_ignored_with_a_warning() {
    for flag in FLAGS.iter().filter(|f| f.fate == Fate::Ignored) {
        let (_, log) = config_env(&[&format!("-{}=9", flag.name)], &[]);
        assert_eq!(
            log[0],
            format!("W | flags: flag \"-{}\" is no longer supported - ignoring.", flag.name)
        );
    }
    unverified(&["-cluster-active-size", "9"], "'9' is not a valid flag");
}

#[test]
fn help_prints_every_flag_and_exits_0() {
    for arg in ["-h", "--help", "-help"] {
        let exit = exit(&[arg], &[]);
        assert_eq!((exit.code, exit.stderr.as_str()), (0, ""));
        for flag in FLAGS {
            assert!(exit.stdout.contains(&format!("--{}", flag.name)), "{}", flag.name);
        }
        assert!(exit.stdout.contains("(not available yet)"));
    }
}

#[test]
fn version_prints_what_tools_read_and_exits_0() {
    let exit = exit(&["--version"], &[("ETCD_MAX_WALS", "x")]);
    assert_eq!((exit.code, exit.stderr.as_str()), (0, ""));
    assert_eq!(
        exit.stdout,
        format!("etcd Version: 2.3.8\nCorelab: {}\n", env!("CARGO_PKG_VERSION"))
    );
}

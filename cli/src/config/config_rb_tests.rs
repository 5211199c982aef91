//! Files as people have them, and files that are refused.
use super::*;

/// In the form of coreos-vagrant's sample with the lines in use that its walk-throughs change.
const TYPICAL: &str = r##"# Size of the cluster
$num_instances=3

# Used to fetch a new discovery token for a cluster of size $num_instances
$new_discovery_url="https://discovery.etcd.io/new?size=#{$num_instances}"

# To automatically replace the discovery token on 'vagrant up':
if File.exists?('user-data') && ARGV[0].eql?('up')
  require 'open-uri'
  require 'yaml'

  token = open($new_discovery_url).read

  data = YAML.load(IO.readlines('user-data')[1..-1].join)
  if data['coreos'].key? 'etcd2'
    data['coreos']['etcd2']['discovery'] = token
  end

  yaml = YAML.dump(data)
  File.open('user-data', 'w') { |file| file.write("#cloud-config\n\n#{yaml}") }
end
#

#$instance_name_prefix="core"
$update_channel='stable'   # the official one
$image_version = "1068.8.0"
$enable_serial_logging=true
$vm_gui = false; $vm_memory = 2_048
$vb_cpus = 2
$vb_gui = nil
$shared_folders = {'/path/on/host' => '/path/on/guest',
                   "./src" => '/src', # ours
                  }
$forwarded_ports = { 80 => 8080 }
$expose_docker_tcp=2375
"##;

fn failure(text: &str) -> Failure {
    read(FILE, text).expect_err(text)
}

#[test]
fn a_typical_file_is_read_as_it_is() {
    let raw = read(FILE, TYPICAL).expect("a config.rb");
    let instances = raw.num_instances.expect("set");
    assert_eq!(
        (instances.value, instances.origin.to_string()),
        (3, "config.rb:2".to_string())
    );
    assert_eq!(raw.update_channel.expect("set").value, "stable");
    assert_eq!(raw.image_version.expect("set").value, "1068.8.0");
    assert!(raw.enable_serial_logging.expect("set").value);
    assert_eq!(raw.vm_memory.expect("set").value, 2048);
    assert_eq!(raw.vm_cpus.expect("the old name wins").value, 2);
    assert!(!raw.vm_gui.expect("the old name is nil").value);
    let folders = raw.shared_folders.expect("set").value;
    assert_eq!(folders.len(), 2);
    assert_eq!(folders["./src"], "/src");
    assert_eq!(raw.forwarded_ports.expect("set").value, BTreeMap::from([(80, 8080)]));
    assert_eq!(raw.expose_docker_tcp.expect("set").value, Some(2375));
    let discovery = raw.discovery.expect("the code that fetches a token is there");
    assert_eq!(
        (discovery.value, discovery.origin.to_string()),
        (Discovery::Public, "config.rb:8".to_string())
    );
    assert_eq!(raw.instance_name_prefix, None, "that is a comment");
}

#[test]
fn the_url_alone_fetches_no_token() {
    let text = "$new_discovery_url=\"https://discovery.etcd.io/new?size=#{$num_instances}\"\n";
    assert_eq!(read(FILE, text).expect("a config.rb"), Raw::default());
}

#[test]
fn a_service_of_ones_own_is_asked_with_the_size_in_its_url() {
    let code = "if File.exist?('user-data') && ARGV[0].eql?('up')\n  x\nend\n";
    let text =
        format!("$num_instances=5\n$new_discovery_url=\"http://10.0.0.1:8087/new?size=#{{$num_instances}}\"\n{code}");
    let discovery = read(FILE, &text).expect("a config.rb").discovery.expect("set");
    assert_eq!(
        discovery.value,
        Discovery::Url("http://10.0.0.1:8087/new?size=5".into())
    );
}

#[test]
fn quotes_and_interpolation_are_rubys() {
    let text = r##"$instance_name_prefix = 'a' ; $update_channel = "#{ $instance_name_prefix }b"
$image_version = "#{$num_instances}"
$shared_folders = { 'it\'s \n' => "/\"x\"\#{y}" }"##;
    let raw = read(FILE, text).expect("a config.rb");
    assert_eq!(raw.update_channel.expect("set").value, "ab");
    assert_eq!(raw.image_version.expect("set").value, "1");
    let folders = raw.shared_folders.expect("set").value;
    assert_eq!(folders["it's \\n"], "/\"x\"#{y}");
}

#[test]
fn nil_is_only_for_what_can_be_missing() {
    assert_eq!(
        read(FILE, "$expose_docker_tcp = nil")
            .expect("a config.rb")
            .expose_docker_tcp
            .expect("set")
            .value,
        None
    );
    assert_eq!(
        failure("$num_instances = nil").why,
        "a whole number is expected, not nil"
    );
}

#[test]
fn the_last_assignment_counts_as_in_ruby() {
    let instances = read(FILE, "$num_instances=1\n$num_instances=4\n")
        .expect("a config.rb")
        .num_instances
        .expect("set");
    assert_eq!(
        (instances.value, instances.origin.to_string()),
        (4, "config.rb:2".to_string())
    );
}

#[test]
fn comments_of_a_block_are_comments() {
    let raw = read(FILE, "=begin\n$num_instances=9\n=end\n# x\n$num_instances=2").expect("a config.rb");
    assert_eq!(raw.num_instances.expect("set").value, 2);
}

#[test]
fn what_is_not_understood_is_shown_with_its_place() {
    for (text, place, why) in [
        (
            "$num_instances=1+1",
            "config.rb:1:17",
            "more than one plain value: nothing is computed here",
        ),
        (
            "\n  puts 'x'",
            "config.rb:2:3",
            "that is more Ruby than is understood here",
        ),
        ("$vm_memory = ENV['M']", "config.rb:1:14", "that is not a plain value"),
        ("$vm_memory", "config.rb:1:11", "an = and a value are expected"),
        ("$vm_memory = 010", "config.rb:1:14", "a decimal number is expected"),
        (
            "$update_channel = 'x",
            "config.rb:1:19",
            "the text has no end: a ' is missing",
        ),
        (
            "$update_channel = \"a\nb",
            "config.rb:1:19",
            "the text has no end: a \" is missing",
        ),
        (
            "$update_channel = \"#{1}\"",
            "config.rb:1:20",
            "only a variable can stand in #{}, as in #{$num_instances}",
        ),
        (
            "$update_channel = \"#{$x}\"",
            "config.rb:1:22",
            "that variable is not set here",
        ),
        ("$forwarded_ports = {80 8080}", "config.rb:1:24", "a => is expected"),
        (
            "$forwarded_ports = {80 => 8080",
            "config.rb:1:31",
            "a comma or a } is expected",
        ),
        ("$num_instances=0", "config.rb:1:1", "1 to 154 is expected, not 0"),
        (
            "if File.exists?('user-data') && ARGV[0].eql?('up')\n  end",
            "config.rb:1:1",
            "the code that fetches a token has no `end` below its `if`",
        ),
    ] {
        let failure = failure(text);
        assert_eq!((failure.place.as_str(), failure.why.as_str()), (place, why), "{text}");
    }
}

#[test]
fn an_unknown_variable_is_shown_with_the_one_that_was_meant() {
    let failure = failure("$num_instances=1\n$vm_memroy = 512");
    assert_eq!(
        (failure.place.as_str(), failure.todo.as_str()),
        ("config.rb:2:1", "did you mean $vm_memory?")
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}") {
        let _ = read(FILE, &text);
    }

    #[test]
    fn no_ruby_makes_it_panic(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "$num_instances", "$x", "=", " ", "\n", "'", "\"", "#{", "}", "{", "=>", ",", "1", "-", "\\", "nil",
                "if user-data ARGV\n", "end\n", "#", "=begin\n", "ü", "_", "0", ";", "\t",
            ]),
            0..24,
        )
    ) {
        let _ = read(FILE, &parts.concat());
    }
}

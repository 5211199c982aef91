//! coreos-vagrant's config.rb, for its Vagrantfile and ours (pure).
use super::ruby;
use crate::config::resolved::Settings;

pub fn render(settings: &Settings) -> String {
    let port = |port: u16| port.to_string();
    let lines = [
        ("num_instances", settings.num_instances.value.to_string()),
        ("instance_name_prefix", ruby(&settings.instance_name_prefix.value)),
        ("update_channel", ruby(&settings.update_channel.value)),
        ("image_version", ruby(&settings.image_version.value)),
        (
            "enable_serial_logging",
            settings.enable_serial_logging.value.to_string(),
        ),
        ("share_home", settings.share_home.value.to_string()),
        ("vm_gui", settings.vm_gui.value.to_string()),
        ("vm_memory", settings.vm_memory.value.to_string()),
        ("vm_cpus", settings.vm_cpus.value.to_string()),
        ("vb_cpuexecutioncap", settings.vb_cpuexecutioncap.value.to_string()),
        (
            "shared_folders",
            hash(
                settings
                    .shared_folders
                    .value
                    .iter()
                    .map(|(host, guest)| (ruby(host), ruby(guest))),
            ),
        ),
        (
            "forwarded_ports",
            hash(
                settings
                    .forwarded_ports
                    .value
                    .iter()
                    .map(|(guest, host)| (port(*guest), port(*host))),
            ),
        ),
        (
            "expose_docker_tcp",
            settings.expose_docker_tcp.value.map_or_else(|| "nil".to_string(), port),
        ),
    ];
    let lines = lines.map(|(name, value)| format!("${name}={value}\n"));
    format!("# Made by `lab render`.\n{}", lines.concat())
}

fn hash(entries: impl Iterator<Item = (String, String)>) -> String {
    let entries: Vec<String> = entries.map(|(key, value)| format!("{key} => {value}")).collect();
    match entries.is_empty() {
        true => "{}".to_string(),
        false => format!("{{ {} }}", entries.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::raw::Raw;
    use crate::config::{Value, config_rb};

    #[test]
    fn the_defaults_are_spelled_out() {
        let text = render(&Settings::resolve(Raw::default()));
        assert!(
            text.contains("\n$num_instances=3\n$instance_name_prefix='core'\n"),
            "{text}"
        );
        assert!(
            text.ends_with("$shared_folders={}\n$forwarded_ports={}\n$expose_docker_tcp=nil\n"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            count in 1i64..=154, memory in 64i64..65536, log: bool, docker in proptest::option::of(1i64..65536),
            hosts in proptest::collection::vec("[ -~]{1,12}", 0..3), ports in proptest::collection::btree_map(1i64..65536, 1i64..65536, 0..3),
        ) {
            let mut raw = Raw::default();
            let folders = hosts.iter().map(|host| (Value::Text(host.clone()), Value::Text("/src".into()))).collect();
            let ports = ports.iter().map(|(guest, host)| (Value::Int(*guest), Value::Int(*host))).collect();
            for (name, value) in [
                ("num_instances", Value::Int(count)),
                ("vm_memory", Value::Int(memory)),
                ("enable_serial_logging", Value::Bool(log)),
                ("expose_docker_tcp", docker.map_or(Value::Nil, Value::Int)),
                ("shared_folders", Value::Map(folders)),
                ("forwarded_ports", Value::Map(ports)),
            ] {
                raw.set(name, &value, crate::config::Origin::Default).expect(name);
            }
            let written = Settings::resolve(raw);
            let read = config_rb::read(config_rb::FILE, &render(&written)).expect("our own config.rb");
            let read = Settings::resolve(read).table();
            let values = |table: Vec<[String; 3]>| table.into_iter().map(|[name, value, _]| (name, value)).collect::<Vec<_>>();
            prop_assert_eq!(values(read), values(written.table()));
        }
    }
}

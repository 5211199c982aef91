//! The Vagrantfile, from the template at the top of the repository (pure).
use tera::{Context, Tera};

use super::ruby;
use crate::config::resolved::Settings;
use crate::topology::Node;

const TEMPLATE: &str = include_str!("../../../Vagrantfile.tera");

pub fn render(settings: &Settings, nodes: &[Node]) -> String {
    let mut context = Context::new();
    context.insert("num_instances", &settings.num_instances.value);
    context.insert("instance_name_prefix", &ruby(&settings.instance_name_prefix.value));
    context.insert("update_channel", &ruby(&settings.update_channel.value));
    context.insert("image_version", &ruby(&settings.image_version.value));
    context.insert("box_name", &settings.box_name.value.as_deref().map(ruby));
    context.insert("box_url", &settings.box_url.value.as_deref().map(ruby));
    context.insert("nfs", &settings.nfs.value);
    let differs = |node: &&Node| node.memory != settings.vm_memory.value || node.cpus != settings.vm_cpus.value;
    let own: Vec<_> = nodes.iter().filter(differs).map(row).collect();
    context.insert("nodes", &own);
    let mut tera = Tera::default();
    tera.autoescape_on(Vec::<&'static str>::new());
    let added = tera.add_raw_template("Vagrantfile", TEMPLATE);
    let rendered = added.and_then(|()| tera.render("Vagrantfile", &context));
    rendered.unwrap_or_else(|error| panic!("Vagrantfile.tera, which is a part of this program: {error}"))
}

/// The box that the settings mean.
pub fn box_name(settings: &Settings) -> String {
    settings
        .box_name
        .value
        .clone()
        .unwrap_or_else(|| format!("coreos-{}", settings.update_channel.value))
}

/// Where that box's catalog is: CoreOS's own, unless the settings name another.
pub fn box_url(settings: &Settings) -> Option<String> {
    let (channel, version) = (&settings.update_channel.value, &settings.image_version.value);
    let own = format!(
        "https://storage.googleapis.com/{channel}.release.core-os.net/amd64-usr/{version}/coreos_production_vagrant.json"
    );
    settings
        .box_url
        .value
        .clone()
        .or_else(|| settings.box_name.value.is_none().then_some(own))
}

fn row(node: &Node) -> serde_json::Value {
    serde_json::json!({ "name": ruby(&node.name), "memory": node.memory, "cpus": node.cpus })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::Raw;
    use crate::config::{Origin, Typed};
    use crate::topology;

    fn rendered(settings: &Settings) -> String {
        render(settings, &topology::nodes(settings, topology::none_given, |_| true))
    }

    #[test]
    fn nothing_of_the_template_is_left_and_nothing_of_ruby_is_eaten() {
        let text = rendered(&Settings::resolve(Raw::default()));
        for mark in ["{{", "}}", "{%", "%}"] {
            assert!(!text.contains(mark), "{mark} in {text}");
        }
        assert!(text.contains("raise \"a folder at #{guest} would hide"), "{text}");
        assert!(
            text.contains("$num_instances = 3\n$instance_name_prefix = 'core'\n"),
            "{text}"
        );
        assert!(text.contains("nodes = {\n}\n"), "{text}");
    }

    #[test]
    fn a_box_of_ones_own_has_no_url_of_coreos() {
        let mut settings = Settings::resolve(Raw::default());
        settings.box_name = Typed::new(Some("it's \\ mine".to_string()), Origin::Default);
        let text = rendered(&settings);
        assert!(text.contains("config.vm.box = 'it\\'s \\\\ mine'\n"), "{text}");
        assert!(!text.contains("box_url"), "{text}");
    }
}

//! What the EC2 API answers, read from its XML.
use roxmltree::{Document, Node};

/// The tag that says at which URL an instance's member is, where its private address is not it.
pub const PEER_URL_TAG: &str = "etcd-peer-url";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or is about to.
    Running,
    /// It does not run, and may come back with its data.
    Stopped,
    /// It never comes back.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub id: String,
    pub state: State,
    /// Inside its network.
    pub address: Option<String>,
    pub tags: Vec<(String, String)>,
}

impl Instance {
    pub fn tag(&self, key: &str) -> Option<&str> {
        let found = self.tags.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }
}

/// A page of DescribeInstances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub instances: Vec<Instance>,
    /// What to ask for the next page with.
    pub next: Option<String>,
}

/// Reads a page. The error says what it is instead.
pub fn parse(text: &str) -> Result<Page, String> {
    let document = Document::parse(text).map_err(|error| format!("no XML ({error})"))?;
    let root = document.root_element();
    if root.tag_name().name() != "DescribeInstancesResponse" {
        return Err(format!("<{}>", root.tag_name().name()));
    }
    let reservations = items(root, "reservationSet");
    let instances = reservations.flat_map(|reservation| items(reservation, "instancesSet"));
    Ok(Page {
        instances: instances.map(instance).collect::<Result<_, _>>()?,
        next: text_of(root, "nextToken").filter(|token| !token.is_empty()),
    })
}

/// An error's code and message, if this is one.
pub fn parse_error(text: &str) -> Option<(String, String)> {
    let document = Document::parse(text).ok()?;
    let error = document.descendants().find(|node| node.has_tag_name_of("Error"))?;
    let code = text_of(error, "Code")?;
    Some((code, text_of(error, "Message").unwrap_or_default()))
}

fn instance(item: Node<'_, '_>) -> Result<Instance, String> {
    let id = text_of(item, "instanceId").filter(|id| !id.is_empty());
    let state = child(item, "instanceState").and_then(|state| text_of(state, "name"));
    let state = match state.as_deref() {
        Some("running" | "pending") => State::Running,
        Some("stopping" | "stopped") => State::Stopped,
        _ => State::Gone,
    };
    let tag = |tag| Some((text_of(tag, "key")?, text_of(tag, "value").unwrap_or_default()));
    Ok(Instance {
        id: id.ok_or("an instance without instanceId")?,
        state,
        address: text_of(item, "privateIpAddress").filter(|address| !address.is_empty()),
        tags: items(item, "tagSet").filter_map(tag).collect(),
    })
}

trait Named {
    fn has_tag_name_of(&self, name: &str) -> bool;
}

impl Named for Node<'_, '_> {
    /// Whatever the namespace: services that speak this API differ in theirs.
    fn has_tag_name_of(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

fn child<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    node.children().find(|child| child.has_tag_name_of(name))
}

fn text_of(node: Node<'_, '_>, name: &str) -> Option<String> {
    Some(child(node, name)?.text().unwrap_or_default().to_string())
}

fn items<'a, 'b>(node: Node<'a, 'b>, list: &str) -> impl Iterator<Item = Node<'a, 'b>> + use<'a, 'b> {
    let list = child(node, list);
    list.into_iter()
        .flat_map(|list| list.children())
        .filter(|item| item.has_tag_name_of("item"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(instances: &str, rest: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
<reservationSet><item><instancesSet>{instances}</instancesSet></item><item><instancesSet/></item></reservationSet>{rest}
</DescribeInstancesResponse>"#
        )
    }

    fn item(id: &str, state: &str) -> String {
        format!(
            "<item><instanceId>{id}</instanceId><instanceState><code>0</code><name>{state}</name></instanceState>
            <networkInterfaceSet><item><privateIpAddress>10.9.9.9</privateIpAddress><tagSet><item><key>not</key><value>its</value></item></tagSet></item></networkInterfaceSet>
            <privateIpAddress>10.0.0.1</privateIpAddress>
            <tagSet><item><key>etcd</key><value>a&amp;b &lt;c&gt;</value></item><item><key>empty</key><value/></item></tagSet></item>"
        )
    }

    #[test]
    fn instances_come_with_state_address_and_tags() {
        let text = page(&item("i-1", "running"), "<nextToken>more==</nextToken>");
        let page = parse(&text).unwrap();
        assert_eq!(page.next.as_deref(), Some("more=="));
        let instance = &page.instances[0];
        assert_eq!((instance.id.as_str(), instance.state), ("i-1", State::Running));
        assert_eq!(instance.address.as_deref(), Some("10.0.0.1"));
        assert_eq!(instance.tag("etcd"), Some("a&b <c>"));
        assert_eq!((instance.tag("empty"), instance.tag("not")), (Some(""), None));
    }

    #[test]
    fn each_state_says_whether_the_instance_may_come_back() {
        for (name, state) in [
            ("pending", State::Running),
            ("running", State::Running),
            ("stopping", State::Stopped),
            ("stopped", State::Stopped),
            ("shutting-down", State::Gone),
            ("terminated", State::Gone),
        ] {
            assert_eq!(parse(&page(&item("i-1", name), "")).unwrap().instances[0].state, state);
        }
    }

    #[test]
    fn no_instances_are_a_page_too() {
        let empty = parse("<DescribeInstancesResponse><reservationSet/><nextToken/></DescribeInstancesResponse>");
        assert_eq!(empty, Ok(Page::default()));
    }

    #[test]
    fn what_is_no_page_is_said() {
        assert_eq!(parse("<html><body/></html>"), Err("<html>".into()));
        assert!(parse("Not found").unwrap_err().starts_with("no XML"));
        assert!(parse(&page("<item><instanceId/></item>", "")).is_err());
    }

    #[test]
    fn errors_of_ec2_and_of_its_front_are_read() {
        let ec2 = "<Response><Errors><Error><Code>AuthFailure</Code><Message>no &amp; no</Message></Error></Errors><RequestID>x</RequestID></Response>";
        assert_eq!(parse_error(ec2), Some(("AuthFailure".into(), "no & no".into())));
        let front =
            "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>";
        assert_eq!(parse_error(front), Some(("Throttling".into(), String::new())));
        assert_eq!(parse_error("{}"), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "(<|>|/|item|instancesSet|DescribeInstancesResponse|&amp;|&|\"|[a-z ]){0,60}") {
            let _ = (parse(&text), parse_error(&text));
        }

        #[test]
        fn every_tag_value_survives(value in "[^\\p{C}\r\n]{0,20}") {
            let escaped = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let text = page(&format!("<item><instanceId>i</instanceId><tagSet><item><key>k</key><value>{escaped}</value></item></tagSet></item>"), "");
            let page = parse(&text).unwrap();
            prop_assert_eq!(page.instances[0].tag("k"), Some(value.as_str()));
        }
    }
}

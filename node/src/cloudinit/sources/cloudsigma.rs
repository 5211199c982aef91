//! CloudSigma's server context, which the hypervisor answers on the second serial port.
use std::fs::OpenOptions;
use std::io::{Read, Write};

use rustix::termios::{OptionalActions, speed, tcgetattr, tcsetattr};
use serde_json::Value;

use super::Metadata;
use crate::cloudconfig::content;
use crate::cloudinit::root::Root;

const PORT: &str = "/dev/ttyS1";
/// Ends an answer.
const END: u8 = 4;

/// The hypervisor says who it is; without a lease its answers lack addresses.
pub fn is_available(root: &Root) -> bool {
    let product = root.read("/sys/class/dmi/id/product_name").unwrap_or_default();
    let leases = std::fs::read_dir(root.at("/run/systemd/netif/leases"));
    product.starts_with(b"CloudSigma") && leases.is_ok_and(|mut leases| leases.next().is_some())
}

async fn context() -> Result<Value, String> {
    let asked = tokio::task::spawn_blocking(|| ask().map_err(|error| format!("{PORT}: {error}")));
    let answer = asked.await.map_err(|error| error.to_string())??;
    serde_json::from_slice(&answer).map_err(|error| format!("{PORT}: {error}"))
}

fn ask() -> std::io::Result<Vec<u8>> {
    let mut port = OpenOptions::new().read(true).write(true).open(PORT)?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    settings.set_speed(speed::B115200)?;
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    port.write_all(b"<\n\n>")?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while port.read(&mut byte)? == 1 && byte[0] != END {
        answer.push(byte[0]);
    }
    Ok(answer)
}

pub async fn user_data() -> Result<Vec<u8>, String> {
    Ok(read_user_data(&context().await?))
}

fn read_user_data(context: &Value) -> Vec<u8> {
    const FIELD: &str = "cloudinit-user-data";
    let text = |key: &str| context["meta"][key].as_str().unwrap_or_default();
    let data = text(FIELD).as_bytes();
    match text("base64_fields").split(',').any(|field| field == FIELD) {
        true => content::base64(data).unwrap_or_default(),
        false => data.to_vec(),
    }
}

pub async fn metadata() -> Result<Metadata, String> {
    Ok(read_metadata(&context().await?))
}

fn read_metadata(context: &Value) -> Metadata {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let name = text(&context["name"]);
    let mut metadata = Metadata {
        hostname: if name.is_empty() { text(&context["uuid"]) } else { name },
        ..Metadata::default()
    };
    let key = text(&context["meta"]["ssh_public_key"]);
    metadata.ssh_keys.extend((!key.is_empty()).then_some(key));
    for nic in context["nics"].as_array().into_iter().flatten() {
        metadata.address("COREOS_PUBLIC_IPV4", &text(&nic["ip_v4_conf"]["ip"]["uuid"]));
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_read() {
        let context = serde_json::json!({
            "name": "n", "uuid": "u",
            "meta": {"cloudinit-user-data": "I2Nsb3VkLWNvbmZpZwo=", "base64_fields": "x,cloudinit-user-data", "ssh_public_key": "ssh-rsa A"},
            "nics": [{"ip_v4_conf": {"ip": {"uuid": "31.171.251.74"}}}],
        });
        assert_eq!(read_user_data(&context), b"#cloud-config\n");
        let metadata = read_metadata(&context);
        assert_eq!((metadata.hostname.as_str(), metadata.ssh_keys.len()), ("n", 1));
        assert_eq!(
            metadata.addresses,
            [("COREOS_PUBLIC_IPV4", "31.171.251.74".to_string())]
        );
    }
}

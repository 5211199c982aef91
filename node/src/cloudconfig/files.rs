//! The files that sections of a cloud-config become: what is in them, given what is there already.
use super::config::Section;
use super::go::quote;
use super::schema::UPDATE;
use super::sections::FLANNEL;

/// A file to write: absolute path, content, permissions and owner as they were written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub content: Vec<u8>,
    pub permissions: String,
    pub owner: String,
}

impl File {
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> File {
        File {
            path: path.into(),
            content: content.into(),
            permissions: "0644".into(),
            owner: String::new(),
        }
    }

    /// The mode: octal; Go's chmod drops what is beyond the nine bits.
    pub fn mode(&self) -> Result<u32, String> {
        if self.permissions.is_empty() {
            return Ok(0o644);
        }
        match i32::from_str_radix(&self.permissions, 8) {
            Ok(mode) => Ok(mode as u32 & 0o777),
            Err(_) => Err(format!(
                "Unable to parse file permissions {} as integer",
                quote(&self.permissions)
            )),
        }
    }
}

pub fn oem(oem: &Section) -> Option<File> {
    let id = oem.text("id");
    let quoted = |key| quote(&oem.text(key));
    let content = format!(
        "ID={id}\nVERSION_ID={}\nNAME={}\nHOME_URL={}\nBUG_REPORT_URL={}\n",
        oem.text("version_id"),
        quoted("name"),
        quoted("home_url"),
        quoted("bug_report_url")
    );
    (!id.is_empty()).then(|| File::new("/etc/oem-release", content))
}

/// update.conf with the given settings in place of those it has; new ones at its end, by name.
pub fn update(update: &Section, before: &Result<Vec<u8>, String>) -> Result<Option<File>, String> {
    let mut settings = update.variables(UPDATE);
    if settings.is_empty() {
        return Ok(None);
    }
    let strategy = update.text("reboot_strategy");
    let key = &UPDATE[0];
    if let Some(valid) = key
        .valid
        .filter(|valid| !strategy.is_empty() && !(valid.matches)(&strategy))
    {
        return Err(format!(
            "invalid value {} for option \"RebootStrategy\" (valid options: {})",
            quote(&strategy),
            quote(valid.pattern)
        ));
    }
    let before = String::from_utf8_lossy(before.as_ref().map_err(Clone::clone)?).into_owned();
    let mut content = String::new();
    for line in before.lines() {
        let replaced = settings.iter().position(|(name, _)| line.starts_with(name));
        match replaced.map(|at| settings.remove(at)) {
            Some((name, value)) => content += &format!("{name}={value}\n"),
            None => content += &format!("{line}\n"),
        }
    }
    settings.sort();
    for (name, value) in settings {
        content += &format!("{name}={value}\n");
    }
    Ok(Some(File::new("/etc/coreos/update.conf", content)))
}

pub fn hosts(option: &str, hostname: &str) -> Result<Option<File>, String> {
    match option {
        "" => Ok(None),
        "localhost" => Ok(Some(File::new("/etc/hosts", format!("127.0.0.1 {hostname}\n")))),
        _ => Err("Invalid option to manage_etc_hosts".into()),
    }
}

/// flanneld's EnvironmentFile. Quoted where a value needs it, if it is to be `escaped`.
pub fn flannel(flannel: &Section, escaped: bool) -> Option<File> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    let line = |(name, value): (&str, String)| match escaped && !value.chars().all(plain) {
        true => format!("{name}=\"{}\"", backslashed(&value, "\\\"`$")),
        false => format!("{name}={value}"),
    };
    let lines: Vec<String> = flannel.variables(FLANNEL).into_iter().map(line).collect();
    (!lines.is_empty()).then(|| File::new("/run/flannel/options.env", lines.join("\n")))
}

/// A drop-in that sets variables; empty when there are none. The original does not escape, so that a quote breaks it.
pub fn environment_drop_in(variables: &[(&str, String)], escaped: bool) -> String {
    if variables.is_empty() {
        return String::new();
    }
    let mut content = String::from("[Service]\n");
    for (name, value) in variables {
        let value = match escaped {
            true => backslashed(value, "\\\"").replace('\n', "\\n").replace('%', "%%"),
            false => value.clone(),
        };
        content += &format!("Environment=\"{name}={value}\"\n");
    }
    content
}

fn backslashed(text: &str, special: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// /etc/environment with these variables: in place where they are, the others at its end by name. None if nothing changes.
pub fn environment(before: &[u8], variables: &[(&str, String)]) -> Option<File> {
    let mut pending: Vec<(&str, String)> = variables.to_vec();
    pending.sort();
    let is_name = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    let mut content = Vec::new();
    let mut lines: Vec<&[u8]> = before.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let end = line.iter().position(|byte| *byte == b'=').unwrap_or(0);
        let name = &line[..end];
        let known = pending
            .iter()
            .position(|(pending, _)| name.iter().all(is_name) && pending.as_bytes() == name);
        match known.map(|at| pending.remove(at)) {
            Some((name, value)) => content.extend(format!("{name}={value}").into_bytes()),
            None => content.extend(line),
        }
        content.push(b'\n');
    }
    for (name, value) in pending {
        content.extend(format!("{name}={value}\n").into_bytes());
    }
    (content != before).then(|| File::new("/etc/environment", content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_nine_bits() {
        let mode = |text: &str| {
            let file = File::new("/x", "");
            let permissions = text.to_string();
            File { permissions, ..file }.mode()
        };
        assert_eq!((mode(""), mode("600"), mode("4755")), (Ok(0o644), Ok(0o600), Ok(0o755)));
        assert_eq!(
            mode("0o6"),
            Err("Unable to parse file permissions \"0o6\" as integer".into())
        );
    }

    #[test]
    fn an_environment_keeps_what_it_has() {
        let variables = [("B", "2".to_string()), ("A", "1".to_string())];
        let file = environment(b"# c\r\nB=9\nX=$Y", &variables).expect("a change");
        assert_eq!(file.content, b"# c\nB=2\nX=$Y\nA=1\n");
        assert_eq!(environment(&file.content, &variables), None);
    }

    #[test]
    fn escaped_values_survive_systemd() {
        let drop_in = environment_drop_in(&[("A", "a\"b\\c 100%".into())], true);
        assert_eq!(drop_in, "[Service]\nEnvironment=\"A=a\\\"b\\\\c 100%%\"\n");
    }
}

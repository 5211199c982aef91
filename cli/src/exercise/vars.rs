//! v(NAME): values that an exercise has, captures or computes, put into its texts (pure).
use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::closest;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vars(BTreeMap<String, String>);

impl Vars {
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    /// A text with its values. Everything but `v(NAME)` is left as it is: `$`, braces and the rest are the shell's.
    pub fn text(&self, text: &str) -> Result<String, String> {
        self.fill(text, |name| Err(self.unknown(name)))
    }

    /// For a reader, who knows what is meant: what is not known yet stands there by its name.
    pub fn readable(&self, text: &str) -> String {
        let name = |name: &str| Ok(format!("<{}>", name.rsplit('.').next().unwrap_or(name)));
        self.fill(text, name).unwrap_or_else(|_| text.to_string())
    }

    fn fill(&self, text: &str, missing: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
        let mut rest = text;
        let mut done = String::new();
        while let Some(at) = rest.find("v(") {
            let (head, tail) = rest.split_at(at + 2);
            if ends_in_a_word(&rest[..at]) {
                done.push_str(head);
                rest = tail;
                continue;
            }
            let end = tail
                .find(')')
                .ok_or_else(|| "v( has no closing parenthesis".to_string())?;
            let name = tail[..end].trim();
            done.push_str(&head[..at]);
            match self.get(name) {
                Some(value) => done.push_str(value),
                None => done.push_str(&missing(name)?),
            }
            rest = &tail[end + 1..];
        }
        done.push_str(rest);
        Ok(done)
    }

    /// Any part of an exercise with its values.
    pub fn put<T: Serialize + DeserializeOwned>(&self, part: &T) -> Result<T, String> {
        let mut value = serde_json::to_value(part).map_err(|error| error.to_string())?;
        self.walk(&mut value)?;
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    fn walk(&self, value: &mut serde_json::Value) -> Result<(), String> {
        match value {
            serde_json::Value::String(text) => *text = self.text(text)?,
            serde_json::Value::Array(list) => list.iter_mut().try_for_each(|item| self.walk(item))?,
            serde_json::Value::Object(map) => map.values_mut().try_for_each(|item| self.walk(item))?,
            _ => {}
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> String {
        let like = match closest(name, &self.names().collect::<Vec<_>>()) {
            Some(other) => format!(", did you mean v({other})?"),
            None => String::new(),
        };
        format!("there is no value v({name}) here{like}")
    }
}

/// Is what follows the end of another word, as in recv(? The letter of an escape is none: \n, \b and the like.
fn ends_in_a_word(text: &str) -> bool {
    let mut before = text.chars().rev();
    let is_word = before.next().is_some_and(|c| c.is_alphanumeric() || c == '_');
    // Two backslashes are one that means itself.
    let is_escaped = before.take_while(|c| *c == '\\').count() % 2 == 1;
    is_word && !is_escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_no_part_of_a_word() {
        let mut vars = Vars::default();
        vars.set("x", "1");
        let filled = |text: &str| vars.text(text).expect("known values");
        assert_eq!(filled(r"a\nv(x)\bv(x)^v(x)v(x)"), r"a\n1\b1^11");
        assert_eq!(filled(r"env(x) \\nv(x) \env(x) _v(x)"), r"env(x) \\nv(x) \env(x) _v(x)");
    }

    #[test]
    fn values_are_put_in_and_the_shells_dollars_left() {
        let mut vars = Vars::default();
        vars.set("key", "kubernetes");
        vars.set("single.id", "ce2a");
        let text = "etcdctl set v(key) ${x} $(y) v( single.id ) recv(z)";
        assert_eq!(
            vars.text(text),
            Ok("etcdctl set kubernetes ${x} $(y) ce2a recv(z)".into())
        );
        let error = vars.text("v(kei)").expect_err("unknown");
        assert!(error.contains("did you mean v(key)"), "{error}");
        assert!(vars.text("v(key").is_err());
        assert_eq!(vars.readable("set v(key) at v(this.slow)"), "set kubernetes at <slow>");
    }
}

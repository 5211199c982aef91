//! The original's idea of where a key is: the first line from here on that looks like it.

#[derive(Clone, Debug)]
pub struct Lines<'a> {
    current: &'a str,
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Lines<'a> {
        let mut lines = Lines {
            current: "",
            rest: text,
            number: 0,
        };
        lines.next();
        lines
    }

    pub fn next(&mut self) {
        if self.current.is_empty() && self.rest.is_empty() {
            return;
        }
        (self.current, self.rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.number += 1;
    }

    /// Goes to the line; 0 when there is none, and then nothing else is found from here either.
    fn find(&mut self, matches: impl Fn(&str) -> bool) -> usize {
        while !self.current.is_empty() || !self.rest.is_empty() {
            if matches(self.current) {
                return self.number;
            }
            self.next();
        }
        0
    }

    pub fn find_key(&mut self, key: &str) -> usize {
        self.find(|line| {
            let line = line.trim_start_matches(' ');
            let line = line.strip_prefix('-').unwrap_or(line);
            let line = line.strip_prefix(' ').unwrap_or(line);
            line.split_once(':')
                .is_some_and(|(name, _)| key.is_empty() || name == key)
        })
    }

    pub fn find_element(&mut self) -> usize {
        self.find(|line| line.trim_start_matches(' ').starts_with('-'))
    }
}

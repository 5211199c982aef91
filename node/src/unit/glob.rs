//! Go's `path.Match`, by which Conflicts and Replaces name units.

/// Whether `name` matches; a malformed pattern matches nothing.
pub fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?', '[', '\\']) {
        return pattern == name;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    well_formed(&pattern) && run(&pattern, &name)
}

/// Whether a pattern can match at all.
pub fn valid(pattern: &str) -> bool {
    well_formed(&pattern.chars().collect::<Vec<_>>())
}

fn well_formed(mut pattern: &[char]) -> bool {
    while !pattern.is_empty() {
        match step(pattern, None) {
            Some((_, rest)) => pattern = rest,
            None => return false,
        }
    }
    true
}

fn run(pattern: &[char], name: &[char]) -> bool {
    // A star that has been passed is gone back to: where it stands in the pattern, and how much it has eaten.
    let (mut p, mut n) = (pattern, name);
    let mut star: Option<(&[char], &[char])> = None;
    loop {
        if let Some((&'*', rest)) = p.split_first() {
            star = Some((rest, n));
            p = rest;
            continue;
        }
        let met = match (p.is_empty(), n.first()) {
            (true, None) => return true,
            (false, Some(c)) => step(p, Some(*c)).filter(|(met, _)| *met).map(|(_, rest)| rest),
            _ => None,
        };
        if let Some(rest) = met {
            (p, n) = (rest, &n[1..]);
            continue;
        }
        match star {
            Some((after, from)) if !from.is_empty() && from[0] != '/' => {
                star = Some((after, &from[1..]));
                (p, n) = (after, &from[1..]);
            }
            _ => return false,
        }
    }
}

/// The pattern's first element against a character, and what follows it. None: malformed.
fn step(pattern: &[char], c: Option<char>) -> Option<(bool, &[char])> {
    match pattern {
        ['?', rest @ ..] => Some((c.is_some_and(|c| c != '/'), rest)),
        ['\\', escaped, rest @ ..] => Some((c == Some(*escaped), rest)),
        ['\\'] => None,
        ['[', rest @ ..] => class(rest, c),
        [plain, rest @ ..] => Some((c == Some(*plain), rest)),
        [] => None,
    }
}

fn class(mut rest: &[char], c: Option<char>) -> Option<(bool, &[char])> {
    let negated = rest.first() == Some(&'^');
    if negated {
        rest = &rest[1..];
    }
    let (mut met, mut ranges) = (false, 0);
    loop {
        if ranges > 0 && rest.first() == Some(&']') {
            return Some((c.is_some_and(|_| met != negated), &rest[1..]));
        }
        let (low, after) = class_char(rest)?;
        let (high, after) = match after {
            ['-', after @ ..] => class_char(after)?,
            after => (low, after),
        };
        met |= c.is_some_and(|c| low <= c && c <= high);
        rest = after;
        ranges += 1;
    }
}

fn class_char(rest: &[char]) -> Option<(char, &[char])> {
    match rest {
        [] | ['-' | ']', ..] | ['\\'] => None,
        ['\\', c, rest @ ..] => Some((*c, rest)),
        [c, rest @ ..] => Some((*c, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let yes = [
            ("abc", "abc"),
            ("*", ""),
            ("nginx@*.service", "nginx@5555.service"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^e-g]", "abc"),
            ("a\\*b", "a*b"),
            ("[\\]a]", "]"),
        ];
        let no = [
            ("*", "a/b"),
            ("ab[^c]", "abc"),
            ("a*b?c*x", "abxbbxdbxebxczzy"),
            ("[", "a"),
            ("[]a]", "]"),
            ("a[", "ab"),
            ("\\", "a"),
            ("a*", "ba"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in no {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(!valid("["), "a class without an end");
        assert!(valid("a*[b-d]"));
    }
}

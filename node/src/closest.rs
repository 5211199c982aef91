//! What somebody may have meant by a word that is none of those that are known.

/// The known word that is most like this one: a letter or two off, more for long ones.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = known.into_iter().map(|word| (distance(word, typed), word)).min();
    let limit = 1 + typed.chars().count() / 4;
    best.filter(|(distance, _)| *distance <= limit).map(|(_, word)| word)
}

/// ` (did you mean "X"?)`, or nothing.
pub fn hint<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let found = closest(typed, known);
    found.map_or(String::new(), |word| format!(" (did you mean {word:?}?)"))
}

/// Levenshtein's.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["list-machines", "list-units", "start", "stop"];
        assert_eq!(closest("lst-units", known), Some("list-units"));
        assert_eq!(closest("strat", known), Some("start"));
        assert_eq!(closest("frob", known), None);
        assert_eq!(hint("stopp", known), " (did you mean \"stop\"?)");
    }
}

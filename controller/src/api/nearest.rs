//! The name someone probably meant.

/// The candidate closest to `given`, if any is close enough to be a slip: at most a third of it differs.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = given.to_ascii_lowercase();
    let scored = candidates.into_iter().map(|c| (distance(&lower, &c.to_ascii_lowercase()), c));
    scored.min_by_key(|(d, _)| *d).filter(|(d, c)| *d <= c.len().max(given.len()).div_ceil(3)).map(|(_, c)| c)
}

/// ` (did you mean "weight"?)`, or nothing.
pub fn hint<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, candidates).map(|c| format!(" (did you mean {c:?}?)")).unwrap_or_default()
}

/// Levenshtein's distance, row by row.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_field() {
        let fields = ["subsets", "default", "hosts", "assignment"];
        assert_eq!(nearest("subset", fields), Some("subsets"));
        assert_eq!(nearest("asignment", fields), Some("assignment"));
        assert_eq!(nearest("Hosts", fields), Some("hosts"));
        assert_eq!(nearest("colour", fields), None);
    }
}

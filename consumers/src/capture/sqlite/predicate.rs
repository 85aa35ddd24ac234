//! Finds the condition of a partial index in the statement that made it, for SQLite shows it nowhere else.

/// What stands after the `WHERE` of a `CREATE INDEX`; `None` when there is none.
pub(super) fn predicate(index: &str) -> Option<&str> {
    let bytes = index.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        let end = token_end(bytes, at);
        match bytes[at] {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'w' | b'W' if depth == 0 && bytes[at..end].eq_ignore_ascii_case(b"where") => {
                return index.get(end..);
            }
            _ => {}
        }
        at = end;
    }
    None
}

/// Where the token that begins at `at` ends. A doubled quote within quotes reads as two tokens, which does no harm.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let length = match rest[0] {
        b'[' => after(rest, 1, b"]"),
        quote @ (b'\'' | b'"' | b'`') => after(rest, 1, &[quote]),
        b'-' if rest.starts_with(b"--") => after(rest, 2, b"\n"),
        b'/' if rest.starts_with(b"/*") => after(rest, 2, b"*/"),
        byte if is_of_word(byte) => rest.iter().take_while(|byte| is_of_word(**byte)).count(),
        _ => 1,
    };
    at + length
}

/// The length up to and with the next `end`, or to the end of all.
fn after(rest: &[u8], from: usize, end: &[u8]) -> usize {
    let found = rest[from..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len(), |position| from + position + end.len())
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_what_stands_after_where() {
        for (index, expected) in [
            ("CREATE UNIQUE INDEX i ON t (a)", None),
            ("CREATE UNIQUE INDEX i ON t (a) WHERE a > 1", Some(" a > 1")),
            ("CREATE UNIQUE INDEX i ON t(a)where(b = ' where ')", Some("(b = ' where ')")),
            (
                "CREATE UNIQUE INDEX \"x where \"\" where y\" ON [t where] (`where`) /* where */ WHERE a",
                Some(" a"),
            ),
            ("CREATE UNIQUE INDEX i -- where it is\n ON t (a COLLATE 'where') WHERE é", Some(" é")),
            ("CREATE UNIQUE INDEX nowhere ON wherever (a)", None),
            ("CREATE UNIQUE INDEX i ON t (a) /* WHERE", None),
            ("", None),
        ] {
            assert_eq!(predicate(index), expected, "{index}");
        }
    }
}

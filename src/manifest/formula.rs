//! Cells that a spreadsheet would run as formulas, and how they are written so that it does not.
//!
//! A cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return is written with an apostrophe
//! before it, which spreadsheets take for "this is text". A cell that looks as if that had been done
//! already gets one more, so that taking one off is exact: `read(write(cell)) == cell` for every cell.

/// Returns the cell as it is exported.
#[must_use]
pub fn escape(cell: &str) -> std::borrow::Cow<'_, str> {
    if is_dangerous(cell) { format!("'{cell}").into() } else { cell.into() }
}

/// Returns the cell that was exported as this one.
#[must_use]
pub fn unescape(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_dangerous(rest)).unwrap_or(cell)
}

/// Returns whether the cell is a formula, or one that was escaped.
fn is_dangerous(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_become_text_and_other_cells_stay() {
        for (cell, expected) in [
            ("=1+1", "'=1+1"),
            ("-5 % off", "'-5 % off"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("'=1", "''=1"),
            ("'quoted'", "'quoted'"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(escape(cell), expected);
        }
    }

    proptest! {
        #[test]
        fn escaping_is_undone_exactly(cell in "'{0,2}[=+@\t\r-]?\\PC{0,5}") {
            let written = escape(&cell);
            prop_assert!(!written.starts_with(['=', '+', '-', '@', '\t', '\r']));
            prop_assert_eq!(unescape(&written), cell.as_str());
        }
    }
}

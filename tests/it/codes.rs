//! `docs/error-codes.md` names every code, and no other.

use std::collections::BTreeSet;

use imagebatch::manifest::outcome::FailureReason;
use imagebatch::manifest::problem::Code;

/// Returns the codes of the tables below the headings that contain one of the words.
fn documented(words: &[&str]) -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/error-codes.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let sections = page.split("\n## ").filter(|section| {
        let heading = section.lines().next().unwrap_or_default();
        words.iter().any(|word| heading.contains(word))
    });
    let rows = sections.flat_map(|section| section.lines().filter_map(|line| line.strip_prefix("| `")));
    rows.filter_map(|row| row.split('`').next().map(str::to_owned)).collect()
}

#[test]
fn every_code_of_a_source_is_documented() {
    let codes: BTreeSet<String> = Code::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(documented(&["Problems", "Warnings"]), codes);
}

#[test]
fn every_failure_of_an_image_is_documented() {
    let reasons: BTreeSet<String> = FailureReason::ALL.iter().map(|it| it.as_str().to_owned()).collect();
    assert_eq!(documented(&["Failures"]), reasons);
}

//! `docs/error-codes.md` names every code, and no other.

use std::collections::BTreeSet;

use imagebatch::gateway::error;
use imagebatch::manifest::outcome::FailureReason;
use imagebatch::manifest::problem::Code;

/// Returns the rows of the tables below the headings that contain one of the words, from their code on.
fn rows(words: &[&str]) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/error-codes.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let sections = page.split("\n## ").filter(|section| {
        let heading = section.lines().next().unwrap_or_default();
        words.iter().any(|word| heading.contains(word))
    });
    sections
        .flat_map(|section| section.lines().filter_map(|line| line.strip_prefix("| `")).map(str::to_owned))
        .collect()
}

/// Returns the codes of these rows.
fn documented(words: &[&str]) -> BTreeSet<String> {
    rows(words).iter().filter_map(|row| row.split('`').next().map(str::to_owned)).collect()
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

#[test]
fn every_code_of_an_answer_is_documented_with_its_status() {
    let codes: BTreeSet<String> =
        error::Code::ALL.iter().map(|code| format!("{code:?}` | {}", code.status_and_title().0.as_u16())).collect();
    let documented: BTreeSet<String> = rows(&["Answers"])
        .iter()
        .filter_map(|row| row.rsplit_once(" | ")?.0.rsplit_once(" | ").map(|(start, _)| start.to_owned()))
        .collect();
    assert_eq!(documented, codes);
    // The list of all codes is complete: the described API, which is generated, has no other.
    let described: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/openapi.json")).expect("the described API");
    let described = described["components"]["schemas"]["ErrorCode"]["oneOf"].as_array().expect("a list of codes");
    let described: BTreeSet<&str> = described.iter().filter_map(|it| it["const"].as_str()).collect();
    let all: BTreeSet<String> = error::Code::ALL.iter().map(|code| format!("{code:?}")).collect();
    assert_eq!(all, described.into_iter().map(str::to_owned).collect());
}

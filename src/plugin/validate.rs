//! `validate`: the gateway's validator on a local file. It speaks to nobody.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::End;
use super::diagnostic::render;
use super::options::ValidationArgs;
use super::print::{DataFormat, clean, note, print_data, print_line};
use crate::manifest::limits::LimitArgs;
use crate::manifest::place::{Place, find_places};
use crate::manifest::problem::{Problem, Problems};
use crate::manifest::source::{Rules, Summary, read_csv};

/// What to check.
#[derive(Args, Debug)]
pub(super) struct ValidateArgs {
    /// The CSV.
    file: PathBuf,
    /// Print what was found for programs.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<DataFormat>,
    #[command(flatten)]
    validation: ValidationArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Errors, and warnings, that are shown in full; programs get all that the validator lists.
const MAX_SHOWN: usize = 50;

/// What a check found.
pub(super) struct Checked {
    file: String,
    pub(super) summary: Summary,
    errors: Vec<Option<Place>>,
    warnings: Vec<Option<Place>>,
}

/// Checks a file and prints what was found.
pub(super) fn validate(args: &ValidateArgs) -> anyhow::Result<End> {
    let rules = Rules { limits: args.limits.limits(), validation: args.validation.validation() };
    let checked = Checked::of(&args.file, &rules)?;
    if let Some(format) = args.output {
        print_data(format, &checked.document())?;
    } else {
        checked.show();
        print_line(&checked.verdict())?;
    }
    Ok(checked.end())
}

impl Checked {
    /// Checks a file.
    pub(super) fn of(path: &Path, rules: &Rules) -> anyhow::Result<Self> {
        let file = clean(&path.display().to_string());
        let failed = || format!("failed to read {file}");
        let open = || File::open(path).map(BufReader::new).with_context(failed);
        let summary = read_csv(open()?, rules, |_| Ok(())).with_context(failed)?;
        let find = |problems: &Problems| -> anyhow::Result<_> {
            if problems.listed.is_empty() {
                return Ok(Vec::new());
            }
            find_places(open()?, &summary.columns.names, &problems.listed).with_context(failed)
        };
        let (errors, warnings) = (find(&summary.problems)?, find(&summary.warnings)?);
        Ok(Self { file, summary, errors, warnings })
    }

    /// Returns how the check ended.
    pub(super) fn end(&self) -> End {
        match (self.summary.is_accepted(), self.summary.problems.is_empty()) {
            (true, true) => End::Done,
            (true, false) => End::Partial,
            (false, _) => End::Failed,
        }
    }

    /// Shows what is wrong and what is doubtful to people.
    pub(super) fn show(&self) {
        let Summary { problems, warnings, .. } = &self.summary;
        self.show_some(warnings, &self.warnings, true);
        self.show_some(problems, &self.errors, false);
    }

    fn show_some(&self, problems: &Problems, places: &[Option<Place>], is_warning: bool) {
        for (problem, place) in problems.listed.iter().zip(places).take(MAX_SHOWN) {
            note(&render(&self.file, problem, place.as_ref(), is_warning));
            note("");
        }
        let more = problems.total().saturating_sub(MAX_SHOWN as u64);
        if more > 0 {
            let counts: Vec<String> = problems.counts.iter().map(|(code, count)| format!("{count} {code}")).collect();
            let what = if is_warning { "warnings" } else { "errors" };
            note(&format!("... and {more} more {what}; in all {}\n", counts.join(", ")));
        }
    }

    /// Returns what was found in a sentence.
    pub(super) fn verdict(&self) -> String {
        let Summary { rows, images, skipped, problems, .. } = &self.summary;
        let counted = format!("{}: {}, {}", self.file, count(*rows, "row"), count(*images, "image"));
        match self.end() {
            End::Done => format!("{counted}: valid"),
            End::Partial => format!("{counted}: valid without {}", count(*skipped, "skipped row")),
            _ => format!("{}: not valid: {}", self.file, count(problems.total(), "error")),
        }
    }

    /// Returns what was found, with the names that the gateway's answer has.
    fn document(&self) -> Value {
        let Summary { rows, images, skipped, problems, warnings, .. } = &self.summary;
        json!({
            "file": self.file,
            "valid": self.summary.is_accepted(),
            "rows": rows,
            "images": images,
            "skippedRows": skipped,
            "errors": located(&problems.listed, &self.errors),
            "errorCount": problems.total(),
            "counts": problems.counts,
            "warnings": located(&warnings.listed, &self.warnings),
            "warningCounts": warnings.counts,
        })
    }
}

/// Returns problems with the line and the column, in characters from 1, that they begin at.
fn located(problems: &[Problem], places: &[Option<Place>]) -> Vec<Value> {
    let locate = |(problem, place): (&Problem, &Option<Place>)| {
        let mut value = json!(problem);
        if let Some(place) = place {
            let before = &place.text[..place.span.start];
            let start = before.rfind('\n').map_or(0, |it| it + 1);
            let line = place.line + before.matches('\n').count() as u64;
            value["place"] = json!({ "line": line, "column": before[start..].chars().count() + 1 });
        }
        value
    };
    problems.iter().zip(places).map(locate).collect()
}

/// Returns a number with its noun.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

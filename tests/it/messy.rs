//! Files as spreadsheet programs and shops export them, with what is to be found in each:
//! `tests/data/csv/messy.tsv` is the table, one line a file.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use imagebatch::manifest::problem::Problems;
use imagebatch::manifest::source::{Rules, Summary, read_csv};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/csv");

#[test]
fn messy_files_are_read_as_their_table_says() {
    let table = std::fs::read_to_string(Path::new(FOLDER).join("messy.tsv")).expect("the table");
    let mut wrong = String::new();
    let mut listed = BTreeSet::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, from, rows, images, problems, warnings] = fields[..] else { panic!("six columns: {line}") };
        let bytes = std::fs::read(Path::new(FOLDER).join("messy").join(file)).expect("the file");
        let found = read_csv(&bytes[..], &Rules::default(), |_| Ok(())).expect("a slice can be read");
        let result = describe(&found);
        let expected = format!("{rows} rows, {images} images, [{problems}], [{warnings}]");
        if result != expected {
            writeln!(wrong, "{file} ({from})\n  expected {expected}\n  found    {result}").expect("a String grows");
        }
        assert!(found.problems.listed.iter().all(|it| !it.hint.is_empty() && !it.message.is_empty()), "{file}");
        listed.insert(file.to_owned());
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(listed.len() >= 60, "{} files", listed.len());
    let present = std::fs::read_dir(Path::new(FOLDER).join("messy")).expect("the folder");
    let present: BTreeSet<String> =
        present.map(|it| it.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(present, listed, "every file is in the table");
}

fn describe(summary: &Summary) -> String {
    let Summary { rows, images, problems, warnings, .. } = summary;
    let places: Vec<String> =
        problems.listed.iter().map(|it| format!("{}@{}", it.code, it.line.expect("a line"))).collect();
    format!("{rows} rows, {images} images, [{}], [{}]", places.join(" "), counts(warnings))
}

fn counts(problems: &Problems) -> String {
    let counts: Vec<String> = problems.counts.iter().map(|(code, count)| format!("{code}:{count}")).collect();
    counts.join(" ")
}

//! The fuzz targets' checks over the corpus and the messy files, with a stable compiler; `make fuzz`
//! looks for inputs of its own.

use std::path::Path;

#[path = "../../fuzz/checks.rs"]
mod checks;

fn each_file(folder: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        check(&std::fs::read(entry.expect("an entry").path()).expect("the file"));
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn the_corpus_passes_the_checks_of_its_target() {
    each_file("fuzz/corpus/csv_parse", checks::csv_parse);
    each_file("fuzz/corpus/url_cell", checks::url_cell);
    each_file("fuzz/corpus/csv_export", checks::csv_export);
}

#[test]
fn messy_files_pass_every_check_also_when_they_are_cut() {
    each_file("tests/data/csv/messy", |bytes| {
        checks::csv_export(bytes);
        checks::url_cell(bytes);
        for end in (0..bytes.len().min(600)).chain([bytes.len()]) {
            checks::csv_parse(&bytes[..end]);
        }
    });
}

//! Every failpoint is reached, and what died or failed there is mended by whoever comes next: a batch
//! whose processes die and fail at each point, one after the other, ends like one without any fault.

mod controllers;
mod gateways;
mod stages;

use std::collections::BTreeMap;
use std::path::PathBuf;

use imagebatch::failpoint::NAMES;

const RULES: &str = "IMAGEBATCH_FAILPOINTS";
const SEEN: &str = "IMAGEBATCH_FAILPOINTS_SEEN";

const ACTIONS: [&str; 2] = ["kill", "error"];

/// Both sides of each name from `first` to `last`.
fn points(first: &str, last: &str) -> impl Iterator<Item = String> {
    let place = |name: &str| NAMES.iter().position(|it| *it == name).expect("a failpoint's name");
    let names = &NAMES[place(first)..=place(last)];
    names.iter().flat_map(|name| ["before", "after"].map(|side| format!("{name}.{side}")))
}

/// Writes down which points the processes of a test reach.
struct Seen(PathBuf);

impl Seen {
    fn new(test: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("failpoints-{test}"));
        std::fs::write(&path, "").expect("it can be written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }

    fn count(&self, point: &str) -> usize {
        let seen = std::fs::read_to_string(&self.0).expect("it can be read");
        seen.lines().filter(|it| *it == point).count()
    }
}

#[test]
fn every_name_stands_once_in_the_source() {
    let mut found: BTreeMap<&str, usize> = NAMES.iter().map(|name| (*name, 0)).collect();
    let sources: Vec<String> = crate::layering::sources("").into_iter().map(|(.., text)| text).collect();
    for text in &sources {
        for (_, rest) in text.match_indices("failpoint::around(\"").map(|(at, start)| text.split_at(at + start.len())) {
            let name = rest.split('"').next().expect("a name");
            *found.get_mut(name).unwrap_or_else(|| panic!("{name} is not in failpoint::NAMES")) += 1;
        }
    }
    assert_eq!(found.iter().filter(|(_, count)| **count != 1).collect::<Vec<_>>(), []);
    assert!(2 * NAMES.len() >= 25, "two points a name");
}

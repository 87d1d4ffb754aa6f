//! Imports go one way: api, manifest <- storage, records, egress <- roles <- executables.
//!
//! One package has no compiler to enforce that, so this reads the paths in `src/` and compares them
//! with a table.

use std::{fs, path::Path};

/// Each module at the top of the library, and what it may import.
const MODULES: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("manifest", &["api"]),
    ("failpoint", &[]),
    ("metrics", &[]),
    ("storage", &["api", "manifest", "failpoint"]),
    ("records", &["api", "manifest", "failpoint"]),
    ("egress", &[]),
    ("telemetry", &["failpoint"]),
    ("gateway", &["api", "manifest", "failpoint", "metrics", "storage", "records", "telemetry"]),
    ("controller", &["api", "manifest", "failpoint", "metrics", "storage", "records", "egress", "telemetry"]),
    ("compressor", &["api", "manifest", "failpoint", "storage", "records", "egress", "telemetry"]),
    // A client: it makes API keys and names retries as the gateway does.
    ("plugin", &["api", "manifest", "gateway"]),
];

/// Each executable, and what of the library it may use.
const EXECUTABLES: &[(&str, &[&str])] = &[
    ("gateway", &["gateway", "telemetry"]),
    // It prints the CustomResourceDefinition.
    ("controller", &["controller", "telemetry", "api"]),
    ("compressor", &["compressor", "telemetry"]),
    ("kubectl-imagebatch", &["plugin", "telemetry"]),
];

#[test]
fn modules_import_only_what_stands_before_them() {
    let mut violations = Vec::new();
    for (module, path, text) in sources("") {
        violations.extend(check(MODULES, &module, &text, "crate").into_iter().map(|it| format!("{path}:{it}")));
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn executables_use_their_role_alone() {
    let mut violations = Vec::new();
    for (name, path, text) in sources("bin") {
        violations.extend(check(EXECUTABLES, &name, &text, "imagebatch").into_iter().map(|it| format!("{path}:{it}")));
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn every_module_is_in_the_table() {
    for (table, below) in [(MODULES, ""), (EXECUTABLES, "bin")] {
        let mut found: Vec<String> = sources(below).into_iter().map(|(module, ..)| module).collect();
        found.sort_unstable();
        found.dedup();
        let mut listed: Vec<&str> = table.iter().map(|(module, _)| *module).collect();
        listed.sort_unstable();
        assert_eq!(found, listed, "in src/{below}");
    }
}

#[test]
fn forbidden_import_is_caught() {
    let cases = [
        ("use crate::controller::plan::Plan;", 1),
        ("use std::fs;\n\nuse crate::controller;", 3),
        ("use crate::{api::image_batch::{ImageBatch, Product}, controller::plan};", 1),
        ("use crate::{\n    api,\n    records::{Records, shard},\n    egress,\n};", 4),
        ("pub(crate) use crate::compressor as other;", 1),
        ("fn plan() -> crate::controller::plan::Plan {}", 1),
        ("    let url = \"https://a\"; crate::egress::fetch(url);", 1),
        ("use crate::*;", 1),
        ("use super::controller::plan;", 1),
        ("use super::{api, controller};", 1),
    ];
    for (text, line) in cases {
        let violations = check(MODULES, "gateway", text, "crate");
        assert!(violations.len() == 1 && violations[0].starts_with(&format!("{line}: ")), "{text}: {violations:?}");
    }
    assert_eq!(check(MODULES, "unknown", "", "crate"), ["1: unknown is not in the table"]);
}

#[test]
fn allowed_import_is_let_through() {
    let cases = [
        "use crate::api::image_batch::ImageBatch;",
        "use crate::{api, manifest::{source::Limits, row}, storage};",
        "use crate::gateway::state::AppState;",
        "pub(in crate::gateway) fn private() {}",
        "// crate::controller does this",
        "//! See [`controller`](crate::controller).",
        "use other_crate::controller;",
        "use super::*;",
        "use super::controller_of_my_own::Thing;",
    ];
    for text in cases {
        assert_eq!(check(MODULES, "gateway", text, "crate"), [""; 0], "{text}");
    }
}

/// Returns the paths of `text` that `module` may not use, each with its line.
fn check(table: &[(&str, &[&str])], module: &str, text: &str, root: &str) -> Vec<String> {
    let Some((_, allowed)) = table.iter().find(|(name, _)| *name == module) else {
        return vec![format!("1: {module} is not in the table")];
    };
    let own = root == "crate";
    let of_root = imports(text, root)
        .into_iter()
        .filter(|(_, target)| !(own && target == module || allowed.contains(&target.as_str())));
    // From a file such as gateway.rs, `super` is the root too. Names of other modules are enough to
    // tell: deeper files have no child of that name.
    let of_super = imports(text, "super").into_iter().filter(|(_, target)| {
        own && target != module && table.iter().any(|(name, _)| name == target) && !allowed.contains(&target.as_str())
    });
    let violations = of_root.chain(of_super);
    violations.map(|(line, target)| format!("{line}: {module} may not use {root}::{target}")).collect()
}

/// Returns the first names behind `root::` in `text`, also those of groups, each with its line.
fn imports(text: &str, root: &str) -> Vec<(usize, String)> {
    let code: Vec<&str> =
        text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect();
    let code = code.join("\n");
    let path = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&path) {
        let part_of_name = |it: char| it.is_alphanumeric() || it == '_';
        if code[..at].ends_with(part_of_name) || code[..at].ends_with("::") {
            continue;
        }
        let start = at + path.len();
        let mut depth = 0;
        let mut begins = true;
        for (offset, character) in code[start..].char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => {}
                _ if begins && !character.is_whitespace() => {
                    let rest = &code[start + offset..];
                    let length = rest.find(|it| !part_of_name(it)).unwrap_or(rest.len()).max(1);
                    let line = code[..start + offset].matches('\n').count() + 1;
                    found.push((line, rest[..length].to_owned()));
                }
                _ => {}
            }
            // A name begins behind the group's brace and behind each of its commas.
            begins = depth == 1 && matches!(character, '{' | ',') || begins && character.is_whitespace();
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// Returns module, path and text of each file, of the library or of the executables in `below`.
pub(crate) fn sources(below: &str) -> Vec<(String, String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![source.join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            let relative = path.strip_prefix(&source).expect("it is inside").to_string_lossy().into_owned();
            if path.is_dir() {
                if relative != "bin" {
                    folders.push(path);
                }
            } else if relative != "lib.rs" && path.extension().is_some_and(|it| it == "rs") {
                let inside = relative.strip_prefix("bin/").unwrap_or(&relative);
                let module = inside.split(['/', '.']).next().expect("a path has a start").to_owned();
                files.push((module, format!("src/{relative}"), fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    files
}

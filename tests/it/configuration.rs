//! `docs/configuration.md` is what the executables say of themselves.

use std::path::Path;
use std::process::Command;

#[test]
fn the_reference_has_every_flag() {
    let folder = Path::new(env!("CARGO_BIN_EXE_gateway")).parent().expect("a folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docs/configuration");
    let printed = Command::new(script).arg(folder).output().expect("Python is there");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let current = String::from_utf8(printed.stdout).expect("text");
    assert!(
        current == include_str!("../../docs/configuration.md"),
        "docs/configuration.md is not current: make configuration"
    );
}

//! Where figures go: one JSON line each, printed and appended to a file in `target/bench`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// The file.
pub(crate) struct Figures(File);

impl Figures {
    /// Opens the file of a benchmark.
    pub(crate) fn open(benchmark: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{benchmark}.jsonl"));
        Ok(Self(File::options().create(true).append(true).open(path)?))
    }

    pub(crate) fn print(&mut self, figure: &Value) -> Result<()> {
        writeln!(std::io::stdout().lock(), "{figure}")?;
        Ok(writeln!(self.0, "{figure}")?)
    }
}

//! Bounds of a source, and the flags that set them: the same for the gateway and for ingest.

use clap::Args;

/// Bounds of a source; what exceeds one is refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most rows.
    pub max_rows: u64,
    /// Most bytes of the file.
    pub max_bytes: u64,
    /// Most URLs of one row.
    pub max_urls: usize,
    /// Most bytes of one URL.
    pub max_url_length: usize,
    /// Most bytes of one cell other than the URLs'.
    pub max_cell_bytes: usize,
    /// Most bytes of one record.
    pub max_record_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        LimitArgs::default().limits()
    }
}

/// Bounds of a CSV. What the gateway accepts, ingest must accept too: the chart sets them alike, and the
/// controller hands its own on to the pods.
#[derive(Args, Debug, Clone)]
pub struct LimitArgs {
    /// Most rows of a CSV.
    #[arg(long, env = "IMAGEBATCH_MAX_ROWS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub max_rows: u64,
    /// Most bytes of a CSV, counted after decompression.
    #[arg(long, env = "IMAGEBATCH_MAX_UPLOAD_BYTES", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub max_upload_bytes: u64,
    /// Most image URLs of a row.
    #[arg(long, env = "IMAGEBATCH_MAX_URLS_PER_ROW", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_urls_per_row: u32,
    /// Most bytes of an image URL.
    #[arg(long, env = "IMAGEBATCH_MAX_URL_LENGTH", default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub max_url_length: u32,
    /// Most bytes of a cell other than that of the image URLs.
    #[arg(long, env = "IMAGEBATCH_MAX_CELL_BYTES", default_value_t = 256 * 1024, value_parser = clap::value_parser!(u32).range(64..=1 << 20))]
    pub max_cell_bytes: u32,
    /// Most bytes of a row as it stands in the file.
    #[arg(long, env = "IMAGEBATCH_MAX_RECORD_BYTES", default_value_t = 256 * 1024, value_parser = clap::value_parser!(u32).range(1_024..=8 << 20))]
    pub max_record_bytes: u32,
}

impl Default for LimitArgs {
    fn default() -> Self {
        Self {
            max_rows: 1_000_000,
            max_upload_bytes: 1 << 30,
            max_urls_per_row: 100,
            max_url_length: 2_048,
            max_cell_bytes: 256 * 1024,
            max_record_bytes: 256 * 1024,
        }
    }
}

impl LimitArgs {
    /// Returns the variables that set a process's bounds to these.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 6] {
        [
            ("IMAGEBATCH_MAX_ROWS", self.max_rows.to_string()),
            ("IMAGEBATCH_MAX_UPLOAD_BYTES", self.max_upload_bytes.to_string()),
            ("IMAGEBATCH_MAX_URLS_PER_ROW", self.max_urls_per_row.to_string()),
            ("IMAGEBATCH_MAX_URL_LENGTH", self.max_url_length.to_string()),
            ("IMAGEBATCH_MAX_CELL_BYTES", self.max_cell_bytes.to_string()),
            ("IMAGEBATCH_MAX_RECORD_BYTES", self.max_record_bytes.to_string()),
        ]
    }

    /// Returns the bounds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            max_rows: self.max_rows,
            max_bytes: self.max_upload_bytes,
            max_urls: self.max_urls_per_row as usize,
            max_url_length: self.max_url_length as usize,
            max_cell_bytes: self.max_cell_bytes as usize,
            max_record_bytes: self.max_record_bytes as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn the_flags_have_the_defaults_of_the_type() {
        assert_eq!(Flags::parse_from(["test"]).limits.limits(), Limits::default());
    }

    #[test]
    fn every_bound_has_its_variable() {
        let command = Flags::command();
        let known: Vec<_> = command.get_arguments().filter_map(|it| it.get_env()?.to_str()).collect();
        assert_eq!(LimitArgs::default().variables().map(|(name, _)| name).to_vec(), known);
    }
}

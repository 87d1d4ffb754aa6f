//! Splits rows into shards: one index of the compress Job works on one shard.
//!
//! A shard is a chunk of whole rows as JSON lines. Small batches get small shards so that they start
//! at once; large ones get shards that are worth a pod's start.

use serde::{Deserialize, Serialize};

use super::row::{Columns, RowView};

/// What a batch consists of; written once by ingest.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The source's columns.
    pub columns: Columns,
    /// Rows of all shards, the skipped ones included.
    pub rows: u64,
    /// Rows that are in a shard only to be reported.
    #[serde(default)]
    pub skipped: u64,
    /// Images of all shards.
    pub images: u64,
    /// How many shards there are, numbered from 0.
    pub shards: u32,
}

/// Returns about how many images a shard shall have.
#[must_use]
pub fn shard_size(images: u64) -> u64 {
    (images / 64).clamp(25, 2_000)
}

/// Most bytes of a shard, before its last row: rows may be large, and a shard is held in memory.
const MAX_SHARD_BYTES: usize = 4 * 1024 * 1024;

/// Collects rows and hands out a shard whenever one is full.
#[derive(Debug)]
pub struct Sharder {
    size: u64,
    images: u64,
    lines: Vec<u8>,
}

impl Sharder {
    /// Returns a sharder for a batch of that many images.
    #[must_use]
    pub fn new(images: u64) -> Self {
        Self { size: shard_size(images), images: 0, lines: Vec::new() }
    }

    /// Adds a row; returns the shard's JSON lines when the row completes one.
    pub fn push(&mut self, row: RowView<'_>) -> std::io::Result<Option<Vec<u8>>> {
        row.write_json(&mut self.lines)?;
        self.lines.push(b'\n');
        self.images += row.urls.len() as u64;
        let full = self.images >= self.size || self.lines.len() >= MAX_SHARD_BYTES;
        Ok(if full { self.finish() } else { None })
    }

    /// Returns the last shard, if rows are left.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        self.images = 0;
        // The next shard will be about as large; to grow would mean to copy it.
        let next = Vec::with_capacity(self.lines.len() + self.lines.len() / 8);
        (!self.lines.is_empty()).then(|| std::mem::replace(&mut self.lines, next))
    }
}

/// Reads JSON lines, such as a shard's rows or a part's outcomes.
pub fn read_lines<T: serde::de::DeserializeOwned>(lines: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    serde_json::Deserializer::from_slice(lines).into_iter().collect()
}

/// Writes values as JSON lines.
pub fn write_lines<'a, T: Serialize + 'a>(
    values: impl IntoIterator<Item = &'a T>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    for value in values {
        serde_json::to_writer(&mut lines, value)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

//! Splits rows into shards: one index of the compress Job works on one shard.
//!
//! A shard is a chunk of whole rows as JSON lines. Small batches get small shards so that they start
//! at once; large ones get shards that are worth a pod's start.

use std::ops::Range;

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
    /// Of the images, those whose result an earlier batch has stored; only a retry has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<u64>,
    /// The shard that each index of the compress Job begins with. A retry has little to do in a shard, so an
    /// index works on several; empty where each has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<u32>,
}

impl Manifest {
    /// Returns how many indexes the compress Job has.
    #[must_use]
    pub fn indexes(&self) -> u32 {
        if self.starts.is_empty() { self.shards } else { self.starts.len() as u32 }
    }

    /// Returns the shards that an index of the compress Job works on.
    #[must_use]
    pub fn shards_of(&self, index: u32) -> Range<u32> {
        match self.starts.get(index as usize) {
            Some(start) => *start..self.starts.get(index as usize + 1).copied().unwrap_or(self.shards),
            None => index..index + 1,
        }
    }
}

/// Returns the first shards of groups in which there are about as many images to do as in one shard, from
/// the number of them in each shard.
#[must_use]
pub fn group_shards(images_to_do: &[u64]) -> Vec<u32> {
    let size = shard_size(images_to_do.iter().sum());
    let mut starts = vec![0];
    let mut images = 0;
    for (shard, &more) in (0..).zip(images_to_do) {
        if images > 0 && images + more > size {
            starts.push(shard);
            images = 0;
        }
        images += more;
    }
    starts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_a_retry_works_on_shards_that_have_little_to_do() {
        let cases: [(&[u64], &[u32]); 5] = [
            (&[1], &[0]),
            (&[0, 0, 3, 0, 9, 0], &[0]),
            (&[20, 5, 1, 30, 0, 1, 24], &[0, 2, 3, 4]),
            (&[0, 40, 40], &[0, 2]),
            (&[2_000; 3], &[0, 1, 2]),
        ];
        for (images_to_do, expected) in cases {
            let starts = group_shards(images_to_do);
            assert_eq!(starts, expected, "{images_to_do:?}");
            let shards = images_to_do.len() as u32;
            let columns = Columns::standard();
            let manifest = Manifest { columns, rows: 1, skipped: 0, images: 1, shards, reused: Some(0), starts };
            let worked_on: Vec<u32> = (0..manifest.indexes()).flat_map(|index| manifest.shards_of(index)).collect();
            assert_eq!(worked_on, (0..shards).collect::<Vec<_>>());
        }
    }
}

//! Counts of outcomes, added up from images to shards to batches.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// How many images have which outcome, and how many bytes went in and out.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Images stored, those with their original bytes included.
    pub succeeded: i64,
    /// Images without a stored result.
    pub failed: i64,
    /// Of the succeeded, those stored with their original bytes.
    pub kept_original: i64,
    /// Bytes downloaded for the succeeded images.
    pub bytes_in: i64,
    /// Bytes stored for them.
    pub bytes_out: i64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.kept_original += other.kept_original;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

impl Counts {
    /// Returns the larger of each two counts.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            succeeded: self.succeeded.max(other.succeeded),
            failed: self.failed.max(other.failed),
            kept_original: self.kept_original.max(other.kept_original),
            bytes_in: self.bytes_in.max(other.bytes_in),
            bytes_out: self.bytes_out.max(other.bytes_out),
        }
    }

    /// Returns how many images have an outcome.
    #[must_use]
    pub fn done(&self) -> i64 {
        self.succeeded + self.failed
    }
}

//! Which serial numbers a source has had already, in bounded memory.
//!
//! Most sources count upwards. While every serial number is a plain number larger than the one before,
//! runs of consecutive numbers are all that is kept: one entry for a whole file that counts from 1.
//! Every other serial number goes into a table of 64-bit keyed hashes with the row it was first seen
//! in. A million rows take at most 20 MiB, and 32 MiB while the table grows.
//!
//! Numbers in runs are compared exactly. In the table two different serial numbers are taken for the
//! same with a probability of 3 in 100 million for a whole file of a million rows; the key is random,
//! so nobody can choose them.

use std::hash::{BuildHasher, RandomState};

/// The serial numbers seen so far.
#[derive(Debug, Default)]
pub struct SeenSerials {
    runs: Vec<Run>,
    others: Table,
    key: RandomState,
}

/// Consecutive numbers in consecutive rows.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: u64,
    length: u32,
    row: u32,
}

impl Run {
    fn last(self) -> u64 {
        self.first + u64::from(self.length) - 1
    }
}

impl SeenSerials {
    /// Notes a row's serial number; returns the row that had it before, if one had.
    pub fn insert(&mut self, serial: &str, row: u32) -> Option<u32> {
        let Some(number) = plain_number(serial) else { return self.insert_other(serial, row) };
        match self.runs.last_mut() {
            // Numbers of the table are smaller than some number of the runs, so this one is in neither.
            Some(run) if number > run.last() => {
                if number == run.last() + 1 && row == run.row + run.length {
                    run.length += 1;
                } else {
                    self.runs.push(Run { first: number, length: 1, row });
                }
                None
            }
            Some(_) => self.find_in_runs(number).or_else(|| self.insert_other(serial, row)),
            None => {
                self.runs.push(Run { first: number, length: 1, row });
                None
            }
        }
    }

    fn find_in_runs(&self, number: u64) -> Option<u32> {
        let after = self.runs.partition_point(|run| run.first <= number);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (number <= run.last()).then(|| run.row + (number - run.first) as u32)
    }

    fn insert_other(&mut self, serial: &str, row: u32) -> Option<u32> {
        self.others.insert(self.key.hash_one(serial), row)
    }
}

/// Returns the number of decimal digits that have one way to be written.
fn plain_number(serial: &str) -> Option<u64> {
    let digits = serial.as_bytes();
    let plain = (1..=18).contains(&digits.len()) && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    // Eighteen digits do not overflow.
    plain.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Hashes and their rows, with open addressing.
#[derive(Debug, Default)]
struct Table {
    hashes: Vec<u64>,
    rows: Vec<u32>,
    used: usize,
}

/// The hash of an empty slot.
const EMPTY: u64 = 0;
/// Slots of the smallest table.
const MIN_SLOTS: usize = 64;

impl Table {
    fn insert(&mut self, hash: u64, row: u32) -> Option<u32> {
        let hash = hash.max(1);
        if self.used * 4 >= self.hashes.len() * 3 {
            self.grow();
        }
        let slot = self.slot(hash);
        if self.hashes[slot] == hash {
            return Some(self.rows[slot]);
        }
        self.hashes[slot] = hash;
        self.rows[slot] = row;
        self.used += 1;
        None
    }

    /// Returns the slot that has the hash, or else the one that it belongs into.
    fn slot(&self, hash: u64) -> usize {
        let slots = self.hashes.len();
        // The hash's share of the whole range, so that any number of slots will do.
        let mut slot = ((u128::from(hash) * slots as u128) >> 64) as usize;
        while self.hashes[slot] != EMPTY && self.hashes[slot] != hash {
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
        slot
    }

    /// Makes the table half as large again: doubling would take more memory than the growth is worth.
    fn grow(&mut self) {
        let slots = (self.hashes.len() * 3 / 2).max(MIN_SLOTS);
        let hashes = std::mem::replace(&mut self.hashes, vec![EMPTY; slots]);
        let rows = std::mem::replace(&mut self.rows, vec![0; slots]);
        for (hash, row) in hashes.into_iter().zip(rows).filter(|(hash, _)| *hash != EMPTY) {
            let slot = self.slot(hash);
            self.hashes[slot] = hash;
            self.rows[slot] = row;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_row_of_the_first_is_returned() {
        let mut seen = SeenSerials::default();
        let serials = ["1", "2", "3", "7", "A", "8", "2", "5", "a", "A", "5", "03", "3", "999999999999999999999"];
        let found: Vec<Option<u32>> = (1..).zip(serials).map(|(row, serial)| seen.insert(serial, row)).collect();
        let expected = [(7, 2), (10, 5), (11, 8), (13, 3)];
        for (row, first) in found.into_iter().enumerate() {
            let expected = expected.iter().find(|it| it.0 == row + 1).map(|it| it.1);
            assert_eq!(first, expected, "row {}", row + 1);
        }
    }

    #[test]
    fn a_million_rows_stay_within_the_bound() {
        let mut counted = SeenSerials::default();
        let mut texts = SeenSerials::default();
        for row in 1..=1_000_000 {
            assert_eq!(counted.insert(&row.to_string(), row), None);
            assert_eq!(texts.insert(&format!("SKU-{row}"), row), None);
        }
        assert_eq!(counted.runs.len(), 1);
        let slots = texts.others.hashes.len();
        assert!(slots * 12 <= 20 << 20 && (slots + slots * 2 / 3) * 12 <= 32 << 20, "{slots} slots");
    }

    proptest! {
        #[test]
        fn duplicates_are_those_of_a_map(serials in prop::collection::vec("[0-3]{0,3}|[a-c]{1,2}", 0..300)) {
            let mut seen = SeenSerials::default();
            let mut map: HashMap<String, u32> = HashMap::new();
            for (row, serial) in (1..).zip(serials) {
                prop_assert_eq!(seen.insert(&serial, row), map.get(&serial).copied());
                map.entry(serial).or_insert(row);
            }
        }
    }
}

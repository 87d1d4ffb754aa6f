//! From a CSV to rows, from rows to shards, from outcomes to the report. Pure: bytes in, values out.
//!
//! The same code validates in the gateway and in `ingest`, so a batch made by kubectl alone meets
//! the same rules as an upload. The files follow the path of a row.

pub mod cells;
pub mod formula;
pub mod image_limits;
pub mod limits;
pub mod outcome;
pub mod place;
pub mod problem;
pub mod record;
pub mod report;
pub mod row;
pub mod serial;
pub mod shard;
pub mod source;
pub mod url_cell;

mod bytes;
mod check;
mod header;
mod text;

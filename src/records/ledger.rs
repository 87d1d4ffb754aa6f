//! The two ledgers, insert-only: `products` (what was asked for) and `outcomes` (what became of it).
//!
//! The `_id` is `uid:row`, so a row is recorded once whoever records it.

use std::ops::RangeInclusive;

use futures::TryStreamExt;
use mongodb::bson::doc;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Inserted, RecordError, Records};
use crate::manifest::outcome::{ImageOutcome, RowOutcome};
use crate::manifest::row::{Columns, Row};

pub(super) const PRODUCTS: &str = "products";
pub(super) const OUTCOMES: &str = "outcomes";

/// One product, as ingest found it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProductRecord {
    /// `uid:row`, the row zero-padded.
    #[serde(rename = "_id")]
    pub id: String,
    /// The batch's uid.
    pub batch: String,
    /// The shard that the row is in.
    pub shard: i32,
    /// The row, counted from 1.
    pub row: i64,
    /// The serial number as it is written.
    pub serial_number: String,
    /// The product's name.
    pub name: String,
    /// The source's further columns.
    pub extra: Vec<ExtraCell>,
    /// The image URLs as they are fetched.
    pub input_urls: Vec<String>,
}

/// A cell of a column that the service does not interpret.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq)]
pub struct ExtraCell {
    /// The column's name.
    pub column: String,
    /// The cell.
    pub value: String,
}

/// What became of one row.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct OutcomeRecord {
    /// `uid:row`, the row zero-padded.
    #[serde(rename = "_id")]
    pub id: String,
    /// The batch's uid.
    pub batch: String,
    /// The shard that the row is in.
    pub shard: i32,
    /// The row, counted from 1.
    pub row: i64,
    /// One outcome for each input URL, in their order.
    pub images: Vec<ImageOutcome>,
}

impl ProductRecord {
    /// Returns the record of a row.
    #[must_use]
    pub fn new(batch: &str, shard: u32, columns: &Columns, mut row: Row) -> Self {
        let mut known = |index: usize| row.cells.get_mut(index).map(std::mem::take).unwrap_or_default();
        let (serial_number, name) = (known(columns.serial_number), known(columns.name));
        let known = [columns.serial_number, columns.name, columns.image_urls];
        let extra = columns.names.iter().zip(row.cells).enumerate().filter(|(index, _)| !known.contains(index));
        Self {
            id: id(batch, row.row),
            batch: batch.to_owned(),
            shard: shard as i32,
            row: row.row as i64,
            serial_number,
            name,
            extra: extra.map(|(_, (column, value))| ExtraCell { column: column.clone(), value }).collect(),
            input_urls: row.urls,
        }
    }
}

impl OutcomeRecord {
    /// Returns the record of a row's outcome.
    #[must_use]
    pub fn new(batch: &str, shard: u32, outcome: &RowOutcome) -> Self {
        Self {
            id: id(batch, outcome.row),
            batch: batch.to_owned(),
            shard: shard as i32,
            row: outcome.row as i64,
            images: outcome.images.clone(),
        }
    }
}

impl Records {
    /// Records products; those that exist stay as they are.
    pub async fn insert_products(&self, products: &[ProductRecord]) -> Result<(), RecordError> {
        self.insert(PRODUCTS, "insert products", products).await.map(drop)
    }

    /// Records outcomes; those that exist stay as they are: the first outcome of a row is its outcome.
    pub async fn insert_outcomes(&self, outcomes: &[OutcomeRecord]) -> Result<Inserted, RecordError> {
        self.insert(OUTCOMES, "insert outcomes", outcomes).await
    }

    /// Returns the first products of a shard behind a row, in the order of their rows.
    pub async fn products_after(
        &self,
        batch: &str,
        shard: u32,
        row: u64,
        limit: usize,
    ) -> Result<Vec<ProductRecord>, RecordError> {
        let products = self.collection::<ProductRecord>(PRODUCTS);
        let filter = doc! { "batch": batch, "shard": shard as i32, "row": { "$gt": row as i64 } };
        self.run("read products", || async {
            let found = products.find(filter.clone()).sort(doc! { "row": 1 }).limit(limit as i64);
            found.await?.try_collect().await
        })
        .await
    }

    /// Returns the outcomes of these rows of a shard, in no particular order.
    pub async fn outcomes_of_rows(
        &self,
        batch: &str,
        shard: u32,
        rows: RangeInclusive<i64>,
    ) -> Result<Vec<OutcomeRecord>, RecordError> {
        let outcomes = self.collection::<OutcomeRecord>(OUTCOMES);
        let rows = doc! { "$gte": rows.start(), "$lte": rows.end() };
        let filter = doc! { "batch": batch, "shard": shard as i32, "row": rows };
        self.run("read outcomes", || async { outcomes.find(filter.clone()).await?.try_collect().await }).await
    }

    /// Returns the outcomes of a shard, in no particular order.
    pub async fn outcomes(&self, batch: &str, shard: u32) -> Result<Vec<RowOutcome>, RecordError> {
        let outcomes = self.collection::<OutcomeRecord>(OUTCOMES);
        let records: Vec<OutcomeRecord> = self
            .run("read outcomes", || async {
                outcomes.find(doc! { "batch": batch, "shard": shard as i32 }).await?.try_collect().await
            })
            .await?;
        Ok(records.into_iter().map(|it| RowOutcome { row: it.row as u64, images: it.images }).collect())
    }
}

fn id(batch: &str, row: u64) -> String {
    format!("{batch}:{row:09}")
}

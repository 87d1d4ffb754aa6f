//! Progress counts of running shards. They only ever grow, and go when the batch is finished: the
//! report's totals are final, these are for people who watch.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use mongodb::bson::{Document, doc, serialize_to_bson};
use serde::{Deserialize, Serialize};

use super::{RecordError, Records};
use crate::api::progress::Counts;
use crate::api::status::Failure;

pub(super) const SHARDS: &str = "shards";

#[derive(Serialize, Deserialize, Debug)]
struct ShardRecord {
    #[serde(rename = "_id")]
    id: String,
    batch: String,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Deserialize, Debug)]
struct FailuresRecord {
    /// Older releases noted none.
    #[serde(default)]
    failures: Vec<Failure>,
}

impl Records {
    /// Notes that a pod works on a shard. Returns whether one did before: then it has records to resume from.
    pub async fn start_shard(&self, batch: &str, shard: u32) -> Result<bool, RecordError> {
        let shards = self.collection::<Document>(SHARDS);
        let id = id(batch, shard);
        let update = doc! { "$setOnInsert": {
            "batch": batch, "succeeded": 0_i64, "failed": 0_i64, "keptOriginal": 0_i64, "bytesIn": 0_i64, "bytesOut": 0_i64,
        } };
        let result = self
            .run("start a shard", || async {
                shards.update_one(doc! { "_id": &id }, update.clone()).upsert(true).await
            })
            .await?;
        Ok(result.matched_count > 0)
    }

    /// Returns the shards of a batch that a pod has worked on: no other has outcomes.
    pub async fn started_shards(&self, batch: &str) -> Result<HashSet<u32>, RecordError> {
        Ok(self.shards(batch).await?.iter().filter_map(|it| it.id.rsplit(':').next()?.parse().ok()).collect())
    }

    /// Raises a shard's counts to these.
    pub async fn raise_shard(&self, batch: &str, shard: u32, counts: &Counts) -> Result<(), RecordError> {
        let shards = self.collection::<Document>(SHARDS);
        let id = id(batch, shard);
        let update = doc! { "$max": {
            "succeeded": counts.succeeded, "failed": counts.failed, "keptOriginal": counts.kept_original,
            "bytesIn": counts.bytes_in, "bytesOut": counts.bytes_out,
        } };
        self.run("raise a shard's counts", || async {
            shards.update_one(doc! { "_id": &id }, update.clone()).await.map(drop)
        })
        .await
    }

    /// Notes a shard's first failures.
    pub async fn note_failures(&self, batch: &str, shard: u32, failures: &[Failure]) -> Result<(), RecordError> {
        let shards = self.collection::<Document>(SHARDS);
        let id = id(batch, shard);
        let failures = serialize_to_bson(failures).map_err(RecordError::serialize)?;
        let update = doc! { "$set": { "failures": failures } };
        self.run("note a shard's failures", || async {
            shards.update_one(doc! { "_id": &id }, update.clone()).await.map(drop)
        })
        .await
    }

    /// Returns the failures that a batch's shards have noted, in the order of the rows.
    pub async fn first_failures(&self, batch: &str) -> Result<Vec<Failure>, RecordError> {
        let shards = self.collection::<FailuresRecord>(SHARDS);
        let filter = doc! { "batch": batch, "failed": { "$gt": 0 } };
        let found: Vec<FailuresRecord> =
            self.run("read failures", || async { shards.find(filter.clone()).await?.try_collect().await }).await?;
        let mut failures: Vec<Failure> = found.into_iter().flat_map(|it| it.failures).collect();
        failures.sort_by_key(|it| (it.row, it.image));
        Ok(failures)
    }

    /// Returns the sum of a batch's shards.
    pub async fn progress(&self, batch: &str) -> Result<Counts, RecordError> {
        Ok(self.progress_of(&[batch.to_owned()]).await?.remove(batch).unwrap_or_default())
    }

    /// Returns the sums of these batches' shards, by batch; none for one without shards.
    pub async fn progress_of(&self, batches: &[String]) -> Result<HashMap<String, Counts>, RecordError> {
        if batches.is_empty() {
            return Ok(HashMap::new());
        }
        // Not by $group: FerretDB 1.24 fills only the first of several sums.
        let shards = self.collection::<ShardRecord>(SHARDS);
        let filter = doc! { "batch": { "$in": batches } };
        self.run("read progress", || async {
            let mut sums = HashMap::<String, Counts>::new();
            let mut records = shards.find(filter.clone()).await?;
            while let Some(record) = records.try_next().await? {
                *sums.entry(record.batch).or_default() += record.counts;
            }
            Ok(sums)
        })
        .await
    }

    async fn shards(&self, batch: &str) -> Result<Vec<ShardRecord>, RecordError> {
        let shards = self.collection::<ShardRecord>(SHARDS);
        self.run("read shards", || async { shards.find(doc! { "batch": batch }).await?.try_collect().await }).await
    }

    /// Deletes the progress counts of a finished batch.
    pub async fn delete_progress(&self, batch: &str) -> Result<(), RecordError> {
        let shards = self.collection::<Document>(SHARDS);
        self.run("delete progress", || async { shards.delete_many(doc! { "batch": batch }).await.map(drop) }).await
    }
}

fn id(batch: &str, shard: u32) -> String {
    format!("{batch}:{shard:06}")
}

//! Records in MongoDB: requests, the two append-only ledgers (products and outcomes), the stages'
//! results, progress, and the webhooks' outbox.
//!
//! Rules that hold for MongoDB and for servers that only speak its protocol: one update a command,
//! bulk for inserts only, no transactions, reads by equality. A duplicate of an insert counts as
//! done, so every writer may run twice.

pub mod delivery;
pub mod ledger;
pub mod request;
pub mod result;
pub mod shard;

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use clap::Args;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{ClientOptions, IndexOptions};
use mongodb::{Client, Collection, Database, IndexModel};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::failpoint::{self, Injected};

/// Where records are kept.
#[derive(Args, Debug, Clone)]
pub struct RecordsArgs {
    /// MongoDB connection string. `tls=true` encrypts; `tlsCAFile` names a PEM file with the server's certificate
    /// authorities, used in place of the public ones.
    #[arg(long, env = "IMAGEBATCH_MONGODB_URI", hide_env_values = true)]
    pub mongodb_uri: SecretString,
    /// Database of all collections.
    #[arg(long, env = "IMAGEBATCH_MONGODB_DATABASE", default_value = "imagebatch")]
    pub mongodb_database: String,
}

/// Why records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The connection string is not usable.
    #[error("failed to set up the MongoDB client")]
    Configure(#[source] Error),
    /// A value cannot be a document.
    #[error("failed to write a record as BSON")]
    Serialize(#[source] Error),
    /// A document is not what it should be.
    #[error("failed to read a record")]
    Deserialize(#[source] Error),
    /// A command failed, also after retries.
    #[error("failed to {action}")]
    Command {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: Error,
    },
    /// There was no answer in the time that the caller had.
    #[error("failed to {action} in time")]
    Timeout {
        /// What was tried.
        action: &'static str,
    },
}

impl RecordError {
    fn serialize(source: mongodb::bson::error::Error) -> Self {
        Self::Serialize(source.into())
    }

    fn deserialize(source: mongodb::bson::error::Error) -> Self {
        Self::Deserialize(source.into())
    }
}

impl From<Injected> for RecordError {
    fn from(injected: Injected) -> Self {
        Self::Command { action: "pass a failpoint", source: injected.into() }
    }
}

/// How long to try again while MongoDB is away.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// Somebody waits for an answer, or a reconcile comes again by itself.
    Short,
    /// A pod with work in hand: minutes.
    Long,
}

/// The database and how patient its user is.
#[derive(Debug, Clone)]
pub struct Records {
    database: Database,
    backoff: ExponentialBuilder,
}

const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
const DUPLICATE_KEY: i32 = 11_000;

impl Records {
    /// Returns records as the arguments describe them; connects lazily.
    pub async fn new(args: &RecordsArgs, patience: Patience) -> Result<Self, RecordError> {
        let mut options =
            ClientOptions::parse(args.mongodb_uri.expose_secret()).await.map_err(RecordError::Configure)?;
        options.app_name.get_or_insert_with(|| "imagebatch".to_owned());
        // What the connection string says holds.
        options.connect_timeout.get_or_insert(Duration::from_secs(5));
        options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
        let client = Client::with_options(options).map_err(RecordError::Configure)?;
        let backoff = ExponentialBuilder::default().with_jitter().with_min_delay(Duration::from_millis(100));
        let backoff = match patience {
            Patience::Short => backoff.with_max_times(2),
            Patience::Long => backoff.with_max_delay(Duration::from_secs(10)).with_max_times(30),
        };
        Ok(Self { database: client.database(&args.mongodb_database), backoff })
    }

    /// Creates the indexes that look-ups need; repeatable.
    pub async fn ensure_indexes(&self) -> Result<(), RecordError> {
        let by_row = doc! { "batch": 1, "shard": 1, "row": 1 };
        for (collection, keys) in [
            (ledger::PRODUCTS, by_row.clone()),
            (ledger::OUTCOMES, by_row),
            (result::RESULTS, doc! { "batch": 1 }),
            (shard::SHARDS, doc! { "batch": 1 }),
            (delivery::DELIVERIES, doc! { "state": 1, "nextAttempt": 1 }),
            (delivery::DELIVERIES, doc! { "untold": 1 }),
            (delivery::DELIVERIES, doc! { "batch": 1 }),
            (request::REQUESTS, doc! { "namespace": 1, "name": 1 }),
            (request::REQUESTS, doc! { "namespace": 1, "createdAt": -1, "_id": -1 }),
        ] {
            let index = IndexModel::builder().keys(keys).options(IndexOptions::default()).build();
            let collection = self.collection::<Document>(collection);
            self.run("create an index", || async { collection.create_index(index.clone()).await.map(drop) }).await?;
        }
        Ok(())
    }

    /// Answers whether the database can be reached.
    pub async fn check(&self) -> Result<(), RecordError> {
        self.run("ping MongoDB", || async { self.database.run_command(doc! { "ping": 1 }).await.map(drop) }).await
    }

    /// Deletes every record of a batch. The request goes last: it is how a batch is found again.
    pub async fn delete_batch(&self, uid: &str) -> Result<(), RecordError> {
        for (collection, field) in [
            (shard::SHARDS, "batch"),
            (ledger::OUTCOMES, "batch"),
            (ledger::PRODUCTS, "batch"),
            (result::RESULTS, "batch"),
            (delivery::DELIVERIES, "batch"),
            (request::REQUESTS, "_id"),
        ] {
            let collection = self.collection::<Document>(collection);
            self.run("delete a batch's records", || async {
                collection.delete_many(doc! { field: uid }).await.map(drop)
            })
            .await?;
        }
        Ok(())
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(name)
    }

    /// Runs a repeatable command with a timeout, again while its error is transient.
    async fn run<T, F, C>(&self, action: &'static str, command: C) -> Result<T, RecordError>
    where
        C: Fn() -> F,
        F: Future<Output = Result<T, Error>>,
    {
        let bounded = || async {
            tokio::time::timeout(COMMAND_TIMEOUT, failpoint::around("mongodb.command", command()))
                .await
                .unwrap_or_else(|_| Err(Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut))))
        };
        bounded
            .retry(self.backoff)
            .when(is_transient)
            .notify(|error, after| tracing::warn!(%error, ?after, "failed to {action}, trying again"))
            .await
            .map_err(|source| RecordError::Command { action, source })
    }
}

fn is_transient(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::ServerSelection { .. } => true,
        // Two first upserts of one document may race; the second try finds it.
        _ if is_duplicate(error) => true,
        _ => error.contains_label("RetryableWriteError") || error.contains_label("TransientTransactionError"),
    }
}

fn is_duplicate(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY)
}

/// Documents of one insert command.
const BULK: usize = 1_000;

/// Whether an insert found documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// All were new.
    All,
    /// Some were there, from another writer or from a try whose answer was lost; they stay as they are.
    SomeExisted,
}

impl Records {
    /// Inserts documents; those whose `_id` exists stay as they are.
    async fn insert<T: Serialize + Send + Sync>(
        &self,
        collection: &str,
        action: &'static str,
        records: &[T],
    ) -> Result<Inserted, RecordError> {
        let collection = self.collection::<T>(collection);
        let start = Instant::now();
        let mut inserted = Inserted::All;
        for bulk in records.chunks(BULK) {
            let insert = || async {
                let result = collection.insert_many(bulk).ordered(false).await;
                result.map(|_| Inserted::All).or_else(ignore_duplicates)
            };
            if self.run(action, insert).await? == Inserted::SomeExisted {
                inserted = Inserted::SomeExisted;
            }
        }
        let (records, duration_ms) = (records.len(), start.elapsed().as_secs_f64() * 1e3);
        tracing::debug!(collection = collection.name(), records, duration_ms, "inserted");
        Ok(inserted)
    }
}

/// Returns `Ok` where an unordered insert failed only on documents that exist already.
fn ignore_duplicates(error: Error) -> Result<Inserted, Error> {
    if let ErrorKind::InsertMany(failure) = error.kind.as_ref()
        && failure.write_concern_error.is_none()
        && let Some(errors) = &failure.write_errors
        && errors.iter().all(|it| it.code == DUPLICATE_KEY)
    {
        return Ok(Inserted::SomeExisted);
    }
    Err(error)
}

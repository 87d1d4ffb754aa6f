//! `failures`: the images of a batch that have no result. The status has the first twenty; where there are more,
//! the gateway is asked.

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::End;
use super::cluster::Cluster;
use super::gateway::Gateway;
use super::print::{DataFormat, note, print, print_data};
use super::status::{failure_cells, failure_table};
use crate::api::image_batch::ImageBatch;
use crate::api::status::Failure;

/// Of which batch.
#[derive(Args, Debug)]
pub(super) struct FailuresArgs {
    /// The batch's name.
    name: String,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<DataFormat>,
}

/// Rows that are asked for at once.
const PAGE: &str = "500";

/// What the gateway says of a row.
#[derive(Deserialize)]
struct Row {
    row: i64,
    images: Vec<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    position: i64,
    input_url: String,
    outcome: String,
    reason: Option<String>,
    message: Option<String>,
}

/// Lists failures.
pub(super) async fn failures(cluster: &Cluster, gateway: &Gateway<'_>, args: &FailuresArgs) -> anyhow::Result<End> {
    let found = cluster.find(&args.name).await?;
    let failures = match found.as_ref().and_then(complete) {
        Some(failures) => failures,
        None => from_records(gateway, &args.name).await?,
    };
    if let Some(format) = args.output {
        print_data(format, &json!({ "failures": failures }))?;
    } else if failures.is_empty() {
        note(&format!("no image of batch {:?} failed so far", args.name));
    } else {
        let mut table = failure_table();
        for failure in &failures {
            table.add(failure_cells(failure));
        }
        print(&table.to_string())?;
    }
    Ok(End::Done)
}

/// Returns a batch's failures where its status has all of them.
fn complete(batch: &ImageBatch) -> Option<Vec<Failure>> {
    let status = batch.status.clone().unwrap_or_default();
    let images = status.failures.iter().filter(|it| it.image.is_some()).count() as i64;
    // A source that was refused has no images, and its errors are all that the status can say.
    (images >= status.failed || status.manifest.is_none()).then_some(status.failures)
}

async fn from_records(gateway: &Gateway<'_>, name: &str) -> anyhow::Result<Vec<Failure>> {
    let connection = gateway.connect().await?;
    let mut failures = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut query = vec![("limit", PAGE), ("outcome", "Failed")];
        query.extend((!cursor.is_empty()).then_some(("cursor", cursor.as_str())));
        let mut page: Value = connection.get(&format!("/v1/batches/{name}/products"), &query).await?;
        let rows: Vec<Row> = serde_json::from_value(page["products"].take())?;
        for Row { row, images } in rows {
            failures.extend(images.into_iter().filter(|it| it.outcome == "Failed").map(|it| Failure {
                row,
                image: Some(it.position),
                reason: it.reason.unwrap_or_default(),
                detail: match it.message {
                    Some(message) => format!("{}: {message}", it.input_url),
                    None => it.input_url,
                },
            }));
        }
        match page["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return Ok(failures),
        }
    }
}

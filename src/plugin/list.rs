//! `list`: the ImageBatches of the cluster; with `--all` also the batches that only the records remember.

use clap::Args;
use jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::End;
use super::cluster::{Cluster, bounded};
use super::gateway::Gateway;
use super::line::{Columns, Line, full_name};
use super::print::{Format, note, print, print_data, print_line};
use crate::api::image_batch::ImageBatch;

/// Which batches.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Also batches whose ImageBatch is deleted, as the gateway remembers them.
    #[arg(short, long, conflicts_with = "all_namespaces")]
    all: bool,
    /// Batches of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only batches in one of these states, such as Running or ImagesFailed, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "STATES")]
    state: Vec<String>,
    /// Most batches that are listed.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// ImageBatches, and batches of the gateway, that are asked for at once.
const PAGE: u32 = 500;
const GATEWAY_PAGE: &str = "200";

/// Lists batches.
pub(super) async fn list(cluster: &Cluster, gateway: &Gateway<'_>, args: &ListArgs) -> anyhow::Result<End> {
    let (mut lines, mut items) =
        if args.all { from_records(gateway, args).await? } else { from_cluster(cluster, args).await? };
    let limit = args.limit as usize;
    if lines.len() > limit {
        note(&format!("only the {limit} youngest batches are listed; --limit lists more"));
    }
    lines.truncate(limit);
    items.truncate(limit);
    if let Some(format) = args.output.and_then(Format::data) {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        let records = json!({ "batches": items });
        print_data(format, if args.all { &records } else { &list })?;
        return Ok(End::Done);
    }
    if args.output == Some(Format::Name) {
        lines.iter().try_for_each(|it| print_line(&full_name(&it.name)))?;
        return Ok(End::Done);
    }
    if lines.is_empty() {
        let place =
            if args.all_namespaces { "the cluster".to_owned() } else { format!("namespace {:?}", cluster.namespace) };
        note(&format!("no batches found in {place}"));
        return Ok(End::Done);
    }
    let columns = Columns { namespace: args.all_namespaces, wide: args.output == Some(Format::Wide) };
    let (mut table, now) = (columns.table(), Timestamp::now());
    for line in &lines {
        table.add(columns.cells(line, now));
    }
    print(&table.to_string())?;
    Ok(End::Done)
}

async fn from_cluster(cluster: &Cluster, args: &ListArgs) -> anyhow::Result<(Vec<Line>, Vec<Value>)> {
    let api = if args.all_namespaces { Api::all(cluster.client.clone()) } else { cluster.batches() };
    let mut batches: Vec<ImageBatch> = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = bounded("list ImageBatches", api.list(&params)).await?;
        batches.extend(page.items.into_iter().filter(|it| is_wanted(&Line::from(it).state, args)));
        // The API server's pages are in no order of time, so all are needed to tell which are the youngest.
        match page.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    batches.sort_by_key(|it| std::cmp::Reverse(it.metadata.creation_timestamp.as_ref().map(|it| it.0)));
    let items = batches.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    Ok((batches.iter().map(Line::from).collect(), items))
}

async fn from_records(gateway: &Gateway<'_>, args: &ListArgs) -> anyhow::Result<(Vec<Line>, Vec<Value>)> {
    let connection = gateway.connect().await?;
    let (mut lines, mut items): (Vec<Line>, Vec<Value>) = (Vec::new(), Vec::new());
    let states = args.state.join(",");
    let mut cursor = String::new();
    loop {
        let mut query = vec![("limit", GATEWAY_PAGE)];
        query.extend(
            [("state", states.as_str()), ("cursor", cursor.as_str())].into_iter().filter(|it| !it.1.is_empty()),
        );
        let mut page: Value = connection.get("/v1/batches", &query).await?;
        for item in page["batches"].as_array_mut().map(std::mem::take).unwrap_or_default() {
            lines.push(serde_json::from_value(item.clone())?);
            items.push(item);
        }
        match page["nextCursor"].as_str() {
            Some(next) if lines.len() <= args.limit as usize => next.clone_into(&mut cursor),
            _ => return Ok((lines, items)),
        }
    }
}

fn is_wanted(state: &str, args: &ListArgs) -> bool {
    args.state.is_empty() || args.state.iter().any(|it| it == state)
}

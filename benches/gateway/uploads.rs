//! Uploads: small ones for as long as a while takes, and more large ones at once than there is room for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::stream;
use reqwest::header::RETRY_AFTER;
use reqwest::{Body, Client, StatusCode};
use serde_json::json;

use crate::figures::Figures;
use crate::load::percentile;
use crate::world::{World, csv};

/// Clients that upload small CSVs one after the other.
const CLIENTS: usize = 8;
const LENGTH: Duration = Duration::from_secs(10);
const ROWS: usize = 1_000;
/// Clients that upload one large CSV each, at once.
const LARGE: usize = 100;
const LARGE_ROWS: usize = 50_000;
const CHUNK: usize = 64 * 1024;
/// How often a client comes back before it gives up.
const TRIES: usize = 600;
/// What the gateway says that an upload may hold.
const MIB_EACH: i64 = 20;
/// The gateway's default of `--max-concurrent-uploads`.
const ROOM: i64 = 16;

/// Measures uploads of 1,000 rows a second.
pub(crate) async fn small(world: &World, figures: &mut Figures) -> Result<()> {
    let gateway = world.gateway("api-key").await?;
    let client = Client::builder().no_proxy().build()?;
    let body = Bytes::from(csv(ROWS, ""));
    // The first opens the connections that a gateway at work has.
    let upload = || world.upload(&client, &gateway).body(body.clone()).send();
    upload().await?.error_for_status()?;
    let (cpu, start) = (gateway.process.cpu_seconds()?, Instant::now());
    let one_after_the_other = || async {
        let mut latencies = Vec::new();
        while start.elapsed() < LENGTH {
            let begin = Instant::now();
            let status = upload().await?.status();
            ensure!(status == StatusCode::ACCEPTED, "{status}");
            latencies.push(begin.elapsed().as_secs_f64());
        }
        Ok(latencies)
    };
    let done = futures::future::try_join_all((0..CLIENTS).map(|_| one_after_the_other())).await?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), gateway.process.cpu_seconds()? - cpu);
    let mut latencies = done.concat();
    latencies.sort_by(f64::total_cmp);
    let count = latencies.len() as f64;
    figures.print(&json!({
        "figure": "uploads", "rows": ROWS, "bytes": body.len(), "clients": CLIENTS, "count": count,
        "perSecond": tenths(count / seconds), "p50Ms": tenths(percentile(&latencies, 50.0) * 1e3),
        "p99Ms": tenths(percentile(&latencies, 99.0) * 1e3), "cpuMsEach": tenths(cpu * 1e3 / count),
    }))
}

/// Uploads 100 large CSVs at once; a client that is refused comes back when it is told to.
pub(crate) async fn large(world: &World, figures: &mut Figures) -> Result<()> {
    let gateway = world.gateway("api-key").await?;
    let client = Client::builder().no_proxy().build()?;
    world.upload(&client, &gateway).body(csv(ROWS, "")).send().await?.error_for_status()?;
    let idle = gateway.process.memory("VmRSS")?;
    gateway.process.reset_peak()?;
    let csv = Arc::new(Bytes::from(csv(LARGE_ROWS, &"x".repeat(870))));
    let (cpu, start) = (gateway.process.cpu_seconds()?, Instant::now());
    let uploads = (0..LARGE).map(|_| async {
        for refused in 0..TRIES {
            let response = world.upload(&client, &gateway).body(chunked(&csv)).send().await?;
            match response.status() {
                StatusCode::ACCEPTED => return Ok(refused),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    let wait = response.headers().get(RETRY_AFTER).context("Retry-After")?;
                    tokio::time::sleep(Duration::from_secs(wait.to_str()?.parse()?)).await;
                }
                other => bail!("{other}: {}", response.text().await?),
            }
        }
        bail!("an upload was refused {TRIES} times")
    });
    let refused = futures::future::try_join_all(uploads).await?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), gateway.process.cpu_seconds()? - cpu);
    let above = (gateway.process.memory("VmHWM")? - idle) / 1024;
    let bytes = LARGE * csv.len();
    figures.print(&json!({
        "figure": "large uploads", "count": LARGE, "bytesEach": csv.len(), "rowsEach": LARGE_ROWS, "accepted": refused.len(),
        "refusedAndRetried": refused.iter().sum::<usize>(), "acceptedAtOnce": refused.iter().filter(|it| **it == 0).count(),
        "seconds": tenths(seconds), "mbPerSecond": tenths(bytes as f64 / seconds / 1e6), "cpuSeconds": tenths(cpu),
        "idleMiB": idle / 1024, "peakAboveIdleMiB": above, "boundMiB": ROOM * MIB_EACH,
    }))?;
    ensure!(above <= ROOM * MIB_EACH, "the gateway took {above} MiB more than before");
    Ok(())
}

/// Returns a body whose chunks are not copied.
fn chunked(csv: &Bytes) -> Body {
    let csv = csv.clone();
    let chunks = (0..csv.len()).step_by(CHUNK).map(move |at| csv.slice(at..csv.len().min(at + CHUNK)));
    Body::wrap_stream(stream::iter(chunks.map(Ok::<_, std::io::Error>)))
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

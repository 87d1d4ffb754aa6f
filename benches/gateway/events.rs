//! Clients that are told of a batch's changes by server-sent events, while there are none, and at one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc;

use crate::figures::Figures;
use crate::load::percentile;
use crate::world::World;

/// As many as the gateway takes by default.
const CLIENTS: usize = 5_000;
/// Clients that connect at the same time.
const AT_ONCE: usize = 50;
/// Longer than the pause between two heartbeats, so that there is one of each client in it.
const IDLE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(world: &World, figures: &mut Figures) -> Result<()> {
    let gateway = world.gateway("api-key").await?;
    let id = world.running_batch(&gateway).await?;
    let target = world.target(gateway.address, format!("/v1/batches/{id}/events"));
    let before = gateway.process.memory("VmRSS")?;
    let (events, mut told) = mpsc::channel(CLIENTS);
    let start = Instant::now();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let (target, events) = (target.clone(), events.clone());
        clients.push(tokio::spawn(async move {
            let (_connection, response) = target.open().await?;
            ensure!(response.status() == 200, "{}", response.status());
            let mut body = response.into_body();
            while let Some(event) = next(&mut body).await? {
                if events.send((Instant::now(), event)).await.is_err() {
                    break;
                }
            }
            Ok(())
        }));
        if (number + 1).is_multiple_of(AT_ONCE) {
            until_told(&mut told, AT_ONCE, |_| true).await?;
        }
    }
    let connected = start.elapsed().as_secs_f64();
    let after = gateway.process.memory("VmRSS")?;

    let cpu = gateway.process.cpu_seconds()?;
    tokio::time::sleep(IDLE).await;
    let idle_cpu = gateway.process.cpu_seconds()? - cpu;
    ensure!(told.is_empty(), "clients were told of a change that there was not");

    let cpu = gateway.process.cpu_seconds()?;
    let start = Instant::now();
    world.progress(&id, 900).await?;
    let mut seen = until_told(&mut told, CLIENTS, |event| event.contains("\"succeeded\":900")).await?;
    seen.sort_unstable();
    let seen: Vec<f64> = seen.into_iter().map(|at| (at - start).as_secs_f64()).collect();
    let change_cpu = gateway.process.cpu_seconds()? - cpu;
    drop(told);
    for client in clients {
        client.abort();
    }
    let millis = |percent: f64| (percentile(&seen, percent) * 1e3).round();
    figures.print(&json!({
        "figure": "event streams", "clients": CLIENTS, "connectedInMs": (connected * 1e3).round(),
        "memoryMiB": after / 1024, "kibEach": ((after - before) as f64 / CLIENTS as f64 * 10.0).round() / 10.0,
        "idleSeconds": IDLE.as_secs(), "idleCpuShare": (idle_cpu / IDLE.as_secs_f64() * 1e4).round() / 1e4,
        "changeSeenMs": { "first": millis(0.0), "p50": millis(50.0), "p99": millis(99.0), "last": millis(100.0) },
        "changeCpuMs": (change_cpu * 1e3).round(), "peakMiB": gateway.process.memory("VmHWM")? / 1024,
    }))
}

/// Returns the next event's text; comments that keep the connection are none.
async fn next(body: &mut Incoming) -> Result<Option<String>> {
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        text += std::str::from_utf8(&data)?;
        if !text.ends_with("\n\n") {
            continue;
        }
        if !text.starts_with(':') {
            return Ok(Some(text));
        }
        text.clear();
    }
    Ok(None)
}

/// Waits for so many events, all of which must be as expected; returns when they came.
async fn until_told(
    told: &mut mpsc::Receiver<(Instant, String)>,
    count: usize,
    expected: impl Fn(&str) -> bool,
) -> Result<Vec<Instant>> {
    let all = async {
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            let (at, event) = told.recv().await.context("the clients are gone")?;
            if !expected(&event) {
                bail!("unexpected: {event}");
            }
            times.push(at);
        }
        Ok(times)
    };
    tokio::time::timeout(PATIENCE, all).await.with_context(|| format!("not all of {count} clients were told"))?
}

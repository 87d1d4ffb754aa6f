//! Status requests of a batch that runs, beside the floor.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::figures::Figures;
use crate::floor;
use crate::load::{self, Load, Target, median};
use crate::process::Running;
use crate::world::World;

const CONNECTIONS: [usize; 3] = [1, 64, 1_000];
/// Turns of each contestant at each number of connections.
const TURNS: usize = 5;
const LENGTH: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(500);

/// Who answers.
struct Contestant {
    name: &'static str,
    process: Running,
    target: Target,
    turns: Vec<Turn>,
}

struct Turn {
    load: Load,
    cpu_seconds: f64,
}

pub(crate) async fn measure(world: &World, figures: &mut Figures) -> Result<()> {
    let (open, keyed) = (world.gateway("none").await?, world.gateway("api-key").await?);
    let id = world.running_batch(&keyed).await?;
    let path = format!("/v1/batches/{id}");
    let target = |address| world.target(address, path.clone());
    // They differ in one member alone: with authentication each caller has another default namespace.
    let body = until_it_runs(&target(open.address)).await?;
    ensure!(until_it_runs(&target(keyed.address)).await? == body, "the gateways answer differently");
    let (floor, address) = floor::start(&body).await?;
    let mut contestants = [
        Contestant { name: "floor", process: floor, target: target(address), turns: Vec::new() },
        Contestant { name: "none", process: open.process, target: target(open.address), turns: Vec::new() },
        Contestant { name: "api-key", process: keyed.process, target: target(keyed.address), turns: Vec::new() },
    ];
    for connections in CONNECTIONS {
        for contestant in &mut contestants {
            contestant.turns.clear();
            load::run(&contestant.target, connections, WARM_UP, body.len()).await?;
        }
        for _ in 0..TURNS {
            for contestant in &mut contestants {
                let before = contestant.process.cpu_seconds()?;
                let load = load::run(&contestant.target, connections, LENGTH, body.len()).await?;
                let cpu_seconds = contestant.process.cpu_seconds()? - before;
                contestant.turns.push(Turn { load, cpu_seconds });
            }
        }
        let [floor, ..] = contestants.each_ref().map(Contestant::medians);
        for contestant in &contestants {
            figures.print(&figure(contestant, connections, body.len(), &floor))?;
        }
    }
    Ok(())
}

/// Returns the status once the gateway's cache says that the batch runs.
async fn until_it_runs(target: &Target) -> Result<String> {
    for _ in 0..200 {
        let (_connection, response) = target.open().await?;
        let body = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
        let status: Value = serde_json::from_str(&body).context("a status")?;
        if status["status"] == "Running" {
            return Ok(body);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the gateway does not say that the batch runs")
}

/// Medians over a contestant's turns.
struct Medians {
    per_second: f64,
    cpu_micros: f64,
    p50: f64,
    p99: f64,
}

impl Contestant {
    fn medians(&self) -> Medians {
        let of = |value: fn(&Turn) -> f64| median(self.turns.iter().map(value));
        Medians {
            per_second: of(|it| it.load.per_second()),
            cpu_micros: of(|it| it.cpu_seconds * 1e6 / it.load.requests as f64),
            p50: of(|it| it.load.percentile(50.0)),
            p99: of(|it| it.load.percentile(99.0)),
        }
    }
}

fn figure(contestant: &Contestant, connections: usize, bytes: usize, floor: &Medians) -> Value {
    let Medians { per_second, cpu_micros, p50, p99 } = contestant.medians();
    json!({
        "figure": "status", "contestant": contestant.name, "connections": connections, "bodyBytes": bytes,
        "turns": TURNS, "secondsEach": LENGTH.as_secs(), "perSecond": per_second.round(),
        "p50Ms": round(p50 * 1e3), "p99Ms": round(p99 * 1e3), "cpuMicros": round(cpu_micros),
        "ofFloor": round(per_second / floor.per_second), "cpuOfFloor": round(cpu_micros / floor.cpu_micros),
    })
}

/// Rounds to thousandths.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

//! What the gateway costs: `make bench-gateway`. Each figure is one JSON line, printed and appended to
//! `target/bench/gateway.jsonl`. Needs the servers of `tests/cluster/services`.
//!
//! The gateway is the real executable with its default middleware; beside it runs the floor, a bare axum handler
//! with a constant answer. Clients, gateway, floor and servers share the machine's CPUs, so figures are taken in
//! turns, and the CPU time of the process that answers is told besides.

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/process.rs"]
mod process;

mod events;
mod floor;
mod load;
mod status;
mod uploads;
mod world;

use anyhow::{Result, ensure};

use figures::Figures;
use world::World;

fn main() -> Result<()> {
    if floor::is_asked() {
        return floor::serve();
    }
    ensure!(
        std::env::var_os("IMAGEBATCH_S3_ENDPOINT").is_some(),
        "the variables of the services are missing: eval \"$(tests/cluster/services env)\""
    );
    let asked: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_asked = |part: &str| asked.is_empty() || asked.iter().any(|it| it == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut figures = Figures::open("gateway")?;
    runtime.block_on(async {
        let world = World::start().await?;
        if is_asked("status") {
            status::measure(&world, &mut figures).await?;
        }
        if is_asked("uploads") {
            uploads::small(&world, &mut figures).await?;
        }
        if is_asked("large") {
            uploads::large(&world, &mut figures).await?;
        }
        if is_asked("events") {
            events::measure(&world, &mut figures).await?;
        }
        Ok(())
    })
}

//! Fault tests: a batch on a real cluster while its pods are killed, its stores fail and go away, and
//! hosts misbehave; afterwards a checker compares every successful write with what was promised.
//!
//! `tests/run faults` brings the cluster up, with debug images, which have failpoints. `FAULTS=long` is
//! the long form, `FAULTS=none` the same batch without faults, for its figures; `FAULTS_IMAGES` sets how
//! many images it has.

mod check;
#[path = "../e2e/cluster.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod cluster;
mod figures;
mod history;
mod node;
mod settings;
mod trouble;
mod world;

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::check::Ending;
use crate::cluster::{get, kubectl, names, records, url, wait_until};
use crate::figures::Figures;
use crate::history::History;
use crate::settings::Settings;
use crate::trouble::Trouble;
use crate::world::World;

/// How much of everything.
struct Form {
    name: &'static str,
    images: usize,
    compressor_kills: usize,
    controller_kills: usize,
    /// How long stores and the kubelet are away.
    away: Duration,
    patience: Duration,
}

impl Form {
    fn chosen() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let (seconds, minutes) = (Duration::from_secs, |it: u64| Duration::from_secs(60 * it));
        let mut form = match variable("FAULTS").as_deref() {
            None | Some("short") => Self {
                name: "short",
                images: 1_000,
                compressor_kills: 6,
                controller_kills: 2,
                away: seconds(10),
                patience: minutes(8),
            },
            Some("long") => Self {
                name: "long",
                images: 10_000,
                compressor_kills: 50,
                controller_kills: 20,
                away: seconds(60),
                patience: minutes(90),
            },
            Some("none") => Self {
                name: "none",
                images: 100_000,
                compressor_kills: 0,
                controller_kills: 0,
                away: Duration::ZERO,
                patience: minutes(180),
            },
            Some(other) => panic!("FAULTS is {other:?}; it may be short, long or none"),
        };
        if let Some(images) = variable("FAULTS_IMAGES") {
            form.images = images.parse().expect("FAULTS_IMAGES is a number");
        }
        form
    }

    fn is_faulty(&self) -> bool {
        self.name != "none"
    }
}

// The world has threads of its own: the test's waits for kubectl.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_done_twice() {
    let form = Form::chosen();
    let world = World::start(form.is_faulty()).await;
    let settings = Settings::apply(form.is_faulty());
    let (csv, rows) = world::csv(form.images, form.is_faulty());
    let before = Figures::read().await;
    let start = Instant::now();
    let id = world::upload(&csv).await;
    eprintln!("{} images in {} rows: batch {id}", form.images, rows.len());

    let mut history = History::default();
    // The kills take a quarter of the batch, and leave the rest for what is between them.
    let apart = form.images / (4 * form.compressor_kills.max(1));
    let mut trouble = Trouble::new(&id, start, apart as i64);
    if form.is_faulty() {
        stir(&form, &mut trouble, &mut history).await;
        world.hurry();
    }
    eprintln!("{:5.0} s: all faults are done, waiting for the end", start.elapsed().as_secs_f64());
    let timeout = format!("--timeout={}s", form.patience.as_secs());
    kubectl(&["wait", "--for=condition=Finished", &timeout, &format!("imagebatch/{id}")]);
    let seconds = start.elapsed().as_secs_f64();
    let batch = get("imagebatch", &id);
    let uid = batch["metadata"]["uid"].as_str().expect("a uid").to_owned();
    wait_until("a delivered webhook", || {
        let conditions = get("imagebatch", &id)["status"]["conditions"].clone();
        conditions
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it["type"] == "WebhookDelivered" && it["status"] == "True"))
    })
    .await;
    history.read().await;
    let injected = trouble.injected();
    let pods = trouble.pods();
    drop(settings);
    let after = Figures::read().await;

    let output = reqwest::get(url(&format!("/v1/batches/{id}/output.csv"))).await.expect("an answer");
    let ending = Ending {
        rows: &rows,
        status: &batch["status"],
        outcomes: records("outcomes", &uid).await,
        products: records("products", &uid).await.len(),
        deliveries: records("deliveries", &uid).await,
        output: output.text().await.expect("text"),
        puts: history.puts(&uid),
        webhook_ids: world.webhook_ids(),
        uid: &uid,
    };
    let (counts, violations) = ending.check();
    let mut line = json!({ "form": form.name, "rows": rows.len(), "seconds": seconds.round(), "pods": pods });
    for part in [trouble.counts(), json!({ "injected": injected }), counts, after.since(&before, form.images)] {
        line.as_object_mut().expect("an object").extend(part.as_object().expect("an object").clone());
    }
    report(&line);
    if !violations.is_empty() {
        show_failed_pods(&id);
    }
    assert!(violations.is_empty(), "{} promises are broken:\n{}", violations.len(), violations.join("\n"));
    kubectl(&["delete", "imagebatch", &id]);
}

/// Lets everything happen to the batch, each thing while pods of it run.
async fn stir(form: &Form, trouble: &mut Trouble<'_>, history: &mut History) {
    let (compressors, controllers) = (form.compressor_kills, form.controller_kills);
    // In thirds, so that the kills meet all that is between them.
    let share = |all: usize, part: usize| all * (part + 1) / 3 - all * part / 3;
    for part in 0..3 {
        for kill in 0..share(compressors, part) {
            trouble.kill_compressor().await;
            if kill % 2 == 0 && trouble.controllers_killed() < controllers {
                trouble.kill_controller().await;
            }
        }
        match part {
            0 => {
                trouble.pause("mongodb", form.away).await;
                trouble.drain().await;
            }
            1 => {
                trouble.stop_kubelet(form.away).await;
                history.read().await;
                trouble.fill_disk(form.away).await;
            }
            _ => {
                trouble.stop_store("mongodb", form.away).await;
                trouble.pause("s3", form.away).await;
                // In the short form, only the full disk takes it away.
                if form.name == "long" {
                    history.read().await;
                    trouble.stop_store("s3", form.away).await;
                }
            }
        }
    }
    while trouble.controllers_killed() < controllers {
        trouble.kill_compressor().await;
        trouble.kill_controller().await;
    }
}

/// Prints the counts as a table, and adds them to `target/bench/faults.jsonl`.
/// Prints how the batch's pods failed, as long as the cluster is there to be asked.
fn show_failed_pods(batch: &str) {
    let exit_code = "{.status.containerStatuses[*].state.terminated.exitCode}";
    for pod in names("pods", &format!("imagebatch.io/batch-name={batch}")) {
        let exit_code = kubectl(&["get", &pod, &format!("--output=jsonpath={exit_code}")]);
        if exit_code != "0" {
            eprintln!("{pod} ended with {exit_code}:\n{}", kubectl(&["logs", &pod, "--tail=5"]));
        }
    }
}

fn report(line: &Value) {
    for (name, value) in line.as_object().expect("an object") {
        eprintln!("  {name:<24} {value}");
    }
    std::fs::create_dir_all("target/bench").expect("it can be made");
    let file = std::fs::File::options().create(true).append(true).open("target/bench/faults.jsonl");
    writeln!(file.expect("it can be opened"), "{line}").expect("it can be written");
}

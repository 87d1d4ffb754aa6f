//! What intake costs: `make bench-intake`. Each figure is one JSON line, printed and appended to
//! `target/bench/intake.jsonl`.
//!
//! Speed is measured in one process and one thread, with the contestants taking turns, and the best of
//! several turns counts: the machine is shared. The upload and ingest run the real executables against
//! the servers of `tests/cluster/services`, where their variables are set; else they are left out.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/process.rs"]
mod process;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use imagebatch::api::compression::Compression;
use imagebatch::api::image_batch::Report;
use imagebatch::api::source::{Source, Upload, Validation};
use imagebatch::api::stage::{STAGE_INPUT_ENV, StageInput, UnprocessedCause};
use imagebatch::manifest::shard::Sharder;
use imagebatch::manifest::source::{Rules, read_csv};
use serde_json::{Value, json};

use figures::Figures;
use process::Running;

/// Rows of the large file; the small one has a hundredth.
const ROWS: u64 = 1_000_000;
/// Turns of each contestant.
const TURNS: usize = 7;
const BUFFER: usize = 128 * 1024;

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_asked = |part: &str| asked.is_empty() || asked.iter().any(|it| it == part);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("intake");
    std::fs::create_dir_all(&folder)?;
    let mut figures = Figures::open("intake")?;
    let plain = folder.join(format!("{ROWS}.csv"));
    let small = folder.join(format!("{}.csv", ROWS / 100));
    write_csv(&plain, ROWS, "")?;
    write_csv(&small, ROWS / 100, "")?;
    if is_asked("speed") {
        speed(&plain, ROWS, &mut figures)?;
        speed(&small, ROWS / 100, &mut figures)?;
    }
    if std::env::var_os("IMAGEBATCH_S3_ENDPOINT").is_none() {
        return figures.print(&json!({ "skipped": "upload and ingest need tests/cluster/services" }));
    }
    if is_asked("upload") {
        let large = folder.join("limit.csv");
        write_csv(&large, ROWS, &"x".repeat(920))?;
        upload(&large, &mut figures)?;
    }
    if is_asked("ingest") {
        let half = folder.join(format!("{}.csv", ROWS / 2));
        write_csv(&half, ROWS / 2, "")?;
        let upload = upload(&half, &mut figures)?;
        ingest(&folder, &upload, &mut figures)?;
    }
    Ok(())
}

/// What reads the whole file, of about so many rows, in one thread, and returns its rows.
type Contestant = (&'static str, fn(&Path, u64) -> Result<u64>);

/// Measures the contestants.
fn speed(path: &Path, rows: u64, figures: &mut Figures) -> Result<()> {
    let contestants: [Contestant; 4] =
        [("memchr", count_lines), ("csv crate", read_records), ("validate", validate), ("manifest", write_shards)];
    let mut best = [f64::INFINITY; 4];
    for _ in 0..TURNS {
        for (best, (name, run)) in best.iter_mut().zip(contestants) {
            let start = Instant::now();
            let found = run(path, rows)?;
            *best = best.min(start.elapsed().as_secs_f64());
            ensure!(found >= rows, "{name} found {found} rows");
        }
    }
    let bytes = std::fs::metadata(path)?.len();
    for ((name, _), seconds) in contestants.iter().zip(best) {
        figures.print(&json!({
            "figure": name, "rows": rows, "bytes": bytes, "ms": millis(seconds),
            "nsPerRow": (seconds * 1e9 / rows as f64).round(), "mbPerSecond": (bytes as f64 / seconds / 1e6).round(),
            "speedOfCsvCrate": (best[1] / seconds * 100.0).round() / 100.0,
        }))?;
    }
    Ok(())
}

/// The physical bound: look at every byte once.
fn count_lines(path: &Path, _: u64) -> Result<u64> {
    let (mut file, mut buffer, mut lines) = (File::open(path)?, vec![0; BUFFER], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(lines),
            read => lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64,
        }
    }
}

fn read_records(path: &Path, _: u64) -> Result<u64> {
    let mut reader = csv::ReaderBuilder::new().buffer_capacity(BUFFER).from_reader(File::open(path)?);
    let (mut record, mut rows) = (csv::ByteRecord::new(), 0);
    while reader.read_byte_record(&mut record)? {
        rows += 1;
    }
    Ok(rows)
}

fn validate(path: &Path, _: u64) -> Result<u64> {
    let summary = read_csv(File::open(path)?, &Rules::default(), |_| Ok(()))?;
    ensure!(summary.problems.is_empty(), "{:?}", summary.problems.listed.first());
    Ok(summary.rows)
}

fn write_shards(path: &Path, rows: u64) -> Result<u64> {
    let mut sharder = Sharder::new(2 * rows);
    let mut bytes = 0;
    let summary = read_csv(File::open(path)?, &Rules::default(), |row| {
        bytes += sharder.push(row)?.map_or(0, |shard| shard.len());
        Ok(())
    })?;
    bytes += sharder.finish().map_or(0, |shard| shard.len());
    ensure!(bytes > 0, "no shard");
    Ok(summary.rows)
}

/// Uploads a file to a gateway and measures that process.
fn upload(path: &Path, figures: &mut Figures) -> Result<Upload> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(cluster::connect())?;
    let authentication = [("IMAGEBATCH_AUTHENTICATION", "none".to_owned())];
    let (mut gateway, address) = runtime.block_on(Running::gateway("default", &authentication, Stdio::inherit()))?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{address}/v1/batches");
    // A first small upload opens the connections that a gateway at work has.
    let small = "S. No.,Product Name,Input Image Urls\n1,Chair,https://shop.example/1.jpg\n";
    let send = |body: reqwest::Body| {
        let request = client.post(&url).query(&[("deletionPolicy", "Delete")]).header("content-type", "text/csv");
        runtime.block_on(async { request.body(body).send().await?.error_for_status()?.json::<Value>().await })
    };
    send(small.into())?;
    let idle = gateway.memory("VmRSS")?;
    gateway.reset_peak()?;
    let start = Instant::now();
    let file = runtime.block_on(tokio::fs::File::open(path))?;
    let answer = send(reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(file, 64 * 1024)))?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = gateway.memory("VmHWM")?;
    let bytes = std::fs::metadata(path)?.len();
    figures.print(&json!({
        "figure": "upload", "rows": answer["rows"], "bytes": bytes, "ms": millis(seconds),
        "mbPerSecond": (bytes as f64 / seconds / 1e6).round(),
        "idleKiB": idle, "peakKiB": peak, "aboveIdleMiB": ((peak - idle) as f64 / 1024.0 * 10.0).round() / 10.0,
    }))?;
    gateway.end()?;
    let id = answer["id"].as_str().context("an id")?;
    let prefix = std::env::var("IMAGEBATCH_STORAGE_PREFIX").unwrap_or_else(|_| "bench".to_owned());
    let mut hash = sha2::Sha256::default();
    std::io::copy(&mut File::open(path)?, &mut Hashing(&mut hash))?;
    Ok(Upload {
        key: format!("{prefix}/default/uploads/{id}.csv"),
        sha256: hex::encode(sha2::Digest::finalize(hash)),
        rows: answer["rows"].as_i64().context("rows")?,
        images: answer["images"].as_i64().context("images")?,
    })
}

struct Hashing<'a>(&'a mut sha2::Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        sha2::Digest::update(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs ingest and the report of an upload and measures these processes. The images were never
/// reached, so every row of the report is settled, which is more than most reports have to do.
fn ingest(folder: &Path, upload: &Upload, figures: &mut Figures) -> Result<()> {
    let input = StageInput {
        uid: uuid::Uuid::now_v7().to_string(),
        name: "bench".to_owned(),
        namespace: "default".to_owned(),
        source: Source { upload: Some(upload.clone()), ..Source::default() },
        validation: Validation::default(),
        compression: Compression::default(),
        report: Report::default(),
        retry: None,
        request_id: None,
        traceparent: None,
        unprocessed_because: UnprocessedCause::ShardFailed,
    };
    let input = serde_json::to_string(&input)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for stage in ["ingest", "report"] {
        let start = Instant::now();
        let log = folder.join(format!("{stage}.log"));
        let variables =
            [(STAGE_INPUT_ENV, input.clone()), ("IMAGEBATCH_LOG", "warn,imagebatch::records=debug".to_owned())];
        let mut process = Running::start(env!("CARGO_BIN_EXE_compressor"), &[stage], &variables, File::create(&log)?)?;
        let mut peak = 0;
        while process.child.try_wait()?.is_none() {
            peak = process.memory("VmHWM").unwrap_or(peak);
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        }
        ensure!(process.child.wait()?.success(), "{stage} failed");
        figures.print(&json!({
            "figure": stage, "rows": upload.rows, "images": upload.images,
            "ms": millis(start.elapsed().as_secs_f64()), "ofThatRecordInsertsMs": inserts(&log)?, "peakMiB": (peak as f64 / 1024.0 * 10.0).round() / 10.0,
        }))?;
    }
    Ok(())
}

/// Returns how long the process that wrote this log waited for the database to take records.
fn inserts(log: &Path) -> Result<f64> {
    let mut sum = 0.0;
    for line in std::fs::read_to_string(log)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["message"] == "inserted" {
            sum += event["duration_ms"].as_f64().context("a duration")?;
        }
    }
    ensure!(sum > 0.0, "no insert is in {}", log.display());
    Ok(sum.round())
}

/// Writes a CSV of products with two URLs each.
fn write_csv(path: &Path, rows: u64, description: &str) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let column = if description.is_empty() { "" } else { ",Description" };
    writeln!(file, "S. No.,Product Name,Input Image Urls{column}")?;
    for row in 1..=rows {
        let url = |view: &str| format!("https://images.shop.example/products/{row}/{view}.jpg");
        let comma = if description.is_empty() { "" } else { "," };
        writeln!(file, "{row},Product {row},\"{},{}\"{comma}{description}", url("front"), url("back"))?;
    }
    Ok(file.flush()?)
}

fn millis(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 10.0
}

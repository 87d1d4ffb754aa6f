//! The compressor's stages as processes, against real S3, the MongoDB protocol and a local origin.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::Router;
use axum::routing::get;
use imagebatch::api::compression::{Compression, OutputFormat};
use imagebatch::api::image_batch::Report;
use imagebatch::api::source::{Product, Source, Upload, Validation};
use imagebatch::api::stage::{PERMANENT_EXIT_CODE, STAGE_INPUT_ENV, StageInput, UnprocessedCause};
use imagebatch::manifest::outcome::{FailureReason, RowOutcome};
use imagebatch::records::result::{IngestResult, ReportResult};
use sha2::{Digest, Sha256};

use crate::harness::{Harness, PATIENCE, Running};

/// A batch without an ImageBatch: what a pod is told is all it knows.
pub(crate) struct Batch<'a> {
    harness: &'a Harness,
    pub(crate) input: StageInput,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(harness: &'a Harness, source: Source) -> Self {
        let input = StageInput {
            uid: uuid::Uuid::now_v7().to_string(),
            name: "batch".to_owned(),
            namespace: harness.namespace.clone(),
            source,
            validation: Validation::default(),
            compression: Compression::default(),
            report: Report::default(),
            retry: None,
            unprocessed_because: UnprocessedCause::ShardFailed,
        };
        Self { harness, input }
    }

    /// A batch of one product a list of paths at the origin.
    pub(crate) fn of_products(harness: &'a Harness, products: &[&[&str]]) -> Self {
        let products = products.iter().enumerate().map(|(index, paths)| Product {
            serial_number: (index + 1).to_string(),
            name: format!("Product {}", index + 1),
            image_urls: paths.iter().map(|path| harness.origin.url(path)).collect(),
        });
        Self::new(harness, Source { products: Some(products.collect()), ..Source::default() })
    }

    fn start(&self, arguments: &[&str]) -> tokio::process::Child {
        self.start_with(arguments, [])
    }

    /// Starts a stage with further variables.
    pub(crate) fn start_with<const N: usize>(
        &self,
        arguments: &[&str],
        further: [(String, String); N],
    ) -> tokio::process::Child {
        let input = serde_json::to_string(&self.input).expect("JSON");
        let variables = [
            (STAGE_INPUT_ENV.to_owned(), input),
            ("IMAGEBATCH_FETCH_TIMEOUT_SECONDS".to_owned(), "2".to_owned()),
            ("IMAGEBATCH_FETCH_MAX_BYTES".to_owned(), "4000000".to_owned()),
            ("IMAGEBATCH_FETCH_MAX_RETRY_AFTER_SECONDS".to_owned(), "1".to_owned()),
        ];
        self.harness.compressor(arguments, variables.into_iter().chain(further))
    }

    async fn run(&self, arguments: &[&str]) -> std::process::ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.start(arguments).wait()).await;
        ended.expect("the stage ends").expect("it can be waited for")
    }

    pub(crate) async fn succeed(&self, arguments: &[&str]) {
        let status = self.run(arguments).await;
        assert!(status.success(), "{arguments:?} ended with {status}");
    }

    pub(crate) async fn results(&self) -> (IngestResult, Option<ReportResult>) {
        let results = self.harness.records.results(&self.input.uid).await.expect("MongoDB answers");
        (results.ingest.expect("ingest's result"), results.report)
    }

    pub(crate) async fn outcomes(&self, shard: u32) -> BTreeMap<u64, RowOutcome> {
        let outcomes = self.harness.records.outcomes(&self.input.uid, shard).await.expect("MongoDB answers");
        outcomes.into_iter().map(|it| (it.row, it)).collect()
    }

    pub(crate) async fn object(&self, name: &str) -> String {
        let key =
            format!("{}/{name}", self.harness.storage.keys().batch(&self.input.namespace, &self.input.uid).root());
        let bytes = self.harness.storage.read(&key).await.expect("storage answers");
        String::from_utf8(bytes.unwrap_or_else(|| panic!("{key} exists")).to_vec()).expect("text")
    }
}

#[tokio::test]
async fn each_failure_has_its_code_and_costs_only_itself() {
    let harness = Harness::start().await;
    let cases = [
        ("mountain-thumb.jpg?good", None),
        ("fig-bowl-cutout.png", None),
        ("fault/twice", None),
        ("fault/to-image", None),
        ("nowhere.jpg", Some("ImageNotFound")),
        ("fault/gone", Some("ImageNotFound")),
        ("fault/forbidden", Some("AccessDenied")),
        ("fault/teapot", Some("RequestRefused")),
        ("fault/broken", Some("HostFailed")),
        ("fault/overloaded", Some("HostOverloaded")),
        ("fault/loop", Some("RedirectRefused")),
        ("fault/to-metadata", Some("AddressForbidden")),
        ("fault/stalls", Some("FetchTimeout")),
        ("fault/short", Some("BodyIncomplete")),
        ("fault/endless", Some("FileTooLarge")),
        ("page.jpg", Some("NotAnImage")),
        ("truncated.jpg", Some("ImageTruncated")),
    ];
    let paths: Vec<&str> = cases.iter().map(|(path, _)| *path).collect();
    let batch = Batch::of_products(&harness, &[&paths]);
    batch.succeed(&["run"]).await;

    let outcomes = batch.outcomes(0).await;
    for ((path, expected), image) in cases.iter().zip(&outcomes[&1].images) {
        assert_eq!(image.reason.map(FailureReason::as_str), *expected, "{path}: {image:?}");
        assert_eq!(image.output_url.is_some(), expected.is_none(), "{path}");
        assert_eq!(image.message.is_some(), expected.is_some(), "{path}");
    }
    assert_eq!(outcomes[&1].images[2].attempts, 3, "a failure that may pass is tried again");
    assert_eq!(harness.origin.requests("nowhere.jpg"), 1, "a failure that stays is not");
    assert_eq!(harness.origin.requests("fault/overloaded"), 1, "nor one whose host asks for an hour");

    let (ingest, report) = batch.results().await;
    let report = report.expect("the report's result");
    assert_eq!((ingest.images, report.counts.succeeded, report.counts.failed), (17, 4, 13));
    let line = batch.object("batch/output.csv").await.lines().nth(1).expect("a row").to_owned();
    assert!(line.ends_with(",\"5:ImageNotFound,6:ImageNotFound,7:AccessDenied,8:RequestRefused,9:HostFailed,10:HostOverloaded,11:RedirectRefused,12:AddressForbidden,13:FetchTimeout,14:BodyIncomplete,15:FileTooLarge,16:NotAnImage,17:ImageTruncated\""), "{line}");
}

#[tokio::test]
async fn images_are_stored_once_and_served_by_their_content() {
    let harness = Harness::start().await;
    let thumb = "mountain-thumb.jpg";
    let batch = Batch::of_products(
        &harness,
        &[&["wall-clock.jpg", "wall-clock.jpg"], &["wall-clock.jpg", "wall-clock.jpg?again", thumb]],
    );
    batch.succeed(&["run"]).await;
    let outcomes = batch.outcomes(0).await;
    let urls: Vec<&str> =
        outcomes.values().flat_map(|it| &it.images).filter_map(|it| it.output_url.as_deref()).collect();
    assert_eq!(urls.len(), 5);
    assert_eq!(urls[0], urls[3], "the same content has the same URL");
    assert_eq!(harness.origin.requests("wall-clock.jpg"), 2, "identical URLs of a shard are fetched once");
    let images: Vec<String> = harness.objects().await.into_iter().filter(|it| !it.contains("/batch/")).collect();
    assert_eq!(images.len(), 2, "{images:?}");

    let clock = &outcomes[&1].images[0];
    assert!(clock.bytes_out < clock.bytes_in && clock.quality < clock.source_quality, "{clock:?}");
    // The thumbnail is of quality 40 already, and half of that is below the floor of 30.
    let thumb = &outcomes[&2].images[2];
    assert!(thumb.bytes_out <= thumb.bytes_in, "{thumb:?}");
    let key = clock
        .output_url
        .as_deref()
        .and_then(|it| it.strip_prefix("https://cdn.example/images/"))
        .expect("a URL of the CDN");
    let stored = harness.storage.open(key, object_store::GetOptions::default()).await.expect("the image is stored");
    let attribute = |name| stored.attributes.get(&name).map(|it| it.as_ref().to_owned());
    assert_eq!(attribute(object_store::Attribute::ContentType).as_deref(), Some("image/jpeg"));
    assert_eq!(
        attribute(object_store::Attribute::CacheControl).as_deref(),
        Some("public, max-age=31536000, immutable")
    );
    let bytes = stored.bytes().await.expect("its bytes");
    assert_eq!(bytes.len() as i64, clock.bytes_out);
    assert!(key.contains(&hex::encode(Sha256::digest(&bytes))), "the key names the content");
}

#[tokio::test]
async fn stages_killed_at_any_point_lose_nothing() {
    let harness = Harness::start().await;
    let rows: Vec<Vec<String>> =
        (0..30).map(|row| (0..4).map(|slot| format!("mountain-thumb.jpg?{row}-{slot}")).collect()).collect();
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    let batch = Batch::of_products(&harness, &rows);
    // Killed when the origin has seen a first, a middle and a late image.
    for seen in [1, 40, 90] {
        let mut pod = batch.start(&["run"]);
        let reached = async {
            while harness.origin.requests("mountain-thumb.jpg") < seen {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = reached => {}
            _ = pod.wait() => {}
        }
        pod.kill().await.expect("it can be killed");
    }
    batch.succeed(&["run"]).await;
    batch.succeed(&["run"]).await;
    let (ingest, report) = batch.results().await;
    let report = report.expect("the report's result");
    assert_eq!((ingest.rows, ingest.images, ingest.shards), (30, 120, 5));
    assert_eq!((report.rows, report.counts.succeeded, report.counts.failed), (30, 120, 0));
    let mut recorded = 0;
    for shard in 0..5 {
        recorded += batch.outcomes(shard).await.len();
    }
    assert_eq!(recorded, 30, "one record a row");
    let output = batch.object("batch/output.csv").await;
    let serials: Vec<&str> = output.lines().skip(1).map(|it| it.split(',').next().unwrap_or_default()).collect();
    assert_eq!(serials, (1..=30).map(|it| it.to_string()).collect::<Vec<_>>(), "in the input's order");
}

/// One host answers nothing until all images of the other one were asked for, which come last.
#[tokio::test]
async fn a_slow_host_does_not_hold_up_the_others() {
    const EACH: usize = 40;
    let harness = Harness::start().await;
    let (asked, mut is_asked) = tokio::sync::watch::channel(0);
    let thumb = std::fs::read("tests/data/images/mountain-thumb.jpg").expect("a photograph");
    let serve = async |address: &str, router: Router| {
        let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let serve = async move { axum::serve(listener, router).await.expect("the host serves") };
        (base, Running(tokio::spawn(serve)))
    };
    let bytes = thumb.clone();
    let slow = async move || {
        is_asked.wait_for(|asked| *asked >= EACH).await.expect("the other host is there");
        bytes
    };
    let quick = async move || {
        asked.send_modify(|asked| *asked += 1);
        thumb
    };
    let (slow, _slow) = serve("127.0.0.1:0", Router::new().route("/{name}", get(slow))).await;
    let (quick, _quick) = serve("127.0.0.2:0", Router::new().route("/{name}", get(quick))).await;
    let image_urls = [slow, quick].iter().flat_map(|it| (0..EACH).map(move |n| format!("{it}/{n}.jpg"))).collect();
    let product = Product { serial_number: "1".to_owned(), name: "Bowl".to_owned(), image_urls };
    let batch = Batch::new(&harness, Source { products: Some(vec![product]), ..Source::default() });
    batch.succeed(&["run"]).await;
    let (_, report) = batch.results().await;
    let counts = report.expect("the report's result").counts;
    assert_eq!((counts.succeeded, counts.failed), (2 * EACH as i64, 0), "{:?}", batch.outcomes(0).await[&1].images[0]);
}

#[tokio::test]
async fn the_report_settles_what_was_never_reached() {
    let harness = Harness::start().await;
    let thumbs = ["mountain-thumb.jpg"; 13];
    let mut batch = Batch::of_products(&harness, &[&thumbs, &thumbs, &["wall-clock.jpg"]]);
    batch.succeed(&["ingest"]).await;
    batch.succeed(&["compress", "--index", "0"]).await;
    batch.input.unprocessed_because = UnprocessedCause::DeadlineExceeded;
    batch.succeed(&["report"]).await;
    let (ingest, report) = batch.results().await;
    let counts = report.expect("the report's result").counts;
    assert_eq!((ingest.shards, counts.succeeded, counts.failed), (2, 26, 1));
    let settled = &batch.outcomes(1).await[&3].images[0];
    assert_eq!(settled.reason.map(FailureReason::as_str), Some("NotProcessed"));
    assert!(settled.message.as_deref().unwrap_or_default().starts_with("DeadlineExceeded"));
    // A pod that comes late changes nothing any more.
    batch.succeed(&["compress", "--index", "1"]).await;
    assert_eq!(&batch.outcomes(1).await[&3].images[0], settled);
    let failed = batch.object("batch/failed.csv").await;
    assert_eq!(failed.lines().count(), 2, "{failed}");
}

#[tokio::test]
async fn uploads_that_are_not_what_they_were_are_refused() {
    let harness = Harness::start().await;
    let keys = harness.storage.keys();
    let csv = format!("S. No.,Product Name,Input Image Urls\n1,Clock,{}\n", harness.origin.url("wall-clock.jpg"));
    let good = keys.upload(&harness.namespace, "good");
    harness.storage.put_new(&good, csv.clone().into()).await.expect("storage answers");
    let foreign = keys.upload("another-namespace", "good");
    harness.storage.put_new(&foreign, csv.clone().into()).await.expect("storage answers");
    let sha256 = hex::encode(Sha256::digest(&csv));
    let missing = keys.upload(&harness.namespace, "missing");
    for (key, sha256, expected) in [
        (&good, &sha256, None),
        (&good, &"0".repeat(64), Some("SourceChanged")),
        (&missing, &sha256, Some("SourceMissing")),
        (&foreign, &sha256, Some("SourceMissing")),
    ] {
        let upload = Upload { key: key.clone(), sha256: sha256.clone(), rows: 1, images: 1 };
        let batch = Batch::new(&harness, Source { upload: Some(upload), ..Source::default() });
        batch.succeed(&["run"]).await;
        let (ingest, report) = batch.results().await;
        assert_eq!(ingest.problems.first().map(|it| it.code.to_string()).as_deref(), expected, "{key}");
        assert_eq!((ingest.accepted, report.is_some()), (expected.is_none(), expected.is_none()), "{key}");
    }
}

#[tokio::test]
async fn images_get_the_format_and_the_size_that_are_asked_for() {
    let harness = Harness::start().await;
    let mut batch = Batch::of_products(&harness, &[&["wall-clock.jpg", "fig-bowl-cutout.png"]]);
    batch.input.compression = Compression {
        format: OutputFormat::WebP,
        max_width: Some(300),
        max_height: Some(200),
        ..Compression::default()
    };
    batch.input.report.sizes = true;
    batch.succeed(&["run"]).await;
    let outcomes = batch.outcomes(0).await;
    for image in &outcomes[&1].images {
        let (width, height) = (image.width.expect("a width"), image.height.expect("a height"));
        assert_eq!(image.format.as_deref(), Some("WebP"), "{image:?}");
        assert!(width <= 300 && height <= 200 && (width == 300 || height == 200), "{image:?}");
        assert!(image.output_url.as_ref().is_some_and(|url| url.rsplit('.').next() == Some("webp")), "{image:?}");
    }
    let output = batch.object("batch/output.csv").await;
    let sizes = outcomes[&1].images.iter().map(|it| it.bytes_out.to_string()).collect::<Vec<_>>().join(",");
    assert!(
        output.lines().next().is_some_and(|header| header.ends_with("Output Image Bytes,Image Savings")),
        "{output}"
    );
    assert!(output.contains(&sizes), "{output}");
}

#[tokio::test]
async fn only_what_cannot_be_mended_has_an_exit_code_of_its_own() {
    let harness = Harness::start().await;
    let batch = Batch::of_products(&harness, &[&["wall-clock.jpg"]]);
    let status = batch.run(&["compress", "--index", "0"]).await;
    assert_eq!(status.code(), Some(1), "there is no manifest, or the store does not know it yet");
    let status = harness.compressor(&["run"], [(STAGE_INPUT_ENV.to_owned(), "{}".to_owned())]).wait().await;
    assert_eq!(status.expect("it ends").code(), Some(PERMANENT_EXIT_CODE.into()));
}

#[tokio::test]
async fn local_files_are_compressed_by_the_same_codec() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compress-file");
    let images = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/images");
    let run = |names: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_compressor"));
        command.arg("compress-file").args(names.iter().map(|name| images.join(name))).arg("-o").arg(&folder);
        command.output().expect("the compressor starts")
    };
    let output = run(&["wall-clock.jpg", "fig-bowl-cutout.png"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{table}");
    for name in ["wall-clock.jpg", "fig-bowl-cutout.png"] {
        assert!(table.lines().any(|line| line.contains(name) && line.contains("Compressed")), "{table}");
        let size = |folder: &PathBuf| std::fs::metadata(folder.join(name)).expect("the file").len();
        assert!(size(&folder) < size(&images), "{name}");
    }
    // The first takes longest, and results come in the images' order all the same.
    let names = ["dandelion-16mp.jpg", "page.jpg", "mountain-thumb.jpg", "truncated.jpg", "wine-corner.jpg"];
    let output = run(&names);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (lines, table) = text.split_once("\n\n").expect("a table behind the lines");
    for (name, line) in names.iter().zip(lines.lines()) {
        assert!(line.contains(name), "{text}");
    }
    let counts: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    let counts: Vec<String> = counts.into_iter().skip(1).map(|words| words.join(" ")).collect();
    assert_eq!(counts, ["Compressed 3", "ImageTruncated 1", "NotAnImage 1", "all 5"], "{text}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains('\x1b'), "no progress bar where there is no terminal");
    // Two results of one name would be one file.
    let output = run(&["mountain-thumb.jpg", "mountain-thumb.jpg"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("the result of an image before it is mountain-thumb.jpg"));
}

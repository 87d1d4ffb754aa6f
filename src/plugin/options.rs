//! The options of a batch, as flags: a spec for the API server, or a query for the gateway.

use clap::Args;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use url::form_urlencoded::Serializer;

use crate::api::compression::{Effort, OutputFormat, parse_quality};
use crate::api::image_batch::{DeletionPolicy, ImageBatchSpec};
use crate::api::source::{OnDuplicate, OnInvalidRow, Source, Validation};
use crate::api::webhook::Webhook;

/// What a valid row is.
#[derive(Args, Debug, Clone)]
pub(super) struct ValidationArgs {
    /// What a row with a problem does: `reject` refuses the file, `skip` leaves the row out and reports it.
    #[arg(long, default_value = "reject", value_name = "WHAT", value_parser = parse_on_invalid_row)]
    on_invalid_row: OnInvalidRow,
    /// What a serial number is that an earlier row has: `warn`, or `reject`.
    #[arg(long, default_value = "warn", value_name = "WHAT", value_parser = parse_on_duplicate)]
    on_duplicate_serial_number: OnDuplicate,
}

impl ValidationArgs {
    pub(super) fn validation(&self) -> Validation {
        let &Self { on_invalid_row, on_duplicate_serial_number } = self;
        Validation { on_invalid_row, on_duplicate_serial_number }
    }
}

/// How a batch is worked on.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Batch")]
pub(super) struct OptionArgs {
    /// Name for people, at most 200 characters.
    #[arg(long, value_name = "TEXT")]
    pub(super) display_name: Option<String>,
    /// Per cent of each image's own quality, such as 50%, or an absolute quality from 1 to 100.
    #[arg(long, value_parser = parse_quality_flag)]
    quality: Option<IntOrString>,
    /// Relative quality does not go below this.
    #[arg(long, value_name = "QUALITY", value_parser = clap::value_parser!(i32).range(1..=100))]
    min_quality: Option<i32>,
    /// Format of the results: keep, jpeg, png, webp or avif.
    #[arg(long, value_parser = parse_format)]
    format: Option<OutputFormat>,
    /// Images wider than this many pixels are scaled down.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(i32).range(1..=16_384))]
    max_width: Option<i32>,
    /// Images higher than this many pixels are scaled down.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(i32).range(1..=16_384))]
    max_height: Option<i32>,
    /// How much to spend on a small result: small or fast.
    #[arg(long, value_parser = parse_effort)]
    effort: Option<Effort>,
    /// Say in the output of each image how large it was, is, and what that saves.
    #[arg(long)]
    report_sizes: bool,
    /// Pods that compress at the same time.
    #[arg(long, value_name = "PODS", value_parser = clap::value_parser!(i32).range(1..=1000))]
    parallelism: Option<i32>,
    /// Queue of Kueue's that the batch waits in.
    #[arg(long, value_name = "QUEUE")]
    queue_name: Option<String>,
    /// Seconds after which the batch is stopped.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(60..=2_592_000))]
    active_deadline_seconds: Option<i64>,
    /// Whether images, reports and records go with the ImageBatch: Retain or Delete.
    #[arg(long, value_name = "POLICY", value_parser = parse_deletion_policy)]
    deletion_policy: Option<DeletionPolicy>,
    /// URL that is told of the end.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
}

impl OptionArgs {
    /// Returns the spec of a batch with these options; the others have the defaults of the type.
    pub(super) fn spec(&self, source: &Source, validation: Validation) -> serde_json::Result<ImageBatchSpec> {
        let mut spec: ImageBatchSpec = serde_json::from_value(serde_json::json!({ "source": source }))?;
        let Self { display_name: _, quality, min_quality, format, max_width, max_height, .. } = self;
        let Self { effort, report_sizes, parallelism, queue_name, active_deadline_seconds, .. } = self;
        let Self { deletion_policy, webhook, .. } = self;
        spec.validation = validation;
        let compression = &mut spec.compression;
        if let Some(quality) = quality {
            compression.quality = quality.clone();
        }
        compression.min_quality = min_quality.unwrap_or(compression.min_quality);
        compression.format = format.unwrap_or(compression.format);
        (compression.max_width, compression.max_height) = (*max_width, *max_height);
        compression.effort = effort.unwrap_or(compression.effort);
        spec.report.sizes = *report_sizes;
        spec.parallelism = parallelism.unwrap_or(spec.parallelism);
        spec.queue_name.clone_from(queue_name);
        spec.active_deadline_seconds = active_deadline_seconds.unwrap_or(spec.active_deadline_seconds);
        spec.deletion_policy = deletion_policy.unwrap_or(spec.deletion_policy);
        spec.webhook = webhook.clone().map(|url| Webhook { url, secret_ref: None });
        Ok(spec)
    }

    /// Returns the query of an upload with these options.
    pub(super) fn query(&self, namespace: &str, validation: Validation) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("namespace", namespace);
        let Validation { on_invalid_row, on_duplicate_serial_number } = validation;
        query.append_pair("onInvalidRow", &format!("{on_invalid_row:?}"));
        query.append_pair("onDuplicateSerialNumber", &format!("{on_duplicate_serial_number:?}"));
        let quality = self.quality.as_ref().map(|it| match it {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => text.clone(),
        });
        let number = |it: Option<i32>| it.map(|it| it.to_string());
        let options = [
            ("displayName", self.display_name.clone()),
            ("quality", quality),
            ("minQuality", number(self.min_quality)),
            ("format", self.format.map(|it| format!("{it:?}"))),
            ("maxWidth", number(self.max_width)),
            ("maxHeight", number(self.max_height)),
            ("effort", self.effort.map(|it| format!("{it:?}"))),
            ("reportSizes", self.report_sizes.then(|| "true".to_owned())),
            ("parallelism", number(self.parallelism)),
            ("queueName", self.queue_name.clone()),
            ("activeDeadlineSeconds", self.active_deadline_seconds.map(|it| it.to_string())),
            ("deletionPolicy", self.deletion_policy.map(|it| format!("{it:?}"))),
            ("webhook", self.webhook.clone()),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        }
        query.finish()
    }
}

fn parse_on_invalid_row(text: &str) -> Result<OnInvalidRow, String> {
    parse_word(text, &[("reject", OnInvalidRow::Reject), ("skip", OnInvalidRow::Skip)])
}

fn parse_on_duplicate(text: &str) -> Result<OnDuplicate, String> {
    parse_word(text, &[("warn", OnDuplicate::Warn), ("reject", OnDuplicate::Reject)])
}

fn parse_deletion_policy(text: &str) -> Result<DeletionPolicy, String> {
    parse_word(text, &[("retain", DeletionPolicy::Retain), ("delete", DeletionPolicy::Delete)])
}

fn parse_format(text: &str) -> Result<OutputFormat, String> {
    parse_word(text, &OutputFormat::WORDS)
}

fn parse_effort(text: &str) -> Result<Effort, String> {
    parse_word(text, &Effort::WORDS)
}

fn parse_quality_flag(text: &str) -> Result<IntOrString, String> {
    parse_quality(text).ok_or_else(|| "give 1 to 100, or 1% to 100%".to_owned())
}

fn parse_word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("give {}", words.join(" or "))
    })
}

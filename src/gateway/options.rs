//! The options of a request, as query parameters, fields of a form or members of a JSON body, checked
//! as the CRD checks the fields they become: every wrong one is named, and nothing is accepted and
//! ignored.

pub(crate) mod value;

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::Serialize;
use url::form_urlencoded;

use super::error::{ApiError, Code};
use crate::api::compression::{Compression, Effort, OutputFormat};
use crate::api::image_batch::{DeletionPolicy, ImageBatchSpec, Report};
use crate::api::source::{OnDuplicate, OnInvalidRow, Source, Upload, Validation};
use crate::api::webhook::Webhook;
use crate::manifest::problem::{self, MAX_LISTED_WARNINGS, Problem, Problems};
use value::{
    QUALITY, parse_display_name, parse_exact, parse_integer, parse_label, parse_quality, parse_webhook, parse_word,
};

/// What an upload asks for besides its CSV.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct SubmitOptions {
    pub(crate) namespace: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) display_name: Option<String>,
    pub(crate) validation: Validation,
    quality: Option<IntOrString>,
    min_quality: Option<i32>,
    format: OutputFormat,
    max_width: Option<i32>,
    max_height: Option<i32>,
    effort: Effort,
    report: Report,
    parallelism: Option<i32>,
    queue_name: Option<String>,
    active_deadline_seconds: Option<i64>,
    deletion_policy: Option<DeletionPolicy>,
    webhook: Option<Webhook>,
    given: BTreeMap<String, String>,
}

/// The options that a batch runs with, its defaults included.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EffectiveOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    quality: IntOrString,
    quality_meaning: String,
    min_quality: i32,
    format: OutputFormat,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_width: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_height: Option<i32>,
    effort: Effort,
    report_sizes: bool,
    on_invalid_row: OnInvalidRow,
    on_duplicate_serial_number: OnDuplicate,
    parallelism: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_name: Option<String>,
    active_deadline_seconds: i64,
    deletion_policy: DeletionPolicy,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<Webhook>,
}

/// Pixels of a side, by the codec's limit.
const SIDE: RangeInclusive<i32> = 1..=16_384;
const PARALLELISM: RangeInclusive<i32> = 1..=1000;
const DEADLINE: RangeInclusive<i64> = 60..=2_592_000;
/// Absolute quality below which damage is seen; shops and marketplaces ask for more.
const LOW_QUALITY: i32 = 50;

/// The names of all options.
const KNOWN: [&str; 17] = [
    "namespace",
    "dryRun",
    "displayName",
    "onInvalidRow",
    "onDuplicateSerialNumber",
    "quality",
    "minQuality",
    "format",
    "maxWidth",
    "maxHeight",
    "effort",
    "reportSizes",
    "parallelism",
    "queueName",
    "activeDeadlineSeconds",
    "deletionPolicy",
    "webhook",
];

impl SubmitOptions {
    /// Reads the query of `POST /v1/batches`.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self::check(parameters.filter_map(|(name, value)| options.set(&name, &value).err()).collect())?;
        Ok(options)
    }

    /// Sets one option.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), ParameterProblem> {
        let result = if !KNOWN.contains(&name) {
            Err(format!("is not known; known are: {}", KNOWN.join(", ")))
        } else if self.given.insert(name.to_owned(), value.to_owned()).is_some() {
            Err("is given more than once".to_owned())
        } else {
            self.set_known(name, value)
        };
        result.map_err(|message| ParameterProblem { parameter: name.to_owned(), message })
    }

    fn set_known(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "namespace" => self.namespace = Some(value.to_owned()),
            "dryRun" => self.dry_run = parse_word(value, &[("true", true), ("false", false)])?,
            "format" => self.format = parse_word(value, &OutputFormat::WORDS)?,
            "maxWidth" => self.max_width = Some(parse_integer(value, &SIDE)?),
            "maxHeight" => self.max_height = Some(parse_integer(value, &SIDE)?),
            "effort" => self.effort = parse_word(value, &Effort::WORDS)?,
            "reportSizes" => self.report.sizes = parse_word(value, &[("true", true), ("false", false)])?,
            "displayName" => self.display_name = Some(parse_display_name(value)?),
            "onInvalidRow" => {
                let words = [("reject", OnInvalidRow::Reject), ("skip", OnInvalidRow::Skip)];
                self.validation.on_invalid_row = parse_word(value, &words)?;
            }
            "onDuplicateSerialNumber" => {
                let words = [("warn", OnDuplicate::Warn), ("reject", OnDuplicate::Reject)];
                self.validation.on_duplicate_serial_number = parse_word(value, &words)?;
            }
            "quality" => self.quality = Some(parse_quality(value)?),
            "minQuality" => self.min_quality = Some(parse_integer(value, &QUALITY)?),
            "parallelism" => self.parallelism = Some(parse_integer(value, &PARALLELISM)?),
            "queueName" => self.queue_name = Some(parse_label(value)?),
            "activeDeadlineSeconds" => self.active_deadline_seconds = Some(parse_integer(value, &DEADLINE)?),
            "webhook" => self.webhook = Some(parse_webhook(value)?),
            _ => {
                let words = [("Retain", DeletionPolicy::Retain), ("Delete", DeletionPolicy::Delete)];
                self.deletion_policy = Some(parse_exact(value, &words)?);
            }
        }
        Ok(())
    }

    /// Returns the options as they were given, by their names.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Answers with all options that are wrong, if any is.
    pub(crate) fn check(problems: Vec<ParameterProblem>) -> Result<(), ApiError> {
        if problems.is_empty() {
            return Ok(());
        }
        let sentences: Vec<String> = problems.iter().map(|it| format!("{:?} {}", it.parameter, it.message)).collect();
        Err(ApiError::new(Code::InvalidParameter, sentences.join("; ")).with("errors", problems))
    }

    /// Returns the spec of a batch with these options; the others get the defaults of the type.
    pub(crate) fn spec(&self, upload: Upload) -> Result<ImageBatchSpec, serde_json::Error> {
        let source = Source { upload: Some(upload), ..Source::default() };
        let mut spec: ImageBatchSpec = serde_json::from_value(serde_json::json!({ "source": source }))?;
        spec.validation = self.validation;
        spec.report = self.report;
        if let Some(quality) = &self.quality {
            spec.compression.quality = quality.clone();
        }
        if let Some(min_quality) = self.min_quality {
            spec.compression.min_quality = min_quality;
        }
        spec.compression.format = self.format;
        spec.compression.max_width = self.max_width;
        spec.compression.max_height = self.max_height;
        spec.compression.effort = self.effort;
        if let Some(parallelism) = self.parallelism {
            spec.parallelism = parallelism;
        }
        spec.queue_name.clone_from(&self.queue_name);
        if let Some(seconds) = self.active_deadline_seconds {
            spec.active_deadline_seconds = seconds;
        }
        if let Some(policy) = self.deletion_policy {
            spec.deletion_policy = policy;
        }
        spec.webhook.clone_from(&self.webhook);
        Ok(spec)
    }

    /// Notes what is doubtful about the options.
    pub(crate) fn warn(&self, warnings: &mut Problems) {
        let Some(IntOrString::Int(quality @ ..LOW_QUALITY)) = self.quality else { return };
        warnings.note(problem::Code::LowQuality, MAX_LISTED_WARNINGS, || {
            let message = format!("an absolute quality of {quality} shows block artefacts, also to marketplaces");
            Problem::of_source(problem::Code::LowQuality, &message, "give a quality of 50 or more, or per cent")
        });
    }
}

impl EffectiveOptions {
    /// Returns the options of a spec.
    pub(crate) fn of(spec: &ImageBatchSpec, display_name: Option<String>) -> Self {
        let Compression { quality, min_quality, format, max_width, max_height, effort } = &spec.compression;
        Self {
            display_name,
            quality: quality.clone(),
            quality_meaning: match quality {
                IntOrString::Int(quality) => format!("absolute {quality}"),
                IntOrString::String(percent) => format!("{percent} of each image's own quality"),
            },
            min_quality: *min_quality,
            format: *format,
            max_width: *max_width,
            max_height: *max_height,
            effort: *effort,
            report_sizes: spec.report.sizes,
            on_invalid_row: spec.validation.on_invalid_row,
            on_duplicate_serial_number: spec.validation.on_duplicate_serial_number,
            parallelism: spec.parallelism,
            queue_name: spec.queue_name.clone(),
            active_deadline_seconds: spec.active_deadline_seconds,
            deletion_policy: spec.deletion_policy,
            webhook: spec.webhook.clone(),
        }
    }
}

/// Reads the query of a request that takes these parameters alone.
pub(crate) fn parse_query(
    query: Option<&str>,
    known: &[&str],
    mut accept: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    let parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let problems = parameters.filter_map(|(name, value)| {
        let result = if !known.contains(&name.as_ref()) {
            Err(format!("is not known; known are: {}", known.join(", ")))
        } else if !seen.insert(name.clone()) {
            Err("is given more than once".to_owned())
        } else {
            accept(&name, &value)
        };
        result.err().map(|message| ParameterProblem { parameter: name.into_owned(), message })
    });
    SubmitOptions::check(problems.collect())
}

/// What is wrong with one parameter.
#[derive(Debug, Serialize)]
pub(crate) struct ParameterProblem {
    parameter: String,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_percent_sign_is_read_as_it_is_typed() {
        for query in ["quality=50%", "quality=50%25", "quality=50%&parallelism=3"] {
            let options = SubmitOptions::parse(Some(query)).expect("the query is valid");
            assert_eq!(options.quality, Some(IntOrString::String("50%".to_owned())), "{query}");
        }
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        let query = "quality=0&minQuality=101&parallelism=%2B2&activeDeadlineSeconds=1&deletionPolicy=delete&queueName=Shops&colour=1&quality=50";
        let error = SubmitOptions::parse(Some(query)).expect_err("the query is not valid");
        let document = error.document("/v1/batches", "id");
        let named: Vec<&str> =
            document["errors"].as_array().into_iter().flatten().filter_map(|it| it["parameter"].as_str()).collect();
        let expected = [
            "quality",
            "minQuality",
            "parallelism",
            "activeDeadlineSeconds",
            "deletionPolicy",
            "queueName",
            "colour",
            "quality",
        ];
        assert_eq!(named, expected, "{document}");
    }
}

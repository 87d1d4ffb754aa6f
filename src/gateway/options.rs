//! The query parameters of a request, checked as the CRD checks the fields they become: every wrong
//! one is named, and nothing is accepted and ignored.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use url::form_urlencoded;

use super::error::{ApiError, Code};
use crate::api::image_batch::{DeletionPolicy, ImageBatchSpec, Source, Upload};

/// What an upload asks for besides its CSV.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct SubmitOptions {
    pub(crate) namespace: Option<String>,
    quality: Option<IntOrString>,
    min_quality: Option<i32>,
    parallelism: Option<i32>,
    active_deadline_seconds: Option<i64>,
    deletion_policy: Option<DeletionPolicy>,
}

/// The options that a batch runs with, its defaults included.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EffectiveOptions {
    quality: IntOrString,
    min_quality: i32,
    parallelism: i32,
    active_deadline_seconds: i64,
    deletion_policy: DeletionPolicy,
}

const QUALITY: RangeInclusive<i32> = 1..=100;
const PARALLELISM: RangeInclusive<i32> = 1..=1000;
const DEADLINE: RangeInclusive<i64> = 60..=2_592_000;

impl SubmitOptions {
    /// Reads the query of `POST /v1/batches`.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let known = ["namespace", "quality", "minQuality", "parallelism", "activeDeadlineSeconds", "deletionPolicy"];
        read(query, &known, |name, value| {
            match name {
                "namespace" => options.namespace = Some(value.to_owned()),
                "quality" => options.quality = Some(parse_quality(value)?),
                "minQuality" => options.min_quality = Some(parse_integer(value, &QUALITY)?),
                "parallelism" => options.parallelism = Some(parse_integer(value, &PARALLELISM)?),
                "activeDeadlineSeconds" => options.active_deadline_seconds = Some(parse_integer(value, &DEADLINE)?),
                _ => options.deletion_policy = Some(parse_deletion_policy(value)?),
            }
            Ok(())
        })?;
        Ok(options)
    }

    /// Returns the spec of a batch with these options; the others get the defaults of the type.
    pub(crate) fn spec(self, upload: Upload) -> Result<ImageBatchSpec, serde_json::Error> {
        let source = Source { upload: Some(upload), ..Source::default() };
        let mut spec: ImageBatchSpec = serde_json::from_value(serde_json::json!({ "source": source }))?;
        if let Some(quality) = self.quality {
            spec.compression.quality = quality;
        }
        if let Some(min_quality) = self.min_quality {
            spec.compression.min_quality = min_quality;
        }
        if let Some(parallelism) = self.parallelism {
            spec.parallelism = parallelism;
        }
        if let Some(seconds) = self.active_deadline_seconds {
            spec.active_deadline_seconds = seconds;
        }
        if let Some(policy) = self.deletion_policy {
            spec.deletion_policy = policy;
        }
        Ok(spec)
    }
}

impl EffectiveOptions {
    /// Returns the options of a spec.
    pub(crate) fn of(spec: &ImageBatchSpec) -> Self {
        Self {
            quality: spec.compression.quality.clone(),
            min_quality: spec.compression.min_quality,
            parallelism: spec.parallelism,
            active_deadline_seconds: spec.active_deadline_seconds,
            deletion_policy: spec.deletion_policy,
        }
    }
}

/// Reads the query of a request that takes `namespace` alone.
pub(crate) fn parse_namespace(query: Option<&str>) -> Result<Option<String>, ApiError> {
    let mut namespace = None;
    read(query, &["namespace"], |_, value| {
        namespace = Some(value.to_owned());
        Ok(())
    })?;
    Ok(namespace)
}

/// What is wrong with one parameter.
#[derive(Serialize)]
struct ParameterProblem {
    parameter: String,
    message: String,
}

/// Hands every known parameter to `accept`, and answers with all that are wrong.
fn read(
    query: Option<&str>,
    known: &[&str],
    mut accept: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), ApiError> {
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let result = if !known.contains(&name.as_ref()) {
            Err(format!("is not known; known are: {}", known.join(", ")))
        } else if !seen.insert(name.clone()) {
            Err("is given more than once".to_owned())
        } else {
            accept(&name, &value)
        };
        if let Err(message) = result {
            problems.push(ParameterProblem { parameter: name.into_owned(), message });
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let sentences: Vec<String> = problems.iter().map(|it| format!("{:?} {}", it.parameter, it.message)).collect();
    Err(ApiError::new(Code::InvalidParameter, sentences.join("; ")).with("errors", problems))
}

fn parse_quality(value: &str) -> Result<IntOrString, String> {
    let number = |digits: &str| plain_integer(digits).filter(|it| QUALITY.contains(it));
    match value.strip_suffix('%') {
        Some(digits) => number(digits).map(|_| IntOrString::String(value.to_owned())),
        None => number(value).map(IntOrString::Int),
    }
    .ok_or_else(|| {
        format!("is {value:?}; it may be 1% to 100% of the source's own quality, or an integer from 1 to 100")
    })
}

fn parse_integer<T>(value: &str, range: &RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let message = || format!("is {value:?}; it may be an integer from {} to {}", range.start(), range.end());
    plain_integer(value).filter(|it| range.contains(it)).ok_or_else(message)
}

fn parse_deletion_policy(value: &str) -> Result<DeletionPolicy, String> {
    match value {
        "Retain" => Ok(DeletionPolicy::Retain),
        "Delete" => Ok(DeletionPolicy::Delete),
        _ => Err(format!("is {value:?}; it may be Retain or Delete")),
    }
}

/// Parses digits alone: no sign, no leading zero, as the CRD's pattern has it.
fn plain_integer<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|it| it.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
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
        let query = "quality=0&minQuality=101&parallelism=%2B2&activeDeadlineSeconds=1&deletionPolicy=delete&colour=1&quality=50";
        let error = SubmitOptions::parse(Some(query)).expect_err("the query is not valid");
        let document = error.document("/v1/batches", "id");
        let named: Vec<&str> =
            document["errors"].as_array().into_iter().flatten().filter_map(|it| it["parameter"].as_str()).collect();
        let expected =
            ["quality", "minQuality", "parallelism", "activeDeadlineSeconds", "deletionPolicy", "colour", "quality"];
        assert_eq!(named, expected, "{document}");
    }
}

//! The values of options, as text, checked as the CRD checks the fields they become.

use std::ops::RangeInclusive;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::compression;
use crate::api::webhook::Webhook;
use crate::manifest::limits::Limits;
use crate::manifest::url_cell;

/// Quality, absolute or in per cent.
pub(crate) const QUALITY: RangeInclusive<i32> = 1..=100;
/// Longest display name, in characters.
const MAX_DISPLAY_NAME: usize = 200;

/// Returns what a word stands for, in whichever case it is written.
pub(crate) fn parse_word<T: Copy>(value: &str, words: &[(&str, T)]) -> Result<T, String> {
    let lower = value.to_ascii_lowercase();
    parse_exact(&lower, words).map_err(|_| not_among(value, words))
}

pub(crate) fn parse_exact<T: Copy>(value: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| not_among(value, words))
}

fn not_among<T>(value: &str, words: &[(&str, T)]) -> String {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    format!("is {value:?}; it may be {}", words.join(" or "))
}

/// Parses the URL; the namespace's secret signs.
pub(crate) fn parse_webhook(value: &str) -> Result<Webhook, String> {
    match url_cell::normalize(value.trim(), Limits::default().max_url_length) {
        Ok(url) => Ok(Webhook { url: url.into_owned(), secret_ref: None }),
        Err(error) => Err(format!("is no URL of a webhook: {error}")),
    }
}

pub(crate) fn parse_display_name(value: &str) -> Result<String, String> {
    let name = value.trim();
    if name.is_empty() || name.chars().count() > MAX_DISPLAY_NAME || name.chars().any(char::is_control) {
        return Err(format!("may have 1 to {MAX_DISPLAY_NAME} characters, and no line breaks"));
    }
    Ok(name.to_owned())
}

/// Parses the name of an object, where it is a DNS label.
pub(crate) fn parse_label(value: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = (1..=63).contains(&value.len()) && value.bytes().all(is_inner);
    if !is_label || value.starts_with('-') || value.ends_with('-') {
        return Err(format!(
            "is {value:?}; it may be a DNS label: 1 to 63 lower-case letters, digits and inner hyphens"
        ));
    }
    Ok(value.to_owned())
}

pub(crate) fn parse_quality(value: &str) -> Result<IntOrString, String> {
    compression::parse_quality(value).ok_or_else(|| {
        format!("is {value:?}; it may be 1% to 100% of the source's own quality, or an integer from 1 to 100")
    })
}

pub(crate) fn parse_integer<T>(value: &str, range: &RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let message = || format!("is {value:?}; it may be an integer from {} to {}", range.start(), range.end());
    plain_integer(value).filter(|it| range.contains(it)).ok_or_else(message)
}

/// Parses digits alone: no sign, no leading zero, as the CRD's pattern has it.
fn plain_integer<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|it| it.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
}

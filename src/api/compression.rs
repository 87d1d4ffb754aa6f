//! How images are compressed: quality, format, size, effort.

#![allow(unreachable_pub, reason = "the schema derive repeats these types inside of functions")]

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How images are compressed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("type(self.quality) == int ? (self.quality >= 1 && self.quality <= 100) : self.quality.matches('^([1-9][0-9]?|100)%$')").message("quality must be an integer from 1 to 100, or per cent of the source's own quality such as \"50%\"")
)]
pub struct Compression {
    /// `"50%"` is half of the source's own quality; an integer from 1 to 100 is absolute.
    #[serde(default = "default_quality")]
    #[schemars(schema_with = "quality_schema")]
    pub quality: IntOrString,

    /// Relative quality does not go below this; a source that is below it keeps its own.
    #[serde(default = "default_min_quality")]
    #[schemars(range(min = 1, max = 100))]
    pub min_quality: i32,

    /// The format of the results. With another format than an image's own the result is stored also where it
    /// is larger: it was asked for.
    #[serde(default)]
    pub format: OutputFormat,

    /// Results are not wider than this, in pixels: wider images are scaled down with their aspect kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_384))]
    pub max_width: Option<i32>,

    /// The same for the height.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_384))]
    pub max_height: Option<i32>,

    /// How much to spend on a small result.
    #[serde(default)]
    pub effort: Effort,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            quality: default_quality(),
            min_quality: default_min_quality(),
            format: OutputFormat::default(),
            max_width: None,
            max_height: None,
            effort: Effort::default(),
        }
    }
}

/// The format of results.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OutputFormat {
    /// Each image's own, where it is one that is written.
    #[default]
    Keep,
    /// JPEG; transparent pixels become white.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    WebP,
    /// AVIF.
    Avif,
}

impl OutputFormat {
    /// The words that stand for it in options and flags.
    pub const WORDS: [(&'static str, Self); 5] =
        [("keep", Self::Keep), ("jpeg", Self::Jpeg), ("png", Self::Png), ("webp", Self::WebP), ("avif", Self::Avif)];
}

/// How much to spend on a small result.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Effort {
    /// JPEG a quarter smaller, for a little more time; AVIF a tenth, for five times as much.
    #[default]
    Small,
    /// As fast as possible.
    Fast,
}

impl Effort {
    /// The words that stand for it in options and flags.
    pub const WORDS: [(&'static str, Self); 2] = [("small", Self::Small), ("fast", Self::Fast)];
}

/// Returns the quality that options and flags give as text, checked as the CRD checks it: `50%` or `50`.
#[must_use]
pub fn parse_quality(text: &str) -> Option<IntOrString> {
    let number = |digits: &str| {
        let number: i32 = digits.parse().ok()?;
        // No sign, no leading zero.
        ((1..=100).contains(&number) && number.to_string() == digits).then_some(number)
    };
    match text.strip_suffix('%') {
        Some(digits) => number(digits).map(|_| IntOrString::String(text.to_owned())),
        None => number(text).map(IntOrString::Int),
    }
}

fn default_quality() -> IntOrString {
    IntOrString::String("50%".to_owned())
}

fn default_min_quality() -> i32 {
    30
}

fn quality_schema(_: &mut schemars::generate::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-int-or-string": true, "default": "50%" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualities_are_read_as_the_crd_has_them() {
        for text in ["1%", "50%", "100%"] {
            assert_eq!(parse_quality(text), Some(IntOrString::String(text.to_owned())));
        }
        assert_eq!(parse_quality("100"), Some(IntOrString::Int(100)));
        for text in ["", "%", "0", "0%", "101", "101%", "050", "+50", "50 %", "half"] {
            assert_eq!(parse_quality(text), None, "{text}");
        }
    }
}

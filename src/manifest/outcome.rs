//! What became of an image and of a row: the value that is recorded, counted and reported.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::shorten;
use crate::api::progress::Counts;
use crate::api::status::Failure;

/// Bytes of a failure's detail in the status.
pub const MAX_DETAIL: usize = 190;

/// How an image ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Compressed and stored.
    Compressed,
    /// Stored with its original bytes, as compression did not make it smaller.
    KeptOriginal,
    /// Nothing is stored; the reason says why.
    Failed,
}

/// Why an image has no result: one word for one cause, the same in records, CSV and HTTP.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The URL cannot be parsed, is not http(s), names a user, or has characters that are read in two ways.
    InvalidUrl,
    /// The URL is longer than the limit.
    UrlTooLong,
    /// The URL names a port other than 80 and 443 that is not allowed.
    PortForbidden,
    /// The host resolves to an address that must not be fetched, or the URL names one.
    AddressForbidden,
    /// The host's name does not exist, or has no address.
    HostNotFound,
    /// The name servers failed or did not answer.
    LookUpFailed,
    /// No connection to the host, or it broke.
    ConnectFailed,
    /// The host's certificate is not valid for it.
    CertificateInvalid,
    /// The host did not answer or deliver in time.
    FetchTimeout,
    /// More redirects than allowed, one from https to http, or one to a URL that is not fetched.
    RedirectRefused,
    /// The host answered 404 or 410.
    ImageNotFound,
    /// The host answered 401 or 403.
    AccessDenied,
    /// The host answered with another 4xx.
    RequestRefused,
    /// The host answered 429 or 503 again and again.
    HostOverloaded,
    /// The host answered with another 5xx.
    HostFailed,
    /// The host's answer is no HTTP, is badly encoded, or has a status that no file comes with.
    InvalidResponse,
    /// The host ended the body before its length.
    BodyIncomplete,
    /// The file is larger than the limit of bytes.
    FileTooLarge,
    /// The content is no image, for example an HTML page.
    NotAnImage,
    /// An image in a format that is not served.
    UnsupportedFormat,
    /// The image ends before its data does.
    ImageTruncated,
    /// The image's data contradict themselves.
    ImageCorrupt,
    /// The image has more pixels, or needs more memory, than the limit.
    ImageTooLarge,
    /// The image could be read but not written again.
    EncodeFailed,
    /// The codec crashed on the image.
    CodecCrashed,
    /// The codec worked on the image for too long.
    CodecTimeout,
    /// The codec needed more memory for the image than it may have.
    CodecOutOfMemory,
    /// The batch ended before the image was reached; the row's message names the cause.
    NotProcessed,
}

impl FailureReason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 28] = [
        Self::InvalidUrl,
        Self::UrlTooLong,
        Self::PortForbidden,
        Self::AddressForbidden,
        Self::HostNotFound,
        Self::LookUpFailed,
        Self::ConnectFailed,
        Self::CertificateInvalid,
        Self::FetchTimeout,
        Self::RedirectRefused,
        Self::ImageNotFound,
        Self::AccessDenied,
        Self::RequestRefused,
        Self::HostOverloaded,
        Self::HostFailed,
        Self::InvalidResponse,
        Self::BodyIncomplete,
        Self::FileTooLarge,
        Self::NotAnImage,
        Self::UnsupportedFormat,
        Self::ImageTruncated,
        Self::ImageCorrupt,
        Self::ImageTooLarge,
        Self::EncodeFailed,
        Self::CodecCrashed,
        Self::CodecTimeout,
        Self::CodecOutOfMemory,
        Self::NotProcessed,
    ];

    /// Returns the word as it stands in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUrl => "InvalidUrl",
            Self::UrlTooLong => "UrlTooLong",
            Self::PortForbidden => "PortForbidden",
            Self::AddressForbidden => "AddressForbidden",
            Self::HostNotFound => "HostNotFound",
            Self::LookUpFailed => "LookUpFailed",
            Self::ConnectFailed => "ConnectFailed",
            Self::CertificateInvalid => "CertificateInvalid",
            Self::FetchTimeout => "FetchTimeout",
            Self::RedirectRefused => "RedirectRefused",
            Self::ImageNotFound => "ImageNotFound",
            Self::AccessDenied => "AccessDenied",
            Self::RequestRefused => "RequestRefused",
            Self::HostOverloaded => "HostOverloaded",
            Self::HostFailed => "HostFailed",
            Self::InvalidResponse => "InvalidResponse",
            Self::BodyIncomplete => "BodyIncomplete",
            Self::FileTooLarge => "FileTooLarge",
            Self::NotAnImage => "NotAnImage",
            Self::UnsupportedFormat => "UnsupportedFormat",
            Self::ImageTruncated => "ImageTruncated",
            Self::ImageCorrupt => "ImageCorrupt",
            Self::ImageTooLarge => "ImageTooLarge",
            Self::EncodeFailed => "EncodeFailed",
            Self::CodecCrashed => "CodecCrashed",
            Self::CodecTimeout => "CodecTimeout",
            Self::CodecOutOfMemory => "CodecOutOfMemory",
            Self::NotProcessed => "NotProcessed",
        }
    }
}

/// What became of one image.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImageOutcome {
    /// How it ended.
    pub outcome: Outcome,
    /// The URL it was fetched from.
    pub url: String,
    /// Where the result is served; absent when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_url: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// The failure in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The HTTP status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,
    /// How often it was fetched.
    #[serde(default)]
    pub attempts: i32,
    /// Bytes downloaded.
    #[serde(default)]
    pub bytes_in: i64,
    /// Bytes stored.
    #[serde(default)]
    pub bytes_out: i64,
    /// The result's format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The result's width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<i64>,
    /// The result's height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<i64>,
    /// The source's quality, estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_quality: Option<i32>,
    /// The result's quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<i32>,
    /// Milliseconds from the start of the fetch to the stored result.
    #[serde(default)]
    pub duration_ms: i64,
}

impl ImageOutcome {
    /// Returns the outcome of an image that has no result.
    #[must_use]
    pub fn failed(url: &str, reason: FailureReason, message: String) -> Self {
        Self {
            outcome: Outcome::Failed,
            url: url.to_owned(),
            output_url: None,
            reason: Some(reason),
            message: Some(message),
            http_status: None,
            attempts: 0,
            bytes_in: 0,
            bytes_out: 0,
            format: None,
            width: None,
            height: None,
            source_quality: None,
            quality: None,
            duration_ms: 0,
        }
    }
}

/// What became of a row's images, in the order of its URLs.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RowOutcome {
    /// The row, counted from 1.
    pub row: u64,
    /// One outcome a URL.
    pub images: Vec<ImageOutcome>,
}

impl RowOutcome {
    /// Returns the row's failures as the status shows them.
    pub fn failures(&self) -> impl Iterator<Item = Failure> {
        let failed = self.images.iter().enumerate().filter(|(_, image)| image.outcome == Outcome::Failed);
        failed.map(|(index, image)| Failure {
            row: self.row as i64,
            image: Some(index as i64 + 1),
            reason: image.reason.map_or("NotProcessed", FailureReason::as_str).to_owned(),
            detail: shorten(&image.url, MAX_DETAIL),
        })
    }

    /// Returns the counts of the row's images.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for image in &self.images {
            if image.outcome == Outcome::Failed {
                counts.failed += 1;
                continue;
            }
            counts.succeeded += 1;
            counts.kept_original += i64::from(image.outcome == Outcome::KeptOriginal);
            counts.bytes_in += image.bytes_in;
            counts.bytes_out += image.bytes_out;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_reasons_is_complete() {
        for (index, reason) in FailureReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
        assert_eq!(FailureReason::NotProcessed as usize + 1, FailureReason::ALL.len(), "the last reason of the enum");
    }
}

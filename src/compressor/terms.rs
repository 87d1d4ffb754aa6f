//! A batch's options in the codec's terms, and the codec's errors in the batch's.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::compression::{Compression, Effort, OutputFormat};
use crate::manifest::image_limits::ImageLimitArgs;
use crate::manifest::outcome::FailureReason;

/// What a codec child's address space holds beside pixels: the program and its libraries, the source, the
/// result, and what the allocator keeps.
const BESIDE_PIXELS: u64 = 128 << 20;

/// Returns the codec's options for `spec.compression`, which the API server has validated.
pub(crate) fn codec_options(compression: &Compression) -> codec::Options {
    let quality = match &compression.quality {
        IntOrString::Int(quality) => codec::Quality::Absolute((*quality).clamp(1, 100) as u8),
        IntOrString::String(quality) => {
            codec::Quality::Relative(quality.trim_end_matches('%').parse().unwrap_or(50).clamp(1, 100))
        }
    };
    let effort = match compression.effort {
        Effort::Small => codec::Effort::Small,
        Effort::Fast => codec::Effort::Fast,
    };
    let min_quality = compression.min_quality.clamp(1, 100) as u8;
    let format = match compression.format {
        OutputFormat::Keep => codec::TargetFormat::Keep,
        OutputFormat::Jpeg => codec::TargetFormat::Jpeg,
        OutputFormat::Png => codec::TargetFormat::Png,
        OutputFormat::WebP => codec::TargetFormat::WebP,
        OutputFormat::Avif => codec::TargetFormat::Avif,
    };
    let side = |limit: Option<i32>| limit.map(i32::unsigned_abs);
    codec::Options {
        quality,
        min_quality,
        effort,
        format,
        max_width: side(compression.max_width),
        max_height: side(compression.max_height),
    }
}

/// Returns the codec's limits in a child with this address space, for files of at most `max_bytes`.
///
/// Decoder and encoder may take as much each.
pub(crate) fn codec_limits(limits: &ImageLimitArgs, max_bytes: usize) -> codec::Limits {
    codec::Limits {
        max_bytes,
        max_pixels: limits.image_max_pixels,
        max_side: limits.image_max_side,
        max_alloc: limits.image_memory_bytes.saturating_sub(BESIDE_PIXELS) / 2,
    }
}

/// Returns the reason that is reported for an error of the codec.
pub(crate) fn codec_reason(error: &codec::Error) -> FailureReason {
    match error {
        codec::Error::NotAnImage { .. } => FailureReason::NotAnImage,
        codec::Error::UnsupportedFormat { .. } => FailureReason::UnsupportedFormat,
        codec::Error::ImageTruncated { .. } => FailureReason::ImageTruncated,
        codec::Error::ImageCorrupt { .. } => FailureReason::ImageCorrupt,
        codec::Error::ImageTooLarge { .. } => FailureReason::ImageTooLarge,
        codec::Error::EncodeFailed { .. } => FailureReason::EncodeFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_has_its_own_limits_by_default() {
        let limits = codec::Limits::default();
        assert_eq!(codec_limits(&ImageLimitArgs::default(), limits.max_bytes), limits);
    }
}

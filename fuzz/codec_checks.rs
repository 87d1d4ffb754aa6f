//! What holds for every image: the bodies of the codec's fuzz targets, which
//! `crates/codec/tests/corpus.rs` also runs over the corpus, with a stable compiler.

#![allow(dead_code, reason = "each target uses one of the checks")]

use codec::{Effort, Error, Limits, Options, Quality, TargetFormat, compress};

/// Small enough that a run takes milliseconds, and large enough for every kind of file; WebP has no
/// number for a longer side.
fn limits() -> Limits {
    Limits { max_pixels: 1 << 18, max_side: 16_383, max_alloc: 16 << 20, ..Limits::default() }
}

/// Every result is smaller, is read again as the same picture, and has the quality that is claimed;
/// a second run at that quality changes nothing.
pub(crate) fn codec_jpeg(bytes: &[u8]) {
    // Without the magic bytes the other formats would be fuzzed.
    let source = [b"\xff\xd8\xff", bytes.strip_prefix(b"\xff\xd8\xff").unwrap_or(bytes)].concat();
    for effort in [Effort::Fast, Effort::Small] {
        for quality in [Quality::Relative(50), Quality::Absolute(75)] {
            check(&source, Options { quality, effort, ..Options::default() });
        }
    }
}

/// The same for PNG.
pub(crate) fn codec_png(bytes: &[u8]) {
    let magic = b"\x89PNG\r\n\x1a\n";
    let source = [magic, bytes.strip_prefix(magic).unwrap_or(bytes)].concat();
    check(&source, Options::default());
    check(&source, Options { quality: Quality::Absolute(100), ..Options::default() });
}

/// The same for WebP, which is also decoded whatever its kind.
pub(crate) fn codec_webp(bytes: &[u8]) {
    let length = bytes.get(4..8).unwrap_or_default();
    let source = starting_with(&[b"RIFF", length, b"WEBP"].concat(), bytes);
    check(&source, Options::default());
    check_conversion(&source);
}

/// The same for GIF.
pub(crate) fn codec_gif(bytes: &[u8]) {
    let source = starting_with(b"GIF89a", bytes);
    check(&source, Options::default());
    check_conversion(&source);
    convert(&source, TargetFormat::WebP);
}

/// The same for TIFF of both byte orders, and for BMP.
pub(crate) fn codec_tiff_bmp(bytes: &[u8]) {
    let magic: &[u8] = match bytes.first() {
        Some(b'B') => b"BM",
        Some(b'M') => b"MM\0*",
        _ => b"II*\0",
    };
    let source = starting_with(magic, bytes);
    check(&source, Options::default());
    check_conversion(&source);
}

/// The same for AVIF.
pub(crate) fn codec_avif(bytes: &[u8]) {
    let length = bytes.get(..4).unwrap_or_default();
    let source = starting_with(&[length, b"ftypavif"].concat(), bytes);
    check(&source, Options { effort: Effort::Fast, ..Options::default() });
    check_conversion(&source);
}

/// Returns the bytes with others at their start, so that no other format is fuzzed.
fn starting_with(magic: &[u8], bytes: &[u8]) -> Vec<u8> {
    [magic, bytes.get(magic.len()..).unwrap_or_default()].concat()
}

/// Decodes and writes as PNG, without loss and as small as a thumbnail.
fn check_conversion(source: &[u8]) {
    convert(source, TargetFormat::Png);
    let small = Options { max_width: Some(7), ..Options::default() };
    check_readable(source, &small);
}

fn convert(source: &[u8], format: TargetFormat) {
    check_readable(source, &Options { format, quality: Quality::Absolute(100), ..Options::default() });
}

/// What comes out is read again, in the size that was said.
fn check_readable(source: &[u8], options: &Options) {
    let first = match compress(source, options, &limits()) {
        Ok(first) => first,
        Err(error) => return assert!(!matches!(error, Error::EncodeFailed(_)), "{error}"),
    };
    let Some(bytes) = first.bytes else { return };
    let second = compress(&bytes, &Options::default(), &limits()).expect("a result is in order");
    assert_eq!((second.source_format, second.width, second.height), (first.format, first.width, first.height));
}

fn check(source: &[u8], options: Options) {
    let first = match compress(source, &options, &limits()) {
        Ok(first) => first,
        // All that can be wrong with a file; the encoder must never be what fails.
        Err(error) => return assert!(!matches!(error, Error::EncodeFailed(_)), "{error}"),
    };
    assert!((1..=100).contains(&first.quality) && first.quality <= first.source_quality);
    let Some(bytes) = first.bytes else { return };
    assert!(bytes.len() < source.len());
    let again = Options { quality: Quality::Absolute(first.quality), ..options };
    let second = compress(&bytes, &again, &limits()).expect("a result is in order");
    assert_eq!((second.format, second.width, second.height), (first.format, first.width, first.height));
    if first.format == codec::Format::Jpeg {
        assert_eq!(second.bytes, None, "a second run changes nothing");
    }
}

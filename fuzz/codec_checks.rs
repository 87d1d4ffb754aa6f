//! What holds for every image: the bodies of the codec's fuzz targets, which
//! `crates/codec/tests/corpus.rs` also runs over the corpus, with a stable compiler.

#![allow(dead_code, reason = "each target uses one of the checks")]

use codec::{Effort, Error, Limits, Options, Quality, compress};

/// Small enough that a run takes milliseconds, and large enough for every kind of file.
fn limits() -> Limits {
    Limits { max_pixels: 1 << 18, max_alloc: 16 << 20, ..Limits::default() }
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

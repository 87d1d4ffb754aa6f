//! GIF: stills become PNG, animations stay animated.

use codec::{Format, Limits, Options, Quality, TargetFormat};
use image::codecs::gif::Repeat;
use webpx::AnimationDecoder;

use crate::{
    raster_source::gif,
    sample::{Picture, SECRET, compress, contains, convert, decode_jpeg, decode_png, png_kind, scene, smaller},
};

/// A picture of few colours, with a hole in it.
fn drawing(shift: u32) -> Picture {
    Picture::new(75, 51, |x, y| match (x + shift) / 9 % 3 {
        0 => vec![0, 0, 0, 0],
        1 => vec![(y / 10) as u8 * 40, 20, 200, 255],
        _ => vec![255, (y / 7) as u8 * 30, 0, 255],
    })
}

fn movie() -> Vec<u8> {
    gif(&[drawing(0), drawing(3), drawing(6), drawing(9)], Some(Repeat::Infinite))
}

#[test]
fn still_becomes_png() {
    for format in [TargetFormat::Keep, TargetFormat::Png] {
        let source = gif(&[drawing(0)], None);
        let options = Options { format, ..Options::default() };
        let compressed = codec::compress(&source, &options, &Limits::default()).expect("it is sound");
        assert_eq!((compressed.format, compressed.source_format), (Format::Png, Format::Gif));
        assert_eq!((compressed.source_quality, compressed.quality), (100, 100), "nothing was lost");
        let bytes = compressed.bytes.expect("it can be packed");
        assert_eq!(png_kind(&bytes).1, 3);
        assert_eq!(decode_png(&bytes), drawing(0));
    }
}

#[test]
fn still_is_kept_where_png_is_larger() {
    let dot = gif(&[Picture::new(1, 1, |_, _| vec![7, 8, 9])], None);
    let compressed = compress(&dot, Quality::Relative(50)).expect("it is sound");
    assert_eq!((compressed.format, compressed.bytes, compressed.quality), (Format::Gif, None, 100));
    let (asked, bytes) = convert(&dot, TargetFormat::Png, 50);
    assert_eq!(asked.format, Format::Png);
    assert!(bytes.len() > dot.len());
}

#[test]
fn still_becomes_other_formats() {
    let source = gif(&[scene(90, 60)], None);
    let (_, bytes) = convert(&source, TargetFormat::Jpeg, 90);
    assert!(decode_jpeg(&bytes).psnr(&scene(90, 60)) > 24.0);
    let (_, bytes) = convert(&gif(&[drawing(0)], None), TargetFormat::Jpeg, 90);
    assert!(decode_jpeg(&bytes).pixel(4, 20).iter().all(|sample| *sample > 240), "holes are white");
}

#[test]
fn animation_is_kept_without_its_metadata() {
    let source = movie();
    let kept = compress(&source, Quality::Relative(50)).expect("it is sound");
    assert_eq!((kept.format, kept.bytes, kept.width, kept.height), (Format::Gif, None, 75, 51));
    let comment = [b"\x21\xfe\x10".as_slice(), SECRET, b"\0"].concat();
    let xmp = [b"\x21\xff\x0bXMP DataXMP\x10".as_slice(), SECRET, b"\0"].concat();
    let head = 13 + if source[10] & 0x80 == 0 { 0 } else { 6 << (source[10] & 7) };
    let talkative = [&source[..head], &comment, &xmp, &source[head..]].concat();
    let stripped = smaller(&talkative, Quality::Relative(50));
    assert!(!contains(&stripped, SECRET));
    assert_eq!(stripped, source);
}

#[test]
fn animation_becomes_an_animated_webp() {
    for (repeat, plays) in [(None, 1), (Some(Repeat::Infinite), 0), (Some(Repeat::Finite(2)), 3)] {
        let frames = [drawing(0), drawing(3), drawing(6)];
        let (compressed, bytes) = convert(&gif(&frames, repeat), TargetFormat::WebP, 90);
        assert_eq!((compressed.format, compressed.quality, compressed.width), (Format::WebP, 90, 75));
        let mut decoder = AnimationDecoder::new(&bytes).expect("it is an animation");
        assert_eq!((decoder.info().frame_count, decoder.info().loop_count), (3, plays));
        for (frame, time) in frames.iter().zip([100, 200, 300]) {
            let found = decoder.next_frame().expect("it is sound").expect("it is there");
            let result = Picture { samples: found.data, ..frame.clone() };
            assert!(found.timestamp_ms + found.duration_ms as i32 == time || found.timestamp_ms == time, "{time}");
            let psnr = result.visible().psnr(&frame.visible());
            assert!(psnr > 22.0, "{time}: {psnr:.2} dB");
        }
    }
}

#[test]
fn animation_as_still_format_is_its_first_frame() {
    let options = Options { format: TargetFormat::Png, max_width: Some(25), ..Options::default() };
    let compressed = codec::compress(&movie(), &options, &Limits::default()).expect("it is sound");
    assert_eq!((compressed.width, compressed.height), (25, 17));
    let (_, bytes) = convert(&movie(), TargetFormat::Png, 100);
    assert_eq!(decode_png(&bytes), drawing(0));
}

#[test]
fn claims_are_refused_before_a_frame_is_decoded() {
    let mut huge = gif(&[drawing(0)], None);
    huge[6..10].fill(0xff);
    let frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
    let many = |side: u8, count: usize| {
        [b"GIF89a\0".as_slice(), &[side, 0, side, 0x80, 0, 0], &[0; 6], &frame.repeat(count), b";"].concat()
    };
    let mut wide = many(1, 1);
    wide[24..28].fill(0xff);
    let cases = [
        ("canvas", huge, "pixels"),
        ("frame", wide, "pixels"),
        ("frames", many(0, 10_000), "pixels"),
        ("sum", many(1, 800), "frames"),
    ];
    for (case, mut source, part) in cases {
        if case == "frames" {
            // A canvas of one pixel.
            source[6..10].copy_from_slice(&[1, 0, 1, 0]);
        }
        let error = compress(&source, Quality::Relative(50)).expect_err(case);
        let part = if case == "frames" { "frames" } else { part };
        assert_eq!((error.code(), error.to_string().contains(part)), ("ImageTooLarge", true), "{case}: {error}");
    }
    let error = compress(b"GIF89a\x01\0\x01\0\0\0\0;", Quality::Relative(50)).expect_err("no picture");
    assert_eq!(error.code(), "ImageCorrupt");
}

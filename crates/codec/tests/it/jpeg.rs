//! JPEG: which quality is chosen, and what of a file survives.

use codec::{Limits, Options, Quality};
use jpeg_encoder::SamplingFactor;

use crate::sample::{
    Picture, SECRET, compress, contains, decode_jpeg, exif, jpeg, photograph, profile, scene, segments, smaller,
    with_segments,
};

#[test]
fn quality_of_standard_tables_is_recognized() {
    let (color, grey) = (scene(16, 16), scene(16, 16).grey());
    for quality in 5..=100 {
        assert_eq!(codec::jpeg_quality(&jpeg(&color, quality, |_| {})), Ok(quality));
        assert_eq!(codec::jpeg_quality(&jpeg(&grey, quality, |encoder| encoder.set_progressive(true))), Ok(quality));
    }
}

#[test]
fn quality_needs_nothing_behind_the_first_scan_header() {
    let bytes = photograph("truncated.jpg");
    assert_eq!(codec::jpeg_quality(&bytes), Ok(80));
    assert!(codec::jpeg_quality(&photograph("fig-bowl-cutout.png")).is_err());
    assert!(codec::jpeg_quality(&bytes[..20]).is_err());
}

#[test]
fn wanted_quality_is_met() {
    use Quality::{Absolute, Relative};
    let source = jpeg(&scene(160, 120), 90, |_| {});
    let cases = [
        (Relative(50), 30, 45, false),
        (Relative(33), 30, 30, false),
        (Relative(32), 30, 30, true),
        (Relative(1), 30, 30, true),
        (Relative(0), 1, 1, false),
        (Relative(100), 30, 90, false),
        (Relative(200), 30, 90, false),
        (Relative(50), 95, 90, true),
        (Relative(50), 255, 90, true),
        (Absolute(60), 80, 60, false),
        (Absolute(10), 30, 10, false),
        (Absolute(0), 30, 1, false),
        (Absolute(90), 30, 90, false),
        (Absolute(255), 30, 90, false),
    ];
    for (quality, min_quality, expected, floored) in cases {
        let options = Options { quality, min_quality, ..Options::default() };
        let compressed = codec::compress(&source, &options, &Limits::default()).expect("the source is sound");
        assert_eq!(compressed.source_quality, 90, "{options:?}");
        assert_eq!((compressed.quality, compressed.quality_floor), (expected, floored), "{options:?}");
        match compressed.bytes {
            Some(bytes) => {
                assert!(expected < 90 && bytes.len() < source.len(), "{options:?}");
                // The tables of the lowest qualities are all at their limit and look alike.
                let stored = codec::jpeg_quality(&bytes).expect("it is a JPEG");
                assert!(stored == expected || stored < 5 && expected < 5, "{options:?}: {stored}");
            }
            None => assert_eq!(expected, 90, "{options:?}"),
        }
    }
}

#[test]
fn photographs_become_smaller_and_stay_what_they_are() {
    let photographs = [
        ("bird-lamp-grey.jpg", 1200, 900, 85, 43),
        ("dandelion-16mp.jpg", 5312, 2988, 85, 43),
        ("fig-bowl.jpg", 1600, 1082, 88, 44),
        ("forest-stream.jpg", 2000, 1332, 80, 40),
        ("paint-brushes.jpg", 1365, 1074, 95, 48),
        ("wall-clock.jpg", 1440, 1080, 82, 41),
        ("wine-corner.jpg", 1200, 1799, 90, 45),
    ];
    for (name, width, height, source_quality, quality) in photographs {
        let source = photograph(name);
        let compressed = compress(&source, Quality::Relative(50)).expect(name);
        assert_eq!((compressed.width, compressed.height), (width, height), "{name}");
        assert_eq!((compressed.source_quality, compressed.quality), (source_quality, quality), "{name}");
        let bytes = compressed.bytes.expect(name);
        assert!(bytes.len() * 10 < source.len() * 6, "{name}: {} of {} bytes", bytes.len(), source.len());
        let frame = segments(&bytes).into_iter().find(|(marker, _)| (0xc0..=0xc2).contains(marker)).expect(name);
        assert_eq!((frame.0, frame.1[5]), (0xc2, if name.contains("grey") { 1 } else { 3 }), "{name}");
        let psnr = decode_jpeg(&source).psnr(&decode_jpeg(&bytes));
        assert!(psnr > 29.5, "{name}: {psnr:.2} dB");
    }
}

#[test]
fn original_is_kept_where_compression_does_not_help() {
    // Of quality 40 already.
    let source = photograph("mountain-thumb.jpg");
    for quality in [Quality::Absolute(40), Quality::Absolute(80), Quality::Relative(100)] {
        let compressed = compress(&source, quality).expect("the source is sound");
        assert_eq!((compressed.bytes, compressed.quality), (None, 40), "{quality:?}");
    }
    // The coefficients of a photograph get fewer with every step of quality; where there are none, a
    // lower quality only changes the numbers in the tables.
    let flat = smaller(&jpeg(&Picture::new(64, 64, |_, _| vec![128, 128, 128]), 90, |_| {}), Quality::Absolute(70));
    for (quality, floored) in [(Quality::Absolute(60), false), (Quality::Relative(40), true)] {
        let compressed = compress(&flat, quality).expect("the source is sound");
        assert_eq!(
            (compressed.bytes, compressed.quality, compressed.quality_floor),
            (None, 70, floored),
            "{quality:?}"
        );
    }
}

#[test]
fn second_run_at_the_same_quality_changes_nothing() {
    for name in ["bird-lamp-grey.jpg", "paint-brushes.jpg", "wall-clock.jpg", "window-dogs-rotated.jpg"] {
        for quality in [20, 50, 75] {
            let once = smaller(&photograph(name), Quality::Absolute(quality));
            let twice = compress(&once, Quality::Absolute(quality)).expect(name);
            assert_eq!((twice.bytes, twice.source_quality, twice.quality), (None, quality, quality), "{name}");
        }
    }
}

#[test]
fn every_sampling_and_size_is_decoded_right() {
    use SamplingFactor::{R_4_1_0, R_4_1_1, R_4_2_0, R_4_2_1, R_4_2_2, R_4_4_0, R_4_4_1, R_4_4_4};
    for sampling in [R_4_4_4, R_4_4_0, R_4_4_1, R_4_2_2, R_4_2_0, R_4_2_1, R_4_1_1, R_4_1_0] {
        for (width, height) in [(1, 1), (7, 90), (8, 8), (16, 17), (33, 7), (67, 45), (300, 2), (2, 300)] {
            for progressive in [false, true] {
                let source = jpeg(&scene(width, height), 97, |encoder| {
                    encoder.set_sampling_factor(sampling);
                    encoder.set_progressive(progressive);
                    encoder.set_restart_interval(if width > 8 { 3 } else { 0 });
                    encoder.add_exif_metadata(&exif(1)).expect("it is short");
                });
                let case = format!("{sampling:?}, {width} x {height}, progressive: {progressive}");
                let compressed = compress(&source, Quality::Absolute(93)).expect(&case);
                assert_eq!((compressed.width, compressed.height), (width, height), "{case}");
                // Also of those that the encoder writes with a scan for each component.
                assert!(compressed.quality == 93 || width * height < 100, "{case}");
                let result = decode_jpeg(&compressed.bytes.expect(&case));
                let psnr = decode_jpeg(&source).psnr(&result);
                assert!(psnr > 28.0, "{case}: {psnr:.2} dB");
            }
        }
    }
}

#[test]
fn metadata_goes_and_the_picture_stays() {
    let plain = jpeg(&scene(120, 80), 90, |_| {});
    let xmp = [b"http://ns.adobe.com/xap/1.0/\0".as_slice(), SECRET].concat();
    let position = [b"Exif\0\0".as_slice(), &exif(1)].concat();
    let thumbnail = [b"JFIF\0\x01\x01\0\0\x01\0\x01\x04\x01".as_slice(), &SECRET[..12]].concat();
    let extra: [(u8, &[u8]); 7] = [
        (0xe0, &thumbnail),
        (0xe0, &[b"JFXX\0\x10".as_slice(), SECRET].concat()),
        (0xe1, &position),
        (0xe1, &xmp),
        (0xe2, &[b"MPF\0".as_slice(), SECRET].concat()),
        (0xed, &[b"Photoshop 3.0\0".as_slice(), SECRET].concat()),
        (0xfe, SECRET),
    ];
    let source = [with_segments(&plain, &extra).as_slice(), SECRET].concat();
    let picture = decode_jpeg(&source);

    let stripped = smaller(&source, Quality::Relative(100));
    assert_eq!(stripped.len(), plain.len());
    assert_eq!(decode_jpeg(&stripped), picture, "no pixel changes where only metadata goes");
    let lossy = smaller(&source, Quality::Relative(50));
    for result in [&stripped, &lossy] {
        assert!(!contains(result, &SECRET[..12]));
        let marks: Vec<u8> = segments(result).into_iter().map(|(marker, _)| marker).collect();
        assert!(marks.iter().all(|marker| !(0xe1..=0xef).contains(marker) && *marker != 0xfe), "{marks:x?}");
    }
}

#[test]
fn color_profile_is_kept() {
    // The longer one needs two segments.
    for length in [300, 70_000] {
        let rgb = profile(*b"RGB ", length);
        let source = jpeg(&scene(200, 150), 95, |encoder| {
            encoder.add_icc_profile(&rgb).expect("it fits");
            encoder.add_exif_metadata(&exif(1)).expect("it is short");
        });
        for quality in [Quality::Relative(50), Quality::Relative(100)] {
            assert_eq!(stored_profile(&smaller(&source, quality)), rgb, "{length} bytes, {quality:?}");
        }
    }
    let grey = profile(*b"GRAY", 300);
    let source = jpeg(&scene(200, 150).grey(), 95, |encoder| encoder.add_icc_profile(&grey).expect("it fits"));
    assert_eq!(stored_profile(&smaller(&source, Quality::Relative(50))), grey);
}

#[test]
fn color_profile_that_cannot_be_meant_is_dropped() {
    let part = |number, count, space| [b"ICC_PROFILE\0".as_slice(), &[number, count], &profile(space, 300)].concat();
    let cases = [
        ("for another colour space", vec![part(1, 1, *b"CMYK")]),
        ("incomplete", vec![part(1, 2, *b"RGB ")]),
        ("numbered twice", vec![part(1, 2, *b"RGB "), part(1, 2, *b"RGB ")]),
        ("shorter than its header", vec![b"ICC_PROFILE\0\x01\x01RGB ".to_vec()]),
        ("empty", vec![b"ICC_PROFILE\0".to_vec()]),
    ];
    for (case, parts) in cases {
        let extra: Vec<(u8, &[u8])> = parts.iter().map(|part| (0xe2, part.as_slice())).collect();
        let source = with_segments(&jpeg(&scene(120, 80), 90, |_| {}), &extra);
        for quality in [Quality::Relative(50), Quality::Relative(100)] {
            assert!(stored_profile(&smaller(&source, quality)).is_empty(), "{case}");
        }
    }
}

#[test]
fn color_profile_out_of_order_is_put_together() {
    let whole = profile(*b"RGB ", 400);
    let part = |number, content: &[u8]| [b"ICC_PROFILE\0".as_slice(), &[number, 2], content].concat();
    let (first, second) = (part(1, &whole[..250]), part(2, &whole[250..]));
    let source = with_segments(&jpeg(&scene(120, 80), 90, |_| {}), &[(0xe2, &second), (0xe2, &first)]);
    assert_eq!(stored_profile(&smaller(&source, Quality::Relative(50))), whole);
}

#[test]
fn single_colors_survive() {
    for color in [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255], [18, 130, 77]] {
        let source = jpeg(&Picture::new(40, 30, |_, _| color.to_vec()), 95, |encoder| {
            encoder.add_exif_metadata(&exif(1)).expect("it is short");
        });
        let result = decode_jpeg(&smaller(&source, Quality::Relative(50)));
        assert!(result.samples.chunks_exact(3).flatten().zip(color.iter().cycle()).all(|(a, b)| a.abs_diff(*b) <= 6));
    }
}

fn stored_profile(jpeg: &[u8]) -> Vec<u8> {
    let parts = segments(jpeg).into_iter().filter(|(marker, _)| *marker == 0xe2);
    parts.flat_map(|(_, body)| body.strip_prefix(b"ICC_PROFILE\0").expect("a profile")[2..].to_vec()).collect()
}

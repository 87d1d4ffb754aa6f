//! Between JPEG and PNG: the picture stays, colours included.

use codec::{Format, Limits, Options, Quality, TargetFormat};

use crate::{
    orientation::shown,
    sample::{
        Chunk, Picture, PngHeader, SECRET, chunks, compress, contains, convert, decode_jpeg, decode_png, exif, jpeg,
        photograph, png, png_kind, png_of, profile, rows, scene, segments,
    },
};

#[test]
fn jpeg_becomes_png() {
    let source = jpeg(&scene(61, 47), 90, |_| {});
    let (compressed, bytes) = convert(&source, TargetFormat::Png, 100);
    assert_eq!((compressed.format, compressed.source_format), (Format::Png, Format::Jpeg));
    assert_eq!((compressed.width, compressed.height), (61, 47));
    assert_eq!((compressed.source_quality, compressed.quality), (90, 90), "no more is lost");
    assert!(bytes.len() > source.len(), "it is delivered all the same");
    // Decoders round and smooth differently.
    let psnr = decode_png(&bytes).psnr(&decode_jpeg(&source).rgba());
    assert!(psnr > 38.0, "{psnr:.2} dB");

    let grey = jpeg(&scene(61, 47).grey(), 90, |_| {});
    let (_, bytes) = convert(&grey, TargetFormat::Png, 90);
    assert_eq!(png_kind(&bytes).1, 0);
    assert!(decode_png(&bytes).psnr(&decode_jpeg(&grey).rgba()) > 45.0);
}

#[test]
fn quality_of_a_png_converted_from_jpeg_is_a_palettes() {
    let source = jpeg(&scene(160, 120), 90, |_| {});
    let options = Options { format: TargetFormat::Png, ..Options::default() };
    let compressed = codec::compress(&source, &options, &Limits::default()).expect("it is sound");
    assert_eq!((compressed.source_quality, compressed.quality), (90, 45));
    assert_eq!(png_kind(&compressed.bytes.expect("it was asked for")).1, 3);
}

#[test]
fn png_becomes_jpeg() {
    for picture in [scene(60, 44), scene(61, 47).grey()] {
        let source = png(&picture, &[(b"tEXt", SECRET)]);
        let (compressed, bytes) = convert(&source, TargetFormat::Jpeg, 90);
        assert_eq!((compressed.format, compressed.source_format), (Format::Jpeg, Format::Png));
        assert_eq!((compressed.source_quality, compressed.quality), (100, 90));
        assert_eq!(codec::jpeg_quality(&bytes), Ok(90));
        assert!(!contains(&bytes, SECRET));
        let result = decode_jpeg(&bytes);
        assert_eq!(result.channels, picture.channels);
        assert!(result.psnr(&picture) > 30.0);
    }
}

#[test]
fn transparent_areas_of_a_jpeg_are_white() {
    let alpha = |x: u32| [0, 128, 255][(x / 32) as usize];
    let picture = Picture::new(96, 32, |x, _| vec![200, 0, 0, alpha(x)]);
    let (_, bytes) = convert(&png(&picture, &[]), TargetFormat::Jpeg, 95);
    let result = decode_jpeg(&bytes);
    // The middles: 4:2:0 blurs the borders.
    for (x, expected) in [(16, [255, 255, 255]), (48, [227, 127, 127]), (80, [200, 0, 0])] {
        let found = result.pixel(x, 16);
        assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 4), "at {x}: {found:?}");
    }
    let grey = Picture::new(64, 32, |x, _| vec![0, if x < 32 { 0 } else { 255 }]);
    let result = decode_jpeg(&convert(&png(&grey, &[]), TargetFormat::Jpeg, 95).1);
    assert_eq!((result.channels, result.pixel(8, 8)[0] > 250, result.pixel(56, 8)[0] < 5), (1, true, true));
}

#[test]
fn sixteen_bits_become_eight_to_the_nearest() {
    let samples: Vec<u8> = (0..64 * 64).flat_map(|_| [0x7e, 0xff]).collect();
    let header = PngHeader { width: 64, height: 64, depth: 16, color: 0, interlaced: false, chunks: &[] };
    let (_, bytes) = convert(&png_of(&header, &rows(&samples, 128)), TargetFormat::Jpeg, 100);
    assert_eq!(decode_jpeg(&bytes).pixel(20, 20), [127]);
}

#[test]
fn orientation_is_applied() {
    for orientation in 1..=8 {
        let exif = exif(orientation);
        let source = jpeg(&scene(50, 34), 95, |encoder| encoder.add_exif_metadata(&exif).expect("it is short"));
        let (compressed, bytes) = convert(&source, TargetFormat::Png, 100);
        let expected = shown(&decode_jpeg(&source), orientation).rgba();
        assert_eq!((compressed.width, compressed.height), (expected.width, expected.height));
        let psnr = decode_png(&bytes).psnr(&expected);
        assert!(psnr > 38.0, "{orientation}: {psnr:.2} dB");
        assert!(chunks(&bytes).iter().all(|(name, _)| name != b"eXIf"));

        let source = png(&scene(50, 34), &[(b"eXIf", &exif)]);
        let (_, bytes) = convert(&source, TargetFormat::Jpeg, 95);
        assert!(decode_jpeg(&bytes).rgba().psnr(&shown(&decode_png(&source), orientation)) > 30.0, "{orientation}");
        assert!(segments(&bytes).iter().all(|(marker, _)| *marker != 0xe1));
    }
}

#[test]
fn color_profile_goes_along() {
    let rgb = profile(*b"RGB ", 500);
    let source = jpeg(&scene(64, 48), 90, |encoder| encoder.add_icc_profile(&rgb).expect("it fits"));
    let (_, as_png) = convert(&source, TargetFormat::Png, 90);
    let decoder = ::png::Decoder::new(std::io::Cursor::new(&as_png)).read_info().expect("it is a PNG");
    assert_eq!(decoder.info().icc_profile.as_deref(), Some(rgb.as_slice()));

    let (_, as_jpeg) = convert(&as_png, TargetFormat::Jpeg, 80);
    let stored = segments(&as_jpeg).into_iter().find(|(marker, _)| *marker == 0xe2).expect("it has a profile");
    assert_eq!(&stored.1[14..], rgb.as_slice());

    // Made for other colours than the picture's.
    let packed = [b"name\0\0".as_slice(), &fdeflate::compress_to_vec(&profile(*b"CMYK", 500))].concat();
    let (_, as_jpeg) = convert(&png(&scene(64, 48), &[(b"iCCP", &packed)]), TargetFormat::Jpeg, 80);
    assert!(segments(&as_jpeg).iter().all(|(marker, _)| *marker != 0xe2));
}

#[test]
fn colors_that_only_png_can_describe_become_srgb() {
    let picture = Picture::new(64, 64, |_, _| vec![128, 128, 128]);
    let gamma = |value: u32| value.to_be_bytes();
    let (linear, usual) = (gamma(100_000), gamma(45_455));
    // The primaries of Display P3, with the white of sRGB.
    let p3: Vec<u8> =
        [31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000].into_iter().flat_map(gamma).collect();
    let green = Picture::new(64, 64, |_, _| vec![60, 200, 90]);
    let cases: [(&str, &Picture, Vec<Chunk<'_>>, [u8; 3]); 6] = [
        ("linear", &picture, vec![(b"gAMA", &linear)], [188; 3]),
        ("usual gamma", &picture, vec![(b"gAMA", &usual)], [128; 3]),
        ("sRGB wins", &picture, vec![(b"sRGB", &[0]), (b"gAMA", &linear)], [128; 3]),
        ("code points win", &picture, vec![(b"cICP", &[1, 13, 0, 1]), (b"gAMA", &linear)], [128; 3]),
        ("linear by code points", &picture, vec![(b"cICP", &[1, 8, 0, 1])], [188; 3]),
        ("wide gamut", &green, vec![(b"cHRM", &p3)], [0, 203, 72]),
    ];
    for (case, picture, chunks, expected) in cases {
        let (_, bytes) = convert(&png(picture, &chunks), TargetFormat::Jpeg, 100);
        let found = decode_jpeg(&bytes).pixel(20, 20).to_vec();
        assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 4), "{case}: {found:?}, not {expected:?}");
        assert!(segments(&bytes).iter().all(|(marker, _)| *marker != 0xe2), "{case}");
    }
}

#[test]
fn high_dynamic_range_is_refused_by_name() {
    let source = png(&scene(32, 32), &[(b"cICP", &[9, 16, 0, 1])]);
    let options = Options { format: TargetFormat::Jpeg, ..Options::default() };
    let error = codec::compress(&source, &options, &Limits::default()).expect_err("8 bits are too few");
    assert_eq!((error.code(), error.to_string().contains("HDR")), ("UnsupportedFormat", true), "{error}");
}

#[test]
fn asking_for_the_sources_format_is_keeping_it() {
    for (name, format) in [("mountain-thumb.jpg", TargetFormat::Jpeg), ("wall-clock.jpg", TargetFormat::Jpeg)] {
        let source = photograph(name);
        let options = Options { format, ..Options::default() };
        let asked = codec::compress(&source, &options, &Limits::default());
        assert_eq!(asked, compress(&source, Quality::Relative(50)), "{name}");
    }
}

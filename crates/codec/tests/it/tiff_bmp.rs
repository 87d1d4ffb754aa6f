//! TIFF and BMP: read right in all their kinds, and raw photographs told from them.

use codec::{Format, Limits, Options, Quality, TargetFormat};

use crate::{
    orientation::shown,
    raster_source::{Field, bmp, pages, tiff},
    sample::{Picture, compress, convert, decode_jpeg, decode_png, scene},
    webp_source::decode_webp,
};

#[test]
fn tiff_becomes_png() {
    let color = scene(61, 43);
    let soft = Picture::new(61, 43, |x, y| [color.pixel(x, y), &[(x * 4) as u8]].concat());
    let cases: [(&str, Picture, &[Field]); 3] =
        [("grey", color.grey(), &[]), ("RGB", color, &[]), ("RGBA", soft, &[(338, 3, 1, 2 << 16)])];
    for (case, picture, fields) in cases {
        for depth in [8, 16] {
            let source = tiff(&picture, depth, fields);
            let options = Options { quality: Quality::Absolute(100), ..Options::default() };
            let compressed = codec::compress(&source, &options, &Limits::default()).expect(case);
            assert_eq!((compressed.format, compressed.source_format), (Format::Png, Format::Tiff), "{case}");
            let bytes = compressed.bytes.expect("it can be packed");
            assert_eq!(decode_png(&bytes), picture.rgba(), "{case}, {depth} bits");
            let half = compress(&source, Quality::Relative(50)).expect(case).bytes.expect("a palette is smaller");
            assert!(decode_png(&half).visible().psnr(&picture.rgba().visible()) > 28.0, "{case}");
        }
    }
}

#[test]
fn tiff_is_turned() {
    for orientation in 1..=8 {
        let source = tiff(&scene(50, 34), 8, &[(274, 3, 1, u32::from(orientation) << 16)]);
        let expected = shown(&scene(50, 34), orientation).rgba();
        let (compressed, bytes) = convert(&source, TargetFormat::Png, 100);
        assert_eq!((compressed.width, compressed.height), (expected.width, expected.height), "{orientation}");
        assert_eq!(decode_png(&bytes), expected, "{orientation}");
    }
}

#[test]
fn alpha_is_taken_out_of_colors() {
    for depth in [8, 16] {
        let source = tiff(
            &Picture::new(8, 8, |x, _| if x < 4 { vec![64, 32, 0, 128] } else { vec![0; 4] }),
            depth,
            &[(338, 3, 1, 1 << 16)],
        );
        let result = decode_png(&convert(&source, TargetFormat::Png, 100).1);
        assert!(result.pixel(0, 0).iter().zip([128, 64, 0, 128]).all(|(a, b)| a.abs_diff(b) <= 1), "{result:?}");
        assert_eq!(result.pixel(7, 0)[3], 0);
    }
}

#[test]
fn inks_become_colors() {
    let picture = Picture::new(32, 8, |x, _| if x < 16 { vec![0, 255, 255, 0] } else { vec![0, 0, 0, 255] });
    let source = tiff(&picture, 8, &[(262, 3, 1, 5 << 16)]);
    let result = decode_jpeg(&convert(&source, TargetFormat::Jpeg, 95).1);
    assert!(result.pixel(4, 4).iter().zip([255, 0, 0]).all(|(a, b)| a.abs_diff(b) <= 4), "{:?}", result.pixel(4, 4));
    assert!(result.pixel(28, 4).iter().all(|sample| *sample <= 4));
}

#[test]
fn several_pages_are_kept() {
    let (first, second) = (scene(40, 30), scene(20, 10));
    let source = pages(&[(&first, 8, &[]), (&second, 8, &[])]);
    let options = Options { max_width: Some(10), ..Options::default() };
    let kept = codec::compress(&source, &options, &Limits::default()).expect("it is sound");
    assert_eq!((kept.format, kept.bytes, kept.width), (Format::Tiff, None, 40));
    let (_, bytes) = convert(&source, TargetFormat::WebP, 100);
    assert_eq!(decode_webp(&bytes), first.rgba());
    // A smaller version of the first page is no page.
    let source = pages(&[(&first, 8, &[]), (&second, 8, &[(254, 4, 1, 1)])]);
    assert_eq!(compress(&source, Quality::Relative(50)).map(|it| it.format), Ok(Format::Png));
}

#[test]
fn raw_photographs_are_refused_by_name() {
    let preview = scene(16, 16);
    let make = |text: &[u8; 4]| u32::from_be_bytes(*text);
    let maker = |at: u32| [(254, 4, 1, 1), (271, 2, 8, at), (330, 4, 1, 8)];
    let with_make = |name: &[u8; 8]| {
        let plain = tiff(&preview, 8, &maker(0));
        let at = plain.len() as u32;
        [tiff(&preview, 8, &maker(at)).as_slice(), name].concat()
    };
    let mut canon = tiff(&preview, 8, &[]);
    canon.splice(8..10, *b"CR");
    let cases = [
        ("DNG", tiff(&preview, 8, &[(50_706, 1, 4, make(&[1, 4, 0, 0]))])),
        ("NEF", with_make(b"NIKON C\0")),
        ("ARW", with_make(b"SONY   \0")),
        ("camera raw", with_make(b"Unknown\0")),
        ("CR2", canon),
        ("ORF", b"IIRO\x08\0\0\0".to_vec()),
        ("RAF", b"FUJIFILMCCD-RAW 0201".to_vec()),
    ];
    for (name, source) in cases {
        let error = compress(&source, Quality::Relative(50)).expect_err(name);
        assert_eq!((error.code(), error.to_string().contains(name)), ("UnsupportedFormat", true), "{error}");
    }
}

#[test]
fn kinds_of_tiff_that_are_not_handled_are_named() {
    let palette = tiff(&scene(16, 16).grey(), 8, &[(262, 3, 1, 3 << 16), (320, 3, 768, 8)]);
    let packed = tiff(&scene(16, 16), 8, &[(259, 3, 1, 34_712 << 16)]);
    for source in [palette, packed] {
        let error = compress(&source, Quality::Relative(50)).expect_err("it is rare");
        assert_eq!((error.code(), error.to_string().contains("TIFF")), ("UnsupportedFormat", true), "{error}");
    }
}

#[test]
fn bmp_becomes_png() {
    let color = scene(61, 43);
    let soft = Picture::new(61, 43, |x, y| [color.pixel(x, y), &[(x * 4) as u8]].concat());
    for picture in [color.grey(), color, soft] {
        let source = bmp(&picture);
        let options = Options { quality: Quality::Absolute(100), ..Options::default() };
        let compressed = codec::compress(&source, &options, &Limits::default()).expect("it is sound");
        assert_eq!((compressed.format, compressed.source_format), (Format::Png, Format::Bmp));
        assert_eq!(decode_png(&compressed.bytes.expect("it can be packed")), picture.rgba());
        let result = decode_jpeg(&convert(&source, TargetFormat::Jpeg, 95).1);
        assert_eq!((result.width, result.height), (61, 43));
    }
}

#[test]
fn claims_are_refused_before_a_pixel_is_decoded() {
    let mut wide = bmp(&scene(16, 16));
    wide[18..26].copy_from_slice(&[0, 0x40, 0, 0, 0, 0x40, 0, 0]);
    let mut side = bmp(&scene(16, 16));
    side[18..22].copy_from_slice(&[0, 0, 1, 0]);
    let small = scene(16, 16);
    let deep = [(256, 4, 1, 7_000), (257, 4, 1, 7_000), (278, 4, 1, 7_000), (279, 4, 1, 147_000_000)];
    let cases = [
        ("BMP", wide, "pixels"),
        ("BMP", side, "pixels a side"),
        ("TIFF", tiff(&small, 8, &[(256, 4, 1, 16_000), (257, 4, 1, 16_000)]), "pixels"),
        ("TIFF", tiff(&small, 8, &[(256, 4, 1, u32::MAX)]), "pixels a side"),
        ("TIFF", tiff(&small, 8, &deep), "memory"),
    ];
    for (case, source, part) in cases {
        let error = compress(&source, Quality::Relative(50)).expect_err(case);
        assert_eq!((error.code(), error.to_string().contains(part)), ("ImageTooLarge", true), "{case}: {error}");
    }
    // Its directory is its own successor.
    let mut circle = tiff(&small, 8, &[]);
    let directory = circle[4..8].to_vec();
    let end = circle.len();
    circle[end - 4..].copy_from_slice(&directory);
    let error = compress(&circle, Quality::Relative(50)).expect_err("it never ends");
    assert_eq!((error.code(), error.to_string().contains("frames")), ("ImageTooLarge", true), "{error}");
}

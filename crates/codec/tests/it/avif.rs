//! AVIF: files of other programs are read, and what is written is read by others.

use codec::{Effort, Format, Limits, Options, Quality, TargetFormat};

use crate::{
    avif_source::{avif, boxes, decode_avif, original},
    orientation::shown,
    sample::{
        Picture, SECRET, chunks, compress, contains, convert, decode_jpeg, decode_png, jpeg, photograph, png, profile,
        scene, smaller,
    },
};

/// Every file that is read, with how alike it has to be, in decibels.
const KINDS: [(&str, f64); 12] = [
    ("420", 25.0),
    ("422", 26.0),
    ("444", 38.0),
    ("10-bit", 26.0),
    ("12-bit", 38.0),
    ("limited", 38.0),
    ("lossless", 99.0),
    ("alpha", 36.0),
    ("alpha-premultiplied", 36.0),
    ("alpha-10-bit", 36.0),
    ("grid", 30.0),
    ("grid-alpha", 36.0),
];

fn opaque(picture: &Picture) -> Picture {
    Picture::new(picture.width, picture.height, |x, y| [&picture.pixel(x, y)[..3], &[255]].concat())
}

fn expected(name: &str) -> Picture {
    if name.contains("alpha") { original(name).visible() } else { opaque(&original(name)) }
}

#[test]
fn every_kind_is_read() {
    for (name, least) in KINDS {
        let (compressed, bytes) = convert(&avif(name), TargetFormat::Png, 100);
        let expected = expected(name);
        assert_eq!((compressed.source_format, compressed.format), (Format::Avif, Format::Png));
        assert_eq!((compressed.width, compressed.height), (expected.width, expected.height), "{name}");
        let psnr = decode_png(&bytes).visible().psnr(&expected);
        assert!(psnr > least, "{name}: {psnr:.2} dB");
    }
    let grey = decode_png(&convert(&avif("grey"), TargetFormat::Png, 100).1);
    let weighted =
        |pixel: &[u8]| (0.299 * f64::from(pixel[0]) + 0.587 * f64::from(pixel[1]) + 0.114 * f64::from(pixel[2])) as u8;
    let original = original("grey");
    let expected = Picture::new(67, 45, |x, y| [[weighted(original.pixel(x, y)); 3].as_slice(), &[255]].concat());
    assert!(grey.psnr(&expected) > 38.0);
}

#[test]
fn turns_are_applied() {
    let pictures = [("1", 8), ("2", 3), ("3", 6), ("00", 4), ("01", 2), ("10", 5), ("11", 7)];
    let pictures = pictures.map(|(name, orientation)| (format!("turned-{name}"), orientation));
    for (name, orientation) in pictures.into_iter().chain([("pillow".to_owned(), 6)]) {
        let expected = shown(&opaque(&original(&name)), orientation);
        for format in [TargetFormat::Png, TargetFormat::Avif] {
            let options = Options { quality: Quality::Absolute(98), format, ..Options::default() };
            let result = codec::compress(&avif(&name), &options, &Limits::default()).expect("it is sound");
            assert_eq!((result.width, result.height), (expected.width, expected.height), "{name}");
            let Some(bytes) = result.bytes else { continue };
            if format == TargetFormat::Png {
                let psnr = decode_png(&bytes).psnr(&expected);
                assert!(psnr > 36.0, "{name}: {psnr:.2} dB");
            } else {
                // The turn is kept, and understood again.
                let again = codec::compress(&bytes, &options, &Limits::default()).expect("it is sound");
                assert_eq!((again.width, again.height), (expected.width, expected.height), "{name}");
            }
        }
        let (_, bytes) = convert(&avif(&name), TargetFormat::Jpeg, 95);
        assert!(decode_jpeg(&bytes).width == expected.width);
    }
}

#[test]
fn metadata_goes_and_the_profile_stays() {
    let source = avif("metadata");
    assert!(contains(&source, SECRET));
    for quality in [50, 100] {
        let compressed = compress(&source, Quality::Relative(quality)).expect("it is sound");
        assert_eq!(compressed.format, Format::Avif);
        let bytes = compressed.bytes.expect("metadata goes");
        assert!(!contains(&bytes, SECRET) && contains(&bytes, b"prof"), "{quality}");
    }
    // What is encoded anew is turned, and what is kept says how to.
    let half = decode_avif(&smaller(&source, Quality::Relative(50)));
    let psnr = half.psnr(&shown(&opaque(&original("metadata")), 6));
    assert!(psnr > 25.0, "{psnr:.2} dB");
    let kept = smaller(&source, Quality::Relative(100));
    assert_eq!(decode_avif(&kept), decode_avif(&source));
    assert_eq!(compress(&kept, Quality::Relative(100)).map(|it| it.bytes), Ok(None), "nothing is left to remove");
}

#[test]
fn lossy_becomes_smaller_and_grids_stay_sound() {
    for (name, least) in KINDS {
        let source = avif(name);
        let compressed = compress(&source, Quality::Relative(30)).expect("it is sound");
        let Some(bytes) = compressed.bytes else { continue };
        let psnr = decode_avif(&bytes).visible().psnr(&expected(name));
        assert!(psnr > least.min(24.0), "{name}: {psnr:.2} dB");
    }
    let source = convert(&photograph("paint-brushes.jpg"), TargetFormat::Avif, 90).1;
    let half = compress(&source, Quality::Relative(50)).expect("it is sound");
    assert!(half.quality.abs_diff(45) <= 2, "{}", half.quality);
    let bytes = half.bytes.expect("half of the quality is smaller");
    assert!(bytes.len() * 2 < source.len(), "{} of {}", bytes.len(), source.len());
    assert!(decode_avif(&bytes).psnr(&decode_avif(&source)) > 30.0);
}

#[test]
fn quality_is_recognized() {
    let soft = Picture::new(120, 90, |x, y| [scene(120, 90).pixel(x, y), &[(x * 2) as u8]].concat());
    for picture in [scene(160, 120), scene(17, 9), soft] {
        for quality in (10..=100).step_by(10).chain([84, 85]) {
            let bytes = convert(&png(&picture, &[]), TargetFormat::Avif, quality).1;
            let found = compress(&bytes, Quality::Relative(100)).expect("it is sound").source_quality;
            assert!(found.abs_diff(quality) <= 3, "{} x {}: {found}, not {quality}", picture.width, picture.height);
        }
    }
    assert_eq!(compress(&avif("lossless"), Quality::Relative(100)).map(|it| it.source_quality), Ok(100));
}

#[test]
fn second_run_at_the_same_quality_changes_nothing() {
    for quality in [20, 45, 50, 75, 90] {
        let once = convert(&photograph("mountain-thumb.jpg"), TargetFormat::Avif, quality).1;
        let twice = compress(&once, Quality::Absolute(quality)).expect("it is sound");
        assert_eq!(twice.bytes, None, "{quality}: {}", twice.source_quality);
    }
}

#[test]
fn formats_become_avif() {
    let color = scene(121, 83);
    let soft = Picture::new(121, 83, |x, y| [color.pixel(x, y), &[(x * 2) as u8]].concat());
    let hard = Picture::new(121, 83, |x, y| [color.pixel(x, y), &[255]].concat());
    let grey = color.grey();
    let soft_grey = Picture::new(121, 83, |x, y| [grey.pixel(x, y), &[(x * 2) as u8]].concat());
    let sources = [
        ("JPEG", jpeg(&color, 95, |_| {}), color.rgba(), false),
        ("grey JPEG", jpeg(&grey, 95, |_| {}), grey.rgba(), false),
        ("PNG", png(&color, &[]), color.rgba(), false),
        ("soft PNG", png(&soft, &[]), soft.clone(), true),
        ("soft grey PNG", png(&soft_grey, &[]), soft_grey.rgba(), true),
        ("opaque PNG", png(&hard, &[]), hard, false),
    ];
    for (case, source, expected, alpha) in sources {
        let (compressed, bytes) = convert(&source, TargetFormat::Avif, 90);
        assert_eq!((compressed.format, compressed.quality, compressed.width), (Format::Avif, 90, 121), "{case}");
        let psnr = decode_avif(&bytes).visible().psnr(&expected.visible());
        assert!(psnr > 32.0, "{case}: {psnr:.2} dB");
        assert_eq!(boxes(&bytes, *b"auxC").len(), usize::from(alpha), "{case}");
    }
}

#[test]
fn effort_makes_a_difference() {
    let source = photograph("mountain-thumb.jpg");
    let [small, fast] = [Effort::Small, Effort::Fast].map(|effort| {
        let options = Options { effort, format: TargetFormat::Avif, ..Options::default() };
        let compressed = codec::compress(&source, &options, &Limits::default()).expect("it is sound");
        compressed.bytes.expect("it was asked for")
    });
    assert_ne!(small, fast);
}

#[test]
fn every_size_is_read_and_written() {
    for (width, height) in [(1, 1), (2, 1), (1, 3), (15, 16), (17, 33), (300, 2), (2, 300)] {
        let picture = scene(width, height);
        let (compressed, bytes) = convert(&png(&picture, &[]), TargetFormat::Avif, 90);
        assert_eq!((compressed.width, compressed.height), (width, height));
        assert!(decode_avif(&bytes).psnr(&picture.rgba()) > 26.0, "{width} x {height}");
        let (_, back) = convert(&bytes, TargetFormat::Png, 100);
        assert!(decode_png(&back).psnr(&picture.rgba()) > 26.0, "{width} x {height}");
    }
}

#[test]
fn large_picture_becomes_a_grid_of_tiles() {
    for (width, height) in [(3_100, 3_100), (3_201, 3_001)] {
        let picture = Picture::new(width, height, |x, y| vec![(x / 13) as u8, (y / 13) as u8, ((x ^ y) / 50) as u8]);
        let (compressed, bytes) = convert(&jpeg(&picture, 95, |_| {}), TargetFormat::Avif, 60);
        assert_eq!((compressed.width, compressed.height), (width, height));
        assert_eq!(boxes(&bytes, *b"dimg").len(), 1);
        let psnr = decode_avif(&bytes).psnr(&picture.rgba());
        assert!(psnr > 32.0, "{width} x {height}: {psnr:.2} dB");
    }
}

#[test]
fn colors_go_along() {
    let code_points = |png: &[u8]| chunks(png).iter().find(|(name, _)| name == b"cICP").map(|(_, it)| it.to_vec());
    let (_, p3) = convert(&avif("p3"), TargetFormat::Png, 100);
    assert_eq!(code_points(&p3), Some(vec![12, 13, 0, 1]));
    let (_, back) = convert(&p3, TargetFormat::Avif, 90);
    assert!(contains(&back, b"nclx\0\x0c\0\x0d\0\x06\x80"));
    assert!(decode_avif(&back).psnr(&opaque(&original("p3"))) > 32.0);
    // Formats without code points have sRGB, whose numbers are others.
    let shifted = decode_jpeg(&convert(&avif("p3"), TargetFormat::Jpeg, 95).1);
    assert!(shifted.rgba().psnr(&opaque(&original("p3"))) < 32.0);
    assert_eq!(code_points(&convert(&avif("444"), TargetFormat::Png, 100).1), None);
    // A profile stays one, but for grey.
    let rgb = profile(*b"RGB ", 501);
    let tagged = jpeg(&scene(90, 60), 90, |encoder| encoder.add_icc_profile(&rgb).expect("it fits"));
    let (_, bytes) = convert(&tagged, TargetFormat::Avif, 80);
    assert!(contains(&bytes, &[b"colrprof", rgb.as_slice()].concat()));
    assert!(contains(&convert(&bytes, TargetFormat::Jpeg, 80).1, &rgb));
    let grey = jpeg(&scene(90, 60).grey(), 90, |encoder| {
        encoder.add_icc_profile(&profile(*b"GRAY", 300)).expect("it fits");
    });
    assert!(!contains(&convert(&grey, TargetFormat::Avif, 80).1, b"prof"));
}

#[test]
fn high_dynamic_range_is_kept_and_not_converted() {
    let source = avif("hdr");
    let kept = compress(&source, Quality::Relative(50)).expect("it is sound");
    assert_eq!(kept.quality, kept.source_quality);
    if let Some(bytes) = kept.bytes {
        assert_eq!(decode_avif(&bytes), decode_avif(&source));
    }
    for format in [TargetFormat::Png, TargetFormat::Jpeg] {
        let options = Options { format, ..Options::default() };
        let error = codec::compress(&source, &options, &Limits::default()).expect_err("8 bits are too few");
        assert_eq!((error.code(), error.to_string().contains("dynamic range")), ("UnsupportedFormat", true), "{error}");
    }
}

/// Changes a byte behind the first box of this name.
fn patched(name: &str, of: [u8; 4], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = avif(name);
    let start = boxes(&changed, of)[0] + offset;
    changed[start..start + bytes.len()].copy_from_slice(bytes);
    changed
}

#[test]
fn what_is_not_handled_is_named() {
    let cases = [
        ("animated", avif("animated")),
        ("clap", avif("clap")),
        ("matrix 14", patched("limited", *b"nclx", 9, &[14])),
        // RGB as it is has no coarser chroma.
        ("matrix 0", patched("420", *b"nclx", 9, &[0])),
        ("hvc1", patched("444", *b"av01", 0, b"hvc1")),
    ];
    for (part, source) in cases {
        let error = compress(&source, Quality::Relative(50)).expect_err(part);
        assert_eq!((error.code(), error.to_string().contains(part)), ("UnsupportedFormat", true), "{part}: {error}");
    }
}

#[test]
fn claims_are_refused_by_the_header() {
    let huge = [0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff];
    let mut pages = avif("444");
    let header = boxes(&pages, *b"meta")[0];
    let length = 1_100_000_u32 + u32::from_be_bytes(pages[header - 4..header].try_into().expect("it has four bytes"));
    pages[header - 4..header].copy_from_slice(&length.to_be_bytes());
    pages.splice(
        header + 8..header + 8,
        [1_100_000_u32.to_be_bytes().as_slice(), b"free", &vec![0; 1_099_992]].concat(),
    );
    let mut rows = avif("grid");
    let grid = rows.windows(8).position(|it| it == [0, 0, 1, 1, 0, 128, 0, 128]).expect("it has a grid");
    rows[grid + 2] = 9;
    let cases = [
        ("size", patched("444", *b"ispe", 8, &huge), "ImageTooLarge", "pixels"),
        ("size of a grid", patched("grid", *b"ispe", 8, &huge), "ImageTooLarge", "pixels"),
        ("another size than the stream's", patched("444", *b"ispe", 11, &[68]), "ImageCorrupt", "two sizes"),
        ("rows of a grid", rows, "ImageCorrupt", "grid"),
        ("header of a megabyte", pages, "ImageTooLarge", "header"),
        ("no width", patched("444", *b"ispe", 8, &[0; 4]), "ImageCorrupt", "0 x 45"),
        ("size without its property", patched("444", *b"ispe", 0, b"free"), "ImageCorrupt", "no size"),
        ("item that is nowhere", patched("444", *b"pitm", 8, &[0, 9]), "ImageCorrupt", "missing"),
    ];
    for (case, source, code, part) in cases {
        let error = compress(&source, Quality::Relative(50)).expect_err(case);
        assert_eq!((error.code(), error.to_string().contains(part)), (code, true), "{case}: {error}");
    }
    let limits = Limits { max_alloc: 67 * 45 * 20 - 1, ..Limits::default() };
    let error = codec::compress(&avif("444"), &Options::default(), &limits).expect_err("it takes a byte more");
    assert!(error.to_string().contains("memory"), "{error}");
}

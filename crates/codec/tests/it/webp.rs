//! WebP: read and written, lossy and lossless, and what a conversion leaves of a picture.

use codec::{Format, Limits, Options, Quality, TargetFormat};

use crate::{
    orientation::shown,
    sample::{
        Picture, SECRET, compress, contains, convert, decode_jpeg, decode_png, exif, jpeg, photograph, png, profile,
        scene, smaller,
    },
    webp_source::{animated_webp, container, decode_webp, lossless_webp, lossy_webp, webp_chunks, write_webp},
};

#[test]
fn quality_is_recognized() {
    let soft = Picture::new(120, 90, |x, y| [scene(120, 90).pixel(x, y), &[(x * 2) as u8]].concat());
    for picture in [scene(320, 240), scene(17, 9), soft] {
        for quality in (5..=100).step_by(5) {
            let compressed = compress(&lossy_webp(&picture, quality), Quality::Relative(100)).expect("it is sound");
            let found = compressed.source_quality;
            assert!(found.abs_diff(quality) <= 3, "{} x {}: {found}, not {quality}", picture.width, picture.height);
        }
    }
    let compressed = compress(&lossless_webp(&scene(32, 32)), Quality::Relative(100)).expect("it is sound");
    assert_eq!(compressed.source_quality, 100);
}

#[test]
fn lossy_becomes_smaller() {
    let source = lossy_webp(&scene(320, 240), 90);
    let compressed = compress(&source, Quality::Relative(50)).expect("it is sound");
    assert_eq!((compressed.format, compressed.width, compressed.height), (Format::WebP, 320, 240));
    assert!(compressed.quality.abs_diff(45) <= 2, "{}", compressed.quality);
    let bytes = compressed.bytes.expect("half of the quality is smaller");
    assert!(bytes.len() * 10 < source.len() * 7, "{} of {}", bytes.len(), source.len());
    let psnr = decode_webp(&bytes).psnr(&decode_webp(&source));
    assert!(psnr > 30.0, "{psnr:.2} dB");
}

#[test]
fn second_run_at_the_same_quality_changes_nothing() {
    for quality in [20, 45, 50, 75, 90] {
        let once = convert(&photograph("paint-brushes.jpg"), TargetFormat::WebP, quality).1;
        let twice = compress(&once, Quality::Absolute(quality)).expect("it is sound");
        assert_eq!(twice.bytes, None, "{quality}: {}", twice.source_quality);
    }
}

#[test]
fn lossless_stays_exact_at_full_quality_only() {
    let soft = Picture::new(120, 90, |x, y| [scene(120, 90).pixel(x, y), &[(x * 2) as u8]].concat());
    let source = container(&lossless_webp(&soft), 0x18, &[], &exif(1));
    let full = compress(&source, Quality::Absolute(100)).expect("it is sound");
    assert_eq!((full.source_quality, full.quality), (100, 100));
    assert_eq!(decode_webp(&full.bytes.expect("the position goes")), soft);
    let half = compress(&source, Quality::Relative(50)).expect("it is sound");
    assert_eq!(half.quality, 50);
    let bytes = half.bytes.expect("lossy is smaller");
    assert!(webp_chunks(&bytes).iter().any(|(name, _)| name == b"VP8 "));
}

#[test]
fn formats_become_webp() {
    let color = scene(121, 83);
    let soft = Picture::new(121, 83, |x, y| [color.pixel(x, y), &[(x * 2) as u8]].concat());
    let hard = Picture::new(121, 83, |x, y| [color.pixel(x, y), &[255]].concat());
    let grey = Picture::new(121, 83, |x, y| vec![color.pixel(x, y)[1]]);
    let sources = [
        ("JPEG", jpeg(&color, 95, |_| {}), color.rgba(), false),
        ("grey JPEG", jpeg(&grey, 95, |_| {}), grey.rgba(), false),
        ("PNG", png(&color, &[]), color.rgba(), false),
        ("soft PNG", png(&soft, &[]), soft.clone(), true),
        ("opaque PNG", png(&hard, &[]), hard, false),
    ];
    for (case, source, expected, alpha) in sources {
        let (compressed, bytes) = convert(&source, TargetFormat::WebP, 90);
        assert_eq!((compressed.format, compressed.quality, compressed.width), (Format::WebP, 90, 121), "{case}");
        let result = decode_webp(&bytes);
        let psnr = result.visible().psnr(&expected.visible());
        assert!(psnr > 30.0, "{case}: {psnr:.2} dB");
        assert_eq!(webp_chunks(&bytes).iter().any(|(name, _)| name == b"ALPH"), alpha, "{case}");
        if alpha {
            let alphas = |picture: &Picture| picture.samples.iter().skip(3).step_by(4).copied().collect::<Vec<_>>();
            assert_eq!(alphas(&result), alphas(&expected), "{case}");
        }
        let (compressed, bytes) = convert(&source, TargetFormat::WebP, 100);
        let exact = compressed.source_quality == 100;
        assert_eq!(webp_chunks(&bytes)[0].0 == *b"VP8L", exact, "{case}");
        assert!(!exact || decode_webp(&bytes).visible() == expected.visible(), "{case}");
    }
}

#[test]
fn webp_becomes_other_formats() {
    let color = scene(120, 80);
    let soft = Picture::new(120, 80, |x, y| [color.pixel(x, y), &[(x * 2) as u8]].concat());
    let (_, bytes) = convert(&lossless_webp(&soft), TargetFormat::Png, 100);
    assert_eq!(decode_png(&bytes).visible(), soft.visible());
    let lossy = lossy_webp(&color, 90);
    let psnr = decode_png(&convert(&lossy, TargetFormat::Png, 100).1).psnr(&decode_webp(&lossy));
    assert!(psnr > 40.0, "{psnr:.2} dB");
    let result = decode_jpeg(&convert(&lossy, TargetFormat::Jpeg, 90).1);
    assert!(result.psnr(&color) > 30.0);
    let (_, bytes) = convert(&lossless_webp(&Picture::new(9, 9, |_, _| vec![9, 9, 9, 0])), TargetFormat::Jpeg, 90);
    assert!(decode_jpeg(&bytes).samples.iter().all(|sample| *sample > 250));
}

#[test]
fn every_size_is_read_and_written() {
    for (width, height) in [(1, 1), (2, 1), (1, 3), (15, 16), (17, 33), (300, 2), (2, 300)] {
        let picture = scene(width, height);
        for source in [lossy_webp(&picture, 90), lossless_webp(&picture), png(&picture, &[])] {
            let (compressed, bytes) = convert(&source, TargetFormat::Png, 100);
            assert_eq!((compressed.width, compressed.height), (width, height));
            assert!(decode_png(&bytes).psnr(&picture.rgba()) > 26.0, "{width} x {height}");
            let (_, bytes) = convert(&bytes, TargetFormat::WebP, 80);
            assert!(decode_webp(&bytes).psnr(&picture.rgba()) > 24.0, "{width} x {height}");
        }
    }
}

#[test]
fn orientation_is_applied_and_metadata_goes() {
    let lossy = lossy_webp(&scene(50, 34), 90);
    for orientation in 1..=8 {
        let source = container(&lossy, 0x08, &[], &exif(orientation));
        let expected = shown(&decode_webp(&lossy), orientation);
        let half = compress(&source, Quality::Relative(50)).expect("it is sound");
        assert_eq!((half.width, half.height), (expected.width, expected.height), "{orientation}");
        let bytes = half.bytes.expect("it is smaller");
        assert!(decode_webp(&bytes).psnr(&expected) > 28.0, "{orientation}");
        assert!(webp_chunks(&bytes).iter().all(|(name, _)| name != b"EXIF"), "{orientation}");

        let full = compress(&source, Quality::Relative(100)).expect("it is sound");
        let bytes = full.bytes.expect("the position goes");
        assert!(!contains(&bytes, SECRET), "{orientation}");
        assert_eq!((full.width, full.height), (expected.width, expected.height), "{orientation}");
        // The note is understood again.
        let again = compress(&bytes, Quality::Relative(100)).map(|it| (it.width, it.height, it.bytes));
        assert_eq!(again, Ok((expected.width, expected.height, None)), "{orientation}");
        assert_eq!(decode_webp(&bytes), decode_webp(&lossy), "{orientation}");
    }
}

#[test]
fn color_profile_goes_along() {
    let rgb = profile(*b"RGB ", 501);
    let stored =
        |webp: &[u8]| webp_chunks(webp).iter().find(|(name, _)| name == b"ICCP").map(|(_, content)| content.to_vec());
    let source = container(&lossy_webp(&scene(90, 60), 90), 0x28, &rgb, &exif(1));
    for quality in [Quality::Relative(50), Quality::Relative(100)] {
        assert_eq!(stored(&smaller(&source, quality)), Some(rgb.clone()), "{quality:?}");
    }
    let tagged = jpeg(&scene(90, 60), 90, |encoder| encoder.add_icc_profile(&rgb).expect("it fits"));
    let (_, bytes) = convert(&tagged, TargetFormat::WebP, 80);
    assert_eq!(stored(&bytes), Some(rgb.clone()));
    assert!(decode_webp(&bytes).psnr(&scene(90, 60).rgba()) > 28.0);
    let (_, back) = convert(&bytes, TargetFormat::Jpeg, 80);
    assert!(contains(&back, &rgb));
    // One for grey cannot be: its colours are converted.
    let grey = jpeg(&scene(90, 60).grey(), 90, |encoder| {
        encoder.add_icc_profile(&profile(*b"GRAY", 300)).expect("it fits");
    });
    assert_eq!(stored(&convert(&grey, TargetFormat::WebP, 80).1), None);
}

#[test]
fn animation_is_kept_and_its_metadata_goes() {
    let frames =
        [scene(40, 30), scene(44, 30), scene(40, 33)].map(|it| Picture::new(40, 30, |x, y| it.pixel(x, y).to_vec()));
    let source = animated_webp(&frames);
    let kept = compress(&source, Quality::Relative(50)).expect("it is sound");
    assert_eq!((kept.bytes, kept.width, kept.height), (None, 40, 30));
    let mut chunks = webp_chunks(&source);
    chunks.push((*b"XMP ", SECRET));
    let stripped = smaller(&write_webp(&chunks), Quality::Relative(50));
    assert_eq!(stripped, source);
    // Another format has the first frame.
    let (_, first) = convert(&source, TargetFormat::Png, 100);
    assert!(decode_png(&first).psnr(&frames[0].rgba()) > 28.0);
}

#[test]
fn frame_of_another_size_than_its_header_says_is_refused() {
    let source = animated_webp(&[scene(40, 30), scene(40, 30)]);
    for at in [0, 6, 9] {
        let frames = webp_chunks(&source);
        let mut frame = frames[2].1.to_vec();
        frame[at] += 1;
        let changed: Vec<_> =
            frames.iter().map(|(name, content)| (*name, if name == b"ANMF" { &frame } else { *content })).collect();
        let error = compress(&write_webp(&changed), Quality::Relative(50)).expect_err("it does not fit");
        assert_eq!(error.code(), "ImageCorrupt", "{at}: {error}");
    }
}

#[test]
fn side_that_webp_has_no_number_for_is_an_error() {
    let source = png(&Picture::new(16_384, 1, |_, _| vec![7]), &[]);
    let options = Options { format: TargetFormat::WebP, ..Options::default() };
    let error = codec::compress(&source, &options, &Limits::default()).expect_err("it is one too much");
    assert_eq!((error.code(), error.to_string().contains("16383")), ("EncodeFailed", true), "{error}");
}

#[test]
fn claims_are_refused_by_the_header() {
    let picture = lossy_webp(&scene(16, 16), 80);
    let [(_, frame)] = webp_chunks(&picture)[..] else { panic!("it has one chunk") };
    let wide = |width: u32, height: u32| {
        let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
        [&[0x02, 0, 0, 0][..], &side(width), &side(height)].concat()
    };
    let mut claim = frame.to_vec();
    claim[6..10].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    let huge_lossless = [0x2f, 0xff, 0xff, 0xff, 0x0f];
    let delay = [0, 0, 0, 0, 0, 0, 15, 0, 0, 15, 0, 0, 0, 0, 0, 0];
    let moving = [&delay[..], b"VP8 ", &(frame.len() as u32).to_le_bytes(), frame].concat();
    let moving_claim = [&delay[..], b"VP8 ", &(claim.len() as u32).to_le_bytes(), &claim].concat();
    let animation = |header: &[u8], frame: &[u8], count: usize| {
        let mut chunks: Vec<([u8; 4], &[u8])> = vec![(*b"VP8X", header), (*b"ANIM", &[0; 6])];
        chunks.extend(vec![(*b"ANMF", frame); count]);
        write_webp(&chunks)
    };
    let (small, large) = (wide(16, 16), wide(16_000_000, 16_000_000));
    let still = [&[0x20, 0, 0, 0], &small[4..]].concat();
    let profile = vec![0; (1 << 20) + 1];
    let cases = [
        ("lossy", write_webp(&[(*b"VP8 ", &claim)]), "pixels"),
        ("lossless", write_webp(&[(*b"VP8L", &huge_lossless)]), "pixels"),
        ("canvas", write_webp(&[(*b"VP8X", &large), (*b"VP8 ", frame)]), "pixels a side"),
        ("frame", animation(&small, &moving_claim, 1), "pixels"),
        ("many frames", animation(&small, &moving, 1001), "frames"),
        ("profile", write_webp(&[(*b"VP8X", &still), (*b"ICCP", &profile), (*b"VP8 ", frame)]), "profile"),
    ];
    for (case, source, part) in cases {
        let error = compress(&source, Quality::Relative(50)).expect_err(case);
        assert_eq!((error.code(), error.to_string().contains(part)), ("ImageTooLarge", true), "{case}: {error}");
    }
    let error = compress(&write_webp(&[(*b"ICCP", b"")]), Quality::Relative(50)).expect_err("no picture");
    assert_eq!(error.code(), "ImageCorrupt");
}

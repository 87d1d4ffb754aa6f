//! Pictures stored as the sensor saw them are stored as they are shown.

use codec::Quality;

use crate::sample::{
    Picture, SECRET, chunks, compress, contains, decode_jpeg, decode_png, exif, jpeg, photograph, png, scene, segments,
    smaller,
};

#[test]
fn jpeg_is_shown_as_before() {
    for orientation in 1..=8 {
        let source = jpeg(&scene(50, 35), 95, |encoder| {
            encoder.add_exif_metadata(&exif(orientation)).expect("it is short");
        });
        let expected = shown(&decode_jpeg(&source), orientation);
        let compressed = compress(&source, Quality::Absolute(90)).expect("it is sound");
        assert_eq!((compressed.width, compressed.height), (expected.width, expected.height), "{orientation}");
        let bytes = compressed.bytes.expect("it can be made smaller");
        assert!(!contains(&bytes, SECRET), "{orientation}");
        let psnr = as_viewers_show(&bytes).psnr(&expected);
        assert!(psnr > 30.0, "{orientation}: {psnr:.2} dB");
    }
}

#[test]
fn jpeg_that_is_only_stripped_keeps_the_note_alone() {
    for orientation in 1..=8 {
        let source = jpeg(&scene(50, 35), 60, |encoder| {
            encoder.add_exif_metadata(&exif(orientation)).expect("it is short");
        });
        let compressed = compress(&source, Quality::Absolute(90)).expect("it is sound");
        let size = if orientation >= 5 { (35, 50) } else { (50, 35) };
        assert_eq!((compressed.width, compressed.height), size, "{orientation}");
        let bytes = compressed.bytes.expect("the position goes");
        assert!(!contains(&bytes, SECRET), "{orientation}");
        assert_eq!(decode_jpeg(&bytes), decode_jpeg(&source), "{orientation}");
        let note: Vec<&[u8]> = segments(&bytes).iter().filter(|(marker, _)| *marker == 0xe1).map(|it| it.1).collect();
        let alone = [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation], &[0; 6]];
        let expected = if orientation == 1 { vec![] } else { vec![alone.concat()] };
        assert_eq!(note, expected, "{orientation}");
        // The note is understood again.
        assert_eq!(compress(&bytes, Quality::Absolute(90)).map(|it| (it.width, it.height)), Ok(size));
    }
}

#[test]
fn png_is_turned_to_the_pixel() {
    let picture = Picture::new(23, 14, |x, y| vec![(x * 9) as u8, (y * 17) as u8, (x ^ y) as u8]);
    for orientation in 1..=8 {
        let exif = exif(orientation);
        let source = png(&picture, &[(b"eXIf", &exif)]);
        let expected = shown(&decode_png(&source), orientation);
        let compressed = compress(&source, Quality::Absolute(100)).expect("it is sound");
        assert_eq!((compressed.width, compressed.height), (expected.width, expected.height), "{orientation}");
        let bytes = compressed.bytes.expect("it can be made smaller");
        assert_eq!(decode_png(&bytes), expected, "{orientation}");
        assert!(chunks(&bytes).iter().all(|(name, _)| name != b"eXIf"), "{orientation}");
    }
}

#[test]
fn notes_that_are_broken_count_as_absent() {
    let mut long = exif(6);
    long[8..10].copy_from_slice(&[0xff, 0xff]);
    let mut far = exif(6);
    far[4..8].copy_from_slice(&[0xff; 4]);
    let cases: [(&str, Vec<u8>, bool); 8] = [
        ("orientation 0", exif(0), false),
        ("orientation 9", exif(9), false),
        ("orientation 255", exif(255), false),
        ("empty", vec![], false),
        ("cut off", exif(6)[..17].to_vec(), false),
        ("no TIFF", b"??*\0\x08\0\0\0".to_vec(), false),
        ("directory beyond the end", far, false),
        ("more entries than there are", long, true),
    ];
    for (case, exif, turned) in cases {
        let source = jpeg(&scene(50, 35), 95, |encoder| encoder.add_exif_metadata(&exif).expect("it is short"));
        let compressed = compress(&source, Quality::Absolute(90)).expect(case);
        assert_eq!((compressed.width, compressed.height), if turned { (35, 50) } else { (50, 35) }, "{case}");
    }
}

#[test]
fn photograph_taken_on_its_side_stands_upright() {
    let source = photograph("window-dogs-rotated.jpg");
    let expected = shown(&decode_jpeg(&source), 6);
    let result = as_viewers_show(&smaller(&source, Quality::Relative(50)));
    assert_eq!((result.width, result.height), (1000, 1502));
    assert!(result.psnr(&expected) > 35.0);
}

#[test]
fn picture_that_is_decoded_anyway_is_turned() {
    for orientation in 1..=8 {
        let inks = scene(50, 35);
        let inks = Picture::new(50, 35, |x, y| [inks.pixel(x, y), &[(x * 4) as u8]].concat());
        let source = jpeg(&inks, 95, |encoder| {
            encoder.add_exif_metadata(&exif(orientation)).expect("it is short");
        });
        let compressed = compress(&source, Quality::Absolute(90)).expect("it is sound");
        let bytes = compressed.bytes.expect("it can be made smaller");
        assert!(segments(&bytes).iter().all(|(marker, _)| *marker != 0xe1), "{orientation}");
        let result = decode_jpeg(&bytes);
        assert_eq!((compressed.width, compressed.height), (result.width, result.height), "{orientation}");
        assert_eq!((result.width, result.height), if orientation >= 5 { (35, 50) } else { (50, 35) });
    }
}

/// Decodes, and turns as the note in the file says: the only one in it, as the codec writes it. The
/// codec keeps the note where a turn would cost pixels, and browsers have heeded it since 2020.
fn as_viewers_show(bytes: &[u8]) -> Picture {
    let segments = segments(bytes);
    let mut notes = segments.iter().filter(|(marker, _)| *marker == 0xe1);
    let orientation = notes.next().map_or(1, |(_, body)| body[25]);
    assert_eq!(notes.next(), None);
    shown(&decode_jpeg(bytes), orientation)
}

/// Returns the picture as the EXIF standard says it is shown: where each stored pixel goes.
pub(crate) fn shown(stored: &Picture, orientation: u8) -> Picture {
    let (right, bottom) = (stored.width - 1, stored.height - 1);
    let (width, height) = if orientation >= 5 { (stored.height, stored.width) } else { (stored.width, stored.height) };
    let mut samples = vec![0; stored.samples.len()];
    for y in 0..=bottom {
        for x in 0..=right {
            let (to_x, to_y) = match orientation {
                2 => (right - x, y),
                3 => (right - x, bottom - y),
                4 => (x, bottom - y),
                5 => (y, x),
                6 => (bottom - y, x),
                7 => (bottom - y, right - x),
                8 => (y, right - x),
                _ => (x, y),
            };
            let at = (to_y * width + to_x) as usize * stored.channels;
            samples[at..at + stored.channels].copy_from_slice(stored.pixel(x, y));
        }
    }
    Picture { width, height, channels: stored.channels, samples }
}

//! JPEG in other colours than YCbCr: RGB, CMYK, YCCK.

use codec::Quality;
use jpeg_encoder::{ColorType, SamplingFactor};

use crate::sample::{Picture, compress, decode_jpeg, exif, jpeg, jpeg_of, scene, segments, smaller, with_segments};

/// Adobe's segment up to the byte that says how colours are coded.
const ADOBE: &[u8] = b"Adobe\0\x64\0\0\0\0";

/// Inks of flat areas, 0 to 255, with the colour they have on screen.
const PATCHES: [([u8; 4], [u8; 3]); 6] = [
    ([0, 0, 0, 0], [255, 255, 255]),
    ([0, 0, 0, 255], [0, 0, 0]),
    ([0, 255, 255, 0], [255, 0, 0]),
    ([255, 0, 0, 0], [0, 255, 255]),
    ([255, 255, 0, 0], [0, 0, 255]),
    ([0, 0, 0, 128], [127, 127, 127]),
];

#[test]
fn cmyk_becomes_rgb() {
    for color in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        for progressive in [false, true] {
            let source = jpeg_of(&patches(), color, 95, |encoder| {
                encoder.set_progressive(progressive);
                encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
                encoder.add_exif_metadata(&exif(1)).expect("it is short");
            });
            let result = decode_jpeg(&smaller(&source, Quality::Relative(90)));
            assert_eq!(result.channels, 3);
            assert_patches(&result, |(_, expected)| *expected);
        }
    }
}

#[test]
fn cmyk_is_converted_through_its_profile() {
    let profile = cmyk_profile();
    let source = jpeg(&patches(), 95, |encoder| {
        encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
        encoder.add_icc_profile(&profile).expect("it fits");
    });
    let result = smaller(&source, Quality::Relative(90));
    assert!(segments(&result).iter().all(|(marker, _)| *marker != 0xe2), "the profile is for inks");
    // The profile knows no colours: lightness 100 without ink, less by the black alone.
    assert_patches(&decode_jpeg(&result), |(inks, _)| match inks[3] {
        0 => [255; 3],
        255 => [0; 3],
        _ => [118; 3],
    });
}

#[test]
fn cmyk_of_a_lower_quality_is_kept() {
    let source = jpeg(&patches(), 60, |_| {});
    let compressed = compress(&source, Quality::Absolute(80)).expect("it is sound");
    assert_eq!((compressed.bytes, compressed.quality), (None, compressed.source_quality));
}

#[test]
fn cmyk_without_adobes_mark_is_refused_by_name() {
    let source = with_segments(&jpeg(&patches(), 90, |_| {}), &[]);
    let at = source.windows(5).position(|window| window == b"Adobe").expect("the encoder writes it");
    let source = [&source[..at - 4], &source[at + 12..]].concat();
    let error = compress(&source, Quality::Relative(50)).expect_err("nobody knows its colours");
    assert_eq!((error.code(), error.to_string().contains("CMYK")), ("UnsupportedFormat", true), "{error}");
}

#[test]
fn colors_are_what_the_file_says() {
    let picture = scene(64, 48);
    let encoder = |color| jpeg_of(&picture, color, 95, |encoder| encoder.set_sampling_factor(SamplingFactor::R_4_4_4));
    let (ycc, rgb) = (encoder(ColorType::Rgb), encoder(ColorType::Ycbcr));
    let (none, adobe_ycc) = ([ADOBE, &[0]].concat(), [ADOBE, &[1]].concat());
    let position = [b"Exif\0\0".as_slice(), &exif(1)].concat();
    let cases = [
        ("YCbCr by Adobe", with_segments(&ycc, &[(0xee, &adobe_ycc), (0xe1, &position)])),
        ("YCbCr by nobody", with_segments(&ycc, &[(0xe1, &position)])),
        ("YCbCr by JFIF against Adobe", with_segments(&ycc, &[(0xe0, JFIF), (0xee, &none), (0xe1, &position)])),
        ("RGB by Adobe", with_segments(&rgb, &[(0xee, &none), (0xe1, &position)])),
    ];
    for (case, source) in cases {
        for quality in [Quality::Relative(100), Quality::Absolute(90)] {
            let psnr = decode_jpeg(&smaller(&source, quality)).psnr(&picture);
            assert!(psnr > 28.0, "{case}, {quality:?}: {psnr:.2} dB");
        }
    }
}

const JFIF: &[u8] = b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0";

fn patches() -> Picture {
    Picture::new(16 * PATCHES.len() as u32, 64, |x, _| PATCHES[x as usize / 16].0.to_vec())
}

fn assert_patches(result: &Picture, expected: impl Fn(&([u8; 4], [u8; 3])) -> [u8; 3]) {
    for (number, patch) in (0..).zip(&PATCHES) {
        // The middle: 4:2:0 blurs the borders.
        let (found, expected) = (result.pixel(16 * number + 8, 32), expected(patch));
        assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 8), "{patch:?}: {found:?}, not {expected:?}");
    }
}

/// Writes a profile whose table has two steps an ink and depends on black alone.
fn cmyk_profile() -> Vec<u8> {
    let mut table = b"mft1\0\0\0\0\x04\x03\x02\0".to_vec();
    for value in [1_i32, 0, 0, 0, 1, 0, 0, 0, 1] {
        table.extend((value << 16).to_be_bytes());
    }
    let line: Vec<u8> = (0..=255).collect();
    table.extend(line.repeat(4));
    for inks in 0..16 {
        table.extend([if inks & 1 == 1 { 0 } else { 255 }, 128, 128]);
    }
    table.extend(line.repeat(3));
    let white: Vec<u8> = [0xf6d6_i32, 0x10000, 0xd32d].iter().flat_map(|value| value.to_be_bytes()).collect();
    let white_tag = [b"XYZ \0\0\0\0".as_slice(), &white].concat();

    let mut profile = vec![0; 128];
    profile[8..12].copy_from_slice(&[2, 0x10, 0, 0]);
    profile[12..24].copy_from_slice(b"prtrCMYKLab ");
    profile[24..36].copy_from_slice(&[7, 228, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    profile[36..40].copy_from_slice(b"acsp");
    profile[68..80].copy_from_slice(&white);
    profile.extend(2_u32.to_be_bytes());
    let start = 128 + 4 + 2 * 12;
    for (name, offset, length) in [(b"wtpt", start, white_tag.len()), (b"A2B0", start + white_tag.len(), table.len())] {
        profile.extend(name);
        profile.extend((offset as u32).to_be_bytes());
        profile.extend((length as u32).to_be_bytes());
    }
    profile.extend([white_tag, table].concat());
    let length = profile.len() as u32;
    profile[..4].copy_from_slice(&length.to_be_bytes());
    profile
}

//! JPEG to JPEG in the coefficient domain, through the codec's public door.
//!
//! The results are compared with a plain decoder of coefficients ([`reference`]) and with a
//! reference requantization. The files are made by `data/jpeg/make.py`.

#[path = "transcode/reference.rs"]
mod reference;

use std::{f64::consts::PI, fs, path::PathBuf};

use codec::{Effort, Error, Limits, Options, Quality, compress, jpeg_quality};
use reference::{Component, Picture, ZIGZAG, decode};

fn data(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data/jpeg", name].iter().collect();
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files the transcoder handles.
fn files() -> Vec<String> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data/jpeg"].iter().collect();
    let entries = fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("the folder is readable").file_name().into_string());
    let mut names: Vec<_> = names.map(|name| name.expect("names are ASCII")).collect();
    names.retain(|name| !["make.py", "rgb.jpg", "arithmetic.jpg"].contains(&name.as_str()));
    names.sort();
    assert!(names.len() > 30, "only {} files", names.len());
    names
}

fn options(quality: u8, effort: Effort) -> Options {
    Options { quality: Quality::Absolute(quality), effort, ..Options::default() }
}

/// Compresses, and returns the result or what was put in.
fn shrink(source: &[u8], quality: u8, effort: Effort) -> Vec<u8> {
    let result = compress(source, &options(quality, effort), &Limits::default());
    result.expect("the file is in order").bytes.unwrap_or_else(|| source.to_vec())
}

/// Reference: a coefficient in new steps.
fn exact(value: i32, old: u16, new: u16) -> f64 {
    f64::from(value) * f64::from(old) / f64::from(new)
}

fn is_near(exact: f64, chosen: i32) -> bool {
    (exact - f64::from(chosen)).abs() <= 0.5 + 1.0 / 30.0
}

/// The samples of a block, by the definition of the inverse DCT.
fn samples(block: &[i32; 64], steps: &[u16; 64]) -> [[f64; 8]; 8] {
    let mut natural = [0.0; 64];
    for (at, place) in ZIGZAG.iter().enumerate() {
        natural[*place] = f64::from(block[at]) * f64::from(steps[at]);
    }
    std::array::from_fn(|y| {
        std::array::from_fn(|x| {
            let term = |at: usize| natural[at] * wave(at / 8, y) * wave(at % 8, x);
            (0..64).map(term).sum::<f64>()
        })
    })
}

fn wave(frequency: usize, at: usize) -> f64 {
    let norm = if frequency == 0 { 0.125_f64.sqrt() } else { 0.5 };
    norm * ((2 * at + 1) as f64 * frequency as f64 * PI / 16.0).cos()
}

/// Checks the chroma of a result that was shrunk, by way of the pixels.
fn check_shrunk(name: &str, source: &Component, across: usize, down: usize, result: &Component) {
    for y in 0..result.rows {
        for x in 0..result.columns {
            if (x + 1) * across > source.columns || (y + 1) * down > source.rows {
                // Half of the block lies outside of the picture.
                continue;
            }
            let parts: Vec<Vec<_>> = (0..down)
                .map(|dy| {
                    let at = |dx: usize| (y * down + dy) * source.stride + x * across + dx;
                    (0..across).map(|dx| samples(&source.blocks[at(dx)], &source.steps)).collect()
                })
                .collect();
            let sample = |row: usize, column: usize| parts[row / 8][column / 8][row % 8][column % 8];
            let mean = |row: usize, column: usize| {
                let places = (0..across * down).map(|at| (row * down + at / across, column * across + at % across));
                places.map(|(row, column)| sample(row, column)).sum::<f64>() / (across * down) as f64
            };
            for (at, place) in ZIGZAG.iter().enumerate() {
                let term = |k: usize| mean(k / 8, k % 8) * wave(place / 8, k / 8) * wave(place % 8, k % 8);
                let exact = (0..64).map(term).sum::<f64>() / f64::from(result.steps[at]);
                let chosen = result.blocks[y * result.stride + x][at];
                assert!(is_near(exact, chosen), "{name}: block {x},{y} coefficient {at}: {chosen} for {exact}");
            }
        }
    }
}

/// How many blocks of a component lie across and down in one of the result.
fn shrunk(source: &Picture, result: &Picture, index: usize) -> (usize, usize) {
    let ratio = |picture: &Picture| {
        let (luma, own) = (picture.components[0].factors, picture.components[index].factors);
        (luma.0 as f64 / own.0 as f64, luma.1 as f64 / own.1 as f64)
    };
    let (before, after) = (ratio(source), ratio(result));
    ((after.0 / before.0) as usize, (after.1 / before.1) as usize)
}

fn check_requantized(name: &str, source: &Picture, result: &Picture) {
    for (index, (old, new)) in source.components.iter().zip(&result.components).enumerate() {
        assert_eq!(old.id, new.id, "{name}");
        assert!(old.steps.iter().zip(&new.steps).all(|(old, new)| new >= old), "{name}: finer than the source");
        let (across, down) = shrunk(source, result, index);
        if (across, down) != (1, 1) {
            check_shrunk(name, old, across, down, new);
            continue;
        }
        assert_eq!((old.columns, old.rows), (new.columns, new.rows), "{name}");
        for (x, y) in (0..old.rows).flat_map(|y| (0..old.columns).map(move |x| (x, y))) {
            let (before, after) = (old.blocks[y * old.stride + x], new.blocks[y * new.stride + x]);
            for at in 0..64 {
                let exact = exact(before[at], old.steps[at], new.steps[at]);
                assert!(is_near(exact, after[at]), "{name}: block {x},{y} coefficient {at}: {} for {exact}", after[at]);
            }
        }
    }
}

#[test]
fn fast_is_a_requantization_of_the_source_within_rounding() {
    for name in files() {
        let source = data(&name);
        for quality in [20, 50, 80] {
            let result = shrink(&source, quality, Effort::Fast);
            check_requantized(&format!("{name} at {quality}"), &decode(&source), &decode(&result));
        }
    }
}

#[test]
fn small_chooses_values_between_zero_and_the_nearest() {
    for name in files() {
        let source = data(&name);
        let (before, after) = (decode(&source), decode(&shrink(&source, 50, Effort::Small)));
        for (index, (old, new)) in before.components.iter().zip(&after.components).enumerate() {
            if shrunk(&before, &after, index) != (1, 1) {
                continue;
            }
            for (x, y) in (0..old.rows).flat_map(|y| (0..old.columns).map(move |x| (x, y))) {
                let (before, after) = (old.blocks[y * old.stride + x], new.blocks[y * new.stride + x]);
                assert!(is_near(exact(before[0], old.steps[0], new.steps[0]), after[0]), "{name}: DC of {x},{y}");
                for at in 1..64 {
                    let exact = exact(before[at], old.steps[at], new.steps[at]);
                    let between =
                        f64::from(after[at].abs()) <= exact.abs() + 0.54 && exact * f64::from(after[at]) >= 0.0;
                    assert!(between, "{name}: block {x},{y} coefficient {at}: {} for {exact}", after[at]);
                }
            }
        }
    }
}

#[test]
fn results_are_what_was_asked_for_and_other_decoders_read_them() {
    for name in files() {
        let source = data(&name);
        for effort in [Effort::Fast, Effort::Small] {
            let result = compress(&source, &options(50, effort), &Limits::default()).expect("the file is in order");
            let Some(bytes) = result.bytes else { continue };
            assert!(bytes.len() < source.len(), "{name}");
            let picture = decode(&bytes);
            if result.quality < result.source_quality {
                assert_eq!(picture.progressive, effort == Effort::Small, "{name}");
                if let [luma, blue, red] = picture.components.as_slice() {
                    let uncommon = ["411", "410", "311", "uneven"].iter().any(|kind| name.starts_with(kind));
                    let factors = [luma.factors, blue.factors, red.factors];
                    assert!(uncommon || factors == [(2, 2), (1, 1), (1, 1)], "{name}: {factors:?}");
                }
            }
            if name.starts_with("uneven") || name.starts_with("311") {
                // Correct, but beyond that decoder.
                continue;
            }
            let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(&bytes));
            let pixels = decoder.decode().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!pixels.is_empty());
        }
    }
}

#[test]
fn the_way_the_source_is_coded_does_not_matter() {
    for effort in [Effort::Fast, Effort::Small] {
        let of = |name: &str| shrink(&data(name), 50, effort);
        let plain = of("420.jpg");
        for other in [
            "optimized",
            "restart",
            "progressive",
            "progressive-restart",
            "separate",
            "separate-restart",
            "mixed",
            "spectral",
            "successive",
        ] {
            assert!(of(&format!("420-{other}.jpg")) == plain, "420-{other}.jpg, {effort:?}");
        }
        for kind in ["444", "422", "440", "uneven", "grey", "422-q100"] {
            assert!(of(&format!("{kind}-progressive.jpg")) == of(&format!("{kind}.jpg")), "{kind}, {effort:?}");
        }
    }
}

#[test]
fn a_second_run_at_the_same_quality_changes_nothing() {
    for name in files() {
        let source = data(&name);
        for effort in [Effort::Fast, Effort::Small] {
            for quality in [10, 30, 50, 75, 85] {
                let first = shrink(&source, quality, effort);
                let second =
                    compress(&first, &options(quality, effort), &Limits::default()).expect("a result is in order");
                assert_eq!(second.bytes, None, "{name} at {quality}, {effort:?}");
            }
        }
    }
}

#[test]
fn results_have_the_quality_asked_for() {
    let source = data("444.jpg");
    for quality in 1..=89 {
        for effort in [Effort::Fast, Effort::Small] {
            let result = shrink(&source, quality, effort);
            let estimated = jpeg_quality(&result).expect("a result is in order");
            // The tables of the lowest qualities are all at their limit and look alike.
            assert!(estimated == quality || estimated < 5 && quality < 5, "{estimated} for {quality}, {effort:?}");
        }
    }
}

/// Puts `segments` behind the start-of-image marker.
fn with_segments(source: &[u8], segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = source[..2].to_vec();
    for (marker, body) in segments {
        bytes.extend([0xff, *marker]);
        bytes.extend((body.len() as u16 + 2).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    bytes.extend_from_slice(&source[2..]);
    bytes
}

#[test]
fn of_the_metadata_orientation_and_profile_survive() {
    let mut icc = b"ICC_PROFILE\0\x01\x01".to_vec();
    icc.extend([0; 16]);
    icc.extend(b"RGB made up for this test");
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0secret position";
    let source =
        with_segments(&data("420.jpg"), &[(0xe1, exif), (0xe2, &icc), (0xfe, b"secret comment"), (0xed, b"secret")]);
    for effort in [Effort::Fast, Effort::Small] {
        let result = compress(&source, &options(50, effort), &Limits::default()).expect("the file is in order");
        let bytes = result.bytes.expect("it got smaller");
        let contains = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
        assert!(contains(&icc) && !contains(b"secret"));
        assert!(contains(b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06"));
        assert_eq!((result.width, result.height), (61, 83), "as displayed");
    }
}

#[test]
fn what_follows_the_last_unit_does_not_matter() {
    for name in ["420.jpg", "444-restart.jpg", "420-progressive.jpg", "420-separate.jpg"] {
        let source = data(name);
        let plain = shrink(&source, 50, Effort::Fast);
        let garbage = [source.as_slice(), b"garbage \xff\xd8\xff\xda"].concat();
        assert!(shrink(&garbage, 50, Effort::Fast) == plain, "{name} with garbage");
        assert!(shrink(&source[..source.len() - 2], 50, Effort::Fast) == plain, "{name} without end");
    }
}

#[test]
fn truncated_files_are_told_so() {
    for name in files() {
        let source = data(&name);
        for length in (0..source.len() - 4).step_by(1 + source.len() / 97) {
            let result = compress(&source[..length], &Options::default(), &Limits::default());
            match result {
                Err(Error::ImageTruncated(_)) => {}
                Err(Error::NotAnImage(_)) if length < 3 => {}
                other => panic!("{name} cut to {length} of {}: {other:?}", source.len()),
            }
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        // The constants of Knuth's MMIX.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let (mut fine, mut refused) = (0, 0);
    for name in files() {
        let source = data(&name);
        for round in 0..150 {
            let mut damaged = source.clone();
            for _ in 0..=round % 4 {
                let at = random(source.len());
                damaged[at] = if round % 3 == 0 { 0xff } else { random(256) as u8 };
            }
            let effort = if round % 2 == 0 { Effort::Fast } else { Effort::Small };
            match compress(&damaged, &options(50, effort), &Limits::default()) {
                Ok(_) => fine += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(fine > 100 && refused > 1000, "{fine} went through, {refused} were refused");
}

#[test]
fn other_colours_take_the_other_way() {
    let result = compress(&data("rgb.jpg"), &options(50, Effort::Fast), &Limits::default()).expect("RGB is decoded");
    assert!(result.bytes.is_some());
    let arithmetic = compress(&data("arithmetic.jpg"), &Options::default(), &Limits::default());
    assert!(matches!(arithmetic, Err(Error::UnsupportedFormat(_))), "{arithmetic:?}");
}

#[test]
fn limits_hold_before_anything_is_allocated() {
    let limits = Limits { max_alloc: 10_000, ..Limits::default() };
    let whole = compress(&data("420-progressive.jpg"), &Options::default(), &limits);
    assert!(matches!(whole, Err(Error::ImageTooLarge { .. })), "{whole:?}");
    let limits = Limits { max_pixels: 83 * 61 - 1, ..Limits::default() };
    let many = compress(&data("420.jpg"), &Options::default(), &limits);
    assert!(matches!(many, Err(Error::ImageTooLarge { what: "pixels", .. })), "{many:?}");
}

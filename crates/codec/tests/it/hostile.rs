//! Files made or damaged to do harm: they cost an error, never a panic and never much time.

use codec::{
    Effort, Limits, Options, Quality,
    TargetFormat::{Avif, Jpeg, Keep, Png, WebP},
};
use fastrand::Rng;

use crate::avif_source::avif;
use crate::raster_source::{bmp, gif, pages, tiff};
use crate::sample::{
    Picture, PngHeader, chunks, compress, decode_jpeg, exif, jpeg, jpeg_of, photograph, png, png_of, profile, rows,
    scene, write_chunks,
};
use crate::webp_source::{animated_webp, container, lossless_webp, lossy_webp};

/// Small files of every kind, so that thousands of damaged copies take seconds.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let color = scene(67, 45);
    let soft = Picture::new(40, 30, |x, y| [color.pixel(x, y), &[(x * 6) as u8]].concat());
    let inks = Picture::new(40, 30, |x, y| [color.pixel(x, y), &[(x * 6) as u8]].concat());
    let packed = [b"name\0\0".as_slice(), &fdeflate::compress_to_vec(&profile(*b"RGB ", 500))].concat();
    let palette: Vec<u8> = (0..48).map(|it| it * 5).collect();
    let indexed = PngHeader {
        width: 64,
        height: 20,
        depth: 4,
        color: 3,
        interlaced: false,
        chunks: &[(b"PLTE", &palette), (b"tRNS", &[0, 128])],
    };
    let deep =
        PngHeader { width: 32, height: 20, depth: 16, color: 2, interlaced: false, chunks: &[(b"gAMA", &[1; 4])] };
    let pixels: Vec<u8> = (0..32 * 20 * 6_u32).map(|at| (at * at / 7) as u8).collect();
    vec![
        ("baseline", jpeg(&color, 80, |encoder| encoder.add_exif_metadata(&exif(6)).expect("it is short"))),
        ("progressive", jpeg(&color, 80, |encoder| encoder.set_progressive(true))),
        ("restarts", jpeg(&color, 80, |encoder| encoder.set_restart_interval(3))),
        ("grey", jpeg(&color.grey(), 80, |encoder| encoder.set_optimized_huffman_tables(true))),
        ("profile", jpeg(&color, 80, |encoder| encoder.add_icc_profile(&profile(*b"RGB ", 300)).expect("it fits"))),
        ("CMYK", jpeg(&inks, 80, |encoder| encoder.add_icc_profile(&profile(*b"CMYK", 300)).expect("it fits"))),
        ("YCCK", jpeg_of(&inks, jpeg_encoder::ColorType::CmykAsYcck, 80, |encoder| encoder.set_progressive(true))),
        ("RGB", png(&color, &[(b"iCCP", &packed), (b"eXIf", &exif(5))])),
        ("soft", png(&soft, &[])),
        ("palette", png_of(&indexed, &rows(&pixels[..640], 32))),
        ("deep", png_of(&deep, &rows(&pixels, 192))),
        ("interlaced", png_of(&PngHeader { interlaced: true, ..deep }, &vec![0; 6000])),
        ("lossy WebP", lossy_webp(&color, 80)),
        ("lossy WebP with alpha", container(&lossy_webp(&soft, 70), 0x38, &profile(*b"RGB ", 300), &exif(8))),
        ("lossless WebP", lossless_webp(&soft)),
        ("GIF", gif(std::slice::from_ref(&soft), None)),
        (
            "animated GIF",
            gif(
                &[soft.clone(), soft.rgba(), color.grey().rgba()]
                    .map(|it| Picture::new(40, 30, |x, y| it.pixel(x, y).to_vec())),
                None,
            ),
        ),
        ("TIFF", tiff(&soft, 16, &[(338, 3, 1, 2 << 16)])),
        ("pages", pages(&[(&color, 8, &[]), (&soft, 8, &[(338, 3, 1, 1 << 16)])])),
        ("BMP", bmp(&color)),
        ("BMP with alpha", bmp(&soft)),
        ("animated WebP", animated_webp(&[soft.clone(), soft.rgba(), soft.clone()])),
        ("AVIF", avif("metadata")),
        ("AVIF with alpha", avif("alpha-premultiplied")),
        ("AVIF of 10 bits", avif("10-bit")),
        ("AVIF in tiles", avif("grid")),
    ]
}

#[test]
fn damaged_files_never_panic() {
    let mut random = Rng::with_seed(20_260_821);
    let samples = samples();
    let (mut sound, mut refused) = (0, 0);
    for round in 0..6_000 {
        let (name, sample) = &samples[round % samples.len()];
        let mut damaged = sample.clone();
        // Half of the time where the structure is, half of the time anywhere.
        let range = if random.bool() { damaged.len().min(700) } else { damaged.len() };
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..range.min(damaged.len()));
            match random.u8(..6) {
                0 => damaged[at] = random.u8(..),
                1 => damaged[at] ^= 1 << random.u8(..8),
                2 => damaged[at] = 0xff,
                3 => damaged[at] = 0,
                4 => drop(damaged.remove(at)),
                _ => {
                    let piece = damaged[at..(at + random.usize(..64)).min(damaged.len())].to_vec();
                    damaged.splice(at..at, piece);
                }
            }
        }
        if random.bool() {
            mend_checksums(&mut damaged);
        }
        // One of four rounds changes the format, one of four the size.
        let format = [Keep, Keep, Keep, [Jpeg, Png, WebP, Avif][random.usize(..4)]][random.usize(..4)];
        let max_width = [None, None, None, Some(20)][random.usize(..4)];
        let quality = Quality::Relative([50, 100][round % 2]);
        // The slow effort of AVIF would make minutes of it.
        let effort = if name.starts_with("AVIF") || format == Avif { Effort::Fast } else { Effort::Small };
        let options = Options { quality, format, max_width, effort, ..Options::default() };
        match codec::compress(&damaged, &options, &Limits::default()) {
            Ok(compressed) => {
                sound += 1;
                if let Some(bytes) = compressed.bytes {
                    let same = format == Keep && max_width.is_none();
                    assert!(!same || bytes.len() < damaged.len(), "{name}, round {round}");
                    let again = codec::compress(&bytes, &options, &Limits::default());
                    assert!(again.is_ok(), "{name}, round {round}: {again:?}");
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(sound > 500 && refused > 500, "the damage is of the right kind: {sound} sound, {refused} refused");
}

#[test]
fn sampling_factors_of_all_kinds_never_panic() {
    let picture = scene(33, 17);
    for progressive in [false, true] {
        let mut source = jpeg(&picture, 80, |encoder| encoder.set_progressive(progressive));
        let frame = source.windows(2).position(|it| matches!(it, [0xff, 0xc0 | 0xc2])).expect("it has a frame");
        for factors in 0..4_u32.pow(6) {
            for component in 0..3 {
                let factors = (factors >> (4 * component)) as u8;
                source[frame + 11 + 3 * component] = ((factors >> 2 & 3) + 1) << 4 | ((factors & 3) + 1);
            }
            if let Err(error) = compress(&source, Quality::Absolute(10)) {
                assert!(matches!(error.code(), "ImageCorrupt" | "ImageTruncated"), "{error}");
            }
        }
    }
}

#[test]
fn every_truncation_is_called_one() {
    let photographs =
        ["fig-bowl.jpg", "wine-corner.jpg", "bird-lamp-grey.jpg", "mountain-thumb.jpg", "fig-bowl-cutout.png"];
    let photographs = photographs.into_iter().map(|name| (name, photograph(name)));
    for (name, sample) in samples().into_iter().chain(photographs) {
        let step = (sample.len() / 200).max(1);
        for length in (1..700.min(sample.len())).chain((700..sample.len()).step_by(step)) {
            match compress(&sample[..length], Quality::Relative(50)) {
                Err(error) => assert_eq!(error.code(), "ImageTruncated", "{name} cut to {length}: {error}"),
                // All of the picture is there and only the marker behind it is not, or half of it:
                // browsers show such a file, and the result is the whole one's to the byte.
                Ok(compressed) => {
                    assert!(name != "PNG" && length + 2 >= sample.len(), "{name} cut to {length}");
                    assert_eq!(Ok(compressed), compress(&sample, Quality::Relative(50)), "{name} cut to {length}");
                }
            }
        }
    }
}

#[test]
fn gigantic_claims_are_refused_by_the_header() {
    let mut jpeg = jpeg(&scene(16, 16), 90, |_| {});
    let frame = jpeg.windows(2).position(|it| it == [0xff, 0xc0]).expect("it is baseline");
    jpeg[frame + 5..frame + 9].fill(0xff);
    let huge = 0x7fff_ffff_u32.to_be_bytes();
    let header = [&huge[..], &huge, &[8, 6, 0, 0, 0]].concat();
    let png = write_chunks(&[(b"IHDR", &header), (b"IDAT", &[]), (b"IEND", &[])]);
    // Within the limit of a side, and still too much.
    let wide = PngHeader { width: 16_384, height: 16_384, depth: 16, color: 6, interlaced: true, chunks: &[] };
    for source in [jpeg, png, png_of(&wide, &[])] {
        let error = compress(&source, Quality::Relative(50)).expect_err("it claims too much");
        assert_eq!(error.code(), "ImageTooLarge", "{error}");
        assert!(error.to_string().contains("pixels"), "{error}");
    }
    // Few enough pixels, and too much memory for 16 bits and four channels.
    let deep = PngHeader { width: 7_000, height: 7_000, depth: 16, color: 6, interlaced: false, chunks: &[] };
    let error = compress(&png_of(&deep, &[]), Quality::Absolute(100)).expect_err("it claims too much");
    assert!(error.to_string().contains("memory"), "{error}");
}

#[test]
fn thousands_of_scans_are_refused() {
    let source = jpeg(&scene(64, 48), 90, |encoder| encoder.set_progressive(true));
    let last = source.windows(2).rposition(|it| it == [0xff, 0xda]).expect("it has scans");
    let (start, scan) = (&source[..last], &source[last..source.len() - 2]);
    let many = |count| [start, &scan.repeat(count), &[0xff, 0xd9]].concat();
    assert!(decode_jpeg(&many(1)).width == 64);
    let error = compress(&many(5_000), Quality::Relative(50)).expect_err("no encoder writes that");
    assert_eq!((error.code(), error.to_string().contains("scans")), ("ImageTooLarge", true), "{error}");
}

#[test]
fn second_frame_cannot_replace_the_first() {
    let small = jpeg(&scene(16, 16), 90, |_| {});
    let frame = small.windows(2).position(|it| it == [0xff, 0xc0]).expect("it is baseline");
    let mut second = small[frame..frame + 19].to_vec();
    second[5..9].fill(0xff);
    let scan = small.windows(2).position(|it| it == [0xff, 0xda]).expect("it has a scan");
    let end = small.len() - 2;
    let before = [&small[..scan], &second, &small[scan..]].concat();
    let behind = [&small[..end], &second, &small[scan..]].concat();
    for (case, source) in [("before the scan", before), ("behind the scan", behind)] {
        let error = compress(&source, Quality::Relative(50)).expect_err(case);
        assert_eq!(error.code(), "ImageCorrupt", "{case}: {error}");
    }
}

#[test]
fn thousands_of_segments_and_chunks_are_walked() {
    let small = jpeg(&scene(16, 16), 90, |_| {});
    let comments = b"\xff\xfe\0\x02".repeat(200_000);
    let padded = [&small[..2], &comments, &vec![0xff; 100_000], &small[2..]].concat();
    let result = compress(&padded, Quality::Relative(100)).expect("it is sound");
    assert_eq!(result.bytes.as_deref().map(<[u8]>::len), Some(small.len()));

    let texts = vec![(b"tEXt", [].as_slice()); 100_000];
    let padded = png(&scene(16, 16), &texts);
    let result = compress(&padded, Quality::Relative(100)).expect("it is sound");
    assert!(chunks(&result.bytes.expect("texts go")).len() < 6);
}

#[test]
fn packed_texts_and_profiles_are_not_unpacked_far() {
    let bomb = fdeflate::compress_to_vec(&vec![0; 64 << 20]);
    let text = [b"Comment\0\0".as_slice(), &bomb].concat();
    let picture = scene(64, 48);
    for (name, goes) in [(b"zTXt", true), (b"iCCP", false)] {
        let source = png(&picture, &[(name, &text)]);
        let bytes = compress(&source, Quality::Relative(50)).expect("it is sound").bytes.expect("it can be packed");
        assert_eq!(chunks(&bytes).iter().all(|(it, _)| it != name), goes);
    }
}

#[test]
fn pixels_beyond_the_last_row_are_ignored() {
    let mut data = rows(&scene(16, 16).samples, 48);
    let honest = data.clone();
    data.extend(vec![0; 64 << 20]);
    let header = PngHeader { width: 16, height: 16, depth: 8, color: 2, interlaced: false, chunks: &[] };
    let (bomb, honest) = (png_of(&header, &data), png_of(&header, &honest));
    let result = compress(&bomb, Quality::Absolute(100)).expect("the picture is there").bytes;
    assert_eq!(result, compress(&honest, Quality::Absolute(100)).expect("it is sound").bytes);
}

fn mend_checksums(png: &mut [u8]) {
    let mut at = 8;
    while let Some(&[l3, l2, l1, l0]) = png.get(at..at + 4).and_then(<[u8]>::first_chunk) {
        let end = at + 8 + u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        if !png.starts_with(b"\x89PNG") || end + 4 > png.len() {
            return;
        }
        let checksum = crc32fast::hash(&png[at + 4..end]).to_be_bytes();
        png[end..end + 4].copy_from_slice(&checksum);
        at = end + 4;
    }
}

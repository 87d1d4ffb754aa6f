//! PNG: every kind is read right, and what is lost is only what the quality allows.

use codec::Quality;

use crate::sample::{
    Chunk, Picture, PngHeader, SECRET, chunks, compress, contains, decode_png, exif, png, png_kind, png_of, profile,
    rows, scene, smaller, write_chunks,
};

const FULL: Quality = Quality::Absolute(100);
const HALF: Quality = Quality::Relative(50);

#[test]
fn lossless_means_lossless() {
    let alpha = |x: u32, y: u32| ((x * 5) ^ (y * 3)) as u8;
    let color = scene(90, 60);
    let pictures = [
        color.grey(),
        Picture::new(90, 60, |x, y| vec![color.pixel(x, y)[0], alpha(x, y)]),
        color.clone(),
        Picture::new(90, 60, |x, y| [color.pixel(x, y), &[alpha(x, y)]].concat()),
        Picture::new(90, 60, |x, y| if (x / 9 + y / 7) % 3 == 0 { vec![9, 8, 7, 0] } else { vec![1, 2, 3, 255] }),
    ];
    for picture in pictures {
        let source = png(&picture, &[]);
        let compressed = compress(&source, FULL).expect("it is sound");
        assert_eq!((compressed.source_quality, compressed.quality), (100, 100));
        let bytes = compressed.bytes.expect("unfiltered rows are large");
        assert_eq!(decode_png(&bytes), decode_png(&source), "{} channels", picture.channels);
    }
}

#[test]
fn photograph_gets_a_palette_of_its_quality() {
    let source = png(&scene(320, 240), &[]);
    let picture = decode_png(&source);
    // 256 colours from quality 50 upwards, 16 at least, as many per cent of quality between.
    for (quality, colors) in [(50, 256), (30, 153)] {
        let compressed = compress(&source, Quality::Absolute(quality)).expect("it is sound");
        assert_eq!((compressed.source_quality, compressed.quality), (100, quality));
        let bytes = compressed.bytes.expect("a palette is smaller");
        assert_eq!(png_kind(&bytes).1, 3);
        let chunks = chunks(&bytes);
        let (_, palette) = chunks.iter().find(|(name, _)| name == b"PLTE").expect("it has a palette");
        assert!(palette.len() / 3 <= colors, "{} colours at {quality}", palette.len() / 3);
        let psnr = picture.psnr(&decode_png(&bytes));
        assert!(psnr >= 24.0 + f64::from(quality) / 6.0, "quality {quality}: {psnr:.2} dB");
    }
}

#[test]
fn picture_with_more_colors_than_the_quality_allows_to_lose_stays_exact() {
    // Noise of all colours: no palette comes near.
    let noise = Picture::new(150, 150, |x, y| {
        let value = (x * 150 + y).wrapping_mul(2_654_435_761);
        vec![value as u8, (value >> 8) as u8, (value >> 16) as u8]
    });
    let source = png(&noise, &[]);
    let compressed = compress(&source, Quality::Absolute(95)).expect("it is sound");
    if let Some(bytes) = compressed.bytes {
        assert_eq!(decode_png(&bytes), decode_png(&source));
    }
    assert_eq!(compressed.quality, 100);
}

#[test]
fn drawing_of_few_colors_stays_exact() {
    let drawing = Picture::new(200, 120, |x, y| vec![(x / 50) as u8 * 60, (y / 30) as u8 * 70, 30]);
    let source = png(&drawing, &[]);
    let compressed = compress(&source, HALF).expect("it is sound");
    assert_eq!(compressed.quality, 100, "nothing was lost");
    let bytes = compressed.bytes.expect("it can be packed");
    assert!(bytes.len() < 250, "{} bytes", bytes.len());
    assert_eq!(decode_png(&bytes), decode_png(&source));
}

#[test]
fn palettes_and_small_depths_are_read_right() {
    let palette: Vec<u8> = (0..16_u8).flat_map(|it| [it * 16, 255 - it * 16, it * 7]).collect();
    let alphas: Vec<u8> = (0..16_u8).map(|it| it * 17).collect();
    let (plte, trns): (&[u8; 4], &[u8; 4]) = (b"PLTE", b"tRNS");
    let cases: [(u8, u8, &[Chunk<'_>]); 10] = [
        (1, 0, &[]),
        (2, 0, &[]),
        (4, 0, &[]),
        (4, 0, &[(trns, &[0, 3])]),
        (8, 0, &[(trns, &[0, 77])]),
        (1, 3, &[(plte, &palette[..6])]),
        (2, 3, &[(plte, &palette[..12]), (trns, &[0, 128])]),
        (4, 3, &[(plte, &palette)]),
        (4, 3, &[(plte, &palette), (trns, &alphas)]),
        (8, 2, &[(trns, &[0, 1, 0, 2, 0, 3])]),
    ];
    for (depth, color, chunks) in cases {
        let header = PngHeader { width: 64, height: 48, depth, color, interlaced: false, chunks };
        let size = if color == 2 { 64 * 3 } else { 8 * usize::from(depth) };
        let samples: Vec<u8> = (0..48 * size).map(|at| ((at / size * 5) ^ (at * 3) ^ (at / 7)) as u8).collect();
        let source = png_of(&header, &rows(&samples, size));
        for quality in [FULL, HALF] {
            let compressed = compress(&source, quality).expect("it is sound");
            if let Some(bytes) = compressed.bytes.filter(|_| compressed.quality == 100) {
                assert_eq!(decode_png(&bytes), decode_png(&source), "{header:?}, {quality:?}");
            }
        }
    }
}

#[test]
fn sixteen_bits_are_kept_at_full_quality_only() {
    let samples: Vec<u8> = (0..80 * 60 * 3_u32).flat_map(|at| (at * 19 % 65_521).to_be_bytes()[2..].to_vec()).collect();
    let deep = |chunks| {
        let header = PngHeader { width: 80, height: 60, depth: 16, color: 2, interlaced: false, chunks };
        png_of(&header, &rows(&samples, 80 * 6))
    };
    let source = deep(&[]);
    let full = smaller(&source, FULL);
    assert_eq!(png_kind(&full), (16, 2));
    assert_eq!(raw_samples(&full), samples);

    let half = compress(&source, HALF).expect("it is sound");
    assert_eq!(half.quality, 50);
    assert!(png_kind(&half.bytes.expect("half of the bits go")).0 <= 8);

    // Code points of BT.2100: there, 8 bits show steps.
    let hdr = smaller(&deep(&[(b"cICP", &[9, 16, 0, 1])]), HALF);
    assert_eq!(png_kind(&hdr), (16, 2));
    assert_eq!(raw_samples(&hdr), samples);
}

#[test]
fn sixteen_bits_that_become_eight_have_lost_something() {
    // Few colours in 8 bits, so the candidate without a palette is taken.
    let samples: Vec<u8> = (0..90 * 60 * 3_u32).flat_map(|at| [(at / 2000) as u8 * 20, (at % 251) as u8]).collect();
    let header = PngHeader { width: 90, height: 60, depth: 16, color: 2, interlaced: false, chunks: &[] };
    let source = png_of(&header, &rows(&samples, 90 * 6));
    let compressed = compress(&source, Quality::Absolute(70)).expect("it is sound");
    assert_eq!(compressed.quality, 70);
    let picture = decode_png(&compressed.bytes.expect("half of the bits go"));
    assert_eq!(picture, decode_png(&source));
}

#[test]
fn transparent_color_is_compared_in_all_its_bits() {
    // Two colours that differ in their low bytes; only one is the transparent one.
    let key = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc];
    let near = [0x12, 0x35, 0x56, 0x78, 0x9a, 0xbc];
    let samples: Vec<u8> = (0..64 * 64).flat_map(|at| if at % 2 == 0 { key } else { near }).collect();
    let header =
        PngHeader { width: 64, height: 64, depth: 16, color: 2, interlaced: false, chunks: &[(b"tRNS", &key)] };
    let picture = decode_png(&smaller(&png_of(&header, &rows(&samples, 64 * 6)), HALF));
    assert_eq!((picture.pixel(0, 0)[3], picture.pixel(1, 0)), (0, &[0x12, 0x56, 0x9a, 255][..]));
}

#[test]
fn interlaced_is_read_right() {
    for (width, height) in [(1, 1), (2, 3), (5, 8), (61, 47)] {
        let picture = scene(width, height);
        let passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
        let mut data = Vec::new();
        for (left, top, right, down) in passes {
            if left >= width {
                continue;
            }
            for y in (top..height).step_by(down) {
                data.push(0);
                data.extend((left..width).step_by(right).flat_map(|x| picture.pixel(x, y).to_vec()));
            }
        }
        let header = PngHeader { width, height, depth: 8, color: 2, interlaced: true, chunks: &[(b"tEXt", SECRET)] };
        let result = decode_png(&smaller(&png_of(&header, &data), FULL));
        assert_eq!(result, decode_png(&png(&picture, &[])), "{width} x {height}");
    }
}

#[test]
fn single_pixel_is_a_picture() {
    for color in [vec![7], vec![7, 100], vec![7, 8, 9], vec![7, 8, 9, 0], vec![7, 8, 9, 255]] {
        let picture = Picture::new(1, 1, |_, _| color.clone());
        let source = png(&picture, &[(b"tEXt", SECRET)]);
        for quality in [FULL, HALF] {
            let compressed = compress(&source, quality).expect("it is sound");
            assert_eq!((compressed.width, compressed.height, compressed.quality), (1, 1, 100));
            let bytes = compressed.bytes.expect("the text goes");
            assert_eq!(decode_png(&bytes), decode_png(&source), "{color:?}");
        }
    }
}

#[test]
fn color_is_kept_and_metadata_goes() {
    let packed = [b"name\0\0".as_slice(), &fdeflate::compress_to_vec(&profile(*b"RGB ", 500))].concat();
    let position = exif(1);
    let text = [b"Location\0".as_slice(), SECRET].concat();
    let kept: [Chunk<'_>; 3] = [(b"gAMA", &45_455_u32.to_be_bytes()), (b"cHRM", &[1; 32]), (b"iCCP", &packed)];
    let goes: [Chunk<'_>; 4] =
        [(b"eXIf", &position), (b"tEXt", &text), (b"iTXt", &text), (b"tIME", &[7, 226, 1, 1, 0, 0, 0])];
    let source = png(&scene(160, 120), &[&kept[..], &goes[..]].concat());
    let whole = [source.as_slice(), SECRET].concat();
    for quality in [FULL, HALF] {
        let bytes = smaller(&whole, quality);
        let found = chunks(&bytes);
        for (name, content) in kept {
            let (_, found) = found.iter().find(|(it, _)| it == name).expect("colour chunks stay");
            // The profile is packed anew.
            assert!(found == &content || name == b"iCCP", "{quality:?}");
        }
        assert!(goes.iter().all(|(name, _)| found.iter().all(|(it, _)| it != *name)), "{quality:?}");
        assert!(!contains(&bytes, SECRET), "{quality:?}");
        let mut decoder = ::png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().expect("it is a PNG");
        assert_eq!(decoder.info().icc_profile.as_deref(), Some(profile(*b"RGB ", 500).as_slice()), "{quality:?}");
        decoder.finish().expect("it is whole");
    }
}

#[test]
fn profile_for_grey_stays_with_a_grey_picture() {
    let packed = [b"name\0\0".as_slice(), &fdeflate::compress_to_vec(&profile(*b"GRAY", 500))].concat();
    let source = png(&scene(160, 120).grey(), &[(b"iCCP", &packed)]);
    for quality in [FULL, HALF] {
        let bytes = smaller(&source, quality);
        assert_eq!(png_kind(&bytes), (8, 0), "{quality:?}");
        assert!(chunks(&bytes).iter().any(|(name, _)| name == b"iCCP"), "{quality:?}");
    }
}

#[test]
fn profile_for_colors_never_meets_a_grey_result() {
    // All pixels are grey, so a reduction would be lossless, but for the profile.
    let packed = [b"name\0\0".as_slice(), &fdeflate::compress_to_vec(&profile(*b"RGB ", 500))].concat();
    let grey = scene(160, 120).grey();
    let source = png(&Picture::new(160, 120, |x, y| grey.pixel(x, y).repeat(3)), &[(b"iCCP", &packed)]);
    for quality in [FULL, HALF] {
        let bytes = smaller(&source, quality);
        assert!(matches!(png_kind(&bytes).1, 2 | 3), "{quality:?}");
        assert!(chunks(&bytes).iter().any(|(name, _)| name == b"iCCP"), "{quality:?}");
    }
}

#[test]
fn animation_is_kept_as_it_is() {
    let picture = scene(64, 48);
    let control = [0, 0, 0, 1, 0, 0, 0, 0];
    let mut frame = vec![0; 26];
    frame[7] = 64;
    frame[11] = 48;
    let source = png(&picture, &[(b"acTL", &control), (b"fcTL", &frame)]);
    let compressed = compress(&source, HALF).expect("it is sound");
    assert_eq!((compressed.bytes, compressed.quality, compressed.width), (None, 100, 64));
}

#[test]
fn second_run_changes_nothing_or_little() {
    let once = smaller(&png(&scene(320, 240), &[]), HALF);
    let twice = compress(&once, HALF).expect("it is sound");
    assert_eq!(twice.quality, 100, "its colours fit into a palette already");
    if let Some(bytes) = twice.bytes {
        assert_eq!(decode_png(&bytes), decode_png(&once));
    }
}

#[test]
fn pixels_in_many_pieces_are_joined() {
    let picture = scene(64, 48);
    let data = fdeflate::compress_to_vec(&rows(&picture.samples, 64 * 3));
    let mut pieces: Vec<Chunk<'_>> = data.chunks(100).map(|piece| (b"IDAT", piece)).collect();
    pieces.insert(3, (b"IDAT", &[]));
    let header = [0, 0, 0, 64, 0, 0, 0, 48, 8, 2, 0, 0, 0];
    let all = [&[(b"IHDR", &header[..])][..], &pieces, &[(b"IEND", &[])]].concat();
    assert_eq!(decode_png(&smaller(&write_chunks(&all), FULL)), decode_png(&png(&picture, &[])));
}

/// Returns the samples as they are stored, 16 bits each.
fn raw_samples(png: &[u8]) -> Vec<u8> {
    let mut reader = ::png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("it is a PNG");
    let mut samples = vec![0; reader.output_buffer_size().expect("it is small")];
    reader.next_frame(&mut samples).expect("it can be decoded");
    samples
}

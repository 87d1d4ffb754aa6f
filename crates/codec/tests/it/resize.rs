//! Downscaling: the right size, and the right picture in it.

use codec::{Compressed, Limits, Options, Quality, TargetFormat};

use crate::{
    orientation::shown,
    sample::{
        Picture, PngHeader, decode_jpeg, decode_png, exif, jpeg, photograph, png, png_kind, png_of, rows, scene,
        write_chunks,
    },
};

fn fit(source: &[u8], quality: u8, width: Option<u32>, height: Option<u32>) -> Compressed {
    let quality = Quality::Absolute(quality);
    let options = Options { quality, max_width: width, max_height: height, ..Options::default() };
    codec::compress(source, &options, &Limits::default()).expect("the source is sound")
}

#[test]
fn aspect_is_kept_and_nothing_is_scaled_up() {
    let source = png(&scene(300, 200), &[]);
    let cases = [
        (None, None, (300, 200)),
        (Some(300), Some(200), (300, 200)),
        (Some(4_000_000_000), Some(u32::MAX), (300, 200)),
        (Some(150), None, (150, 100)),
        (None, Some(50), (75, 50)),
        (Some(150), Some(50), (75, 50)),
        (Some(60), Some(150), (60, 40)),
        (Some(299), None, (299, 199)),
        (Some(1), None, (1, 1)),
        (Some(0), Some(0), (1, 1)),
    ];
    for (width, height, expected) in cases {
        let compressed = fit(&source, 100, width, height);
        assert_eq!((compressed.width, compressed.height), expected, "{width:?} x {height:?}");
        let result = decode_png(&compressed.bytes.expect("it becomes smaller"));
        assert_eq!((result.width, result.height), expected, "{width:?} x {height:?}");
    }
}

#[test]
fn bounds_are_meant_for_the_picture_as_displayed() {
    for orientation in 1..=8 {
        let source = jpeg(&scene(100, 60), 95, |encoder| {
            encoder.add_exif_metadata(&exif(orientation)).expect("it is short");
        });
        let compressed = fit(&source, 95, Some(50), None);
        let expected = if orientation >= 5 { (50, 83) } else { (50, 30) };
        assert_eq!((compressed.width, compressed.height), expected, "{orientation}");
        let result = decode_jpeg(&compressed.bytes.expect("it was scaled"));
        assert_eq!((result.width, result.height), expected, "{orientation}");
        let all = shown(&decode_jpeg(&source), orientation);
        let psnr = average(&all, expected.0, expected.1).psnr(&result);
        assert!(psnr > 24.0, "{orientation}: {psnr:.2} dB");
    }
}

#[test]
fn photograph_stays_what_it_is() {
    let source = photograph("forest-stream.jpg");
    let compressed = fit(&source, 80, Some(500), Some(500));
    let result = decode_jpeg(&compressed.bytes.expect("it was scaled"));
    assert_eq!((result.width, result.height), (500, 333));
    let psnr = average(&decode_jpeg(&source), 500, 333).psnr(&result);
    assert!(psnr > 27.0, "{psnr:.2} dB");
}

#[test]
fn fine_stripes_keep_their_light() {
    // Half of the light of white is sRGB 188, and not 128.
    let stripes = Picture::new(64, 64, |x, _| vec![if x % 2 == 0 { 255 } else { 0 }]);
    let result = decode_png(&fit(&png(&stripes, &[]), 100, Some(16), None).bytes.expect("it was scaled"));
    assert!(result.pixel(8, 8)[0].abs_diff(188) <= 1, "{:?}", result.pixel(8, 8));
}

#[test]
fn plain_areas_stay_exact() {
    for color in
        [vec![77], vec![13, 255], vec![1, 2, 3], vec![250, 128, 3], vec![9, 99, 199, 255], vec![200, 100, 50, 3]]
    {
        let picture = Picture::new(90, 70, |_, _| color.clone());
        let result = decode_png(&fit(&png(&picture, &[]), 100, Some(31), None).bytes.expect("it was scaled"));
        let expected = picture.rgba();
        let wanted = expected.pixel(0, 0);
        // Little of a colour is left where it is nearly transparent.
        let tolerance = if color.last() == Some(&3) { 2 } else { 0 };
        let near = |pixel: &[u8]| pixel.iter().zip(wanted).all(|(a, b)| a.abs_diff(*b) <= tolerance);
        assert!(result.samples.chunks_exact(4).all(near), "{color:?}: {:?}", result.pixel(3, 3));
    }
}

#[test]
fn what_is_transparent_does_not_bleed() {
    // Red is hidden behind full transparency; the seen half is blue.
    let picture = Picture::new(80, 80, |x, _| if x < 40 { vec![255, 0, 0, 0] } else { vec![0, 0, 255, 255] });
    let result = decode_png(&fit(&png(&picture, &[]), 100, Some(20), None).bytes.expect("it was scaled"));
    for pixel in result.samples.chunks_exact(4).filter(|pixel| pixel[3] > 8) {
        assert!(pixel[0] <= 2 && pixel[2] >= 250, "{pixel:?}");
    }
    assert_eq!((result.pixel(0, 5)[3], result.pixel(19, 5)), (0, &[0, 0, 255, 255][..]));
}

#[test]
fn bands_leave_no_seams() {
    // Several bands high, and a ramp that shows each error.
    let ramp = Picture::new(40, 1500, |x, y| vec![(y * 255 / 1499) as u8, (x * 6) as u8, 128]);
    for height in [1499, 1000, 749, 200, 33] {
        let result = decode_png(&fit(&png(&ramp, &[]), 100, None, Some(height)).bytes.expect("it was scaled"));
        let (mut last, middle) = (0, result.width / 2);
        for y in 0..result.height {
            let found = result.pixel(middle, y)[0];
            let expected = (f64::from(y) + 0.5) / f64::from(height) * 255.0;
            assert!((f64::from(found) - expected).abs() < 2.0 + 300.0 / f64::from(height), "{height}: {y} is {found}");
            assert!(found >= last, "{height}: {y} goes back");
            last = found;
        }
    }
}

#[test]
fn sixteen_bits_stay_at_full_quality() {
    let samples: Vec<u8> = (0..60 * 40_u32).flat_map(|at| ((at % 60 * 1000) as u16).to_be_bytes()).collect();
    let header = PngHeader { width: 60, height: 40, depth: 16, color: 0, interlaced: false, chunks: &[] };
    let source = png_of(&header, &rows(&samples, 120));
    let full = fit(&source, 100, Some(30), None).bytes.expect("it was scaled");
    assert_eq!(png_kind(&full), (16, 0));
    let half = fit(&source, 50, Some(30), None).bytes.expect("it was scaled");
    assert!(png_kind(&half).0 <= 8);
}

#[test]
fn result_of_a_downscale_is_always_delivered() {
    // Packed as nothing can pack its average.
    let board = Picture::new(512, 512, |x, y| vec![if (x / 7 + y / 5) % 2 == 0 { 255 } else { 0 }]);
    let source = fit(&png(&board, &[]), 100, None, None).bytes.expect("it can be packed");
    let compressed = fit(&source, 100, Some(500), None);
    let bytes = compressed.bytes.expect("it was scaled");
    assert!(bytes.len() > source.len());
    assert_eq!(decode_png(&bytes).width, 500);
}

#[test]
fn format_and_size_change_together() {
    let options = Options {
        quality: Quality::Absolute(80),
        format: TargetFormat::Jpeg,
        max_width: Some(200),
        ..Options::default()
    };
    let source = photograph("fig-bowl-cutout.png");
    let compressed = codec::compress(&source, &options, &Limits::default()).expect("it is sound");
    let result = decode_jpeg(&compressed.bytes.expect("it was asked for"));
    assert_eq!((result.width, result.height, result.channels), (200, 153, 3));
    assert!(result.pixel(0, 0).iter().all(|sample| *sample > 250), "cut-outs stand on white");
}

#[test]
fn animation_keeps_its_size() {
    let mut frame = vec![0; 26];
    frame[7] = 64;
    frame[11] = 48;
    let source = png(&scene(64, 48), &[(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]), (b"fcTL", &frame)]);
    let compressed = fit(&source, 50, Some(10), None);
    assert_eq!((compressed.bytes, compressed.width), (None, 64));
}

#[test]
fn limits_are_those_of_the_source() {
    let huge = 20_000_u32.to_be_bytes();
    let header = [&huge[..], &huge, &[8, 6, 0, 0, 0]].concat();
    let source = write_chunks(&[(b"IHDR", &header), (b"IDAT", &[]), (b"IEND", &[])]);
    let options = Options { max_width: Some(100), ..Options::default() };
    let error = codec::compress(&source, &options, &Limits::default()).expect_err("it claims too much");
    assert_eq!(error.code(), "ImageTooLarge");
}

/// Scales by averaging areas, in linear light.
fn average(picture: &Picture, width: u32, height: u32) -> Picture {
    let bounds = |at: u32, to: u32, from: u32| (at * from / to, ((at + 1) * from).div_ceil(to));
    Picture::new(width, height, |x, y| {
        let ((left, right), (top, bottom)) = (bounds(x, width, picture.width), bounds(y, height, picture.height));
        let mut sums = vec![0.0; picture.channels];
        for (y, x) in (top..bottom).flat_map(|y| (left..right).map(move |x| (y, x))) {
            sums.iter_mut().zip(picture.pixel(x, y)).for_each(|(sum, value)| *sum += f64::from(*value).powf(2.2));
        }
        let count = f64::from((right - left) * (bottom - top));
        sums.into_iter().map(|sum| (sum / count).powf(1.0 / 2.2).round() as u8).collect()
    })
}

//! Transparency: exact where it is full or absent, whatever the palette.

use codec::Quality;

use crate::sample::{Picture, compress, decode_png, photograph, png, png_kind, scene};

#[test]
fn cut_out_photograph_keeps_its_edges() {
    let source = photograph("fig-bowl-cutout.png");
    let before = decode_png(&source);
    for quality in [50, 30] {
        let compressed = compress(&source, Quality::Absolute(quality)).expect("it is sound");
        assert_eq!((compressed.width, compressed.height, compressed.quality), (800, 611, quality));
        let bytes = compressed.bytes.expect("a palette is smaller");
        assert!(bytes.len() * 10 < source.len() * 4, "{} of {} bytes", bytes.len(), source.len());
        assert_eq!(png_kind(&bytes).1, 3);
        let after = decode_png(&bytes);
        assert_classes(&before, &after);
        let psnr = before.visible().psnr(&after.visible());
        assert!(psnr > if quality == 50 { 35.0 } else { 33.0 }, "quality {quality}: {psnr:.2} dB");
    }
}

#[test]
fn classes_never_mix() {
    let color = scene(200, 140);
    let pixel = |x, y, alpha: u8| [color.pixel(x, y), &[alpha]].concat();
    // Opaque, soft and empty areas; almost transparent and almost opaque ones beside them.
    let pictures = [
        ("ramp", Picture::new(200, 140, |x, y| pixel(x, y, (x * 255 / 199) as u8))),
        ("almost", Picture::new(200, 140, |x, y| pixel(x, y, [0, 1, 254, 255][((x / 5 + y / 3) % 4) as usize]))),
        ("one soft", Picture::new(200, 140, |x, y| pixel(x, y, if (x, y) == (77, 33) { 128 } else { 255 }))),
        ("one opaque", Picture::new(200, 140, |x, y| pixel(x, y, if (x, y) == (77, 33) { 255 } else { 0 }))),
        ("all soft", Picture::new(200, 140, |x, y| pixel(x, y, 1 + ((x * 7 + y * 13) % 254) as u8))),
        ("empty", Picture::new(200, 140, |x, y| pixel(x, y, 0))),
        ("grey", Picture::new(200, 140, |x, y| vec![color.pixel(x, y)[1], ((x ^ y) * 2).min(255) as u8])),
    ];
    for (name, picture) in pictures {
        let source = png(&picture, &[]);
        let before = decode_png(&source);
        for quality in [1, 30, 50, 80, 100] {
            let compressed = compress(&source, Quality::Absolute(quality)).expect(name);
            let after = decode_png(&compressed.bytes.expect("unfiltered rows are large"));
            assert_classes(&before, &after);
            if compressed.quality == 100 {
                assert!(before == after || name == "empty", "{name} at {quality}");
            }
        }
    }
}

fn assert_classes(before: &Picture, after: &Picture) {
    let class = |pixel: &[u8]| match pixel[3] {
        0 => "transparent",
        255 => "opaque",
        _ => "translucent",
    };
    assert_eq!((before.width, before.height), (after.width, after.height));
    for (before, after) in before.samples.chunks_exact(4).zip(after.samples.chunks_exact(4)) {
        assert_eq!(class(before), class(after), "{before:?} became {after:?}");
    }
}

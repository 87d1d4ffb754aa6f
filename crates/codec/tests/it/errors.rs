//! Every refusal has the code that says why.

use codec::{Error, Limits, Options, Quality};

use crate::sample::{PngHeader, compress, jpeg, photograph, png, png_of, rows, scene, write_chunks};

const HALF: Quality = Quality::Relative(50);

#[test]
fn content_decides_what_a_file_is() {
    let page = photograph("page.jpg");
    let drawing_in_page = b"<!DOCTYPE html>\n<html><body><svg viewBox='0 0 9 9'></svg></body></html>";
    let cases: [(&[u8], &str, &str); 33] = [
        (b"", "NotAnImage", "an empty file"),
        (&page, "NotAnImage", "HTML"),
        (drawing_in_page, "NotAnImage", "HTML"),
        (b"  \n<html><head></head></html>", "NotAnImage", "HTML"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "NotAnImage", "XML"),
        (b"{\"error\": \"gone\"}", "NotAnImage", "JSON"),
        (b"Not found", "NotAnImage", "text"),
        ("Produit non trouvé".as_bytes(), "NotAnImage", "text"),
        (b"PK\x03\x04\x14\0", "NotAnImage", "ZIP"),
        (b"\x1f\x8b\x08\0\0\0", "NotAnImage", "gzip"),
        (&[0; 100], "NotAnImage", "unknown"),
        (&[0xff, 0xd8], "ImageTruncated", "first bytes"),
        (b"\x89PNG\r\n", "ImageTruncated", "first bytes"),
        (b"GIF89a\x01\0\x01\0", "ImageTruncated", "GIF"),
        (b"GIF87a\x01\0\x01\0", "ImageTruncated", "GIF"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "ImageTruncated", "WebP"),
        (b"RIFF\x24\0\0\0WEB", "ImageTruncated", "first bytes"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "NotAnImage", "unknown"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "UnsupportedFormat", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a logo -->\n<SVG/>", "UnsupportedFormat", "SVG"),
        (b"BM\x46\0\0\0\0\0\0\0", "ImageTruncated", "BMP"),
        (b"II*\0\x08\0\0\0", "ImageTruncated", "TIFF"),
        (b"MM\0*\0\0\0\x08", "ImageTruncated", "TIFF"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "ImageTruncated", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "UnsupportedFormat", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "ImageTruncated", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "UnsupportedFormat", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "UnsupportedFormat", "video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "UnsupportedFormat", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "UnsupportedFormat", "JPEG 2000"),
        (b"%PDF-1.7", "UnsupportedFormat", "PDF"),
        (b"8BPS\0\x01", "UnsupportedFormat", "PSD"),
        (b"\0\0\0\x18ftyp", "ImageTruncated", "first bytes"),
    ];
    for (source, code, part) in cases {
        let error = compress(source, HALF).expect_err("it is nothing that is handled");
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn variants_of_jpeg_that_are_not_handled_are_named() {
    let source = jpeg(&scene(32, 32), 90, |_| {});
    let frame = source.windows(2).position(|it| it == [0xff, 0xc0]).expect("it is baseline");
    let cases = [
        (1, 0xc3, "UnsupportedFormat", "lossless"),
        (1, 0xc9, "UnsupportedFormat", "arithmetic"),
        (1, 0xc5, "UnsupportedFormat", "hierarchical"),
        (4, 12, "UnsupportedFormat", "12 bits"),
        (9, 2, "UnsupportedFormat", "2 colour components"),
    ];
    for (offset, value, code, part) in cases {
        let mut changed = source.clone();
        changed[frame + offset] = value;
        let error = compress(&changed, HALF).expect_err(part);
        assert_eq!((error.code(), error.to_string().contains(part)), (code, true), "{error}");
    }
    let mut no_height = source.clone();
    no_height[frame + 5..frame + 7].fill(0);
    assert_eq!(compress(&no_height, HALF).expect_err("no height").code(), "UnsupportedFormat");
    let mut no_width = source;
    no_width[frame + 7..frame + 9].fill(0);
    assert_eq!(compress(&no_width, HALF).expect_err("no width").code(), "ImageCorrupt");
}

#[test]
fn photograph_cut_off_is_truncated() {
    let error = compress(&photograph("truncated.jpg"), HALF).expect_err("it is cut off");
    assert_eq!(error.code(), "ImageTruncated", "{error}");
}

#[test]
fn limits_name_what_is_exceeded() {
    let (jpeg, png) = (jpeg(&scene(80, 60), 90, |encoder| encoder.set_progressive(true)), png(&scene(80, 60), &[]));
    let default = Limits::default();
    let cases = [
        (Limits { max_bytes: 500, ..default }, "bytes", 500),
        (Limits { max_pixels: 4_799, ..default }, "pixels", 4_799),
        (Limits { max_side: 79, ..default }, "pixels a side", 79),
        (Limits { max_alloc: 14_399, ..default }, "bytes of memory to decode", 14_399),
    ];
    for source in [&jpeg, &png] {
        for (limits, expected, expected_limit) in cases {
            match codec::compress(source, &Options::default(), &limits) {
                Err(Error::ImageTooLarge { what, actual, limit }) => {
                    assert!(what.starts_with(expected) && actual > limit && limit == expected_limit, "{what}");
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
        let enough = Limits { max_bytes: source.len(), max_pixels: 4_800, max_side: 80, ..default };
        assert!(codec::compress(source, &Options::default(), &enough).is_ok());
    }
}

#[test]
fn png_that_breaks_the_rules_is_corrupt_or_truncated() {
    let data = fdeflate::compress_to_vec(&rows(&scene(16, 16).samples, 48));
    let header = [0, 0, 0, 16, 0, 0, 0, 16, 8, 2, 0, 0, 0];
    let (ihdr, idat, iend): (&[u8; 4], &[u8; 4], &[u8; 4]) = (b"IHDR", b"IDAT", b"IEND");
    let with = |index: usize, value: u8| {
        let mut changed = header;
        changed[index] = value;
        write_chunks(&[(ihdr, &changed), (idat, &data), (iend, &[])])
    };
    let mut checksum = write_chunks(&[(ihdr, &header), (idat, &data), (iend, &[])]);
    checksum[60] ^= 1;
    let cases = [
        ("no header", write_chunks(&[(idat, &data), (iend, &[])]), "ImageCorrupt"),
        ("short header", write_chunks(&[(ihdr, &header[..12]), (idat, &data), (iend, &[])]), "ImageCorrupt"),
        ("no width", with(3, 0), "ImageCorrupt"),
        ("depth of 3", with(8, 3), "ImageCorrupt"),
        ("colour type 5", with(9, 5), "ImageCorrupt"),
        ("palette missing", with(9, 3), "ImageCorrupt"),
        ("unknown interlacing", with(12, 2), "ImageCorrupt"),
        ("broken checksum", checksum, "ImageCorrupt"),
        ("no pixels", write_chunks(&[(ihdr, &header), (iend, &[])]), "ImageTruncated"),
        ("no end", write_chunks(&[(ihdr, &header), (idat, &data)]), "ImageTruncated"),
        ("half of the pixels", write_chunks(&[(ihdr, &header), (idat, &data[..data.len() / 2]), (iend, &[])]), "Image"),
        ("chunk of no name", write_chunks(&[(ihdr, &header), (b"\0\0\0\0", &[]), (iend, &[])]), "ImageCorrupt"),
    ];
    for (case, source, code) in cases {
        let error = compress(&source, HALF).expect_err(case);
        assert!(error.code().starts_with(code), "{case}: {error}");
    }
}

#[test]
fn color_profile_of_megabytes_is_refused() {
    let profile = vec![1; (1 << 20) + 1];
    let header =
        PngHeader { width: 1, height: 1, depth: 8, color: 0, interlaced: false, chunks: &[(b"iCCP", &profile)] };
    let error = compress(&png_of(&header, &[0, 0]), HALF).expect_err("it is no profile");
    assert_eq!(error.code(), "ImageTooLarge");
}

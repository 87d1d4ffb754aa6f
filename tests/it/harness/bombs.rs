//! Files that claim or pack more than they are, and files that are broken: each family with the code
//! that it has to fail with.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// A file, its name at the origin, and its code; nothing where the codec does what is asked for and leaves
/// the bomb unopened.
pub(crate) struct Bomb {
    pub(crate) name: &'static str,
    pub(crate) code: Option<&'static str>,
    pub(crate) bytes: Vec<u8>,
}

/// Returns one of each family. They are packed by the first call, which takes seconds: a test does that
/// before a host has to answer in time.
pub(crate) fn all() -> &'static [Bomb] {
    static BOMBS: LazyLock<Vec<Bomb>> = LazyLock::new(pack);
    &BOMBS
}

fn pack() -> Vec<Bomb> {
    let zeros = zlib(&vec![0; 256 << 20]);
    let profile = [b"name\0\0".as_slice(), &zeros].concat();
    let pixels = zlib(&[0; 16 * 17]);
    let (too_large, truncated) = (Some("ImageTooLarge"), Some("ImageTruncated"));
    let (corrupt, unsupported) = (Some("ImageCorrupt"), Some("UnsupportedFormat"));
    let mut flipped = png(16, &[], &pixels);
    let at = flipped.len() - 20;
    flipped[at] ^= 0xff;
    let cases: Vec<(&'static str, Option<&'static str>, Vec<u8>)> = vec![
        ("jpeg-of-4-gigapixels", too_large, jpeg(0xffff, 0xffff, 1)),
        ("jpeg-of-5000-scans", too_large, jpeg(64, 64, 5_000)),
        ("jpeg-without-end", truncated, jpeg(64, 64, 1)),
        (
            "jpeg-of-no-tables",
            corrupt,
            b"\xff\xd8\xff\xc0\0\x0b\x08\0\x10\0\x10\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\0\0\xff\xd9"
                .to_vec(),
        ),
        ("png-of-4-exapixels", too_large, png(0x7fff_ffff, &[], &zeros)),
        ("png-of-50-megapixels-in-50-kilobytes", None, png(7_000, &[], &zlib(&[0; 7_001].repeat(7_000)))),
        ("png-of-pixels-beyond-its-last-row", None, png(16, &[], &zeros)),
        ("png-of-an-unfolding-profile", too_large, png(16, &[(b"iCCP", &profile)], &pixels)),
        ("png-of-an-unfolding-text", None, png(16, &[(b"zTXt", &profile)], &zeros)),
        ("png-of-a-wrong-checksum", corrupt, flipped),
        (
            "webp-of-a-canvas-of-281-terapixels",
            too_large,
            webp(&[(b"VP8X", b"\0\0\0\0\xff\xff\xff\xff\xff\xff"), (b"VP8 ", SMALL_VP8)]),
        ),
        ("webp-of-50000-frames", too_large, animated_webp(50_000)),
        ("gif-of-4-gigapixels", too_large, gif([0xff; 4], GIF_FRAME)),
        ("gif-of-50000-frames", too_large, gif([1, 0, 1, 0], &GIF_FRAME.repeat(50_000))),
        ("tiff-of-4-gigapixels", too_large, tiff(65_536, 1)),
        ("tiff-of-4-billion-strips", too_large, tiff(16, u32::MAX)),
        ("bmp-of-268-megapixels", too_large, bmp(16_384)),
        (
            "svg-of-a-billion-laughs",
            unsupported,
            b"<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]><svg>&b;</svg>"
                .to_vec(),
        ),
        ("heic", unsupported, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec()),
        ("archive", Some("NotAnImage"), b"PK\x03\x04\x14\0\0\0\x08\0".to_vec()),
        ("nothing", Some("NotAnImage"), Vec::new()),
        // Served with `Content-Encoding: gzip`: 256 MiB, of which the fetch takes 25.
        ("gzip", Some("FileTooLarge"), gzip(&vec![0; 256 << 20])),
    ];
    cases.into_iter().map(|(name, code, bytes)| Bomb { name, code, bytes }).collect()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector grows")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector grows")
}

/// Returns a progressive JPEG without its last marker, whose scans are all of DC values of zero.
fn jpeg(width: u16, height: u16, scans: usize) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xdb\0\x43\0".to_vec();
    bytes.extend([16; 64]);
    bytes.extend([b"\xff\xc2\0\x0b\x08".as_slice(), &height.to_be_bytes(), &width.to_be_bytes()].concat());
    bytes.extend(b"\x01\x01\x11\0\xff\xc4\0\x14\0\x01");
    bytes.extend([0; 16]);
    for _ in 0..scans {
        bytes.extend(b"\xff\xda\0\x08\x01\x01\0\0\0\0");
        bytes.extend([0; 8]);
    }
    bytes
}

/// Returns a square grey PNG around packed pixels.
fn png(side: u32, chunks: &[(&[u8; 4], &[u8])], pixels: &[u8]) -> Vec<u8> {
    let header = [side.to_be_bytes().as_slice(), &side.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let all = [&[(b"IHDR", header.as_slice())], chunks, &[(b"IDAT", pixels), (b"IEND", &[])]].concat();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in all {
        bytes.extend((content.len() as u32).to_be_bytes());
        let start = bytes.len();
        bytes.extend(name);
        bytes.extend(content);
        let mut checksum = flate2::Crc::new();
        checksum.update(&bytes[start..]);
        bytes.extend(checksum.sum().to_be_bytes());
    }
    bytes
}

/// The header of a lossy frame of 16 x 16.
const SMALL_VP8: &[u8] = b"\x10\0\0\x9d\x01\x2a\x10\0\x10\0\0\0";

fn webp(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
    for (name, content) in chunks {
        bytes.extend(*name);
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(*content);
    }
    let length = bytes.len() as u32 - 8;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn animated_webp(frames: usize) -> Vec<u8> {
    let head = [0, 0, 0, 0, 0, 0, 15, 0, 0, 15, 0, 0, 0, 0, 0, 0];
    let frame = [&head, b"VP8 \x0c\0\0\0".as_slice(), SMALL_VP8].concat();
    let mut chunks: Vec<(&[u8; 4], &[u8])> = vec![(b"VP8X", b"\x02\0\0\0\x0f\0\0\x0f\0\0"), (b"ANIM", &[0; 6])];
    chunks.extend(vec![(b"ANMF", frame.as_slice()); frames]);
    webp(&chunks)
}

const GIF_FRAME: &[u8] = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";

fn gif(canvas: [u8; 4], frames: &[u8]) -> Vec<u8> {
    [b"GIF89a", canvas.as_slice(), &[0x80, 0, 0], &[0; 6], frames, b";"].concat()
}

/// Returns a square grey TIFF without pixels.
fn tiff(side: u32, strips: u32) -> Vec<u8> {
    let mut bytes = b"MM\0*\0\0\0\x08\0\x08".to_vec();
    for (tag, count, value) in [
        (256, 1, side),
        (257, 1, side),
        (258, 1, 8),
        (262, 1, 1),
        (273, strips, 8),
        (277, 1, 1),
        (278, 1, side),
        (279, strips, 8),
    ] {
        bytes.extend([tag, 4_u16].map(u16::to_be_bytes).concat());
        bytes.extend([count, value].map(u32::to_be_bytes).concat());
    }
    [bytes.as_slice(), &[0; 4]].concat()
}

fn bmp(side: u32) -> Vec<u8> {
    let mut bytes = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bytes.extend([side.to_le_bytes(), side.to_le_bytes()].concat());
    bytes.extend(b"\x01\0\x18\0");
    bytes.extend([0; 100]);
    bytes
}

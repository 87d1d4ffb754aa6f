//! What the bytes are, by their first bytes.
//!
//! File names and content types are claims of a foreign server and are never looked at: a shop's
//! `photo.jpg` is often an error page in HTML. Formats that are not handled are told apart, so
//! that the message can name them.

use crate::{Error, Format};

pub(crate) const JPEG_MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];
pub(crate) const PNG_MAGIC: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// First bytes of the formats that are told by them alone.
const SUPPORTED: [(&[u8], Format); 7] = [
    (&JPEG_MAGIC, Format::Jpeg),
    (&PNG_MAGIC, Format::Png),
    (b"GIF87a", Format::Gif),
    (b"GIF89a", Format::Gif),
    (b"II*\0", Format::Tiff),
    (b"MM\0*", Format::Tiff),
    (b"BM", Format::Bmp),
];

/// First bytes of the formats that are known but not handled.
const UNSUPPORTED: [(&[u8], &str); 16] = [
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"%PDF-", "PDF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop PSD"),
    (b"\0\0\x01\0", "ICO"),
    (b"qoif", "QOI"),
    (b"%!PS", "PostScript"),
    (b"IIRO", "Olympus raw (ORF)"),
    (b"IIRS", "Olympus raw (ORF)"),
    (b"MMOR", "Olympus raw (ORF)"),
    (b"IIU\0", "Panasonic raw (RW2)"),
    (b"FUJIFILMCCD-RAW", "Fujifilm raw (RAF)"),
];

/// Returns the format of `source`, or why it cannot be one that is handled.
pub(crate) fn sniff(source: &[u8]) -> Result<Format, Error> {
    if let Some((_, format)) = SUPPORTED.iter().find(|(magic, _)| source.starts_with(magic)) {
        return Ok(*format);
    }
    if is_webp(source) {
        return Ok(Format::WebP);
    }
    if is_avif(source) {
        return Ok(Format::Avif);
    }
    if source.is_empty() {
        return Err(Error::NotAnImage("an empty file"));
    }
    if SUPPORTED.iter().any(|(magic, _)| magic.starts_with(source))
        || is_start_of_webp(source)
        || is_start_of_media(source)
    {
        return Err(Error::truncated("the file ends within its first bytes"));
    }
    if let Some(name) = unsupported(source) {
        return Err(Error::unsupported(name));
    }
    match text(source) {
        "SVG" => Err(Error::unsupported("SVG")),
        other => Err(Error::NotAnImage(other)),
    }
}

fn is_webp(source: &[u8]) -> bool {
    source.starts_with(b"RIFF") && source.get(8..12) == Some(b"WEBP")
}

/// Returns whether the file ends before its first bytes could tell a WebP from a sound or a film.
fn is_start_of_webp(source: &[u8]) -> bool {
    source.len() < 12
        && b"RIFF".starts_with(&source[..source.len().min(4)])
        && b"WEBP".starts_with(source.get(8..).unwrap_or_default())
}

/// Returns whether it is ISO media with a brand that stands for AVIF: its own one, or behind a
/// generic one of HEIF.
fn is_avif(source: &[u8]) -> bool {
    let Some(&[l3, l2, l1, l0, b'f', b't', b'y', b'p', major @ ..]) = source.first_chunk::<12>() else { return false };
    let length = (u32::from_be_bytes([l3, l2, l1, l0]) as usize).min(source.len());
    let brands = source.get(16..length).unwrap_or_default().as_chunks().0;
    matches!(&major, b"avif" | b"avis") || matches!(&major, b"mif1" | b"msf1" | b"miaf") && brands.contains(b"avif")
}

/// Returns whether the file ends before its first bytes could tell which kind of ISO media it is.
fn is_start_of_media(source: &[u8]) -> bool {
    // The first box has a length of less than 256, and is called so.
    source.len() < 12
        && source.iter().take(3).all(|byte| *byte == 0)
        && b"ftyp".starts_with(source.get(4..source.len().min(8)).unwrap_or_default())
}

fn unsupported(source: &[u8]) -> Option<&'static str> {
    let known = UNSUPPORTED.iter().find(|(magic, _)| source.starts_with(magic));
    if let Some((_, name)) = known {
        return Some(name);
    }
    if source.get(4..8) == Some(b"ftyp") {
        return Some(match source.get(8..12)? {
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => "HEIC",
            b"crx " => "Canon raw (CR3)",
            _ => "video (ISO media)",
        });
    }
    None
}

/// Names what a file that is no picture looks like.
fn text(source: &[u8]) -> &'static str {
    let bytes = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
    let head = bytes[..bytes.len().min(1024)].trim_ascii_start().to_ascii_lowercase();
    let contains = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    if head.starts_with(b"<") {
        // HTML first: pages often have drawings in them.
        if contains(b"<html") || contains(b"<!doctype html") {
            return "HTML";
        }
        if contains(b"<svg") {
            return "SVG";
        }
        return if head.starts_with(b"<?xml") { "XML" } else { "HTML or XML" };
    }
    if head.starts_with(b"{") || head.starts_with(b"[") {
        return "JSON";
    }
    match bytes.get(..4) {
        Some(b"PK\x03\x04") => return "a ZIP archive",
        Some([0x1f, 0x8b, ..]) => return "gzip",
        _ => {}
    }
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let start = &bytes[..bytes.len().min(256)];
    if !start.is_empty() && start.iter().all(|byte| printable(byte) || *byte >= 0x80) {
        return "text";
    }
    "unknown binary data"
}

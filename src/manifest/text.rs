//! What kind of file the bytes are: CSV text to go on with, or something else that is named, so that
//! nobody gets a thousand errors for one mistake.

use std::io::{Chain, Cursor, Read};

use super::problem::{Code, Problem};

/// A source's text: UTF-8 as it is, or decoded from UTF-16.
pub(super) enum Text<R> {
    /// The bytes, without a byte order mark.
    Utf8(Chain<Cursor<Vec<u8>>, R>),
    /// The bytes behind a byte order mark of UTF-16.
    Utf16(Utf16<Chain<Cursor<Vec<u8>>, R>>),
}

/// Bytes that are looked at.
const HEAD: usize = 4 * 1024;
const SAVE_AS: &str = "save the sheet as CSV UTF-8";

/// Returns the source's text, or the problem that it is none.
pub(super) fn open<R: Read>(mut bytes: R) -> std::io::Result<Result<Text<R>, Problem>> {
    let mut head = Vec::new();
    bytes.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let mark = match &head[..] {
        [0xef, 0xbb, 0xbf, ..] => 3,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => 2,
        _ => 0,
    };
    let big_endian = head.first() == Some(&0xfe);
    if mark != 2
        && let Some(problem) = name_other_format(&head[mark..])
    {
        return Ok(Err(problem));
    }
    let mut head = Cursor::new(head);
    head.set_position(mark as u64);
    let text = head.chain(bytes);
    Ok(Ok(if mark == 2 { Text::Utf16(Utf16::new(text, big_endian)) } else { Text::Utf8(text) }))
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Utf8(text) => text.read(buffer),
            Self::Utf16(text) => text.read(buffer),
        }
    }
}

/// Names a file that is no CSV, by its first bytes.
fn name_other_format(head: &[u8]) -> Option<Problem> {
    let start = head.trim_ascii_start();
    let lower: Vec<u8> = start.iter().take(16).map(u8::to_ascii_lowercase).collect();
    let is = |magics: &[&[u8]]| magics.iter().any(|magic| lower.starts_with(magic));
    if start.is_empty() {
        return Some(Problem::of_file(Code::EmptyFile, "the file is empty", "the first line must name the columns"));
    }
    if head.iter().take(64).skip(1).step_by(2).all(|&byte| byte == 0) && head.len() >= 4
        || head.iter().take(64).step_by(2).all(|&byte| byte == 0) && head.len() >= 4
    {
        let message = "the file is UTF-16 without a byte order mark";
        return Some(Problem::of_file(Code::NotUtf8, message, SAVE_AS));
    }
    let (what, hint) = if is(&[b"pk\x03\x04"]) {
        ("a spreadsheet's own format (.xlsx, .ods or .numbers)", SAVE_AS)
    } else if is(&[b"\xd0\xcf\x11\xe0"]) {
        ("an old Excel workbook (.xls)", SAVE_AS)
    } else if is(&[b"<!doctype", b"<html", b"<head", b"<body", b"<table", b"<!--"]) {
        ("an HTML page", "download the file itself; the address may need a log-in or show a preview")
    } else if is(&[b"<?xml", b"<workbook"]) {
        ("XML", SAVE_AS)
    } else if is(&[b"%pdf"]) {
        ("a PDF", SAVE_AS)
    } else if is(&[b"{\\rtf"]) {
        ("a text document (.rtf)", SAVE_AS)
    } else if is(&[b"{", b"[{", b"[\n", b"[\r", b"[ "]) {
        ("JSON", "send it as application/json")
    } else if is(&[b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"bzh", b"\xfd7zxz"]) {
        ("a compressed file", "decompress it, or send it with Content-Encoding gzip or zstd")
    } else if is(&[b"\x89png", b"\xff\xd8\xff", b"gif8", b"riff"]) {
        ("an image", "send a CSV that names the images by URL")
    } else if head.contains(&0) {
        ("binary data", SAVE_AS)
    } else {
        return None;
    };
    Some(Problem::of_file(Code::NotCsv, &format!("the file is {what}, not a CSV"), hint))
}

/// Returns bytes as the encoding reads them that Excel on Windows saves in: Latin-1 and its own signs.
pub(super) fn windows_1252(bytes: &[u8]) -> String {
    const SIGNS: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let sign = |byte: u8| byte.checked_sub(0x80).and_then(|index| SIGNS.get(usize::from(index)));
    bytes.iter().map(|&byte| sign(byte).copied().unwrap_or(char::from(byte))).collect()
}

/// Decodes UTF-16 to UTF-8. A unit that is no character becomes a byte that no UTF-8 has, so that the
/// cell with it is found like any other that is not text.
pub(super) struct Utf16<R> {
    units: R,
    big_endian: bool,
    bytes: Vec<u8>,
    text: Vec<u8>,
    given: usize,
    high: Option<u16>,
    ended: bool,
}

/// A byte that no UTF-8 has.
const NO_TEXT: u8 = 0xff;

impl<R: Read> Utf16<R> {
    fn new(units: R, big_endian: bool) -> Self {
        Self { units, big_endian, bytes: Vec::new(), text: Vec::new(), given: 0, high: None, ended: false }
    }

    /// Decodes the next units; afterwards there is text, or the end.
    fn decode(&mut self) -> std::io::Result<()> {
        self.text.clear();
        self.given = 0;
        while self.text.is_empty() && !self.ended {
            let before = self.bytes.len();
            self.units.by_ref().take(HEAD as u64).read_to_end(&mut self.bytes)?;
            self.ended = self.bytes.len() == before;
            let whole = self.bytes.len() / 2 * 2;
            for index in (0..whole).step_by(2) {
                let pair = [self.bytes[index], self.bytes[index + 1]];
                let unit = if self.big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
                self.push(unit);
            }
            self.bytes.drain(..whole);
            if self.ended && (self.high.take().is_some() || !self.bytes.is_empty()) {
                self.text.push(NO_TEXT);
            }
        }
        Ok(())
    }

    fn push(&mut self, unit: u16) {
        let first = self.high.take();
        if (0xd800..0xdc00).contains(&unit) {
            // The first half of a pair waits for the second; one that still waits never gets it.
            self.text.extend(first.map(|_| NO_TEXT));
            self.high = Some(unit);
            return;
        }
        for decoded in char::decode_utf16(first.into_iter().chain([unit])) {
            match decoded {
                Ok(character) => self.text.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(_) => self.text.push(NO_TEXT),
            }
        }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.given == self.text.len() {
            self.decode()?;
        }
        let length = buffer.len().min(self.text.len() - self.given);
        buffer[..length].copy_from_slice(&self.text[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        match open(bytes).expect("a slice can be read") {
            Ok(mut opened) => opened.read_to_end(&mut text).map(|_| text).map_err(|error| error.to_string()),
            Err(problem) => Err(problem.message),
        }
    }

    fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
        let unit = |it: u16| if big_endian { it.to_be_bytes() } else { it.to_le_bytes() };
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn byte_order_marks_are_understood() {
        let long = "S. No.,Name 👟 ä\r\n".repeat(1_000);
        for big_endian in [false, true] {
            assert_eq!(text(&utf16(&format!("\u{feff}{long}"), big_endian)).as_deref(), Ok(long.as_bytes()));
        }
        assert_eq!(text(format!("\u{feff}{long}").as_bytes()).as_deref(), Ok(long.as_bytes()));
        assert_eq!(text(long.as_bytes()).as_deref(), Ok(long.as_bytes()));
    }

    #[test]
    fn units_that_are_no_character_are_no_text() {
        let unit = |units: &[u16]| [0xfeff].iter().chain(units).flat_map(|it| it.to_le_bytes()).collect::<Vec<u8>>();
        for (units, expected) in [
            (&[0xd800, 0x61][..], &[NO_TEXT, b'a'][..]),
            (&[0xdc00], &[NO_TEXT]),
            (&[0x61, 0xd83d], &[b'a', NO_TEXT]),
            (&[0xd83d, 0xd83d, 0xdc5f], &[NO_TEXT, 0xf0, 0x9f, 0x91, 0x9f]),
        ] {
            assert_eq!(text(&unit(units)).as_deref(), Ok(expected), "{units:x?}");
        }
        assert_eq!(text(&[0xff, 0xfe, b'a', 0, b'b']).as_deref(), Ok(&[b'a', NO_TEXT][..]));
    }

    #[test]
    fn other_files_are_named() {
        for (bytes, expected) in [
            (&b""[..], "empty"),
            (b"\xef\xbb\xbf \r\n", "empty"),
            (b"PK\x03\x04...", ".xlsx"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1", ".xls"),
            (b"\n<!DOCTYPE html>", "HTML"),
            (b"<?xml version=\"1.0\"?>", "XML"),
            (b"%PDF-1.7", "PDF"),
            (b"{\"products\": []}", "JSON"),
            (b"\x1f\x8b\x08\0", "compressed"),
            (b"\x89PNG\r\n", "image"),
            (b"S\0.\0 \0N\0o\0", "UTF-16 without"),
            (b"a,b\n\0,1", "binary"),
        ] {
            let message = text(bytes).expect_err("not a CSV");
            assert!(message.contains(expected), "{message:?} for {bytes:?}");
        }
    }
}

//! Pictures to test with, and eyes for the results that are not the codec's own.

use std::{fs, path::PathBuf, sync::LazyLock};

use codec::{Compressed, Limits, Options, Quality, TargetFormat};
use jpeg_decoder::PixelFormat;
use jpeg_encoder::{ColorType, Encoder};

/// What no result may contain.
pub(crate) const SECRET: &[u8] = b"48.8584N 2.2945E";

/// A picture of 8 bits a sample, with 1 (grey) to 4 (RGBA or CMYK) channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: usize,
    pub(crate) samples: Vec<u8>,
}

impl Picture {
    pub(crate) fn new(width: u32, height: u32, pixel: impl Fn(u32, u32) -> Vec<u8>) -> Self {
        let samples: Vec<u8> =
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
        let channels = samples.len() / (width * height) as usize;
        Self { width, height, channels, samples }
    }

    pub(crate) fn pixel(&self, x: u32, y: u32) -> &[u8] {
        let at = (y * self.width + x) as usize * self.channels;
        &self.samples[at..at + self.channels]
    }

    pub(crate) fn grey(&self) -> Self {
        Self::new(self.width, self.height, |x, y| vec![self.pixel(x, y)[1]])
    }

    /// Repeats grey and adds full opacity, as far as they are missing.
    pub(crate) fn rgba(&self) -> Self {
        Self::new(self.width, self.height, |x, y| match *self.pixel(x, y) {
            [grey] => vec![grey, grey, grey, 255],
            [grey, alpha] => vec![grey, grey, grey, alpha],
            [red, green, blue] => vec![red, green, blue, 255],
            ref pixel => pixel.to_vec(),
        })
    }

    /// Returns the colours of RGBA as far as they are visible, with their alpha.
    pub(crate) fn visible(&self) -> Self {
        Self::new(self.width, self.height, |x, y| {
            let pixel = self.pixel(x, y);
            let shown = pixel[..3].iter().map(|value| (u16::from(*value) * u16::from(pixel[3]) / 255) as u8);
            shown.chain([pixel[3]]).collect()
        })
    }

    /// Peak signal-to-noise ratio to `other`, in decibels.
    pub(crate) fn psnr(&self, other: &Self) -> f64 {
        assert_eq!((self.width, self.height, self.channels), (other.width, other.height, other.channels));
        let pairs = self.samples.iter().zip(&other.samples);
        let squares: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        10.0 * (255.0_f64.powi(2) * self.samples.len() as f64 / squares.max(1e-9)).log10()
    }
}

pub(crate) fn compress(source: &[u8], quality: Quality) -> Result<Compressed, codec::Error> {
    let compressed = codec::compress(source, &Options { quality, ..Options::default() }, &Limits::default())?;
    if let Some(bytes) = &compressed.bytes {
        assert!(bytes.len() < source.len(), "{} bytes became {}", source.len(), bytes.len());
    }
    Ok(compressed)
}

/// Converts at an absolute quality, which must yield a result.
pub(crate) fn convert(source: &[u8], format: TargetFormat, quality: u8) -> (Compressed, Vec<u8>) {
    let options = Options { quality: Quality::Absolute(quality), format, ..Options::default() };
    let mut compressed = codec::compress(source, &options, &Limits::default()).expect("the source is sound");
    let bytes = compressed.bytes.take().expect("the format was asked for");
    (compressed, bytes)
}

/// Compresses what must become smaller.
pub(crate) fn smaller(source: &[u8], quality: Quality) -> Vec<u8> {
    let compressed = compress(source, quality).expect("the source is sound");
    compressed.bytes.expect("the source can be made smaller")
}

/// Reads one of the photographs that the whole project tests with.
pub(crate) fn photograph(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/images").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()))
}

/// Cuts a piece with much detail out of a photograph.
pub(crate) fn scene(width: u32, height: u32) -> Picture {
    static PHOTOGRAPH: LazyLock<Picture> = LazyLock::new(|| decode_jpeg(&photograph("paint-brushes.jpg")));
    Picture::new(width, height, |x, y| PHOTOGRAPH.pixel(300 + x, 300 + y).to_vec())
}

pub(crate) fn jpeg(picture: &Picture, quality: u8, configure: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let color = match picture.channels {
        1 => ColorType::Luma,
        3 => ColorType::Rgb,
        _ => ColorType::Cmyk,
    };
    jpeg_of(picture, color, quality, configure)
}

pub(crate) fn jpeg_of(
    picture: &Picture,
    color: ColorType,
    quality: u8,
    configure: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    configure(&mut encoder);
    encoder.encode(&picture.samples, picture.width as u16, picture.height as u16, color).expect("the picture is sound");
    bytes
}

/// Decodes with another decoder than the codec does.
pub(crate) fn decode_jpeg(bytes: &[u8]) -> Picture {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let samples = decoder.decode().expect("other decoders can read it");
    let info = decoder.info().expect("it was decoded");
    let channels = match info.pixel_format {
        PixelFormat::L8 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::CMYK32 | PixelFormat::L16 => 4,
    };
    Picture { width: u32::from(info.width), height: u32::from(info.height), channels, samples }
}

/// Returns the segments before the first scan, and the scan's header, each as marker and content.
pub(crate) fn segments(jpeg: &[u8]) -> Vec<(u8, &[u8])> {
    let (mut segments, mut at) = (Vec::new(), 2);
    loop {
        let marker = jpeg[at + 1];
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        segments.push((marker, &jpeg[at + 4..at + 2 + length]));
        at += 2 + length;
        if marker == 0xda {
            return segments;
        }
    }
}

/// Replaces the JFIF segment, which comes first, by `segments`.
pub(crate) fn with_segments(jpeg: &[u8], segments: &[(u8, &[u8])]) -> Vec<u8> {
    let jfif = usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
    let mut changed = jpeg[..2].to_vec();
    for (marker, body) in segments {
        changed.extend([0xff, *marker]);
        changed.extend((body.len() as u16 + 2).to_be_bytes());
        changed.extend(*body);
    }
    changed.extend(&jpeg[4 + jfif..]);
    changed
}

/// Returns an EXIF block that starts with its TIFF header: the orientation, and a position.
pub(crate) fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x02\0".to_vec();
    exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    exif.extend([0x25, 0x88, 4, 0, 1, 0, 0, 0, 38, 0, 0, 0]);
    exif.extend([0; 4]);
    exif.extend(SECRET);
    exif
}

/// Returns bytes that start like a colour profile for `space`.
pub(crate) fn profile(space: [u8; 4], length: usize) -> Vec<u8> {
    let mut profile: Vec<u8> = (0..length).map(|at| (at * 7 + at / 251) as u8).collect();
    profile[16..20].copy_from_slice(&space);
    profile
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Name and content of a PNG's chunk.
pub(crate) type Chunk<'a> = (&'a [u8; 4], &'a [u8]);

/// Header fields of a PNG, and what goes between header and pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PngHeader<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) depth: u8,
    /// 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA.
    pub(crate) color: u8,
    pub(crate) interlaced: bool,
    pub(crate) chunks: &'a [Chunk<'a>],
}

/// Writes a PNG around `rows`, each with its filter byte in front.
pub(crate) fn png_of(header: &PngHeader<'_>, rows: &[u8]) -> Vec<u8> {
    let mut fields = [header.width.to_be_bytes(), header.height.to_be_bytes()].concat();
    fields.extend([header.depth, header.color, 0, 0, u8::from(header.interlaced)]);
    let pixels = fdeflate::compress_to_vec(rows);
    let mut chunks: Vec<Chunk<'_>> = vec![(b"IHDR", &fields)];
    chunks.extend(header.chunks);
    chunks.extend([(b"IDAT", pixels.as_slice()), (b"IEND", &[])]);
    write_chunks(&chunks)
}

pub(crate) fn write_chunks(chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in chunks {
        bytes.extend((content.len() as u32).to_be_bytes());
        let start = bytes.len();
        bytes.extend(*name);
        bytes.extend(*content);
        bytes.extend(crc32fast::hash(&bytes[start..]).to_be_bytes());
    }
    bytes
}

/// Writes a picture as PNG with extra chunks.
pub(crate) fn png(picture: &Picture, chunks: &[Chunk<'_>]) -> Vec<u8> {
    let color = [0, 4, 2, 6][picture.channels - 1];
    let (width, height) = (picture.width, picture.height);
    let header = PngHeader { width, height, depth: 8, color, interlaced: false, chunks };
    png_of(&header, &rows(&picture.samples, width as usize * picture.channels))
}

/// Puts the filter byte for "none" in front of each row.
pub(crate) fn rows(samples: &[u8], size: usize) -> Vec<u8> {
    samples.chunks_exact(size).flat_map(|row| [&[0], row].concat()).collect()
}

/// Returns the chunks of a PNG, each as name and content.
pub(crate) fn chunks(png: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let (mut chunks, mut rest) = (Vec::new(), &png[8..]);
    while let Some((&[l3, l2, l1, l0, name @ ..], tail)) = rest.split_first_chunk::<8>() {
        let (content, tail) = tail.split_at(u32::from_be_bytes([l3, l2, l1, l0]) as usize);
        chunks.push((name, content));
        rest = &tail[4..];
    }
    chunks
}

/// Decodes to RGBA of 8 bits.
pub(crate) fn decode_png(bytes: &[u8]) -> Picture {
    use ::png::{ColorType, Decoder, Transformations};
    let mut decoder = Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().expect("it is a PNG");
    let mut samples = vec![0; reader.output_buffer_size().expect("it is small")];
    let info = reader.next_frame(&mut samples).expect("it can be decoded");
    let pixel = |pixel: &[u8]| match *pixel {
        [grey] => [grey, grey, grey, 255],
        [grey, alpha] => [grey, grey, grey, alpha],
        [red, green, blue] => [red, green, blue, 255],
        [red, green, blue, alpha, ..] => [red, green, blue, alpha],
        [] => [0; 4],
    };
    assert_ne!(info.color_type, ColorType::Indexed);
    let samples = samples.chunks_exact(info.color_type.samples()).flat_map(pixel).collect();
    Picture { width: info.width, height: info.height, channels: 4, samples }
}

/// Returns bit depth and colour type out of the header.
pub(crate) fn png_kind(png: &[u8]) -> (u8, u8) {
    (png[24], png[25])
}

//! GIF, TIFF and BMP files to test with.

use image::{
    Delay, ExtendedColorType, Frame, ImageEncoder, RgbaImage,
    codecs::{
        bmp::BmpEncoder,
        gif::{GifEncoder, Repeat},
    },
};

use crate::sample::Picture;

/// Writes pictures of few colours as frames of a tenth of a second.
pub(crate) fn gif(frames: &[Picture], repeat: Option<Repeat>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    if let Some(repeat) = repeat {
        encoder.set_repeat(repeat).expect("it can be written");
    }
    for frame in frames {
        let image = RgbaImage::from_raw(frame.width, frame.height, frame.rgba().samples).expect("the size is sound");
        let delay = Delay::from_numer_denom_ms(100, 1);
        encoder.encode_frame(Frame::from_parts(image, 0, 0, delay)).expect("the frame is sound");
    }
    drop(encoder);
    bytes
}

pub(crate) fn bmp(picture: &Picture) -> Vec<u8> {
    let color = match picture.channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let mut bytes = Vec::new();
    let encoder = BmpEncoder::new(&mut bytes);
    encoder.write_image(&picture.samples, picture.width, picture.height, color).expect("the picture is sound");
    bytes
}

/// Fields of a TIFF page beyond those of its pixels, each as tag, type, count and value.
pub(crate) type Field = (u16, u16, u32, u32);

/// Writes a TIFF of one strip in big-endian order; `depth` is 8 or 16 bits a sample.
pub(crate) fn tiff(picture: &Picture, depth: u32, extra: &[Field]) -> Vec<u8> {
    pages(&[(picture, depth, extra)])
}

/// Writes a TIFF of several pages.
pub(crate) fn pages(pages: &[(&Picture, u32, &[Field])]) -> Vec<u8> {
    let mut bytes = b"MM\0*\0\0\0\0".to_vec();
    let mut link = 4;
    for (picture, depth, extra) in pages {
        let samples: Vec<u8> = if *depth == 16 {
            picture.samples.iter().flat_map(|sample| [*sample, *sample]).collect()
        } else {
            picture.samples.clone()
        };
        let strip = bytes.len() as u32;
        bytes.extend(&samples);
        bytes.extend(vec![0; samples.len() % 2]);
        let depths = bytes.len() as u32;
        let channels = picture.channels as u32;
        bytes.extend((*depth as u16).to_be_bytes().repeat(4));
        let short = |tag, value: u32| (tag, 3, 1, value << 16);
        let mut fields = vec![
            (256, 4, 1, picture.width),
            (257, 4, 1, picture.height),
            if channels > 2 { (258, 3, channels, depths) } else { (258, 3, channels, depth << 16 | depth) },
            short(259, 1),
            short(262, if channels < 3 { 1 } else { 2 }),
            (273, 4, 1, strip),
            short(277, channels),
            (278, 4, 1, picture.height),
            (279, 4, 1, samples.len() as u32),
        ];
        for field in *extra {
            fields.retain(|(tag, ..)| *tag != field.0);
            fields.push(*field);
        }
        fields.sort_unstable();
        let directory = bytes.len() as u32;
        bytes[link..link + 4].copy_from_slice(&directory.to_be_bytes());
        bytes.extend((fields.len() as u16).to_be_bytes());
        for (tag, kind, count, value) in fields {
            bytes.extend([tag, kind].map(u16::to_be_bytes).concat());
            bytes.extend([count, value].map(u32::to_be_bytes).concat());
        }
        link = bytes.len();
        bytes.extend([0; 4]);
    }
    bytes
}
